// SPDX-License-Identifier: GPL-2.0

//! Which slot of an [`Order`](super::order::Order) belongs to which dest of a pool.
//!
//! A dest gets the lowest slot that was never given out; so, C adding dests at the head of the
//! list, a higher slot comes earlier in it. A dest that leaves leaves a hole. As long as there are
//! no holes, the slot follows from the index by a subtraction.

use crate::{
    search::partition_point,
    shim::{
        NoMemory,
        Table, //
    }, //
};

/// The slots of a pool's dests; as the pool, it never changes.
pub(super) struct Slots {
    /// How many slots were given out.
    len: u32,
    /// Those of them that dests have left, lowest first.
    holes: Table<u32>,
}

impl Slots {
    /// Slots 0 to `len`, without a hole.
    pub(super) fn new(len: usize) -> Result<Self, NoMemory> {
        Ok(Self {
            len: u32::try_from(len).map_err(|_| NoMemory)?,
            holes: Table::new(0, |_| 0)?,
        })
    }

    /// How many slots were given out.
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether so many are holes that it is time to start anew. Each hole has been paid for with a
    /// removal, so that this costs a removal no more than eight dests' part in it.
    pub(super) fn is_sparse(&self) -> bool {
        self.holes.len() > self.len() / 8
    }

    /// The index of the dest with that slot, if the pool has it.
    #[inline]
    pub(super) fn index(&self, slot: u32) -> Option<usize> {
        let index = self.len.checked_sub(slot)?.checked_sub(1)? as usize;
        if self.holes.is_empty() {
            return Some(index);
        }
        self.index_among_holes(slot, index)
    }

    #[inline(never)]
    fn index_among_holes(&self, slot: u32, index: usize) -> Option<usize> {
        let below = self.holes_below(slot);
        if self.holes.get(below) == Some(&slot) {
            return None;
        }
        index.checked_sub(self.holes.len().wrapping_sub(below))
    }

    fn holes_below(&self, slot: u32) -> usize {
        partition_point(&self.holes, |hole| *hole < slot)
    }

    /// The slot of the dest with that index.
    pub(super) fn slot(&self, index: usize) -> Option<u32> {
        let mut slot = self.len.checked_sub(1)?;
        slot = slot.checked_sub(u32::try_from(index).ok()?)?;
        for hole in self.holes.iter().rev() {
            if *hole < slot {
                break;
            }
            slot = slot.checked_sub(1)?;
        }
        Some(slot)
    }

    /// The same slots.
    pub(super) fn same(&self) -> Result<Self, NoMemory> {
        Ok(Self {
            len: self.len,
            holes: self.holes_and(None)?,
        })
    }

    /// These slots and one for a new dest.
    pub(super) fn with(&self) -> Result<Self, NoMemory> {
        Ok(Self {
            len: self.len.checked_add(1).ok_or(NoMemory)?,
            holes: self.holes_and(None)?,
        })
    }

    /// These slots without that of the dest with that index.
    pub(super) fn without(&self, index: usize) -> Result<Self, NoMemory> {
        Ok(Self {
            len: self.len,
            holes: self.holes_and(self.slot(index))?,
        })
    }

    fn holes_and(&self, new: Option<u32>) -> Result<Table<u32>, NoMemory> {
        let hole = |index: usize| self.holes.get(index).copied();
        let Some(new) = new else {
            return Table::new(self.holes.len(), |index| hole(index).unwrap_or(0));
        };
        let place = self.holes_below(new);
        Table::new(self.holes.len().saturating_add(1), |index| {
            let old = match index {
                index if index < place => hole(index),
                index if index == place => None,
                index => hole(index.wrapping_sub(1)),
            };
            old.unwrap_or(new)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Random;
    use super::*;

    #[test]
    fn follow_a_list() {
        let mut random = Random(5);
        for len in [0, 1, 3, 40] {
            // The slots of the list's dests, newest first.
            let mut list: Vec<u32> = (0..len as u32).rev().collect();
            let mut slots = Slots::new(len).unwrap();
            for _ in 0..300 {
                if list.is_empty() || random.below(3) == 0 {
                    list.insert(0, slots.len() as u32);
                    slots = slots.with().unwrap();
                } else {
                    let index = random.below(list.len() as u64) as usize;
                    list.remove(index);
                    slots = slots.without(index).unwrap();
                }
                slots = slots.same().unwrap();
                for (index, slot) in list.iter().enumerate() {
                    assert_eq!(slots.slot(index), Some(*slot));
                }
                for slot in 0..slots.len() as u32 + 2 {
                    let index = list.iter().position(|other| *other == slot);
                    assert_eq!(slots.index(slot), index);
                }
                let holes = slots.len() - list.len();
                assert_eq!(slots.is_sparse(), holes > slots.len() / 8);
            }
        }
    }
}
