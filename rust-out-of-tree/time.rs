// SPDX-License-Identifier: GPL-2.0

//! The tick counter.
//!
//! C header: [`include/linux/jiffies.h`](srctree/include/linux/jiffies.h)

use crate::oot::bindings;

/// Ticks per second. (bindgen takes `HZ` for the user's, which is 100 whatever the kernel's is.)
pub(crate) const HZ: usize = bindings::CONFIG_HZ as usize;

/// Ticks since boot, and some: wraps.
#[inline(always)]
pub(crate) fn jiffies() -> usize {
    // SAFETY: `jiffies` is a word that the kernel updates whole; reading it is always fine.
    unsafe { (&raw const bindings::jiffies).read_volatile() }
}
