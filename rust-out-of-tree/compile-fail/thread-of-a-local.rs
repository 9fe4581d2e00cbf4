// SPDX-License-Identifier: GPL-2.0
// Error: E0478 E0495

// A thread whose owner is forgotten goes on: its value must not refer to a local variable.

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
