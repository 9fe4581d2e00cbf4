// SPDX-License-Identifier: GPL-2.0

//! RCU read-side sections that C code has begun.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::ptr::NonNull;
use kernel::sync::rcu::Guard;

/// The evidence for a read-side section that the caller of a callback has begun, and will end.
/// [`Guard::new`] would begin another one inside of it.
///
/// # Safety
///
/// The RCU read lock must be held by this thread or CPU for `'a`.
#[inline(always)]
pub(in crate::oot) unsafe fn assume_read_locked<'a>() -> &'a Guard {
    const { assert!(size_of::<Guard>() == 0) };
    // INVARIANT: The read lock is held by the safety requirement.
    // SAFETY: A reference to a type without size needs nothing but an aligned address, and a shared
    // one does not drop the guard, that is, not release the lock.
    unsafe { NonNull::<Guard>::dangling().as_ref() }
}
