// SPDX-License-Identifier: GPL-2.0

//! A resizable hash table with RCU readers.
//!
//! An entry is an [`RcuArc`] to an object with a [`HashLinks`] field, which has two links, so that
//! one object can be found by two keys. The table owns one reference to each of its entries.
//!
//! It differs from `rhashtable`, which has one link per entry, finds only the first entry of a key
//! (`rhltable`: only entries with equal keys) and calls functions to hash and to compare; here both
//! are inlined. A walk over an `rhashtable` shows entries twice or not at all if the table is
//! resized meanwhile.
//!
//! # Vocabulary
//!
//! A *bucket* is a word: the address of the first link, with a bit spinlock in bit 0. A chain ends
//! in an *end mark*, the address of its bucket with bit 0 set. A reader whose current link was
//! moved to another chain detects this by the end mark and starts again, as in `rhashtable`. The
//! *top* bits of a hash select the bucket: buckets of any table size are in hash order, so a cursor
//! stays valid across a resize.
//!
//! # Locking
//!
//! Links are added and removed under their bucket's bit lock with softirqs disabled. A resize (a
//! work item, so only one runs at a time) publishes the successor, waits for a grace period until
//! all CPUs add entries there, then moves each bucket. The lock of the old bucket is taken before
//! that of the new one. A reader that finds no entry in the old table searches the successor.
//!
//! No CPU waits for another one that is adding an entry, which may be preempted on PREEMPT_RT. A
//! CPU that removes the entry meanwhile only marks it; the CPU that adds it then removes it.
//!
//! # Size
//!
//! A table grows when it holds more entries than buckets, and shrinks when it holds fewer than a
//! 16th. The *load factor* shifts these limits: it is the binary logarithm of the number of entries
//! per bucket.
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
    rcu_cell::{
        RcuBox,
        RcuCell, //
    },
    rcu_dereference::rcu_dereference_marked, //
};

/// A hash table.
///
/// # Invariants
///
/// Every link in `buckets` belongs to an entry to which the table owns a reference.
#[pin_data(PinnedDrop)]
pub(crate) struct RcuHash<T: HasHashLinks> {
    #[pin]
    buckets: Delayed<Resizable>,
    /// Whether an entry was ever added.
    used: Atomic<u32>,
    owner: RcuCell<T::Owner>,
    _owns: PhantomData<RcuArc<T>>,
}

impl<T: HasHashLinks> RcuHash<T> {
    /// Creates an empty table of the smallest size.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        kernel::try_pin_init!(Self {
            buckets <- Delayed::new(Resizable::new()),
            used: Atomic::new(0),
            owner: RcuCell::new(None),
            _owns: PhantomData,
        }? Error)
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Sets the owner, which entries find by [`Self::owner`]. The old one is dropped a grace period
    /// later.
    pub(crate) fn set_owner(&self, owner: Option<RcuBox<T::Owner>>) {
        drop(self.owner.replace(owner));
    }

    /// The number of buckets.
    pub(crate) fn size(&self) -> usize {
        self.buckets.current(&rcu::read_lock()).heads.len()
    }

    /// Returns the first entry that has a link with this hash and that `matches` accepts. `matches`
    /// gets the index of the link and the entry.
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
                // SAFETY: A link found in a chain is live until the read-side critical section
                // ends.
                let link = unsafe { &*(at as *const Link) };
                if link.hash.read_once() == hash {
                    // SAFETY: As above; and the link belongs to an entry of this table.
                    let (index, entry): (u32, RcuRef<'g, T>) = unsafe { entry_of(at) };
                    if matches(index, entry) {
                        return Some(entry);
                    }
                }
                at = rcu_dereference_marked(&link.next);
            }
            if at != bucket.end_mark() {
                // The link was moved to another chain meanwhile.
                continue;
            }
            table = table.successor()?;
        }
    }

    /// Adds an entry under one or two hashes and returns it.
    ///
    /// Returns `None` if the entry is or was in a table.
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
        // INVARIANT: The table now owns the reference.
        // SAFETY: The table's reference keeps the entry live until a grace period after its
        // removal, so for the whole read-side critical section.
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

    /// Removes an entry from this table, to which it was added; see [`Self::unlink`].
    fn remove(&self, guard: &rcu::Guard, entry: RcuRef<'_, T>) -> Option<RcuArc<T>> {
        let has_second = entry.links().leave()?;
        Some(self.take_out(guard, entry, has_second))
    }

    /// Removes the links of an entry that the caller has marked gone.
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
        // SAFETY: The table owned a reference, and only one caller marks the entry gone.
        unsafe { RcuArc::from_raw(NonNull::from(entry.0)) }
    }

    /// Removes one link from its chain. The link is in one of the tables, and moves only to a later
    /// one, under the lock of its old bucket.
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

    /// Sets the load factor: the table grows beyond `2^load` entries per bucket.
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
            // Other CPUs may still access the table: they may remove an entry that they found
            // earlier, an entry that was marked while they added it, or one of the last entries,
            // for example in its timer callback.
            rcu::synchronize_rcu();
        }
        // The removals may have queued a resize again. It is cancelled when the field is dropped.
    }
}
