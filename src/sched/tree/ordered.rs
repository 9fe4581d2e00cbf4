// SPDX-License-Identifier: GPL-2.0

//! Schedulers that take the first dest in some order of preference.
//!
//! C walks the list and keeps the dest that is strictly better than those before it. Here an
//! [`Order`](super::order) knows that dest.

use super::{
    key::Key,
    members::Members, //
};
use crate::{
    sched::{
        Candidate,
        Change,
        Figures,
        Flow,
        InitError,
        Kind,
        Scheduler,
        Setup, //
    },
    shim::NoMemory,
};
use core::{
    marker::PhantomData,
    num::NonZeroU32, //
};

/// What a dest is taken for.
pub(crate) trait Preference {
    const KIND: Kind;

    /// The name, as in `ipvsadm -s`.
    const NAME: &'static str;

    /// How soon an available dest is taken, which has that weight.
    fn key(figures: &Figures, weight: NonZeroU32) -> Key;
}

/// The state of a scheduler which takes the first dest by the preference `P`.
pub(crate) struct Ordered<P> {
    members: Members,
    _preference: PhantomData<P>,
}

impl<P: Preference> Scheduler for Ordered<P> {
    const NAME: &'static str = P::NAME;

    fn new<D: Candidate>(_setup: &Setup, dests: &[D]) -> Result<Self, InitError> {
        Ok(Self::of(Members::new(P::KIND, dests)?))
    }

    fn rebuild<D: Candidate>(&self, dests: &[D], change: Change) -> Result<Self, NoMemory> {
        Ok(Self::of(self.members.after(dests, change)?))
    }

    fn settle<D: Candidate>(&self, dests: &[D]) {
        self.members.settle(dests);
    }

    #[inline]
    fn schedule<D: Candidate>(&self, dests: &[D], _flow: &Flow<'_>) -> Option<usize> {
        self.members.first(dests)
    }

    #[inline]
    fn key(figures: &Figures) -> Key {
        match figures.available_weight() {
            Some(weight) => P::key(figures, weight),
            None => Key::NEVER,
        }
    }
}

impl<P> Ordered<P> {
    fn of(members: Members) -> Self {
        Self {
            members,
            _preference: PhantomData,
        }
    }
}
