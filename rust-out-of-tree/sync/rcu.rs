// SPDX-License-Identifier: GPL-2.0

//! RCU read-side sections that C code has begun.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
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

/// The evidence for a read-side section as a value without size, which costs no register.
#[derive(Clone, Copy)]
pub(crate) struct Section<'a>(PhantomData<&'a Guard>);

impl<'a> Section<'a> {
    /// The section of `guard`.
    #[inline(always)]
    pub(crate) fn of(_guard: &'a Guard) -> Self {
        Self(PhantomData)
    }

    /// The guard that it was made from.
    #[inline(always)]
    pub(crate) fn guard(self) -> &'a Guard {
        // SAFETY: The guard is borrowed for `'a`, and the read lock is held as long as it lives.
        unsafe { assume_read_locked() }
    }
}
