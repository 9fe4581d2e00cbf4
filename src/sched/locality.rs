// SPDX-License-Identifier: GPL-2.0

//! What lblc and lblcr share: an address goes to the dest that it went to before, a new address to
//! the dest that wlc takes.
//!
//! They are for services of many addresses, by fwmark, such as a transparent proxy for a farm of
//! caches. The dest of an address is too busy if it has more active conns than its weight while
//! some dest has less than half of its own. Then the address goes to the dest that wlc takes.
//!
//! # Costs
//!
//! The dests are in wlc's order (see [`tree`](super::tree)), which also counts those that are less
//! than half full. C walks the list for either. For the cost of the cache see [`cache`].

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

/// The dests of an address, and the scheduler that uses them so.
pub(crate) trait Locality: Content {
    const KIND: Kind;

    /// The time after which an unused entry expires.
    fn expiration(setup: &Setup) -> &Jiffies;

    /// The index of the dest that the address goes to, if it is still usable.
    fn known<D: Candidate>(&self, dests: &[D], members: &Members, guard: &Guard) -> Option<usize>;

    /// Removes a dest if the set has not changed for too long at the time `now`.
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
            // As in C, the dest that is removed may be the one that is taken.
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
