// SPDX-License-Identifier: GPL-2.0

//! A hash table that readers search under RCU while it changes and resizes.
//!
//! An entry is an [`RcuArc`] to an object with a [`HashLinks`] field, of up to two links, so that
//! one object can be found by two keys. The table owns one reference to each of its entries.
//!
//! It is not `rhashtable`, since that has one link an entry, finds but the first entry of a key
//! (`rhltable`: of equal keys), and calls functions to hash and to compare, which here are in line;
//! and since a walk there shows entries twice, or not at all, when the table is resized meanwhile.
//!
//! # Vocabulary
//!
//! A *bucket* is a word: the address of the first link, bit 0 a spinlock. A chain ends in an *end
//! mark*, the address of its bucket with bit 0 set, so that a reader that strays into another chain
//! (because the link it stood on was moved) notices and starts again, as in `rhashtable`. The
//! bucket of a hash is its *top* bits: the order of the buckets is the order of the hashes in every
//! size of table, so a cursor survives a resize.
//!
//! # Locking
//!
//! Links are added and removed under their bucket's bit lock with soft interrupts off. A resize
//! (a work item, so one at a time) publishes the successor, waits a grace period until all add
//! there, then moves each bucket: the old bucket's lock is taken before the new one's. A reader
//! that misses in the old table looks into the successor.
//!
//! No CPU waits for another that adds an entry: that may be preempted, on PREEMPT_RT. A CPU that
//! removes the entry meanwhile only marks it; the CPU that adds it then removes it.
//!
//! # Size
//!
//! A table grows when it holds more entries than buckets, and shrinks when it holds less than a
//! 16th. The *load factor* moves that: as a binary logarithm, it is how many entries there are to a
//! bucket.
//!
//! C header: [`include/linux/rhashtable.h`](srctree/include/linux/rhashtable.h)

mod buckets;
mod lengths;
mod links;
mod resizable;
mod walk;

pub(crate) use lengths::ChainLengths;
pub(crate) use links::{
    impl_has_hash_links,
    HasHashLinks,
    HashLinks, //
};
pub(crate) use walk::HashCursor;

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu, //
    },
};

use crate::oot::workqueue::Delayed;

use buckets::Link;
use links::entry_of;
use resizable::Resizable;

use super::{
    once::Once,
    rcu_arc::{
        RcuArc,
        RcuRef, //
    },
    rcu_dereference::rcu_dereference_marked, //
};

/// The table.
///
/// # Invariants
///
/// Every link in `buckets` belongs to an entry of which the table owns a reference.
#[pin_data(PinnedDrop)]
pub(crate) struct RcuHash<T: HasHashLinks> {
    #[pin]
    buckets: Delayed<Resizable>,
    /// Whether there has been an entry.
    used: Atomic<u32>,
    _owns: PhantomData<RcuArc<T>>,
}

impl<T: HasHashLinks> RcuHash<T> {
    /// An empty table of the smallest size.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        kernel::try_pin_init!(Self {
            buckets <- Delayed::new(Resizable::new()),
            used: Atomic::new(0),
            _owns: PhantomData,
        }? Error)
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.buckets.len()
    }

    /// The number of buckets.
    pub(crate) fn size(&self) -> usize {
        self.buckets.current(&rcu::read_lock()).heads.len()
    }

    /// The first entry one of whose links has this hash and that `matches` accepts, given the
    /// index of the link and the entry.
    #[inline(always)]
    pub(crate) fn find<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        hash: u32,
        mut matches: impl FnMut(u32, RcuRef<'g, T>) -> bool,
    ) -> Option<RcuRef<'g, T>> {
        let mut table = self.buckets.current(guard);
        loop {
            let bucket = table.bucket(hash);
            let mut at = bucket.first();
            while at & 1 == 0 {
                // SAFETY: A link found in a chain is live until the read-side section ends.
                let link = unsafe { &*(at as *const Link) };
                if link.hash.read_once() == hash {
                    // SAFETY: As above; and it belongs to an entry of this table.
                    let (index, entry): (u32, RcuRef<'g, T>) = unsafe { entry_of(at) };
                    if matches(index, entry) {
                        return Some(entry);
                    }
                }
                at = rcu_dereference_marked(&link.next);
            }
            if at != bucket.end_mark() {
                // A link was moved under us and led into another chain.
                continue;
            }
            table = table.successor()?;
        }
    }

    /// Adds an entry under one hash or two, and gives a look at it.
    ///
    /// An entry that is in a table, or has been in one, is not added again and gives `None`.
    pub(crate) fn insert<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        entry: RcuArc<T>,
        hash: u32,
        second: Option<u32>,
    ) -> Option<RcuRef<'g, T>> {
        if !entry.links().begin(self) {
            return None;
        }
        if self.used.read_once() == 0 {
            self.used.write_once(1);
        }
        // INVARIANT: The reference is the table's from here on.
        // SAFETY: The table's reference keeps the entry alive until a grace period after it is
        // removed, so for all of this read-side section.
        let entry = RcuRef(unsafe { &*entry.into_raw().as_ptr() });
        let [first, other] = &entry.get().links().links;
        let table = self.buckets.current(guard).newest();
        first.hash.store(hash, Relaxed);
        if let Some(second) = second {
            other.hash.store(second, Relaxed);
            table.bucket(second).lock().push(other);
        }
        table.bucket(hash).lock().push(first);
        if self.buckets.inc() > table.most {
            self.schedule_resize();
        }
        if !entry.links().end(second.is_some()) {
            drop(self.take_out(guard, entry, second.is_some()));
        }
        Some(entry)
    }

    /// Takes an entry, which was added to this table, out of it; see [`Self::unlink`].
    fn remove(&self, guard: &rcu::Guard, entry: RcuRef<'_, T>) -> Option<RcuArc<T>> {
        let has_second = entry.links().leave()?;
        Some(self.take_out(guard, entry, has_second))
    }

    /// Takes an entry out whose links are in the table, and which the caller has made gone.
    fn take_out(&self, guard: &rcu::Guard, entry: RcuRef<'_, T>, has_second: bool) -> RcuArc<T> {
        let [first, other] = &entry.get().links().links;
        self.take_out_link(guard, first);
        if has_second {
            self.take_out_link(guard, other);
        }
        let len = self.buckets.dec();
        if len < self.buckets.current(guard).least {
            self.schedule_resize();
        }
        // SAFETY: The table owned a reference, and one caller alone makes the entry gone.
        unsafe { RcuArc::from_raw(NonNull::from(entry.0)) }
    }

    /// Takes one link out of its chain. It is in one of the tables, and moves on to later ones
    /// alone, under the lock of the bucket that it leaves.
    fn take_out_link(&self, guard: &rcu::Guard, link: &Link) {
        let hash = link.hash.read_once();
        let mut table = Some(self.buckets.current(guard));
        while let Some(buckets) = table {
            if buckets.bucket(hash).lock().remove(link) {
                return;
            }
            table = buckets.successor();
        }
    }

    /// Removes all entries.
    fn clear(&self) {
        self.for_each(|guard, entry| drop(self.remove(guard, entry)));
    }

    /// Makes it hold `2^load` entries to a bucket before it grows.
    pub(crate) fn set_load(&self, load: i32) {
        self.buckets.set_load(load);
        self.schedule_resize();
    }

    #[cold]
    fn schedule_resize(&self) {
        self.buckets.schedule(0);
    }
}

#[pinned_drop]
impl<T: HasHashLinks> PinnedDrop for RcuHash<T> {
    fn drop(self: Pin<&mut Self>) {
        self.buckets.cancel();
        self.clear();
        if self.used.read_once() != 0 {
            // Other CPUs may still be about to remove an entry that they found before, or be
            // removing one that was marked while they added it, or one of the last, as in the
            // callback of its timer.
            rcu::synchronize_rcu();
        }
        // The removals may have queued a resize again: it is cancelled when the field is dropped.
    }
}
