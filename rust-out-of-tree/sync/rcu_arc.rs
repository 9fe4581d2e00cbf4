// SPDX-License-Identifier: GPL-2.0

//! Reference-counted objects that RCU readers may look at without a reference.
//!
//! [`RcuArc`] is [`kernel::sync::Arc`] with one difference: when the last reference goes, the value
//! is dropped and its memory freed only after a grace period. So a reader that found the object
//! under a [`rcu::Guard`] may use it as [`RcuRef`] for as long as the guard lives, and takes a
//! reference ([`RcuRef::upgrade`]) only to store it.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::{
    marker::PhantomData,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    alloc::{
        allocator::Kmalloc,
        Allocator,
        Flags,
        NumaNode, //
    },
    prelude::*,
    sync::{
        atomic::Relaxed,
        rcu,
        Refcount, //
    },
    types::Opaque, //
};

use crate::oot::{
    bindings,
    mm::slab::Cache, //
};

use super::once::Once;

/// What may live behind an [`RcuArc`].
pub(crate) trait Object: Send + Sync + 'static {
    /// Called when the last reference is gone, before the grace period: whatever could still start
    /// to use the object from outside RCU, such as a timer, is stopped here.
    fn retire(&self) {}
}

#[pin_data]
#[repr(C)]
pub(in crate::oot) struct Inner<T> {
    /// First, so that the callback of `call_rcu()` gets the address of the whole.
    rcu: Opaque<bindings::callback_head>,
    refcount: Refcount,
    #[pin]
    pub(super) value: T,
}

/// An owned reference to a `T` that is dropped a grace period after its last reference.
///
/// # Invariants
///
/// `ptr` was allocated from the slab allocator, is initialised, and this value owns one of its
/// reference counts.
pub(crate) struct RcuArc<T: Object> {
    ptr: NonNull<Inner<T>>,
    _owns: PhantomData<Inner<T>>,
}

// SAFETY: An `Object` is `Send + Sync`: it may be shared between contexts and dropped in any.
unsafe impl<T: Object> Send for RcuArc<T> {}

// SAFETY: As above; `&RcuArc` allows cloning, which is sending.
unsafe impl<T: Object> Sync for RcuArc<T> {}

impl<T: Object> RcuArc<T> {
    /// Allocates and initialises an object with one reference.
    pub(crate) fn new<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self>
    where
        Error: From<E>,
    {
        let layout = core::alloc::Layout::new::<Inner<T>>();
        let slot = Kmalloc::alloc(layout, flags, NumaNode::NO_NODE)?;
        Self::init_slot(slot.cast(), init)
    }

    /// As [`RcuArc::new`], from a slab cache of its own.
    ///
    /// Does not sleep.
    pub(crate) fn new_in<E>(cache: &Cache<T>, init: impl PinInit<T, E>) -> Result<Self>
    where
        Error: From<E>,
    {
        Self::init_slot(cache.alloc_atomic()?, init)
    }

    /// Initialises fresh memory, which is freed again should `init` fail.
    fn init_slot<E>(slot: NonNull<Inner<T>>, init: impl PinInit<T, E>) -> Result<Self>
    where
        Error: From<E>,
    {
        let inner = pin_init::pin_init!(Inner {
            rcu: Opaque::uninit(),
            refcount: Refcount::new(1),
            value <- init,
        }? E);
        // SAFETY: `slot` is valid for writes of an `Inner<T>` and is not moved after that.
        match unsafe { inner.__init(slot.as_ptr()) } {
            // INVARIANT: The object was just initialised with one reference, which is ours.
            Ok(()) => Ok(Self {
                ptr: slot,
                _owns: PhantomData,
            }),
            Err(error) => {
                // SAFETY: `slot` came from the slab allocator and holds nothing to drop.
                unsafe { bindings::kfree(slot.as_ptr().cast()) };
                Err(error.into())
            }
        }
    }
}

impl<T: Object> RcuArc<T> {
    /// The size of the memory block behind a reference, for slab caches.
    pub(crate) const SIZE: usize = size_of::<Inner<T>>();

    /// Whether there are other references.
    pub(crate) fn is_shared(&self) -> bool {
        // SAFETY: By the type invariant the object lives while `self` is borrowed.
        let inner = unsafe { self.ptr.as_ref() };
        inner.refcount.as_atomic().read_once() > 1
    }

    /// Looks at the object as an RCU reader would.
    pub(crate) fn as_rcu(&self) -> RcuRef<'_, T> {
        // SAFETY: By the type invariant the object lives while `self` is borrowed.
        RcuRef(unsafe { self.ptr.as_ref() })
    }

    /// Gives up the reference without dropping it.
    pub(super) fn into_raw(self) -> NonNull<Inner<T>> {
        core::mem::ManuallyDrop::new(self).ptr
    }

    /// Takes back a reference given up by [`RcuArc::into_raw`].
    ///
    /// # Safety
    ///
    /// `ptr` must come from [`RcuArc::into_raw`], and not be used for this again.
    pub(super) unsafe fn from_raw(ptr: NonNull<Inner<T>>) -> Self {
        // INVARIANT: By the safety requirement the reference is the caller's to give.
        Self {
            ptr,
            _owns: PhantomData,
        }
    }
}

impl<T: Object> Deref for RcuArc<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: By the type invariant the object lives while `self` is borrowed.
        &unsafe { self.ptr.as_ref() }.value
    }
}

impl<T: Object> Clone for RcuArc<T> {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariant the object lives while `self` is borrowed.
        unsafe { self.ptr.as_ref() }.refcount.inc();
        // INVARIANT: The reference was just taken.
        Self {
            ptr: self.ptr,
            _owns: PhantomData,
        }
    }
}

impl<T: Object> Drop for RcuArc<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the object lives until the count drops to zero.
        let inner = unsafe { self.ptr.as_ref() };
        if inner.refcount.dec_and_test() {
            inner.value.retire();
            // SAFETY: Nobody has a reference, so nobody else queues the head; readers may still
            // look at the value, which `free` outwaits.
            unsafe { bindings::call_rcu(inner.rcu.get(), Some(free::<T>)) };
        }
    }
}

/// The end of an object, a grace period after its last reference.
///
/// # Safety
///
/// To be called by RCU on the head of an [`Inner<T>`] without references.
unsafe extern "C" fn free<T>(head: *mut bindings::callback_head) {
    let inner: *mut Inner<T> = head.cast();
    // SAFETY: The head is the first field of a live `Inner<T>`, which no reader sees any more.
    unsafe { core::ptr::drop_in_place(&raw mut (*inner).value) };
    // SAFETY: The memory came from the slab allocator; `kfree()` knows the cache.
    unsafe { bindings::kfree(inner.cast()) };
}

/// A look at an object that lives at least as long as the RCU read-side section `'g`.
pub(crate) struct RcuRef<'g, T>(pub(super) &'g Inner<T>);

impl<T> Clone for RcuRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for RcuRef<'_, T> {}

impl<'g, T: Object> RcuRef<'g, T> {
    /// The value, for all of the read-side section.
    #[inline(always)]
    pub(crate) fn get(self) -> &'g T {
        &self.0.value
    }

    /// Takes a reference, unless the last one is already gone.
    pub(crate) fn upgrade(self) -> Option<RcuArc<T>> {
        let count = self.0.refcount.as_atomic();
        let mut old = count.read_once();
        loop {
            if old <= 0 {
                return None;
            }
            match count.cmpxchg(old, old.wrapping_add(1), Relaxed) {
                // INVARIANT: The reference was just taken from a live object.
                Ok(_) => {
                    return Some(RcuArc {
                        ptr: NonNull::from(self.0),
                        _owns: PhantomData,
                    })
                }
                Err(now) => old = now,
            }
        }
    }
}

impl<T> Deref for RcuRef<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0.value
    }
}

/// Waits until every object whose last reference is gone has been dropped and freed.
///
/// Dropping one may end the last reference to another: `levels` says how deep they nest.
pub(crate) fn barrier(levels: usize) {
    for _ in 0..levels {
        rcu::rcu_barrier();
    }
}
