// SPDX-License-Identifier: GPL-2.0

//! Schedulers that take the first dest in some order of preference.
//!
//! C walks the list and keeps the dest that is strictly better than those before it. Here the
//! [`Order`] knows that dest; one is shared by all pools that a service publishes while it keeps
//! its scheduler, until its slots are used up or too many of them empty.

use super::{
    key::Key,
    order::Order,
    slots::Slots,
    Candidate,
    Change,
    Figures,
    Flow,
    InitError,
    Kind,
    Scheduler,
    Setup, //
};
use crate::shim::{
    share,
    NoMemory,
    Shared, //
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
    order: Shared<Order>,
    slots: Slots,
    _preference: PhantomData<P>,
}

impl<P: Preference> Scheduler for Ordered<P> {
    const NAME: &'static str = P::NAME;

    fn new<D: Candidate>(_setup: &Setup, dests: &[D]) -> Result<Self, InitError> {
        Ok(Self::anew(dests)?)
    }

    fn rebuild<D: Candidate>(&self, dests: &[D], change: Change) -> Result<Self, NoMemory> {
        let slots = match change {
            Change::Added => self.slots.with(),
            Change::Removed(index) => self.slots.without(index),
            Change::Edited => self.slots.same(),
        }?;
        if slots.len() > self.order.room() || slots.is_sparse() {
            return Self::anew(dests);
        }
        Self::of(self.order.clone(), Ok(slots))
    }

    fn settle<D: Candidate>(&self, dests: &[D]) {
        for (index, dest) in (0..dests.len()).zip(dests) {
            // A dest that is in the order already has joined it with all that are older.
            if dest.place().is_in(&self.order) {
                return;
            }
            if let Some(slot) = self.slots.slot(index) {
                dest.place().join(dest, &self.order, slot);
            }
        }
    }

    #[inline]
    fn schedule<D: Candidate>(&self, dests: &[D], _flow: &Flow<'_>) -> Option<usize> {
        self.order
            .first()
            .and_then(|slot| self.slots.index(slot))
            .or_else(|| search::<P, D>(dests))
    }

    #[inline]
    fn key(figures: &Figures) -> Key {
        match figures.available_weight() {
            Some(weight) => P::key(figures, weight),
            None => Key::NEVER,
        }
    }
}

impl<P: Preference> Ordered<P> {
    fn anew<D: Candidate>(dests: &[D]) -> Result<Self, NoMemory> {
        Self::of(share(Order::new(P::KIND, dests)?)?, Slots::new(dests.len()))
    }

    fn of(order: Shared<Order>, slots: Result<Slots, NoMemory>) -> Result<Self, NoMemory> {
        Ok(Self {
            order,
            slots: slots?,
            _preference: PhantomData,
        })
    }
}

/// As C does it: for when the order names nobody, or a dest that this pool does not have. Both may
/// be so for a moment while dests come and go.
#[cold]
fn search<P: Preference, D: Candidate>(dests: &[D]) -> Option<usize> {
    let mut least = (None, Key::NEVER);
    for (index, dest) in (0..dests.len()).zip(dests) {
        let key = Ordered::<P>::key(&dest.figures());
        if key < least.1 {
            least = (Some(index), key);
        }
    }
    least.0
}
