// SPDX-License-Identifier: GPL-2.0

//! A pointer to a value that a writer replaces while RCU readers access it.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full, //
        },
        rcu, //
    }, //
};

use super::{
    rcu_dereference::rcu_dereference,
    rcu_head::RcuBlock, //
};

/// A value in its own allocation, ready to be published in an [`RcuCell`].
///
/// # Invariants
///
/// `ptr` comes from `KBox::leak`, and this value owns it. No reader has accessed it.
pub(crate) struct RcuBox<T> {
    ptr: NonNull<RcuBlock<T>>,
    _owns: PhantomData<RcuBlock<T>>,
}

// SAFETY: An `RcuBox` owns its `T`.
unsafe impl<T: Send> Send for RcuBox<T> {}

impl<T> RcuBox<T> {
    /// Moves `value` to its own allocation.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(value: T, flags: Flags) -> Result<Self> {
        let block = KBox::new(RcuBlock::new(value), flags)?;
        // INVARIANT: The pointer comes from `KBox::leak`.
        Ok(Self {
            ptr: NonNull::from(KBox::leak(block)),
            _owns: PhantomData,
        })
    }

    fn into_raw(self) -> *mut RcuBlock<T> {
        core::mem::ManuallyDrop::new(self).ptr.as_ptr()
    }
}

impl<T> Drop for RcuBox<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own the block and no reader has accessed it.
        unsafe { RcuBlock::free_now(self.ptr) };
    }
}

/// A value removed from an [`RcuCell`]. Dropping it frees the value after a grace period.
///
/// # Invariants
///
/// `ptr` comes from `KBox::leak` and is owned. Only pre-existing readers may still access it.
#[must_use = "dropping it frees the old value after a grace period"]
pub(crate) struct Retired<T: Send + 'static>(Option<NonNull<RcuBlock<T>>>);

impl<T: Send + 'static> Drop for Retired<T> {
    fn drop(&mut self) {
        if let Some(ptr) = self.0 {
            // SAFETY: By the type invariant we own the block, only pre-existing readers access it,
            // and it was allocated by `KBox`, so from the slab allocator.
            unsafe { RcuBlock::free_after_grace_period(ptr) };
        }
    }
}

/// An RCU-protected pointer to a value that the cell owns, or null.
///
/// # Invariants
///
/// The pointer is null, or comes from `KBox::leak` and is owned by the cell.
pub(crate) struct RcuCell<T: Send + 'static>(Atomic<*mut RcuBlock<T>>);

// SAFETY: Readers get `&T` in any context, and a replaced value may be dropped in any context.
unsafe impl<T: Send + Sync> Sync for RcuCell<T> {}

// SAFETY: As above.
unsafe impl<T: Send + Sync> Send for RcuCell<T> {}

impl<T: Send + 'static> RcuCell<T> {
    /// Creates a cell with `value`, or an empty one.
    pub(crate) fn new(value: Option<RcuBox<T>>) -> Self {
        Self(Atomic::new(
            value.map_or(core::ptr::null_mut(), RcuBox::into_raw),
        ))
    }

    /// Returns the current value, which stays valid until the read-side critical section ends.
    #[inline(always)]
    pub(crate) fn get<'g>(&'g self, _guard: &'g rcu::Guard) -> Option<&'g T> {
        let ptr = rcu_dereference(&self.0);
        // SAFETY: By the type invariant the pointer is null or live. A replaced value is freed by
        // `call_rcu()`, so it stays live until the guard's critical section ends.
        unsafe { ptr.as_ref() }.map(|block| &block.value)
    }

    /// Replaces the value and returns the old one.
    pub(crate) fn replace(&self, value: Option<RcuBox<T>>) -> Retired<T> {
        let new = value.map_or(core::ptr::null_mut(), RcuBox::into_raw);
        // INVARIANT: The cell now owns `new`, and the retired value owns the old pointer.
        Retired(NonNull::new(self.0.xchg(new, Full)))
    }
}

impl<T: Send + 'static> Drop for RcuCell<T> {
    fn drop(&mut self) {
        drop(self.replace(None));
    }
}
