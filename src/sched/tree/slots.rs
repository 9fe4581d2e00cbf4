// SPDX-License-Identifier: GPL-2.0

//! The mapping between the dests of a pool and the slots of an [`Order`](super::order::Order).
//!
//! A dest gets the lowest slot that was never used. Since dests are added at the head of the list,
//! dests with higher slots are earlier in the list. The slot of a removed dest becomes a hole.
//! Without holes, the slot is computed from the index by a subtraction. With holes, the bits of one
//! word must be counted as well.

use crate::{
    search::partition_point,
    shim::{
        Array, //
        NoMemory,
    }, //
};

/// 32 slots, with holes in this or a later group.
struct Group {
    /// A bit for each slot that is a hole.
    holes: u32,
    /// The number of dests with lower slots than the group's.
    before: u32,
}

const GROUP: u32 = u32::BITS;

/// The slots of a pool's dests. Immutable, as the pool is.
pub(super) struct Slots {
    /// The number of slots, holes included.
    len: u32,
    /// The number of holes.
    holes: u32,
    /// The groups up to that of the highest hole.
    groups: Array<Group>,
}

impl Slots {
    /// `len` slots from 0 on, without holes.
    pub(super) fn new(len: usize) -> Result<Self, NoMemory> {
        let len = u32::try_from(len).map_err(|_| NoMemory)?;
        Ok(Self {
            len,
            holes: 0,
            groups: Array::new(0, |_| Group {
                holes: 0,
                before: 0,
            })?,
        })
    }

    /// The number of slots, holes included.
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether more than one slot in eight is a hole, so that the order should be rebuilt. Since
    /// each removal makes one hole, the cost of a removal is at most a rebuild of eight dests.
    pub(super) fn is_sparse(&self) -> bool {
        self.holes > self.len / 8
    }

    /// The number of dests.
    #[inline]
    fn dests(&self) -> u32 {
        self.len.wrapping_sub(self.holes)
    }

    /// The index of the dest with this slot, if the pool has it.
    #[inline]
    pub(super) fn index(&self, slot: u32) -> Option<usize> {
        let lower = self.lower(slot)?;
        let index = self.dests().checked_sub(lower.wrapping_add(1))?;
        Some(index as usize)
    }

    /// The number of dests with lower slots than this one, or `None` for a hole.
    #[inline]
    fn lower(&self, slot: u32) -> Option<u32> {
        let Some(group) = self.groups.get((slot / GROUP) as usize) else {
            return slot.checked_sub(self.holes);
        };
        let bit = 1_u32.wrapping_shl(slot % GROUP);
        if group.holes & bit != 0 {
            return None;
        }
        let lower = !group.holes & bit.wrapping_sub(1);
        Some(group.before.wrapping_add(lower.count_ones()))
    }

    /// The slot of the dest with this index.
    pub(super) fn slot(&self, index: usize) -> Option<u32> {
        let lower = self.dests().checked_sub(1)?;
        let lower = lower.checked_sub(u32::try_from(index).ok()?)?;
        let number = partition_point(&self.groups, |group| group.before <= lower);
        let number = number.wrapping_sub(1);
        if let Some(group) = self.groups.get(number) {
            let mut left = !group.holes;
            for _ in group.before..lower {
                left &= left.wrapping_sub(1);
            }
            if left != 0 {
                let first = (number as u32).wrapping_mul(GROUP);
                return Some(first.wrapping_add(left.trailing_zeros()));
            }
        }
        // The slot is higher than those of all groups.
        Some(lower.wrapping_add(self.holes))
    }

    /// A copy of these slots.
    pub(super) fn same(&self) -> Result<Self, NoMemory> {
        self.copied(self.len, None)
    }

    /// A copy of these slots with one more, for a new dest.
    pub(super) fn with(&self) -> Result<Self, NoMemory> {
        self.copied(self.len.checked_add(1).ok_or(NoMemory)?, None)
    }

    /// A copy of these slots without that of the dest with this index.
    pub(super) fn without(&self, index: usize) -> Result<Self, NoMemory> {
        self.copied(self.len, self.slot(index))
    }

    /// `len` slots, with these holes and a new one, if any.
    fn copied(&self, len: u32, new: Option<u32>) -> Result<Self, NoMemory> {
        let new_group = new.map(|slot| (slot / GROUP) as usize);
        let groups = new_group.map_or(0, |group| group.saturating_add(1));
        let mut before: u32 = 0;
        let groups = Array::new(groups.max(self.groups.len()), |number| {
            let mut holes = self.groups.get(number).map_or(0, |group| group.holes);
            if let Some(slot) = new.filter(|_| new_group == Some(number)) {
                holes |= 1_u32.wrapping_shl(slot % GROUP);
            }
            let group = Group { holes, before };
            before = before.wrapping_add(holes.count_zeros());
            group
        })?;
        Ok(Self {
            len,
            holes: self.holes.wrapping_add(u32::from(new.is_some())),
            groups,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::tests::Random;

    #[test]
    fn follow_a_list() {
        let mut random = Random(5);
        for len in [0, 1, 3, 40, 64, 200] {
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
