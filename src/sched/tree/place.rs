// SPDX-License-Identifier: GPL-2.0

//! Where a dest reports that its figures have changed: to the [`Order`] of its service's
//! scheduler, if that keeps one.
//!
//! # Concurrency
//!
//! A dest's order and slot are two words, changed by the control plane one after the other. Who
//! sees the change under way does nothing: a dest that joins looks at its figures after that, and
//! the slot of one that leaves is emptied after that, by a CPU which sees whatever was counted
//! before. Whoever stores a key looks again, after a full barrier, whether the slot is still the
//! dest's.

use super::order::Order;
use crate::{
    sched::Candidate,
    shim::{
        fence,
        read_lock,
        Guard,
        Shared,
        SharedCell,
        Word, //
    },
};

/// No slot.
const NOWHERE: u64 = u64::MAX;

/// A dest's place in an order.
pub(crate) struct Place {
    order: SharedCell<Order>,
    slot: Word,
}

/// How a place stands to an order.
pub(super) enum Standing {
    /// It has that slot.
    Here(u32),
    /// It is in another order, or between two.
    Elsewhere,
    /// It is in no order.
    Nowhere,
}

impl Place {
    /// Not in any order.
    pub(crate) fn new() -> Self {
        Self {
            order: SharedCell::new(None),
            slot: Word::new(NOWHERE),
        }
    }

    /// The figures of `dest`, whose place this is, have changed by a fully ordered operation.
    #[inline]
    pub(crate) fn changed<D: Candidate>(&self, dest: &D, guard: &Guard) {
        if let Some(order) = self.order.get(guard) {
            self.update(&order, dest, guard);
        }
    }

    #[inline(never)]
    fn update<D: Candidate>(&self, order: &Order, dest: &D, guard: &Guard) {
        let slot = self.slot.get();
        if slot != NOWHERE && self.is(order, slot as u32, guard) {
            order.update(slot as u32, dest, guard);
        }
    }

    /// How it stands to that order.
    #[inline]
    pub(super) fn standing(&self, order: &Order, guard: &Guard) -> Standing {
        let slot = self.slot.get();
        // As in `is`.
        match self.order.get(guard) {
            None => Standing::Nowhere,
            Some(now) if slot != NOWHERE && core::ptr::eq(&*now, order) => {
                Standing::Here(slot as u32)
            }
            Some(_) => Standing::Elsewhere,
        }
    }

    /// Whether it is that slot of that order.
    #[inline]
    pub(super) fn is(&self, order: &Order, slot: u32, guard: &Guard) -> bool {
        // The order is looked at last: a slot in it is written after it.
        self.slot.get() == u64::from(slot)
            && self
                .order
                .get(guard)
                .is_some_and(|now| core::ptr::eq(&*now, order))
    }
}

/// The control plane, under its mutex.
impl Place {
    /// Whether it is in that order.
    pub(super) fn is_in(&self, order: &Order) -> bool {
        let guard = read_lock();
        let now = self.order.get(&guard);
        now.is_some_and(|now| core::ptr::eq(&*now, order))
    }

    /// Gives `dest`, whose place this is, a slot of `order`.
    pub(crate) fn join<D: Candidate>(&self, dest: &D, order: &Shared<Order>, slot: u32) {
        self.slot.set(NOWHERE);
        drop(self.order.replace(Some(order.clone())));
        self.slot.set(slot.into());
        fence();
        order.update(slot, dest, &read_lock());
    }

    /// Takes `dest`, whose place this is, out of its order; false if it was in none.
    pub(crate) fn leave<D: Candidate>(&self, dest: &D) -> bool {
        let slot = self.slot.get();
        self.slot.set(NOWHERE);
        let Some(order) = self.order.replace(None) else {
            return false;
        };
        fence();
        order.update(slot as u32, dest, &read_lock());
        true
    }
}
