// SPDX-License-Identifier: GPL-2.0

//! The common part of lblc and lblcr: packets to an address are sent to the same dest as before.
//! For a new address, wlc chooses the dest.
//!
//! They are for fwmark services with many addresses, such as a transparent proxy for a cache
//! cluster. The dest of an address is too busy if it has more active conns than its weight while
//! another dest has active conns for less than half its weight. Then wlc chooses the dest.
//!
//! # Costs
//!
//! The dests are in wlc's order (see [`tree`](super::tree)), which also counts the dests that have
//! active conns for less than half their weight. C walks the list for both. For the cost of the
//! cache see [`cache`].

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

/// The dests of an address, with the operations that differ between the two schedulers.
pub(crate) trait Locality: Content {
    /// The scheduler.
    const KIND: Kind;

    /// The time after which an unused entry expires, a sysctl.
    fn expiration(setup: &Setup) -> &Jiffies;

    /// The index of the dest of the address, if it is still usable.
    fn known<D: Candidate>(&self, dests: &[D], members: &Members, guard: &Guard) -> Option<usize>;

    /// Removes a dest if at the time `now`, in jiffies, the set has not changed for more than
    /// `expiration` jiffies.
    #[inline]
    fn shrink(&self, _now: usize, _expiration: usize) {}
}

/// The state of a scheduler that keeps `L` for each address.
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
            // As in C, the dest that is removed may be the one that is chosen.
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
    /// Whether the dest is too busy (C: `is_overloaded()`).
    #[inline]
    fn is_too_busy<D: Candidate>(&self, dest: &D) -> bool {
        dest.active_conns() > dest.weight() && self.members.order.total() > 0
    }
}

/// See [`Scheduler::key`]: the key of wlc.
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
    /// The cache, for tests.
    pub(crate) fn cache(&self) -> &Cache<L> {
        &self.cache
    }
}
