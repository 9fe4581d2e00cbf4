// SPDX-License-Identifier: GPL-2.0

//! The trash: removed dests, kept for some time so that a dest that is added again is the same
//! object: it keeps its conns, the counts of these, and its statistics.
//!
//! C version: `ip_vs_trash_get_dest()`, `ip_vs_dest_trash_expire()`
//! [net/netfilter/ipvs/ip_vs_ctl.c].
//!
//! # Differences from C
//!
//! - A dest is not kept if there is no memory for its entry in the trash.
//! - A dest of an IPv6 service is not reused for an IPv4 service whose address is a prefix of the
//!   IPv6 service's.

use crate::{
    index::Index,
    oot::{
        hash::HashKey,
        mm::vec,
        sync::{
            HeadList,
            Once,
            RcuArc, //
        },
        time::{
            jiffies,
            HZ, //
        },
        workqueue::{
            Delayed,
            Work, //
        },
    },
    spec::{
        DestId,
        ServiceId, //
    },
    stats::ServiceStats,
};
use core::num::NonZeroUsize;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::Atomic,
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc,
        Mutex, //
    },
};

use super::Dest;

/// The time that a dest without conns is kept, in jiffies (C: `IP_VS_DEST_TRASH_PERIOD`).
const PERIOD: usize = 120 * HZ;

/// A removed dest.
pub(crate) struct Removed {
    pub(crate) dest: RcuArc<Dest>,
    /// The statistics of its service; `None` if the service was removed with it.
    pub(crate) service_stats: Option<Arc<ServiceStats>>,
    /// Jiffies when it was first found idle; `None` while in use.
    idle_start: Option<NonZeroUsize>,
    /// Higher for a dest that was removed later.
    sequence: u64,
}

impl Removed {
    /// Whether it has been idle for [`PERIOD`] at the time `now`, in jiffies.
    fn is_expired(&mut self, now: usize) -> bool {
        // A scheduler's cache may hold a reference.
        if self.dest.is_in_use() || self.dest.is_shared() {
            return false;
        }
        match self.idle_start {
            None => {
                self.idle_start = NonZeroUsize::new(now.max(1));
                false
            }
            Some(start) => now.wrapping_sub(start.get()) >= PERIOD,
        }
    }

    fn hash(&self, key: &HashKey) -> u32 {
        hash_of(key, &self.dest.vip, &self.dest.id())
    }
}

/// Removed dests, unordered; indexed by identifier lazily, on the first lookup, since many may be
/// removed at once and never added again.
struct TrashInner {
    /// The dests of each removed service with their sequence, until they are moved to `removed`.
    batches: KVVec<(u64, HeadList<Dest>)>,
    removed: KVVec<Removed>,
    /// The sequence of the next removal.
    sequence: u64,
    /// A secret key: the users of a network namespace choose the identifiers of dests.
    key: HashKey,
    index: Index,
    /// The number of entries of `removed`, counted from the first, that are in the index.
    indexed: usize,
}

impl TrashInner {
    fn new() -> Self {
        Self {
            batches: KVVec::new(),
            removed: KVVec::new(),
            sequence: 0,
            key: HashKey::random(),
            index: Index::new(),
            indexed: 0,
        }
    }

    fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.batches.is_empty()
    }

    /// Adds a dest. If there is no memory for its entry, the dest is not kept.
    fn push(
        &mut self,
        dest: &RcuArc<Dest>,
        service_stats: Option<Arc<ServiceStats>>,
        sequence: u64,
    ) {
        let removed = Removed {
            dest: dest.clone(),
            service_stats,
            idle_start: None,
            sequence,
        };
        let _ = vec::push(&mut self.removed, removed, GFP_KERNEL);
    }

    fn next_sequence(&mut self) -> u64 {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        sequence
    }

    /// Moves the dests of `batches` to `removed`.
    fn spread(&mut self) {
        while let Some((sequence, batch)) = self.batches.pop() {
            for dest in batch.as_slice() {
                self.push(dest, None, sequence);
            }
        }
    }

    /// Indexes all entries that are not in the index yet, as far as there is memory.
    fn update(&mut self) {
        self.spread();
        while let Some(removed) = self.removed.get(self.indexed) {
            if self.index.reserve().is_err() {
                return;
            }
            self.index
                .insert(removed.hash(&self.key), self.indexed as u64);
            self.indexed = self.indexed.wrapping_add(1);
        }
    }

    /// Removes and returns the dest `id` that may return to the service `vip`. Of several, takes
    /// the one that was removed last.
    fn take(&mut self, vip: &ServiceId, id: &DestId) -> Option<Removed> {
        self.update();
        let hash = hash_of(&self.key, vip, id);
        let mut newest: Option<(u64, usize)> = None;
        let mut consider = |number: usize| {
            let Some(removed) = self.removed.get(number) else {
                return;
            };
            if removed.dest.is(id)
                && removed.dest.vip.may_return_to(vip)
                && newest.is_none_or(|(sequence, _)| sequence < removed.sequence)
            {
                newest = Some((removed.sequence, number));
            }
        };
        // All entries under that hash are considered.
        self.index.find(hash, |number| {
            consider(number as usize);
            false
        });
        (self.indexed..self.removed.len()).for_each(&mut consider);
        let (_, number) = newest?;
        self.leave(number, hash);
        let taken = vec::swap_remove(&mut self.removed, number);
        self.enter(number);
        taken
    }

    /// Removes the entry at `number`, whose hash is `hash`, and the last entry from the index, in
    /// preparation for a `swap_remove()`.
    fn leave(&mut self, number: usize, hash: u32) {
        let last = self.removed.len().wrapping_sub(1);
        if number < self.indexed {
            self.index.remove(hash, number as u64);
        }
        if last < self.indexed {
            self.indexed = last;
            if let Some(removed) = self.removed.get(last).filter(|_| last != number) {
                self.index.remove(removed.hash(&self.key), last as u64);
            }
        }
    }

    /// Re-indexes the entry that `swap_remove()` moved to `number`. Cannot fail: `leave` has freed
    /// a slot of the index.
    fn enter(&mut self, number: usize) {
        if let Some(removed) = self.removed.get(number).filter(|_| number < self.indexed) {
            self.index.insert(removed.hash(&self.key), number as u64);
        }
    }

    /// Drops expired dests. If there are any, drops the index as well; the next lookup rebuilds it.
    fn expire(&mut self, now: usize) {
        self.spread();
        let mut number = 0;
        while let Some(removed) = self.removed.get_mut(number) {
            if removed.is_expired(now) {
                self.index = Index::new();
                self.indexed = 0;
                drop(vec::swap_remove(&mut self.removed, number));
            } else {
                number = number.wrapping_add(1);
            }
        }
        if self.removed.is_empty() {
            *self = Self::new();
        }
    }
}

/// The work item that expires dests (C: `ip_vs_dest_trash_expire()`).
#[pin_data]
struct Expiry {
    #[pin]
    inner: Mutex<TrashInner>,
    /// 0 only if the trash is empty: then a lookup needs no lock. Written under `inner`.
    used: Atomic<u32>,
}

impl Work for Expiry {
    fn run(&self) -> Option<usize> {
        let mut inner = self.inner.lock();
        inner.expire(jiffies());
        if inner.is_empty() {
            self.used.write_once(0);
            return None;
        }
        Some(PERIOD / 2)
    }
}

/// The removed dests of a network namespace.
#[pin_data]
pub(crate) struct Trash {
    #[pin]
    expiry: Delayed<Expiry>,
}

impl Trash {
    /// An empty trash.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            expiry <- Delayed::new(pin_init::pin_init!(Expiry {
                inner <- new_mutex!(TrashInner::new()),
                used: Atomic::new(0),
            })),
        })
    }

    /// Adds a dest that was removed from a service with the statistics `service_stats`
    /// (C: `ip_vs_trash_put_dest()`).
    pub(crate) fn put(&self, dest: &RcuArc<Dest>, service_stats: &Arc<ServiceStats>) {
        let mut inner = self.lock();
        let sequence = inner.next_sequence();
        inner.push(dest, Some(service_stats.clone()), sequence);
    }

    /// Adds all dests of a removed service. If there is no memory for the batch, they are not kept.
    pub(crate) fn put_all(&self, dests: HeadList<Dest>) {
        if !dests.as_slice().is_empty() {
            let mut inner = self.lock();
            let batch = (inner.next_sequence(), dests);
            let _ = vec::push(&mut inner.batches, batch, GFP_KERNEL);
        }
    }

    /// Locks the trash for an addition. Queues the work item if the trash is empty.
    fn lock(&self) -> Guard<'_, TrashInner, MutexBackend> {
        let inner = self.expiry.inner.lock();
        if inner.is_empty() {
            self.expiry.used.write_once(1);
            self.expiry.reschedule(PERIOD / 2);
        }
        inner
    }

    /// Removes and returns the dest `id` that may return to the service `vip`
    /// (C: `ip_vs_trash_get_dest()`).
    pub(crate) fn take(&self, vip: &ServiceId, id: &DestId) -> Option<Removed> {
        // Additions cannot run concurrently: they are made under the control plane's mutex, too.
        if self.expiry.used.read_once() == 0 {
            return None;
        }
        self.expiry.inner.lock().take(vip, id)
    }
}

/// A hash that is the same for all dests `id` that may return to the service `vip`.
fn hash_of(key: &HashKey, vip: &ServiceId, id: &DestId) -> u32 {
    let ([a, b, c], [d, e, f]) = (vip.words(), id.words());
    key.hash_words(&[a, b, c, d, e, f])
}
