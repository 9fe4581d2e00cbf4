// SPDX-License-Identifier: GPL-2.0

//! Where dests go that are removed: a dest that comes back soon is the one it was.
//!
//! Its conns go on, its figures count for scheduling, and what it has counted is kept.
//!
//! C version: `ip_vs_trash_get_dest()`, `ip_vs_dest_trash_expire()`
//! [net/netfilter/ipvs/ip_vs_ctl.c].
//!
//! # Differences from C
//!
//! - When there is no memory for its place in the trash, a dest is forgotten at once.
//! - A dest of an IPv6 service does not come back to an IPv4 service whose address is only the start
//!   of that service's.

use crate::{
    index::Index,
    oot::{
        hash::HashKey,
        mm::vec,
        sync::{
            HeadList,
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
    stats::Tally,
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc,
        Mutex, //
    },
};

use super::Dest;

/// How long a dest without conns is kept, in jiffies.
const PERIOD: usize = 120 * HZ;

/// A removed dest.
pub(crate) struct Removed {
    pub(crate) dest: RcuArc<Dest>,
    /// What it counted for, if that service was there still when it was removed.
    pub(crate) tally: Option<Arc<Tally>>,
    /// When it was first seen without conns, never 0, which stands for not yet.
    idle_start: usize,
    /// The later it was removed, the higher.
    sequence: u64,
}

impl Removed {
    /// Whether it is to be forgotten at the time `now`.
    fn is_over(&mut self, now: usize) -> bool {
        // A scheduler may remember the dest.
        if self.dest.is_in_use() || self.dest.is_shared() {
            return false;
        }
        match self.idle_start {
            0 => {
                self.idle_start = now.max(1);
                false
            }
            start => now.wrapping_sub(start) >= PERIOD,
        }
    }

    fn hash(&self, key: &HashKey) -> u32 {
        hash_of(key, &self.dest.vip, &self.dest.id())
    }
}

/// All that are removed, in any order. Which one is called what is found out when one is looked for:
/// many may go at once, and never come back.
struct Heap {
    /// The dests of services that are gone, and not yet among the others; with their sequence.
    batches: KVVec<(u64, HeadList<Dest>)>,
    removed: KVVec<Removed>,
    /// The sequence of what is removed next.
    sequence: u64,
    /// Users of a namespace choose their dests' names: no hash of theirs shall be foretold.
    key: HashKey,
    index: Index,
    /// The first so many are in the index.
    indexed: usize,
}

impl Heap {
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

    /// Without memory for its place a dest is forgotten at once.
    fn push(&mut self, dest: &RcuArc<Dest>, tally: Option<Arc<Tally>>, sequence: u64) {
        let removed = Removed {
            dest: dest.clone(),
            tally,
            idle_start: 0,
            sequence,
        };
        let _ = vec::push(&mut self.removed, removed, GFP_KERNEL);
    }

    fn next_sequence(&mut self) -> u64 {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        sequence
    }

    /// Puts the dests of batches among the others.
    fn spread(&mut self) {
        while let Some((sequence, batch)) = self.batches.pop() {
            for dest in batch.as_slice() {
                self.push(dest, None, sequence);
            }
        }
    }

    /// Puts into the index all that are not, as long as there is memory.
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

    /// Takes out the dest called `id` that may come back to a service called `vip`; of several the
    /// one that was removed last.
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
        // Each under that hash is looked at, and none is the end of it.
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

    /// The one with that number and hash, and the last, are about to leave their places.
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

    /// Another has got that number, which there is room for, as the one before it has left.
    fn enter(&mut self, number: usize) {
        if let Some(removed) = self.removed.get(number).filter(|_| number < self.indexed) {
            self.index.insert(removed.hash(&self.key), number as u64);
        }
    }

    /// Forgets those whose time is over, and with the first of them the index: it is made anew when
    /// it is asked.
    fn expire(&mut self, now: usize) {
        self.spread();
        let mut number = 0;
        while let Some(removed) = self.removed.get_mut(number) {
            if removed.is_over(now) {
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

#[pin_data]
struct Expiry {
    #[pin]
    heap: Mutex<Heap>,
}

impl Work for Expiry {
    fn run(&self) -> Option<usize> {
        let mut heap = self.heap.lock();
        heap.expire(jiffies());
        (!heap.is_empty()).then_some(PERIOD / 2)
    }
}

/// The removed dests of a namespace.
#[pin_data]
pub(crate) struct Trash {
    #[pin]
    expiry: Delayed<Expiry>,
}

impl Trash {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            expiry <- Delayed::new(pin_init::pin_init!(Expiry {
                heap <- new_mutex!(Heap::new()),
            })),
        })
    }

    /// Takes in a dest of the service with that tally, which stays.
    pub(crate) fn put(&self, dest: &RcuArc<Dest>, tally: &Arc<Tally>) {
        let mut heap = self.lock();
        let sequence = heap.next_sequence();
        heap.push(dest, Some(tally.clone()), sequence);
    }

    /// Takes in all dests of a service, which is gone.
    pub(crate) fn put_all(&self, dests: HeadList<Dest>) {
        if !dests.as_slice().is_empty() {
            let mut heap = self.lock();
            let batch = (heap.next_sequence(), dests);
            let _ = vec::push(&mut heap.batches, batch, GFP_KERNEL);
        }
    }

    /// The heap, into which something is about to come.
    fn lock(&self) -> Guard<'_, Heap, MutexBackend> {
        let heap = self.expiry.heap.lock();
        if heap.is_empty() {
            self.expiry.reschedule(PERIOD / 2);
        }
        heap
    }

    /// Gives back the dest called `id` of a service called `vip`.
    pub(crate) fn take(&self, vip: &ServiceId, id: &DestId) -> Option<Removed> {
        let mut heap = self.expiry.heap.lock();
        if heap.is_empty() {
            return None;
        }
        heap.take(vip, id)
    }
}

/// A hash that is the same for all dests called `id` that may come back to `vip`.
fn hash_of(key: &HashKey, vip: &ServiceId, id: &DestId) -> u32 {
    let ([a, b, c], [d, e, f]) = (vip.words(), id.words());
    key.hash_words(&[a, b, c, d, e, f])
}
