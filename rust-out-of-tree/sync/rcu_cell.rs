// SPDX-License-Identifier: GPL-2.0

//! A value that is replaced whole while RCU readers look at it.
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
    },
    types::Opaque, //
};

use crate::oot::bindings;

use super::once::Once;

#[repr(C)]
struct Inner<T> {
    /// First, so that the callback of `call_rcu()` gets the address of the whole.
    rcu: Opaque<bindings::callback_head>,
    value: T,
}

/// A value in memory of its own, ready to be published in an [`RcuCell`].
///
/// # Invariants
///
/// `ptr` comes from `KBox::into_raw`, and this value owns it. No reader has seen it.
pub(crate) struct RcuBox<T> {
    ptr: NonNull<Inner<T>>,
    _owns: PhantomData<Inner<T>>,
}

// SAFETY: An `RcuBox` owns its `T`.
unsafe impl<T: Send> Send for RcuBox<T> {}

impl<T> RcuBox<T> {
    /// Moves `value` into memory of its own.
    pub(crate) fn new(value: T, flags: Flags) -> Result<Self> {
        let inner = KBox::new(
            Inner {
                rcu: Opaque::uninit(),
                value,
            },
            flags,
        )?;
        // INVARIANT: The pointer comes from `KBox::into_raw`.
        Ok(Self {
            ptr: NonNull::from(KBox::leak(inner)),
            _owns: PhantomData,
        })
    }

    fn into_raw(self) -> *mut Inner<T> {
        core::mem::ManuallyDrop::new(self).ptr.as_ptr()
    }
}

impl<T> Drop for RcuBox<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own the box and nobody else has seen it.
        drop(unsafe { KBox::from_raw(self.ptr.as_ptr()) });
    }
}

/// What was taken out of an [`RcuCell`]; dropped, it is freed after a grace period.
///
/// # Invariants
///
/// `ptr` comes from `KBox::into_raw` and is owned; readers from before may still look at it.
#[must_use = "dropping it frees the old value after a grace period"]
pub(crate) struct Retired<T: Send + 'static>(Option<NonNull<Inner<T>>>);

impl<T: Send + 'static> Drop for Retired<T> {
    fn drop(&mut self) {
        if let Some(ptr) = self.0 {
            // SAFETY: By the type invariant the box is live.
            let inner = unsafe { ptr.as_ref() };
            // SAFETY: The box is ours alone but for readers, whom `free` outwaits.
            unsafe { bindings::call_rcu(inner.rcu.get(), Some(free::<T>)) };
        }
    }
}

/// The end of a retired value.
///
/// # Safety
///
/// To be called by RCU on the head of a retired [`Inner<T>`].
unsafe extern "C" fn free<T>(head: *mut bindings::callback_head) {
    // SAFETY: The head is the first field of an `Inner<T>` from `KBox::into_raw`.
    drop(unsafe { KBox::from_raw(head.cast::<Inner<T>>()) });
}

/// A place for a value that readers find under RCU and a writer replaces whole.
///
/// # Invariants
///
/// The pointer is null or comes from `KBox::into_raw` and is owned by the cell.
pub(crate) struct RcuCell<T: Send + 'static>(Atomic<*mut Inner<T>>);

// SAFETY: Readers get `&T` in any context, and whoever replaces the value drops it anywhere.
unsafe impl<T: Send + Sync> Sync for RcuCell<T> {}

// SAFETY: As above.
unsafe impl<T: Send + Sync> Send for RcuCell<T> {}

impl<T: Send + 'static> RcuCell<T> {
    /// A cell with a value, or an empty one.
    pub(crate) fn new(value: Option<RcuBox<T>>) -> Self {
        Self(Atomic::new(
            value.map_or(core::ptr::null_mut(), RcuBox::into_raw),
        ))
    }

    /// The value as of now, for as long as the read-side section lasts.
    #[inline(always)]
    pub(crate) fn get<'g>(&'g self, _guard: &'g rcu::Guard) -> Option<&'g T> {
        // What is read through the pointer depends on it: that orders it, as `rcu_dereference()`.
        let ptr = self.0.read_once();
        // SAFETY: By the type invariant the pointer is null or live, and stays so until the
        // guard's section ends, since what is taken out is freed by `call_rcu()`.
        unsafe { ptr.as_ref() }.map(|inner| &inner.value)
    }

    /// Publishes a successor.
    pub(crate) fn replace(&self, value: Option<RcuBox<T>>) -> Retired<T> {
        let new = value.map_or(core::ptr::null_mut(), RcuBox::into_raw);
        // INVARIANT: The cell owns `new` from here, the retired value the old pointer.
        Retired(NonNull::new(self.0.xchg(new, Full)))
    }
}

impl<T: Send + 'static> Drop for RcuCell<T> {
    fn drop(&mut self) {
        drop(self.replace(None));
    }
}
