// SPDX-License-Identifier: GPL-2.0

//! A dest's place in the [`Order`] of its service's scheduler, and the notification of the order
//! when the dest's figures change.
//!
//! # Concurrency
//!
//! A dest's order and slot are two words, which the control plane changes one after the other. A
//! CPU that reads only one of them changed does nothing: when a dest joins an order, its figures
//! are read after both are written, and when it leaves the order, its slot is emptied after both
//! are written. A CPU that has stored a key checks after a full barrier that the slot still belongs
//! to the dest.

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

/// The slot of a dest that is in no order.
const NOWHERE: u64 = u64::MAX;

/// A dest's place in an order.
pub(crate) struct Place {
    order: SharedCell<Order>,
    slot: Word,
}

/// The relation of a place to an order.
pub(super) enum Standing {
    /// The dest has this slot of the order.
    Here(u32),
    /// The dest is in another order, or between two.
    Elsewhere,
    /// The dest is in no order.
    Nowhere,
}

impl Place {
    /// A place in no order.
    pub(crate) fn new() -> Self {
        Self {
            order: SharedCell::new(None),
            slot: Word::new(NOWHERE),
        }
    }

    /// Notifies the order, if any, of a change of the figures of `dest`, whose place this is. The
    /// change must have been made by a fully ordered operation.
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

    /// The relation to `order`.
    #[inline]
    pub(super) fn standing(&self, order: &Order, guard: &Guard) -> Standing {
        let slot = self.slot.get();
        // The order is read last, as in `is`.
        match self.order.get(guard) {
            None => Standing::Nowhere,
            Some(now) if slot != NOWHERE && core::ptr::eq(&*now, order) => {
                Standing::Here(slot as u32)
            }
            Some(_) => Standing::Elsewhere,
        }
    }

    /// Whether the dest has this slot of this order.
    #[inline]
    pub(super) fn is(&self, order: &Order, slot: u32, guard: &Guard) -> bool {
        // The order is read last, since the slot is written last.
        self.slot.get() == u64::from(slot)
            && self
                .order
                .get(guard)
                .is_some_and(|now| core::ptr::eq(&*now, order))
    }
}

/// Operations of the control plane, called under its mutex.
impl Place {
    /// Whether the dest is in this order.
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

    /// Removes `dest`, whose place this is, from its order. Returns whether it was in one.
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
