// SPDX-License-Identifier: GPL-2.0
// Error: E0478 E0495

// A thread runs on if its owner is leaked, so its value must not borrow from a local variable.

use crate::oot::kthread::Steps;

struct Pause<'a> {
    jiffies: &'a usize,
}

#[cfg(not(misuse))]
impl Steps for Pause<'static> {
    fn step(&self) -> Option<usize> {
        Some(*self.jiffies)
    }
}

#[cfg(misuse)]
impl Steps for Pause<'_> {
    fn step(&self) -> Option<usize> {
        Some(*self.jiffies)
    }
}
