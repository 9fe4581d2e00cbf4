// SPDX-License-Identifier: GPL-2.0

//! Locality-based least connections: the dest that packets to this destination address were sent to
//! before. For a new address, the choice of wlc.
//!
//! An address moves to another dest if its dest is not in the list, has weight 0, or is too busy;
//! see [`locality`](super::locality). The overloaded flag is checked for new addresses only.
//!
//! C version: [net/netfilter/ipvs/ip_vs_lblc.c].

use super::{
    locality::{
        self,
        is_same,
        Content,
        Local,
        Locality, //
    },
    tree::{
        Key,
        Members, //
    },
    Candidate,
    Figures,
    Kind,
    Member,
    Scheduler,
    Setup, //
};
use crate::shim::{
    Guard,
    Jiffies,
    NoMemory,
    Share, //
};

/// Locality-based least connections.
pub(crate) struct Lblc;

impl Scheduler for Lblc {
    const NAME: &'static str = "lblc";

    type State<D: Member> = Local<Home<D::Kept>>;

    #[inline]
    fn key(figures: &Figures) -> Key {
        locality::key(figures)
    }

    #[inline]
    fn part(figures: &Figures) -> Option<u64> {
        locality::part(figures)
    }
}

/// The dest of an address.
pub(crate) struct Home<K>(K);

impl<K: Share> Share for Home<K> {}

impl<K: Candidate + Share> Content for Home<K> {
    type Kept = K;

    fn new<D: Member<Kept = K>>(dest: &D, _now: usize) -> Result<Self, NoMemory> {
        Ok(Self(dest.keep()))
    }

    fn may_take<D: Member<Kept = K>>(&self, dest: &D) -> bool {
        is_same(&self.0, dest)
    }
}

impl<K: Candidate + Share> Locality for Home<K> {
    const KIND: Kind = Kind::Lblc;

    fn expiration(setup: &Setup) -> &Jiffies {
        &setup.lblc_expiration
    }

    #[inline]
    fn known<D: Candidate>(&self, dests: &[D], members: &Members, guard: &Guard) -> Option<usize> {
        let index = members.index_of(dests, self.0.place(), guard)?;
        (dests.get(index)?.weight() > 0).then_some(index)
    }
}
