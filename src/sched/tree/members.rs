// SPDX-License-Identifier: GPL-2.0

//! The dests of a pool as members of an [`Order`], for schedulers that keep one.
//!
//! One order is shared by all pools that a service publishes while it keeps its scheduler, until
//! its slots are used up or too many of them empty.

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

/// An order, and which of its slots belong to the dests of one pool.
pub(crate) struct Members {
    pub(crate) order: Shared<Order>,
    slots: Slots,
}

impl Members {
    /// Members of a new order.
    pub(crate) fn new<D: Candidate>(kind: Kind, dests: &[D]) -> Result<Self, NoMemory> {
        Ok(Self {
            order: share(Order::new(kind, dests)?)?,
            slots: Slots::new(dests.len())?,
        })
    }

    /// The members after one `change` led to `dests`.
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

    /// Has the dests report changes of their figures to the order, and the order be up to date.
    pub(crate) fn register<D: Candidate>(&self, dests: &[D]) {
        let are_new = |dest: &&D| !dest.place().is_in(&self.order);
        // A dest that is in the order already has joined it with all that are older.
        for (index, dest) in dests.iter().take_while(are_new).enumerate() {
            if let Some(slot) = self.slots.slot(index) {
                dest.place().join(dest, &self.order, slot);
            }
        }
        self.order.settle();
    }

    /// The index of the dest with that slot, if the pool has it.
    #[inline]
    pub(crate) fn index(&self, slot: u32) -> Option<usize> {
        self.slots.index(slot)
    }

    /// The index of the first dest in the order. The dest is asked as well whether it may be taken,
    /// since the order may not have heard yet of what has just changed.
    #[inline]
    pub(crate) fn first<D: Candidate>(&self, dests: &[D]) -> Option<usize> {
        self.order
            .first()
            .and_then(|slot| self.index(slot))
            .filter(|index| dests.get(*index).is_some_and(D::is_available))
            .or_else(|| self.search(dests))
    }

    /// As C does it, unless there is certainly nobody: for when the order names nobody, or a dest
    /// that this pool does not have. The latter may be so for a moment while dests come and go.
    #[cold]
    fn search<D: Candidate>(&self, dests: &[D]) -> Option<usize> {
        // If it holds still, and the dests have not begun to move on to another.
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

    /// The index of the dest with that place, if the pool has it.
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

/// For the moment in which dests move from one order to its successor.
#[cold]
fn search_place<D: Candidate>(dests: &[D], place: &Place) -> Option<usize> {
    dests
        .iter()
        .position(|dest| core::ptr::eq(dest.place(), place))
}
