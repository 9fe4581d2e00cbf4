// SPDX-License-Identifier: GPL-2.0

//! Prefix sums of the dests' parts, for sampling a dest in proportion to its part.
//!
//! Each slot has a part, that of its dest. The parts are the leaves of a tree with four children
//! per node. For each child, its node has the sum of the parts below the earlier children. A search
//! for a point goes from each node to the child whose range contains the point.
//!
//! # Concurrency
//!
//! There is no lock. A part is replaced by one atomic operation, and the difference is added to
//! each sum that contains the part. The additions commute, so all sums are correct when no change
//! is in progress. A search during a change may end at a slot whose part is 0, or at no slot.
//!
//! A scheduler that needs only the sum of all parts has no tree.
//!
//! # Costs
//!
//! With n slots a search reads log4(n) nodes, half a cache line each. A change writes at most
//! 3 log4(n) + 2 words. A slot takes 19 to 22 bytes; without the tree, a change writes 2 words and
//! a slot takes 8 bytes.

use crate::shim::{
    Array,
    NoMemory,
    Word, //
};

/// The number of a node's children.
const CHILDREN: usize = 4;

/// The parts of all slots, and their sums.
pub(crate) struct Sums {
    parts: Array<Word>,
    /// For each child of a node, the sum of the parts below the children before it. The root is
    /// node 0, and child k of node n is node 4n + 1 + k. The last level has only the nodes that
    /// have slots. Empty if there is no tree.
    nodes: Array<[Word; CHILDREN]>,
    /// The number of slot 0 as a child of a node.
    base: usize,
    /// The sum of all parts.
    total: Word,
}

impl Sums {
    /// The sums for `room` slots, a power of 2 and at least 4, with these parts.
    pub(super) fn new(room: usize, part: impl Fn(usize) -> u64) -> Result<Self, NoMemory> {
        let (mut base, mut width) = (0_usize, 1_usize);
        while width < room {
            base = child(base, 0);
            width = width.saturating_mul(CHILDREN);
        }
        let nodes = parent(base).0.saturating_add(room / CHILDREN);
        let sums = Self::with(room, nodes, base, part)?;
        // The first word of a node is always 0. It holds the sum of the node until all are done.
        for node in (0..sums.nodes.len()).rev() {
            let mut sum: u64 = 0;
            for (before, place) in sums.nodes.get(node).into_iter().flatten().zip(0..CHILDREN) {
                before.set(sum);
                sum = sum.wrapping_add(sums.first_or_part(child(node, place)));
            }
            sums.set_first(node, sum);
        }
        for node in 0..sums.nodes.len() {
            sums.set_first(node, 0);
        }
        Ok(sums)
    }

    /// As [`new`](Self::new), without the tree that [`find`](Self::find) needs.
    pub(super) fn total_only(room: usize, part: impl Fn(usize) -> u64) -> Result<Self, NoMemory> {
        Self::with(room, 0, 0, part)
    }

    fn with(
        room: usize,
        nodes: usize,
        base: usize,
        part: impl Fn(usize) -> u64,
    ) -> Result<Self, NoMemory> {
        let parts = Array::new(room, |slot| Word::new(part(slot)))?;
        let total = parts
            .iter()
            .fold(0, |sum: u64, part| sum.wrapping_add(part.get()));
        Ok(Self {
            parts,
            nodes: Array::new(nodes, |_| [const { Word::new(0) }; CHILDREN])?,
            base,
            total: Word::new(total),
        })
    }

    /// The first word of a node, or the part of a slot.
    fn first_or_part(&self, node: usize) -> u64 {
        match self.nodes.get(node) {
            Some([first, ..]) => first.get(),
            None => node
                .checked_sub(self.base)
                .map_or(0, |slot| self.part(slot)),
        }
    }

    fn set_first(&self, node: usize, sum: u64) {
        if let Some([first, ..]) = self.nodes.get(node) {
            first.set(sum);
        }
    }

    /// The sum of all parts. A change that is in progress may be missing.
    #[inline]
    pub(crate) fn total(&self) -> u64 {
        self.total.get()
    }

    /// The part of a slot.
    #[inline]
    pub(super) fn part(&self, slot: usize) -> u64 {
        self.parts.get(slot).map_or(0, Word::get)
    }

    /// Replaces the part of a slot. Fully ordered.
    pub(super) fn set(&self, slot: usize, part: u64) {
        let Some(old) = self.parts.get(slot).map(|word| word.swap(part)) else {
            return;
        };
        let difference = part.wrapping_sub(old);
        self.add(slot, difference);
        self.total.add(difference);
    }

    /// Adds `difference` to the sums in the tree that contain the part of `slot`.
    fn add(&self, slot: usize, difference: u64) {
        let mut node = self.base.wrapping_add(slot);
        while node > 0 {
            let place;
            (node, place) = parent(node);
            if let Some(before) = self.nodes.get(node) {
                for sum in before.iter().skip(place).skip(1) {
                    sum.add(difference);
                }
            }
        }
    }

    /// The slot whose part contains the point. Points are counted from 1 at the start of slot 0.
    /// For a point beyond the sum of all parts, it is the last slot, or no slot.
    #[inline]
    pub(crate) fn find(&self, point: u64) -> u32 {
        let nodes = &self.nodes[..];
        let mut left = point;
        let mut node = 0;
        while let Some(before) = nodes.get(node) {
            let [_, second, third, fourth] = before;
            let is_behind = |sum: &Word| usize::from(sum.get() < left);
            // No branches, since they would often be mispredicted.
            let place = is_behind(second)
                .wrapping_add(is_behind(third))
                .wrapping_add(is_behind(fourth));
            left = left.wrapping_sub(before.get(place).map_or(0, Word::get));
            node = child(node, place);
        }
        node.wrapping_sub(self.base) as u32
    }
}

/// The number of a node's child.
#[inline(always)]
const fn child(node: usize, place: usize) -> usize {
    node.wrapping_mul(CHILDREN)
        .wrapping_add(1)
        .wrapping_add(place)
}

/// The number of a node's parent, and which of its children the node is.
#[inline(always)]
const fn parent(node: usize) -> (usize, usize) {
    let before = node.wrapping_sub(1);
    (before / CHILDREN, before % CHILDREN)
}

#[cfg(test)]
impl Sums {
    /// Whether all sums are correct. No change may be in progress.
    pub(super) fn is_settled(&self) -> bool {
        self.total() == self.parts.iter().map(Word::get).sum()
            && (0..self.nodes.len()).all(|node| {
                let mut sum = 0;
                (0..CHILDREN).all(|place| {
                    let is_right = self.nodes[node][place].get() == sum;
                    sum += self.sum_below(child(node, place));
                    is_right
                })
            })
    }

    fn sum_below(&self, node: usize) -> u64 {
        match node < self.nodes.len() {
            true => (0..CHILDREN)
                .map(|place| self.sum_below(child(node, place)))
                .sum(),
            false => node
                .checked_sub(self.base)
                .map_or(0, |slot| self.part(slot)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::tests::Random;

    #[test]
    fn points_fall_on_parts() {
        let mut random = Random(11);
        for room in [4, 8, 16, 32, 64, 128] {
            let mut parts: Vec<u64> = (0..room).map(|_| random.below(4)).collect();
            let sums = Sums::new(room, |slot| parts[slot]).unwrap();
            for _ in 0..200 {
                let slot = random.below(room as u64) as usize;
                parts[slot] = random.below(5);
                sums.set(slot, parts[slot]);
                assert!(sums.is_settled());
                assert_eq!(sums.total(), parts.iter().sum());
                let ends = parts.iter().zip(0..);
                let owners = ends.flat_map(|(part, slot)| (0..*part).map(move |_| slot));
                for (point, slot) in (1..).zip(owners) {
                    assert_eq!(sums.find(point), slot);
                }
                assert!(sums.find(sums.total() + 1) >= room as u32 - 1);
            }
        }
    }

    #[test]
    fn parts_of_any_size() {
        let sums = Sums::new(16_384, |_| i32::MAX as u64).unwrap();
        assert_eq!(sums.total(), 16_384 * i32::MAX as u64);
        assert_eq!(sums.find(sums.total()), 16_383);
        sums.set(0, 0);
        assert_eq!(sums.find(1), 1);
    }

    #[test]
    fn many_cpus_change_the_same_parts() {
        let sums = Sums::new(8, |_| 0).unwrap();
        std::thread::scope(|scope| {
            for cpu in 0..4 {
                let sums = &sums;
                scope.spawn(move || {
                    crate::shim::hold_up(cpu + 1);
                    let mut random = Random(cpu.into());
                    for _ in 0..20_000 {
                        sums.set(random.below(8) as usize, random.below(100));
                    }
                });
            }
        });
        assert!(sums.is_settled());
    }
}
