// SPDX-License-Identifier: GPL-2.0
// Error: E0478 E0495

// As a thread: work whose owner is forgotten is still done.

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
