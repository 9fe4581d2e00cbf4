// SPDX-License-Identifier: GPL-2.0

//! Schedulers that choose the first dest in an order of preference.
//!
//! C walks the list and chooses the dest that is strictly better than those before it. Here that
//! dest is the root of an [`Order`](super::order).

use super::{
    key::Key,
    members::Members, //
};
use crate::{
    sched::{
        Change,
        Figures,
        Flow,
        InitError,
        Kind,
        Member,
        Scheduler,
        Setup,
        State, //
    },
    shim::NoMemory,
};
use core::{
    marker::PhantomData,
    num::NonZeroU32, //
};

/// A scheduler that chooses the available dest with the least key.
pub(crate) trait Preference {
    /// The scheduler.
    const KIND: Kind;

    /// The name, as in `ipvsadm -s`.
    const NAME: &'static str;

    /// The sort key of an available dest with these figures and this weight.
    fn available_key(figures: &Figures, weight: NonZeroU32) -> Key;
}

impl<P: Preference> Scheduler for P {
    const NAME: &'static str = P::NAME;

    type State<D: Member> = Ordered<P>;

    #[inline]
    fn key(figures: &Figures) -> Key {
        match figures.available_weight() {
            Some(weight) => P::available_key(figures, weight),
            None => Key::NEVER,
        }
    }
}

/// The state of such a scheduler.
pub(crate) struct Ordered<P> {
    members: Members,
    _preference: PhantomData<P>,
}

impl<D: Member, P: Preference> State<D> for Ordered<P> {
    fn new(_setup: &Setup, dests: &[D]) -> Result<Self, InitError> {
        Ok(Self::of(Members::new(P::KIND, dests)?))
    }

    fn rebuild(&self, dests: &[D], change: Change) -> Result<Self, NoMemory> {
        Ok(Self::of(self.members.after(dests, change)?))
    }

    fn register(&self, dests: &[D]) {
        self.members.register(dests);
    }

    #[inline]
    fn schedule(&self, dests: &[D], _flow: &Flow<'_>) -> Option<usize> {
        self.members.first(dests)
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
