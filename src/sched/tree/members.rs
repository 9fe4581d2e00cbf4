// SPDX-License-Identifier: GPL-2.0

//! The dests of a pool as members of an [`Order`].
//!
//! All pools that a service publishes while it keeps its scheduler share one order. It is replaced
//! when its slots are used up or too many of them are empty.

use super::{
    key::Key,
    order::Order,
    place::{
        Place,
        Standing, //
    },
    slots::Slots, //
};
use crate::{
    sched::{
        Candidate,
        Change,
        Kind, //
    },
    shim::{
        share,
        Guard,
        NoMemory,
        Shared, //
    },
};

/// An order, and the slots that the dests of one pool have in it.
pub(crate) struct Members {
    pub(crate) order: Shared<Order>,
    slots: Slots,
}

impl Members {
    /// Members of a new order.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if memory is short, or that of [`Order::new`].
    pub(crate) fn new<D: Candidate>(kind: Kind, dests: &[D]) -> Result<Self, NoMemory> {
        Ok(Self {
            order: share(Order::new(kind, dests)?)?,
            slots: Slots::new(dests.len())?,
        })
    }

    /// The successor after `change`, which resulted in `dests`.
    ///
    /// # Errors
    ///
    /// Those of [`Members::new`].
    pub(crate) fn after<D: Candidate>(
        &self,
        dests: &[D],
        change: Change,
    ) -> Result<Self, NoMemory> {
        let slots = match change {
            Change::Added => self.slots.with(),
            Change::Removed(index) => self.slots.without(index),
            Change::Edited => self.slots.same(),
        }?;
        if slots.len() > self.order.room() || slots.is_sparse() {
            return Self::new(self.order.kind(), dests);
        }
        Ok(Self {
            order: self.order.clone(),
            slots,
        })
    }

    /// Registers the dests for load-change notifications and brings the order up to date.
    pub(crate) fn register<D: Candidate>(&self, dests: &[D]) {
        let are_new = |dest: &&D| !dest.place().is_in(&self.order);
        // Dests older than one that is in the order are in it as well.
        for (index, dest) in dests.iter().take_while(are_new).enumerate() {
            if let Some(slot) = self.slots.slot(index) {
                dest.place().join(dest, &self.order, slot);
            }
        }
        self.order.flush();
    }

    /// The index of the dest with this slot, if the pool has it.
    #[inline]
    pub(crate) fn index(&self, slot: u32) -> Option<usize> {
        self.slots.index(slot)
    }

    /// The index of the first dest in the order, or `None` if no dest is available. The dest's own
    /// figures are checked as well, since the order may lack a change that is in progress.
    #[inline]
    pub(crate) fn first<D: Candidate>(&self, dests: &[D]) -> Option<usize> {
        self.order
            .first()
            .and_then(|slot| self.index(slot))
            .filter(|index| dests.get(*index).is_some_and(D::is_available))
            .or_else(|| self.search(dests))
    }

    /// Linear scan, as in C. Used when the order is empty or its first dest is not in this pool,
    /// which is briefly possible during an update.
    #[cold]
    fn search<D: Candidate>(&self, dests: &[D]) -> Option<usize> {
        // An empty order is final if no update is in progress, and if the dests have not begun to
        // move to another order.
        let newest = dests.first()?;
        if self.order.is_empty() && newest.place().is_in(&self.order) {
            return None;
        }
        let kind = self.order.kind();
        let mut least = (None, Key::NEVER);
        for (index, dest) in (0..dests.len()).zip(dests) {
            let key = kind.key(&dest.figures());
            if key < least.1 {
                least = (Some(index), key);
            }
        }
        least.0
    }

    /// The index of the dest with this place, if the pool has it.
    #[inline]
    pub(crate) fn index_of<D: Candidate>(
        &self,
        dests: &[D],
        place: &Place,
        guard: &Guard,
    ) -> Option<usize> {
        match place.standing(&self.order, guard) {
            Standing::Here(slot) => self.index(slot),
            Standing::Nowhere => None,
            Standing::Elsewhere => search_place(dests, place),
        }
    }
}

/// Linear scan, used while dests move from one order to its successor.
#[cold]
fn search_place<D: Candidate>(dests: &[D], place: &Place) -> Option<usize> {
    dests
        .iter()
        .position(|dest| core::ptr::eq(dest.place(), place))
}
