// SPDX-License-Identifier: GPL-2.0

//! Disabling of bottom halves (softirqs) on this CPU.
//!
//! C header: [`include/linux/bottom_half.h`](srctree/include/linux/bottom_half.h)

use kernel::types::NotThreadSafe;

use crate::oot::bindings;

/// Proof that bottom halves are disabled on this CPU. They are enabled again when it is dropped.
pub(crate) struct Disabled(NotThreadSafe);

impl Disabled {
    /// Disables bottom halves, as `local_bh_disable()`. Calls nest.
    #[inline]
    pub(crate) fn new() -> Self {
        // SAFETY: May be called in any context but hard interrupts, in which this module never
        // runs.
        unsafe { bindings::oot_local_bh_disable() };
        Self(NotThreadSafe)
    }
}

impl Drop for Disabled {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Pairs with the call in `new`, on the same CPU since the type is not `Send`.
        unsafe { bindings::oot_local_bh_enable() };
    }
}
