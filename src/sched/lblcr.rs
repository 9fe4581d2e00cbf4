// SPDX-License-Identifier: GPL-2.0

//! Locality-based least connections with replication: of the dests that the packet's destination
//! address went to before, the one that wlc takes; if that is too busy, the one that wlc takes of
//! all, which joins them.
//!
//! A dest is too busy if it has more active conns than its weight while any dest has less than half
//! of its own. A set that has not changed for the time of the sysctl lblcr_expiration loses the
//! dest with the most conns for its weight.
//!
//! C version: [net/netfilter/ipvs/ip_vs_lblcr.c].
//!
//! # Costs
//!
//! As [`lblc`](super::lblc), and a walk of the address's set, as in C.

use super::{
    cache::{
        is_after,
        is_same,
        Cache,
        Content,
        SharedCache, //
    },
    key::Key,
    lblc,
    members::Members,
    wlc::Wlc,
    Candidate,
    Change,
    Figures,
    Flow,
    InitError,
    Kind,
    Member,
    Scheduler,
    Setup, //
};
use crate::shim::{
    jiffies,
    read_lock,
    DestRef,
    Guard,
    Item,
    List,
    NoMemory,
    Share,
    Word, //
};

/// The state of locality-based least connections with replication.
pub(crate) struct Lblcr {
    members: Members,
    cache: SharedCache<Set>,
}

/// The dests that an address goes to (C: `struct ip_vs_dest_set`).
pub(super) struct Set {
    /// The last that joined first.
    dests: List<DestRef>,
    len: Word,
    /// When it was last changed, in jiffies.
    changed: Word,
}

impl Share for Set {}

impl Content for Set {
    fn new<D: Member>(dest: &D, now: usize) -> Result<Self, NoMemory> {
        let set = Self {
            dests: List::new(),
            len: Word::new(1),
            changed: Word::new(now as u64),
        };
        set.dests.lock().push(Item::new(dest.keep())?);
        Ok(set)
    }

    /// C: `ip_vs_dest_set_insert()`.
    fn update<D: Member>(&self, dest: &D, now: usize) -> bool {
        // Without memory the choice stands, and is forgotten.
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

impl Set {
    /// The index of the dest with the least conns for its weight, of those that may be taken (C:
    /// `ip_vs_dest_set_min()`).
    fn least_loaded<D: Candidate>(
        &self,
        dests: &[D],
        members: &Members,
        guard: &Guard,
    ) -> Option<usize> {
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

    /// Whether a dest is to go.
    fn may_shrink(&self, now: usize, expiration: usize) -> bool {
        // CAST: It was made of a number of jiffies.
        let end = (self.changed.get() as usize).wrapping_add(expiration);
        self.len.get() > 1 && is_after(now, end)
    }

    /// Has the dest go with the most conns for its weight, overloaded or not, removed from the
    /// service or not (C: `ip_vs_dest_set_max()`).
    #[cold]
    fn shrink(&self, now: usize) {
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

impl Scheduler for Lblcr {
    const NAME: &'static str = "lblcr";

    fn new<D: Candidate>(setup: &Setup, dests: &[D]) -> Result<Self, InitError> {
        Ok(Self {
            members: Members::new(Kind::Lblcr, dests)?,
            cache: Cache::new(setup.lblcr_expiration.clone())?,
        })
    }

    fn rebuild<D: Candidate>(&self, dests: &[D], change: Change) -> Result<Self, NoMemory> {
        Ok(Self {
            members: self.members.after(dests, change)?,
            cache: self.cache.clone(),
        })
    }

    fn settle<D: Candidate>(&self, dests: &[D]) {
        self.members.settle(dests);
    }

    fn schedule<D: Member>(&self, dests: &[D], flow: &Flow<'_>) -> Option<usize> {
        let (guard, now) = (read_lock(), jiffies());
        let Some(entry) = self.cache.find(flow, now, &guard) else {
            let index = self.members.first(dests)?;
            self.cache.update(flow, now, dests.get(index)?);
            return Some(index);
        };
        let set = &entry.content;
        let known = set.least_loaded(dests, &self.members, &guard);
        if set.may_shrink(now, self.cache.expiration()) {
            set.shrink(now);
        }
        // As in C, the dest that goes may be the one that is taken.
        if let Some(index) = known {
            if !lblc::is_too_busy(dests.get(index)?, &self.members) {
                return Some(index);
            }
        }
        let index = self.members.first(dests)?;
        set.update(dests.get(index)?, now);
        Some(index)
    }

    #[inline]
    fn key(figures: &Figures) -> Key {
        Wlc::key(figures)
    }

    #[inline]
    fn part(figures: &Figures) -> Option<u64> {
        Some(lblc::is_not_half_full(figures).into())
    }
}

#[cfg(test)]
impl Lblcr {
    pub(super) fn cache(&self) -> &Cache<Set> {
        &self.cache
    }
}
