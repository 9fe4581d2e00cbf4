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

/// A cache of memory for values of type `T`, as `kmem_cache_create()`.
///
/// # Invariants
///
/// `cache` is a live cache whose objects have the size and alignment of a `T`.
pub(crate) struct Cache<T> {
    cache: NonNull<bindings::kmem_cache>,
    _of: PhantomData<fn() -> T>,
}

// SAFETY: `struct kmem_cache` may be used from any context.
unsafe impl<T> Send for Cache<T> {}

// SAFETY: As above: allocation does its own locking.
unsafe impl<T> Sync for Cache<T> {}

impl<T> Cache<T> {
    /// Creates a cache that shows as `name` in /proc/slabinfo; it is never merged with another.
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

    /// Allocates memory for a `T`, uninitialised, without sleeping. Its owner frees it by `kfree()`.
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
    /// Waits for objects that are freed by RCU callbacks; sleeps.
    ///
    /// Should objects still be in use, the kernel warns, and keeps the cache for them for ever.
    fn drop(&mut self) {
        wait_for_callbacks();
        // SAFETY: The cache is live, and not used by us any more. What becomes of objects in use
        // is said above: they, and freeing them, stay valid.
        unsafe { bindings::kmem_cache_destroy(self.cache.as_ptr()) };
    }
}
