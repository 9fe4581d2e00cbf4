// SPDX-License-Identifier: GPL-2.0

//! Slab caches.
//!
//! C header: [`include/linux/slab.h`](srctree/include/linux/slab.h)

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::prelude::*;

use crate::oot::{
    bindings,
    sync::wait_for_callbacks, //
};

/// A slab cache for values of type `T`, as from `kmem_cache_create()`.
///
/// # Invariants
///
/// `cache` is a live cache whose objects have the size and alignment of a `T`.
pub(crate) struct Cache<T> {
    cache: NonNull<bindings::kmem_cache>,
    _of: PhantomData<fn() -> T>,
}

// SAFETY: A slab cache may be used from any context.
unsafe impl<T> Send for Cache<T> {}

// SAFETY: As above: allocation does its own locking.
unsafe impl<T> Sync for Cache<T> {}

impl<T> Cache<T> {
    /// Creates a cache called `name` in /proc/slabinfo. It is never merged with another cache.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        // SAFETY: `name` is a static C string; size and alignment are those of a Rust type.
        let cache = unsafe {
            bindings::oot_kmem_cache_create(
                name.as_char_ptr(),
                size_of::<T>() as u32,
                align_of::<T>() as u32,
            )
        };
        // INVARIANT: The cache was just created for `T`.
        Ok(Self {
            cache: NonNull::new(cache).ok_or(ENOMEM)?,
            _of: PhantomData,
        })
    }

    /// Allocates uninitialised memory for a `T` without sleeping. The caller frees it with
    /// `kfree()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(in crate::oot) fn alloc_atomic(&self) -> Result<NonNull<T>> {
        // SAFETY: The cache is live by the type invariant.
        let block =
            unsafe { bindings::oot_kmem_cache_alloc(self.cache.as_ptr(), bindings::GFP_ATOMIC) };
        NonNull::new(block.cast()).ok_or(ENOMEM)
    }
}

impl<T> Drop for Cache<T> {
    /// Waits for RCU callbacks, which may free objects. Sleeps.
    ///
    /// If objects are still in use, the kernel warns and keeps the cache forever.
    fn drop(&mut self) {
        wait_for_callbacks();
        // SAFETY: The cache is live, and no longer used by us. Objects that are still in use stay
        // valid, and so does freeing them, as documented above.
        unsafe { bindings::kmem_cache_destroy(self.cache.as_ptr()) };
    }
}
