// SPDX-License-Identifier: GPL-2.0

//! An RCU-protected reference that a writer replaces while readers follow it.
//!
//! Like [`RcuCell`](super::RcuCell), for an object that the writer also keeps a reference to.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::ptr::NonNull;
use kernel::sync::{
    atomic::{
        Atomic,
        Full, //
    },
    rcu, //
};

use super::{
    rcu_arc::{
        Inner,
        Object,
        RcuArc,
        RcuRef, //
    },
    rcu_dereference::rcu_dereference, //
};

/// An RCU-protected [`RcuArc`] that the cell owns, or null.
///
/// # Invariants
///
/// The pointer is null or comes from [`RcuArc::into_raw`] and is owned by the cell.
pub(crate) struct RcuArcCell<T: Object>(Atomic<*mut Inner<T>>);

// SAFETY: Readers get `&T`, and a replaced reference may be dropped in any context; an `Object` is
// `Send + Sync`.
unsafe impl<T: Object> Sync for RcuArcCell<T> {}

// SAFETY: As above.
unsafe impl<T: Object> Send for RcuArcCell<T> {}

impl<T: Object> RcuArcCell<T> {
    /// Creates a cell with a reference, or an empty one.
    pub(crate) fn new(value: Option<RcuArc<T>>) -> Self {
        // INVARIANT: The cell takes over the reference.
        Self(Atomic::new(into_ptr(value)))
    }

    /// Returns the current object, which stays valid until the read-side critical section ends.
    #[inline(always)]
    pub(crate) fn get<'g>(&'g self, _guard: &'g rcu::Guard) -> Option<RcuRef<'g, T>> {
        let ptr = rcu_dereference(&self.0);
        // SAFETY: By the type invariant the pointer is null or live. A replaced object stays live
        // until the guard's critical section ends, since an `RcuArc` drops it only after a grace
        // period.
        unsafe { ptr.as_ref() }.map(RcuRef)
    }

    /// Returns a new reference to the current object.
    ///
    /// `None` if the cell is empty, or if a writer removes the last reference concurrently.
    pub(crate) fn load(&self) -> Option<RcuArc<T>> {
        self.get(&rcu::read_lock()).and_then(RcuRef::upgrade)
    }

    /// Replaces the reference and returns the old one.
    pub(crate) fn replace(&self, value: Option<RcuArc<T>>) -> Option<RcuArc<T>> {
        let old = self.0.xchg(into_ptr(value), Full);
        // SAFETY: By the type invariant the old pointer came from `into_raw`; it is ours now.
        NonNull::new(old).map(|old| unsafe { RcuArc::from_raw(old) })
    }
}

impl<T: Object> Drop for RcuArcCell<T> {
    fn drop(&mut self) {
        drop(self.replace(None));
    }
}

fn into_ptr<T: Object>(value: Option<RcuArc<T>>) -> *mut Inner<T> {
    value.map_or(core::ptr::null_mut(), |value| value.into_raw().as_ptr())
}
