// SPDX-License-Identifier: GPL-2.0

//! What the dests of a service add up to, and whom a point of the sum falls on.
//!
//! A binary indexed tree (Fenwick, "A new data structure for cumulative frequency tables", 1994):
//! each dest has a part, by its slot; node n holds the sum of as many parts up to the n-th as n has
//! as its lowest bit.
//!
//! # Concurrency
//!
//! There is no lock. A part is exchanged for a new one by one atomic operation and the difference
//! added to each node above: whatever the order, in the end each node is the sum of its parts. A
//! reader in between may be led astray, to a slot whose part is 0 or to none.
//!
//! Who asks for the sum of all alone is spared the tree.
//!
//! # Costs
//!
//! With n slots a change writes log2(n) + 3 words at most, a search reads log2(n). A slot takes 16
//! bytes. Without the tree, it is 2 words, and 8 bytes.

use crate::shim::{
    NoMemory,
    Table,
    Word, //
};

pub(crate) struct Sums {
    parts: Table<Word>,
    /// Node 0 is not used; the last one, whose number is a power of 2, holds the sum of all. None
    /// if nobody searches them.
    nodes: Table<Word>,
    total: Word,
}

impl Sums {
    /// `room` slots, a power of 2, with these parts.
    pub(super) fn new(room: usize, part: impl Fn(usize) -> u64) -> Result<Self, NoMemory> {
        Self::with(room, room.saturating_add(1), part)
    }

    /// The same, but for [`find`](Self::find).
    pub(super) fn total_only(room: usize, part: impl Fn(usize) -> u64) -> Result<Self, NoMemory> {
        Self::with(room, 0, part)
    }

    fn with(room: usize, nodes: usize, part: impl Fn(usize) -> u64) -> Result<Self, NoMemory> {
        let parts = Table::new(room, |slot| Word::new(part(slot)))?;
        let total = parts
            .iter()
            .fold(0, |sum: u64, part| sum.wrapping_add(part.get()));
        let sums = Self {
            parts,
            nodes: Table::new(nodes, |_| Word::new(0))?,
            total: Word::new(total),
        };
        for node in 1..sums.nodes.len() {
            let part = sums.part(node.wrapping_sub(1));
            let sum = sums.node(node).wrapping_add(part);
            sums.put(node, sum);
            sums.put(above(node), sum.wrapping_add(sums.node(above(node))));
        }
        Ok(sums)
    }

    /// The sum of all parts; of a change under way it may know half.
    #[inline]
    pub(crate) fn total(&self) -> u64 {
        self.total.get()
    }

    /// The part of a slot.
    #[inline]
    pub(super) fn part(&self, slot: usize) -> u64 {
        self.parts.get(slot).map_or(0, Word::get)
    }

    /// Gives a slot another part; fully ordered.
    pub(super) fn set(&self, slot: usize, part: u64) {
        let Some(old) = self.parts.get(slot).map(|word| word.swap(part)) else {
            return;
        };
        let mut node = slot.wrapping_add(1);
        while let Some(sum) = self.nodes.get(node) {
            sum.add(part.wrapping_sub(old));
            node = above(node);
        }
        self.total.add(part.wrapping_sub(old));
    }

    /// The slot on whose part the point falls, counted from 1 at the beginning of slot 0.
    #[inline]
    pub(crate) fn find(&self, point: u64) -> u32 {
        let nodes = &self.nodes[..];
        let mut left = point;
        let mut before = 0_usize;
        let mut step = self.parts.len();
        while step > 0 {
            let node = before | step;
            step /= 2;
            let Some(sum) = nodes.get(node).map(Word::get) else {
                continue;
            };
            if sum < left {
                left = left.wrapping_sub(sum);
                before = node;
            }
        }
        before as u32
    }

    fn node(&self, node: usize) -> u64 {
        self.nodes.get(node).map_or(0, Word::get)
    }

    fn put(&self, node: usize, sum: u64) {
        if let Some(word) = self.nodes.get(node) {
            word.set(sum);
        }
    }
}

/// The next node that holds the parts of this one, too.
#[inline]
const fn above(node: usize) -> usize {
    node.wrapping_add(node & node.wrapping_neg())
}

#[cfg(test)]
impl Sums {
    /// Whether all nodes are as they must be when no change is under way.
    pub(super) fn is_settled(&self) -> bool {
        let total: u64 = self.parts.iter().map(Word::get).sum();
        self.total() == total
            && (1..self.nodes.len()).all(|node| {
                let first = node - (node & node.wrapping_neg());
                let sum: u64 = (first..node).map(|slot| self.part(slot)).sum();
                self.node(node) == sum
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::tests::Random;

    #[test]
    fn points_fall_on_parts() {
        let mut random = Random(11);
        for room in [4, 8, 64] {
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
                // Beyond the sum there is no slot.
                assert!(sums.find(sums.total() + 1) >= room as u32);
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
