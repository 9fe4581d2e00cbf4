// SPDX-License-Identifier: GPL-2.0

//! Locality-based least connections: the dest that the packet's destination address went to
//! before; for an address that is new, the one that wlc takes.
//!
//! It is for services that stand for many addresses, by fwmark, as before a farm of caches. An
//! address is given to another dest if its own is not in the list, is without weight, or has more
//! active conns than its weight while any dest has less than half of its own. Whether a dest is
//! overloaded matters for new addresses only.
//!
//! C version: [net/netfilter/ipvs/ip_vs_lblc.c].
//!
//! # Costs
//!
//! The [`Order`](super::order) is wlc's, and it counts the dests that are not half full: C walks
//! the list for either. For what is remembered see [`cache`](super::cache).

use super::{
    cache::{
        is_same,
        Cache,
        Content,
        SharedCache, //
    },
    key::Key,
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
    NoMemory,
    Share, //
};

/// The state of locality-based least connections.
pub(crate) struct Lblc {
    members: Members,
    cache: SharedCache<Home>,
}

/// The dest that an address goes to.
pub(super) struct Home(DestRef);

impl Share for Home {}

impl Content for Home {
    fn new<D: Member>(dest: &D, _now: usize) -> Result<Self, NoMemory> {
        Ok(Self(dest.keep()))
    }

    fn update<D: Member>(&self, dest: &D, _now: usize) -> bool {
        is_same(&self.0, dest)
    }
}

impl Scheduler for Lblc {
    const NAME: &'static str = "lblc";

    fn new<D: Candidate>(setup: &Setup, dests: &[D]) -> Result<Self, InitError> {
        Ok(Self {
            members: Members::new(Kind::Lblc, dests)?,
            cache: Cache::new(setup.lblc_expiration.clone())?,
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
        if let Some(index) = self.known(dests, flow, now, &guard) {
            return Some(index);
        }
        let index = self.members.first(dests)?;
        self.cache.update(flow, now, dests.get(index)?);
        Some(index)
    }

    #[inline]
    fn key(figures: &Figures) -> Key {
        Wlc::key(figures)
    }

    #[inline]
    fn part(figures: &Figures) -> Option<u64> {
        Some(is_not_half_full(figures).into())
    }
}

impl Lblc {
    /// The index of the dest that the address went to, if it is good enough.
    #[inline]
    fn known<D: Candidate>(
        &self,
        dests: &[D],
        flow: &Flow<'_>,
        now: usize,
        guard: &Guard,
    ) -> Option<usize> {
        let entry = self.cache.find(flow, now, guard)?;
        let place = entry.content.0.place();
        let index = self.members.index_of(dests, place, guard)?;
        let dest = dests.get(index)?;
        (dest.weight() > 0 && !is_too_busy(dest, &self.members)).then_some(index)
    }
}

/// Whether a dest has active conns for less than half its weight.
#[inline]
pub(super) fn is_not_half_full(figures: &Figures) -> bool {
    let twice = figures.active_conns().wrapping_mul(2);
    twice < figures.weight.max(0).unsigned_abs().into()
}

/// Whether a dest has more active conns than its weight, while another is not half full (C:
/// `is_overloaded()`).
#[inline]
pub(super) fn is_too_busy<D: Candidate>(dest: &D, members: &Members) -> bool {
    dest.active_conns() > dest.weight() && members.order.total() > 0
}

#[cfg(test)]
impl Lblc {
    pub(super) fn cache(&self) -> &Cache<Home> {
        &self.cache
    }
}
