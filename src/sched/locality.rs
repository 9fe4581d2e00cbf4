// SPDX-License-Identifier: GPL-2.0

//! Schedulers that remember where packets to an address went, and take the dest that wlc takes for
//! an address that is new.
//!
//! They are for services that stand for many addresses, by fwmark, as before a farm of caches. A
//! remembered dest is too busy if it has more active conns than its weight while any dest has less
//! than half of its own: then again the one is taken that wlc takes, and remembered.
//!
//! # Costs
//!
//! The [`Order`](super::tree) is wlc's, and it counts the dests that are not half full: C walks
//! the list for either. For what is remembered see [`cache`](super::cache).

pub(crate) mod cache;

use super::{
    tree::{
        Key,
        Members, //
    },
    wlc::Wlc,
    Candidate,
    Change,
    Figures,
    Flow,
    InitError,
    Kind,
    Member,
    Scheduler,
    Setup,
    State, //
};
use crate::shim::{
    jiffies,
    read_lock,
    Guard,
    Jiffies,
    NoMemory, //
};

use cache::{
    Cache,
    SharedCache, //
};

pub(super) use cache::{
    is_after,
    is_same,
    Content, //
};

/// What is remembered of an address.
pub(crate) trait Locality: Content {
    const KIND: Kind;

    /// How long it is remembered unused.
    fn expiration(setup: &Setup) -> &Jiffies;

    /// The index of the dest that the address goes to, of those that may be taken.
    fn known<D: Candidate>(&self, dests: &[D], members: &Members, guard: &Guard) -> Option<usize>;

    /// Has dests go that have been remembered for too long at the time `now`.
    #[inline]
    fn shrink(&self, _now: usize, _expiration: usize) {}
}

/// The state of a scheduler which remembers `L`.
pub(crate) struct Local<L: Locality> {
    members: Members,
    cache: SharedCache<L>,
}

impl<D: Member, L: Locality<Kept = D::Kept>> State<D> for Local<L> {
    fn new(setup: &Setup, dests: &[D]) -> Result<Self, InitError> {
        Ok(Self {
            members: Members::new(L::KIND, dests)?,
            cache: Cache::new(L::expiration(setup).clone())?,
        })
    }

    fn rebuild(&self, dests: &[D], change: Change) -> Result<Self, NoMemory> {
        Ok(Self {
            members: self.members.after(dests, change)?,
            cache: self.cache.clone(),
        })
    }

    fn register(&self, dests: &[D]) {
        self.members.register(dests);
    }

    fn schedule(&self, dests: &[D], flow: &Flow<'_>) -> Option<usize> {
        let (guard, now) = (read_lock(), jiffies());
        let entry = self.cache.find(flow, now, &guard);
        if let Some(entry) = &entry {
            let known = entry.content.known(dests, &self.members, &guard);
            // As in C, the dest that goes may be the one that is taken.
            entry.content.shrink(now, self.cache.expiration());
            if let Some(index) = known {
                if !self.is_too_busy(dests.get(index)?) {
                    return Some(index);
                }
            }
        }
        let index = self.members.first(dests)?;
        let dest = dests.get(index)?;
        if !entry.is_some_and(|entry| entry.content.update(dest, now)) {
            self.cache.update(flow, now, dest, &guard);
        }
        Some(index)
    }
}

impl<L: Locality> Local<L> {
    /// C: `is_overloaded()`.
    #[inline]
    fn is_too_busy<D: Candidate>(&self, dest: &D) -> bool {
        dest.active_conns() > dest.weight() && self.members.order.total() > 0
    }
}

/// See [`Scheduler::key`]: wlc's.
#[inline]
pub(super) fn key(figures: &Figures) -> Key {
    Wlc::key(figures)
}

/// See [`Scheduler::part`]: 1 if the dest has active conns for less than half its weight.
#[inline]
pub(super) fn part(figures: &Figures) -> Option<u64> {
    let twice = figures.active_conns().wrapping_mul(2);
    Some(u64::from(
        twice < figures.weight.max(0).unsigned_abs().into(),
    ))
}

#[cfg(test)]
impl<L: Locality> Local<L> {
    pub(crate) fn cache(&self) -> &Cache<L> {
        &self.cache
    }
}
