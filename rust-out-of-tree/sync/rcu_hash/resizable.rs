// SPDX-License-Identifier: GPL-2.0

//! The buckets of an [`RcuHash`](super::RcuHash), resized to fit the number of entries.

use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        },
        rcu, //
    },
};

use crate::oot::{
    sync::{
        rcu_dereference::rcu_dereference,
        Once, //
    },
    workqueue::Work, //
};

use super::buckets::{
    Bucket,
    Buckets,
    Link,
    Size, //
};

/// The buckets, whose work function resizes them.
///
/// # Invariants
///
/// `current` is a table from `KBox::into_raw`. A replaced table is valid for another grace period.
pub(super) struct Resizable {
    current: Atomic<*mut Buckets>,
    len: Atomic<i32>,
    /// The load factor of the next size.
    load: Atomic<i32>,
}

impl Resizable {
    /// Creates the smallest number of buckets.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new() -> impl PinInit<Self, Error> {
        kernel::try_init!(Self {
            current: Atomic::new(KBox::into_raw(Buckets::new(Size::SMALLEST)?)),
            len: Atomic::new(0),
            load: Atomic::new(0),
        }? Error)
    }

    /// The current table.
    #[inline(always)]
    pub(super) fn current<'g>(&'g self, _guard: &'g rcu::Guard) -> &'g Buckets {
        // SAFETY: By the type invariant it is live, and freed a grace period after it is replaced.
        unsafe { &*rcu_dereference(&self.current) }
    }

    /// The number of entries.
    pub(super) fn len(&self) -> usize {
        self.len.read_once().max(0) as usize
    }

    /// Increments the number of entries and returns the new number.
    pub(super) fn inc(&self) -> usize {
        self.len.fetch_add(1, Relaxed).wrapping_add(1) as usize
    }

    /// Decrements the number of entries and returns the new number.
    pub(super) fn dec(&self) -> usize {
        self.len.fetch_sub(1, Relaxed).wrapping_sub(1) as usize
    }

    /// Sets the load factor of the next size.
    pub(super) fn set_load(&self, load: i32) {
        self.load.write_once(load);
    }

    /// Moves each link of a bucket to its bucket in `to`.
    fn move_bucket(from: Bucket<'_>, to: &Buckets) {
        let locked = from.lock();
        loop {
            let at = locked.bucket().first();
            if at & 1 != 0 {
                break;
            }
            // SAFETY: Links in a chain are live while its lock is held.
            let hash = unsafe { (*(at as *const Link)).hash.read_once() };
            locked.move_first(to.bucket(hash));
        }
    }
}

impl Work for Resizable {
    /// Resizes the table to fit the number of entries.
    fn run(&self) -> Option<usize> {
        // SAFETY: By the type invariant it is live: only this function replaces it, and the work
        // never runs concurrently.
        let old = unsafe { &*self.current.read_once() };
        let size = Size::fitting(self.len(), self.load.read_once(), old.size);
        if size == old.size {
            return None;
        }
        // Without memory the chains stay long until the next entry queues the work again.
        let new = KBox::into_raw(Buckets::new(size).ok()?);
        old.successor.store(new, Release);
        // After the grace period all CPUs add entries to `new`.
        rcu::synchronize_rcu();
        for head in old.heads.iter() {
            // SAFETY: `new` is live: only a later resize frees it.
            Self::move_bucket(Bucket(head), unsafe { &*new });
        }
        self.current.store(new, Release);
        rcu::synchronize_rcu();
        // SAFETY: It came from `KBox::into_raw`, and all pre-existing readers have ended.
        drop(unsafe { KBox::from_raw(core::ptr::from_ref(old).cast_mut()) });
        None
    }
}

impl Drop for Resizable {
    fn drop(&mut self) {
        // SAFETY: It came from `KBox::into_raw`. Readers held a reference to this value, so none is
        // left.
        drop(unsafe { KBox::from_raw(self.current.read_once()) });
    }
}
