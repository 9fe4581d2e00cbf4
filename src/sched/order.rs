// SPDX-License-Identifier: GPL-2.0

//! Which of a service's dests comes first, known at any time and kept up to date by every change.
//!
//! C's schedulers walk the list of dests for each new conn. Here a tree remembers who won: each
//! dest has a leaf with its [`Key`], each node names the winner among its four children, the root
//! the winner of all. A change goes from the leaf upwards.
//!
//! # Vocabulary
//!
//! - A *slot* is a dest's place in the tree, the number of its leaf; see [`slots`](super::slots).
//! - The *winner* of some dests is the one with the least key, the highest slot of several: the
//!   first in C's list.
//! - A node is *refreshed* by a CPU that reads it, reads its children, and writes their winner if
//!   nobody has written the node meanwhile.
//!
//! # Concurrency
//!
//! There is no lock; CPUs change any dests at once. What holds is: when no change is under way,
//! each node names the winner of its children. During a change a reader may find the order as it
//! was before. The method is Jayanti's ("f-arrays", PODC 2002).
//!
//! *Leaves.* A CPU that has changed a figure of a dest looks at all of them, stores the key, and
//! after a full barrier looks again; if it sees other figures, it starts over. So the key that is
//! stored last is that of the last figures: whoever stored another had looked before the last
//! change, looks again after it, and stores anew. The words of a key may be seen one old, one new;
//! whoever stored the later one has yet to refresh the nodes above.
//!
//! *Nodes.* A node is a word of a version, which rises with every write, and the winner's slot; so
//! a write fails if there was another since the read. After a change below a node it is refreshed,
//! and refreshed again if that fails. If that fails, too, the write which made it fail was made by
//! a CPU that read the node after the first attempt had begun, so it read the children as changed.
//! Either way the node has been written by someone who saw the change: call that *well refreshed*.
//!
//! *Nodes that can be left alone.* Not every node on the way is written. A node is refreshed if
//! it is the leaf's parent, if it names the slot whose key has changed, or if the child that the
//! CPU comes from was written just now so that its winner has changed or is that slot, or perhaps
//! so. This suffices if, for each node P and child N, P is well refreshed after the last change of
//! either N's winner or that winner's key. If the last was a change of N's winner, then whoever
//! wrote that comes to P next. If it was that of the key of N's winner, then the CPU that stored
//! the key finds N naming its slot, refreshes N, and comes to P.
//!
//! It would not do to end the walk at the first node which names another dest before and after:
//! a node further up may still name this one, from before; if that becomes the winner of the lower
//! node again, the nodes in between find nothing changed, while its key has.
//!
//! A version of 32 bits comes back after 2^32 writes of one node. A CPU holds one that long only
//! if its RCU read-side section lasts for as many changes.
//!
//! # Costs
//!
//! Four children a node: half as many atomic writes as with two, for as many reads. With n slots
//! there are log4(n) levels, 5 for 1,024, 7 for 16,384. A change of a dest's figures
//!
//! - reads its figures twice, and writes its leaf, 16 bytes, and a barrier;
//! - does no more if its key is what it was: with fo always, with ovf mostly;
//! - writes the node above the leaf, by one compare-exchange;
//! - writes each further node that named this dest or names it now, by one compare-exchange each.
//!   So a conn that goes to the first dest writes all levels; one that ends at a dest in the
//!   middle one or two. The others are read.
//!
//! To write a node costs some 55 instructions, of which the children take 32. Finding the first
//! dest takes two reads. A slot takes 16 bytes of leaf and 2.7 to 8 of nodes.
//!
//! # Sums
//!
//! For schedulers that ask for it, the dests' parts of some sum are kept up to date in the same
//! way, in a tree of their own: see [`sums`](super::sums).

use super::{
    key::Key,
    sums::Sums,
    Candidate,
    Figures,
    Kind, //
};
use crate::shim::{
    fence,
    Guard,
    NoMemory,
    Share,
    Table,
    Word, //
};

/// The number of a node's children.
const CHILDREN: usize = 4;

/// The slot that a node names which has no dests below it; there is none of that number.
const NOBODY: u32 = u32::MAX;

/// The dests of a service in the order in which its scheduler takes them.
pub(crate) struct Order {
    /// Whose order it is.
    kind: Kind,
    leaves: Table<Leaf>,
    /// The root is node 1, the children of a node are from 4 times its number on. In the last
    /// level these numbers, less `base`, are slots. Node 0 is not used.
    nodes: Table<Word>,
    /// A power of 4, and no less than the number of leaves.
    base: usize,
    sums: Option<Sums>,
}

impl Share for Order {}

/// The key of a dest, or [`Key::NEVER`] in a slot without one.
struct Leaf {
    high: Word,
    low: Word,
}

impl Leaf {
    fn new(key: Key) -> Self {
        Self {
            high: Word::new(key.high),
            low: Word::new(key.low),
        }
    }

    #[inline(always)]
    fn get(&self) -> Key {
        Key {
            high: self.high.get(),
            low: self.low.get(),
        }
    }

    #[inline]
    fn set(&self, key: Key) {
        self.high.set(key.high);
        self.low.set(key.low);
    }
}

/// The slot in a node's word.
#[inline(always)]
const fn winner(word: u64) -> u32 {
    word as u32
}

/// The word of a node after `word`, with this winner.
#[inline(always)]
const fn successor(word: u64, winner: u32) -> u64 {
    (word >> 32).wrapping_add(1) << 32 | winner as u64
}

/// The key of a dest with these figures, or of a slot without one.
#[inline]
fn key(kind: Kind, figures: Option<Figures>) -> Key {
    figures.map_or(Key::NEVER, |figures| kind.key(&figures))
}

/// The part of a dest with these figures, or of a slot without one.
#[inline]
fn part(kind: Kind, figures: Option<Figures>) -> u64 {
    figures.and_then(|figures| kind.part(&figures)).unwrap_or(0)
}

/// The winners that a node named before and after it was refreshed.
struct Refreshed {
    before: u32,
    after: u32,
}

impl Order {
    /// The order of `dests`, with slots from 0 at the end of the list, and room for more: the
    /// next power of 2, and enough that adding dests costs each no more than 64 dests' part in
    /// this.
    pub(super) fn new<D: Candidate>(kind: Kind, dests: &[D]) -> Result<Self, NoMemory> {
        let spare = (dests.len() / 64).saturating_add(1);
        let room = match dests.len() {
            // So that the first of many dests do not each need a new order.
            0 | 1 => CHILDREN,
            len => len
                .saturating_add(spare)
                .checked_next_power_of_two()
                .filter(|room| *room < NOBODY as usize / CHILDREN)
                .ok_or(NoMemory)?
                .max(CHILDREN),
        };
        let mut base = CHILDREN;
        while base < room {
            base = base.wrapping_mul(CHILDREN);
        }
        let figures = |slot: usize| {
            let index = dests.len().checked_sub(slot.wrapping_add(1));
            index.and_then(|index| dests.get(index)).map(D::figures)
        };
        let leaves = Table::new(room, |slot| Leaf::new(key(kind, figures(slot))))?;
        let sums = match kind.part(&Figures::NONE) {
            None => None,
            Some(_) => {
                let part = |slot: usize| part(kind, figures(slot));
                Some(match kind.draws() {
                    true => Sums::new(room, part)?,
                    false => Sums::total_only(room, part)?,
                })
            }
        };
        // The last level is as short as the leaves are few, but ends with whole families.
        let last = match room / CHILDREN {
            1 => 1,
            parents => parents.max(CHILDREN),
        };
        let nodes = Table::new((base / CHILDREN).wrapping_add(last), |_| {
            Word::new(NOBODY.into())
        })?;
        let order = Self {
            kind,
            leaves,
            nodes,
            base,
            sums,
        };
        for node in (1..order.nodes.len()).rev() {
            order.refresh(node);
        }
        Ok(order)
    }

    /// Whose order it is.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// The sums that its scheduler asks for.
    #[inline]
    pub(super) fn sums(&self) -> Option<&Sums> {
        self.sums.as_ref()
    }

    /// The sum of all dests' parts; below 0 while it is behind.
    #[inline]
    pub(super) fn total(&self) -> i64 {
        // CAST: It is no larger than the number of dests by their largest part.
        self.sums.as_ref().map_or(0, |sums| sums.total() as i64)
    }

    /// How many slots there are.
    pub(super) fn room(&self) -> usize {
        self.leaves.len()
    }

    /// The slot of the first dest, unless no dest is to be taken, or just now none is known.
    #[inline]
    pub(super) fn first(&self) -> Option<u32> {
        let slot = winner(self.nodes.get(1)?.get());
        let leaf = self.leaves.get(slot as usize)?;
        (leaf.high.get() != Key::NEVER.high).then_some(slot)
    }

    /// Has the order follow the figures of `dest`, or its leaving, if `slot` is or was its slot.
    pub(super) fn update<D: Candidate>(&self, slot: u32, dest: &D, guard: &Guard) {
        let Some(leaf) = self.leaves.get(slot as usize) else {
            return;
        };
        let look = || {
            let is_here = dest.place().is(self, slot, guard);
            is_here.then(|| dest.figures())
        };
        if let Some(sums) = &self.sums {
            self.update_part(sums, slot, look);
        }
        let mut seen = look();
        if leaf.get() == key(self.kind, seen) {
            return;
        }
        loop {
            leaf.set(key(self.kind, seen));
            fence();
            let now = look();
            if now == seen {
                break;
            }
            seen = now;
        }
        self.refresh_above(slot);
    }

    /// As with the leaves: whoever stored the part of other figures looks again, and stores anew.
    fn update_part(&self, sums: &Sums, slot: u32, look: impl Fn() -> Option<Figures>) {
        let mut seen = look();
        if sums.part(slot as usize) == part(self.kind, seen) {
            return;
        }
        loop {
            sums.set(slot as usize, part(self.kind, seen));
            let now = look();
            if now == seen {
                return;
            }
            seen = now;
        }
    }

    /// Refreshes the nodes above a leaf that has changed; see "Nodes that can be left alone".
    fn refresh_above(&self, slot: u32) {
        let mut node = self.base.wrapping_add(slot as usize) / CHILDREN;
        let mut must = true;
        while let Some(word) = self.nodes.get(node).filter(|_| node > 0) {
            if must || winner(word.get()) == slot {
                must = match self.refresh(node).or_else(|| self.refresh(node)) {
                    Some(Refreshed { before, after }) => before != after || after == slot,
                    None => true,
                };
            }
            node /= CHILDREN;
        }
    }

    /// Has a node name the winner of its children, unless another CPU has just done that.
    #[inline]
    fn refresh(&self, node: usize) -> Option<Refreshed> {
        let word = self.nodes.get(node)?;
        let old = word.get();
        let winner_now = self.winner_below(node);
        word.exchange(old, successor(old, winner_now))
            .then_some(Refreshed {
                before: winner(old),
                after: winner_now,
            })
    }

    /// The winner of a node's children.
    #[inline]
    fn winner_below(&self, node: usize) -> u32 {
        let first = node.wrapping_mul(CHILDREN);
        let end = first.wrapping_add(CHILDREN);
        let mut best = (NOBODY, Key::NEVER);
        // Later children have the higher slots: they win ties.
        let mut compare = |slot: u32, key: Key| {
            if key <= best.1 {
                best = (slot, key);
            }
        };
        if first < self.base {
            for child in self.nodes.get(first..end).unwrap_or(&[]) {
                let slot = winner(child.get());
                if let Some(leaf) = self.leaves.get(slot as usize) {
                    compare(slot, leaf.get());
                }
            }
        } else {
            let range = first.wrapping_sub(self.base)..end.wrapping_sub(self.base);
            let slots = range.start as u32..range.end as u32;
            for (slot, leaf) in slots.zip(self.leaves.get(range).unwrap_or(&[])) {
                compare(slot, leaf.get());
            }
        }
        best.0
    }
}

#[cfg(test)]
impl Order {
    /// Whether all leaves are as `dests` are, with slots from 0 at the end of the list, and all
    /// nodes as they must be when no change is under way.
    pub(super) fn is_settled<D: Candidate>(&self, dests: &[D]) -> bool {
        let leaves_are = self.leaves.iter().zip(dests.iter().rev());
        let is_winner = |node: usize| winner(self.nodes[node].get()) == self.winner_below(node);
        leaves_are.fold(true, |all, (leaf, dest)| {
            let is_in = dest.place().is_in(self);
            let key = self.kind.key(&dest.figures());
            all && leaf.get() == if is_in { key } else { Key::NEVER }
        }) && (1..self.nodes.len()).all(is_winner)
            && self.are_sums_settled(dests)
    }

    fn are_sums_settled<D: Candidate>(&self, dests: &[D]) -> bool {
        let Some(sums) = &self.sums else {
            return true;
        };
        let is_right = |(dest, slot): (&D, usize)| {
            let figures = dest.place().is_in(self).then(|| dest.figures());
            sums.part(slot) == part(self.kind, figures)
        };
        sums.is_settled() && dests.iter().rev().zip(0..).all(is_right)
    }
}
