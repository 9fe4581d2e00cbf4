// SPDX-License-Identifier: GPL-2.0

//! Slab caches for objects behind an [`RcuArc`].
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::prelude::*;

use crate::oot::{
    bindings,
    sync::rcu_arc::{
        Inner,
        Object,
        RcuArc, //
    }, //
};

/// A cache of blocks for `RcuArc<T>`, as `kmem_cache_create()`.
///
/// # Invariants
///
/// `cache` is a live cache whose objects have the size and alignment of the block behind an
/// `RcuArc<T>`.
pub(crate) struct Cache<T: Object> {
    cache: NonNull<bindings::kmem_cache>,
    _of: PhantomData<fn() -> T>,
}

// SAFETY: `struct kmem_cache` may be used from any context.
unsafe impl<T: Object> Send for Cache<T> {}

// SAFETY: As above: allocation does its own locking.
unsafe impl<T: Object> Sync for Cache<T> {}

impl<T: Object> Cache<T> {
    /// Creates a cache that shows as `name` in /proc/slabinfo; it is never merged with another.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: `name` is a static C string; size and alignment are those of a Rust type.
        let cache = unsafe {
            bindings::oot_kmem_cache_create(
                name.as_char_ptr(),
                RcuArc::<T>::SIZE as u32,
                align_of::<Inner<T>>() as u32,
            )
        };
        // INVARIANT: The cache was just created for `Inner<T>`.
        Ok(Self {
            cache: NonNull::new(cache).ok_or(ENOMEM)?,
            _of: PhantomData,
        })
    }

    /// Allocates an uninitialised block without sleeping. Its owner frees it by `kfree()`.
    pub(in crate::oot) fn alloc_atomic(&self) -> Result<NonNull<Inner<T>>> {
        // SAFETY: The cache is live by the type invariant.
        let block =
            unsafe { bindings::oot_kmem_cache_alloc(self.cache.as_ptr(), bindings::GFP_ATOMIC) };
        NonNull::new(block.cast()).ok_or(ENOMEM)
    }
}

impl<T: Object> Drop for Cache<T> {
    fn drop(&mut self) {
        // SAFETY: The cache is live; the module waits for its objects (`rcu_arc::barrier`) before
        // it drops the cache.
        unsafe { bindings::kmem_cache_destroy(self.cache.as_ptr()) };
    }
}
