// SPDX-License-Identifier: GPL-2.0

//! Reference-counted objects that RCU readers may access without a reference.
//!
//! [`RcuArc`] is like [`kernel::sync::Arc`], except that the value is dropped and its memory freed
//! only a grace period after the last reference is dropped. A reader that found the object under a
//! [`Guard`](kernel::sync::rcu::Guard) may use it as [`RcuRef`] as long as the guard exists, and
//! takes a reference ([`RcuRef::upgrade`]) only to store it.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::{
    marker::PhantomData,
    mem::offset_of,
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
        Refcount, //
    }, //
};

use crate::oot::{
    bindings,
    mm::slab::Cache, //
};

use super::{
    once::Once,
    rcu_head::RcuBlock, //
};

/// A value that may be behind an [`RcuArc`].
pub(crate) trait Object: Send + Sync + 'static {
    /// Called when the object is at its final address, before the first reference exists. Sets up
    /// what uses the object from outside RCU, for example a timer.
    ///
    /// # Safety
    ///
    /// To be called only by [`RcuArc`], once, at that time.
    unsafe fn prepare(&self) {}

    /// Called when the last reference was dropped, before the grace period. Stops whatever could
    /// still start to use the object from outside RCU.
    ///
    /// # Safety
    ///
    /// To be called only by [`RcuArc`], once, at that time.
    unsafe fn retire(&self) {}
}

/// The memory block behind an [`RcuArc`].
pub(in crate::oot) type Inner<T> = RcuBlock<Counted<T>>;

/// A value and its refcount.
#[pin_data]
#[repr(C)]
pub(in crate::oot) struct Counted<T> {
    refcount: Refcount,
    #[pin]
    value: T,
}

/// A slab cache for [`RcuArc::new_in`].
pub(crate) struct RcuArcCache<T: Object>(Cache<Inner<T>>);

impl<T: Object> RcuArcCache<T> {
    /// Creates a cache, as [`Cache::new`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        Ok(Self(Cache::new(name)?))
    }
}

/// An owned reference to a `T`, which is dropped a grace period after its last reference.
///
/// # Invariants
///
/// `ptr` was allocated from the slab allocator and is initialised. This value owns one reference
/// count of it.
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
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or the error of `init`.
    pub(crate) fn new<E>(init: impl PinInit<T, E>, flags: Flags) -> Result<Self>
    where
        Error: From<E>,
    {
        let layout = core::alloc::Layout::new::<Inner<T>>();
        let slot = Kmalloc::alloc(layout, flags, NumaNode::NO_NODE)?;
        Self::init_slot(slot.cast(), init)
    }

    /// As [`RcuArc::new`], from a slab cache.
    ///
    /// Does not sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or the error of `init`.
    #[inline(always)]
    pub(crate) fn new_in<E>(cache: &RcuArcCache<T>, init: impl PinInit<T, E>) -> Result<Self>
    where
        Error: From<E>,
    {
        Self::init_slot(cache.0.alloc_atomic()?, init)
    }

    /// Initialises fresh memory. Frees it if `init` fails.
    #[inline(always)]
    fn init_slot<E>(slot: NonNull<Inner<T>>, init: impl PinInit<T, E>) -> Result<Self>
    where
        Error: From<E>,
    {
        let inner = RcuBlock::init(pin_init::pin_init!(Counted {
            refcount: Refcount::new(1),
            value <- init,
        }? E));
        // SAFETY: `slot` is valid for writes of an `Inner<T>` and is not moved after that.
        match unsafe { inner.__init(slot.as_ptr()) } {
            Ok(()) => {
                // SAFETY: The object was just initialised, and no other CPU has accessed it.
                unsafe { slot.as_ref().value.value.prepare() };
                // INVARIANT: The object has one reference, which this value owns.
                Ok(Self {
                    ptr: slot,
                    _owns: PhantomData,
                })
            }
            Err(error) => {
                // SAFETY: `slot` came from the slab allocator and holds nothing to drop.
                unsafe { bindings::kfree(slot.as_ptr().cast()) };
                Err(error.into())
            }
        }
    }
}

impl<T: Object> RcuArc<T> {
    /// Whether other references exist.
    pub(crate) fn is_shared(&self) -> bool {
        // SAFETY: By the type invariant the object is live while `self` is borrowed.
        let inner = unsafe { &self.ptr.as_ref().value };
        inner.refcount.as_atomic().read_once() > 1
    }

    /// Borrows the object as an RCU reader would.
    pub(crate) fn as_rcu(&self) -> RcuRef<'_, T> {
        // SAFETY: By the type invariant the object is live while `self` is borrowed.
        RcuRef(unsafe { self.ptr.as_ref() })
    }

    /// Gives up the reference without dropping it.
    pub(super) fn into_raw(self) -> NonNull<Inner<T>> {
        core::mem::ManuallyDrop::new(self).ptr
    }

    /// Takes back a reference that was given up by [`RcuArc::into_raw`].
    ///
    /// # Safety
    ///
    /// `ptr` must come from [`RcuArc::into_raw`], and not be passed here again.
    pub(super) unsafe fn from_raw(ptr: NonNull<Inner<T>>) -> Self {
        // INVARIANT: By the safety requirement the caller owns the reference and passes it on.
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
        // SAFETY: By the type invariant the object is live while `self` is borrowed.
        &unsafe { self.ptr.as_ref() }.value.value
    }
}

impl<T: Object> Clone for RcuArc<T> {
    fn clone(&self) -> Self {
        // SAFETY: By the type invariant the object is live while `self` is borrowed.
        unsafe { self.ptr.as_ref() }.value.refcount.inc();
        // INVARIANT: The reference was just taken.
        Self {
            ptr: self.ptr,
            _owns: PhantomData,
        }
    }
}

impl<T: Object> Drop for RcuArc<T> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the object stays valid until the count drops to zero.
        let inner = unsafe { &self.ptr.as_ref().value };
        if inner.refcount.dec_and_test() {
            // SAFETY: The last reference was ours.
            unsafe { inner.value.retire() };
            // SAFETY: The last reference was ours, so we own the block. It came from the slab
            // allocator, and only pre-existing readers may still access it.
            unsafe { RcuBlock::free_after_grace_period(self.ptr) };
        }
    }
}

/// A borrowed object that is valid at least as long as the RCU read-side critical section `'g`.
pub(crate) struct RcuRef<'g, T>(pub(super) &'g Inner<T>);

impl<T> Clone for RcuRef<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for RcuRef<'_, T> {}

impl<T> RcuRef<'_, T> {
    /// Returns the object that contains `value`.
    ///
    /// # Safety
    ///
    /// `value` must be the value of a block to which an [`RcuArc`] refers, or did until a grace
    /// period that does not end before `'g`.
    #[inline(always)]
    pub(super) unsafe fn from_value(value: *const T) -> Self {
        let offset = offset_of!(Inner<T>, value.value);
        // SAFETY: By the safety requirement the value is a field of a live block at this offset.
        Self(unsafe { &*value.byte_sub(offset).cast() })
    }
}

impl<'g, T: Object> RcuRef<'g, T> {
    /// Returns the value, valid for the whole read-side critical section.
    #[inline(always)]
    pub(crate) fn get(self) -> &'g T {
        &self.0.value.value
    }

    /// Takes a reference, or returns `None` if the last one was dropped.
    pub(crate) fn upgrade(self) -> Option<RcuArc<T>> {
        let count = self.0.value.refcount.as_atomic();
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
        &self.0.value.value
    }
}
