// SPDX-License-Identifier: GPL-2.0

//! Locality-based least connections with replication: the choice of wlc among the dests that
//! packets to this destination address were sent to before. If that dest is too busy, the choice of
//! wlc among all dests, which is added to the set of the address.
//!
//! If a set has not changed for the time of the sysctl lblcr_expiration, the dest with the greatest
//! conn overhead / weight is removed from it.
//!
//! C version: [net/netfilter/ipvs/ip_vs_lblcr.c].
//!
//! # Costs
//!
//! As [`locality`](super::locality), plus a walk of the address's set, as in C.

use super::{
    locality::{
        self,
        is_after,
        is_same,
        Content,
        Local,
        Locality, //
    },
    tree::{
        Key,
        Members, //
    },
    wlc::Wlc,
    Candidate,
    Figures,
    Kind,
    Member,
    Scheduler,
    Setup, //
};
use crate::shim::{
    Guard,
    Item,
    Jiffies,
    List,
    NoMemory,
    Share,
    Word, //
};

/// Locality-based least connections with replication.
pub(crate) struct Lblcr;

impl Scheduler for Lblcr {
    const NAME: &'static str = "lblcr";

    type State<D: Member> = Local<Set<D::Kept>>;

    #[inline]
    fn key(figures: &Figures) -> Key {
        locality::key(figures)
    }

    #[inline]
    fn part(figures: &Figures) -> Option<u64> {
        locality::part(figures)
    }
}

/// The dests of an address (C: `struct ip_vs_dest_set`).
pub(crate) struct Set<K: Share> {
    /// Newest first.
    dests: List<K>,
    len: Word,
    /// The time of the last change, in jiffies.
    changed: Word,
}

impl<K: Share> Share for Set<K> {}

impl<K: Candidate + Share> Content for Set<K> {
    type Kept = K;

    fn new<D: Member<Kept = K>>(dest: &D, now: usize) -> Result<Self, NoMemory> {
        let set = Self {
            dests: List::new(),
            len: Word::new(1),
            changed: Word::new(now as u64),
        };
        let item = Item::new(dest.keep())?;
        set.dests.lock().push(item);
        Ok(set)
    }

    fn may_take<D: Member<Kept = K>>(&self, _dest: &D) -> bool {
        true
    }

    /// C: `ip_vs_dest_set_insert()`.
    fn update<D: Member<Kept = K>>(&self, dest: &D, now: usize) -> bool {
        // If there is no memory, the dest is chosen, but not added to the set.
        let item = Item::new(dest.keep());
        let mut dests = self.dests.lock();
        if !dests.iter().any(|kept| is_same(kept, dest)) {
            if let Ok(item) = item {
                dests.push(item);
                self.len.set(self.len.get().wrapping_add(1));
                self.changed.set(now as u64);
            }
        }
        true
    }
}

impl<K: Candidate + Share> Locality for Set<K> {
    const KIND: Kind = Kind::Lblcr;

    fn expiration(setup: &Setup) -> &Jiffies {
        &setup.lblcr_expiration
    }

    /// The dest with the least conn overhead / weight (C: `ip_vs_dest_set_min()`).
    fn known<D: Candidate>(&self, dests: &[D], members: &Members, guard: &Guard) -> Option<usize> {
        let mut least = (None, Key::NEVER);
        for kept in self.dests.iter(guard) {
            let key = Wlc::key(&kept.figures());
            if key < least.1 {
                let index = members.index_of(dests, kept.place(), guard);
                if index.is_some() {
                    least = (index, key);
                }
            }
        }
        least.0
    }

    #[inline]
    fn shrink(&self, now: usize, expiration: usize) {
        // CAST: The word was converted from a `usize`.
        let end = (self.changed.get() as usize).wrapping_add(expiration);
        if self.len.get() > 1 && is_after(now, end) {
            self.remove_most_loaded(now);
        }
    }
}

impl<K: Candidate + Share> Set<K> {
    /// Removes the dest with the greatest conn overhead / weight from the set, whether or not it is
    /// overloaded or removed from the service (C: `ip_vs_dest_set_max()`).
    #[cold]
    fn remove_most_loaded(&self, now: usize) {
        let mut dests = self.dests.lock();
        if self.len.get() <= 1 {
            return;
        }
        let mut most: Option<(usize, Key)> = None;
        for (number, kept) in (0..usize::MAX).zip(dests.iter()) {
            let key = Wlc::key(&Figures {
                is_overloaded: false,
                ..kept.figures()
            });
            if key < Key::NEVER && most.is_none_or(|(_, most)| most < key) {
                most = Some((number, key));
            }
        }
        let Some((most, _)) = most else {
            return;
        };
        let mut numbers = 0..usize::MAX;
        dests.remove(|_| numbers.next() == Some(most));
        self.len.set(self.len.get().wrapping_sub(1));
        self.changed.set(now as u64);
    }
}
