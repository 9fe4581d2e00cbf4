// SPDX-License-Identifier: GPL-2.0

//! RCU read-side critical sections that C code has entered.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::sync::rcu::Guard;

/// Returns a guard for the read-side critical section that the C caller has entered and will leave.
/// Unlike [`Guard::new`], it does not nest another one.
///
/// # Safety
///
/// The RCU read lock must be held by this thread or CPU for `'a`.
#[inline(always)]
pub(in crate::oot) unsafe fn assume_read_locked<'a>() -> &'a Guard {
    const { assert!(size_of::<Guard>() == 0) };
    // INVARIANT: The read lock is held by the safety requirement.
    // SAFETY: A reference to a zero-sized type only needs an aligned address. A shared reference
    // does not drop the guard, so it does not release the lock.
    unsafe { NonNull::<Guard>::dangling().as_ref() }
}

/// A zero-sized token for a read-side critical section. Unlike `&Guard`, it takes no register.
#[derive(Clone, Copy)]
pub(crate) struct Section<'a>(PhantomData<&'a Guard>);

impl<'a> Section<'a> {
    /// Returns a token for the critical section of `guard`.
    #[inline(always)]
    pub(crate) fn of(_guard: &'a Guard) -> Self {
        Self(PhantomData)
    }

    /// Returns a guard for the same critical section.
    #[inline(always)]
    pub(crate) fn guard(self) -> &'a Guard {
        // SAFETY: The guard is borrowed for `'a`, and the read lock is held as long as it exists.
        unsafe { assume_read_locked() }
    }
}
