// SPDX-License-Identifier: GPL-2.0
// Error: E0478 E0495

// Work still runs if its owner is leaked, so its value must not borrow from a local variable.

use crate::oot::workqueue::Work;

struct Pause<'a> {
    jiffies: &'a usize,
}

#[cfg(not(misuse))]
impl Work for Pause<'static> {
    fn run(&self) -> Option<usize> {
        Some(*self.jiffies)
    }
}

#[cfg(misuse)]
impl Work for Pause<'_> {
    fn run(&self) -> Option<usize> {
        Some(*self.jiffies)
    }
}
