// SPDX-License-Identifier: GPL-2.0

//! Jiffies.
//!
//! C header: [`include/linux/jiffies.h`](srctree/include/linux/jiffies.h)

use crate::oot::bindings;

/// Jiffies per second. (bindgen's `HZ` is the user space value, 100 on most architectures.)
pub(crate) const HZ: usize = bindings::CONFIG_HZ as usize;

/// Returns the current time in jiffies. Wraps.
#[inline(always)]
pub(crate) fn jiffies() -> usize {
    // SAFETY: `jiffies` is an aligned word that the kernel writes in one access, so any context may
    // read it.
    unsafe { (&raw const bindings::jiffies).read_volatile() }
}
