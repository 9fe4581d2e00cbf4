// SPDX-License-Identifier: GPL-2.0

//! Locality-based least connections: the dest that the packet's destination address went to
//! before; for an address that is new, the one that wlc takes.
//!
//! An address is given to another dest if its own is not in the list, is without weight, or is too
//! busy; see [`locality`](super::locality). Whether a dest is overloaded matters for new addresses
//! only.
//!
//! C version: [net/netfilter/ipvs/ip_vs_lblc.c].

use super::{
    cache::{
        is_same,
        Content, //
    },
    locality::{
        Local,
        Locality, //
    },
    members::Members,
    Candidate,
    Kind,
    Member,
    Setup, //
};
use crate::shim::{
    DestRef,
    Guard,
    Jiffies,
    NoMemory,
    Share, //
};

pub(crate) type Lblc = Local<Home>;

/// The dest that an address goes to.
pub(crate) struct Home(DestRef);

impl Share for Home {}

impl Content for Home {
    fn new<D: Member>(dest: &D, _now: usize) -> Result<Self, NoMemory> {
        Ok(Self(dest.keep()))
    }

    fn may_take<D: Member>(&self, dest: &D) -> bool {
        is_same(&self.0, dest)
    }
}

impl Locality for Home {
    const KIND: Kind = Kind::Lblc;
    const NAME: &'static str = "lblc";

    fn expiration(setup: &Setup) -> &Jiffies {
        &setup.lblc_expiration
    }

    #[inline]
    fn known<D: Candidate>(&self, dests: &[D], members: &Members, guard: &Guard) -> Option<usize> {
        let index = members.index_of(dests, self.0.place(), guard)?;
        (dests.get(index)?.weight() > 0).then_some(index)
    }
}
