// SPDX-License-Identifier: GPL-2.0

//! Soft interrupts off on this CPU.
//!
//! C header: [`include/linux/bottom_half.h`](srctree/include/linux/bottom_half.h)

use kernel::types::NotThreadSafe;

use crate::oot::bindings;

/// Evidence that soft interrupts are off on this CPU; they come back when it is dropped.
pub(crate) struct Disabled(NotThreadSafe);

impl Disabled {
    /// Turns soft interrupts off, as `local_bh_disable()`; nests.
    #[inline]
    pub(crate) fn new() -> Self {
        // SAFETY: May be called in any context but hard interrupts, where this module never runs.
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
