// SPDX-License-Identifier: GPL-2.0

//! Which of a service's dests comes first, known at any time and kept up to date by every change.
//!
//! C's schedulers walk the list of dests for each new conn. Here a tournament remembers who won:
//! each dest has a leaf with its [`Key`], each node of a binary tree names the winner of its two
//! children, the root that of all. A change is played again from the leaf upwards.
//!
//! # Vocabulary
//!
//! - A *slot* is a dest's place in the tree, the number of its leaf; see [`slots`](super::slots).
//! - The *winner* of some dests is the one with the least key, the highest slot of several: the
//!   first in C's list.
//!
//! # Concurrency
//!
//! CPUs change any dests at once. What holds is: when no change is under way, each node names the
//! winner of its children. During a change a reader may find the order as it was before.
//!
//! *Leaves* are written by any CPU. One that has changed a figure of a dest looks at all of them,
//! stores the key, and after a full barrier looks again; if it sees other figures, it starts over.
//! So the key that is stored last is that of the last figures: whoever stored another had looked
//! before the last change, looks again after it, and stores anew. The words of a key may be seen
//! one old, one new; whoever stored the later one has yet to have the nodes played again.
//!
//! *Nodes* are written by one CPU at a time, the one that *plays*. No CPU waits for it: who finds
//! the order being played queues its slot, and whoever plays looks at the queue when it has done.
//! A slot is taken off the queue before it is played, so what is stored after that queues it again.
//! Who plays does not do so for ever: after [`ROUNDS`] it leaves what is queued to the next change.
//!
//! *Nodes that can be left alone.* The way up ends at a node that names the winner it named
//! before, unless that is the slot whose key has changed: a node depends on the winners of its
//! children and on their keys, and neither has changed. If another slot's key has and is yet to be
//! played, then the nodes that depend on that are on the other slot's way.
//!
//! # Costs
//!
//! With n slots there are log2(n) levels, 10 for 1,024. A change of a dest's figures
//!
//! - reads its figures twice, and writes its leaf, 16 bytes, and a barrier;
//! - does no more if its key is what it was: with fo always, with ovf mostly;
//! - takes and gives back the right to play: an atomic operation and a barrier;
//! - reads two words and writes one a level, some 15 instructions. A conn that goes to the first
//!   dest writes all levels; one that ends at a dest in the middle, one or two.
//!
//! All CPUs that open or end conns of a service write the right to play, the root and the nodes
//! below it, as they write the service's counts in C; a packet of an established conn writes none
//! of them. Finding the first dest takes two reads. A slot takes 40 bytes.
//!
//! # Sums
//!
//! For schedulers that ask for it, the dests' parts of some sum are kept up to date in a tree of
//! their own: see [`sums`](super::sums).

use super::{
    key::Key,
    sums::Sums,
    Candidate,
    Figures,
    Kind, //
};
use crate::shim::{
    fence,
    undisturbed,
    Guard,
    NoMemory,
    Share,
    Table,
    Word, //
};

/// How many slots an order has at least, so that the first of many dests do not each need a new one.
const LEAST_ROOM: usize = 4;

/// There are no more slots than this: as many as the bits of a [`Key`] that say nothing can number.
const MOST_ROOM: usize = 1 << Key::SPARE_BITS;

/// How often a CPU that plays looks at the queue.
const ROUNDS: usize = 64;

/// The end of the queue, and what a slot that is not queued has for its successor.
const LAST: u64 = u64::MAX;
const NOT_QUEUED: u64 = u64::MAX - 1;

/// The dests of a service in the order in which its scheduler takes them.
pub(crate) struct Order {
    /// Whose order it is.
    kind: Kind,
    /// As many as a power of 2.
    leaves: Table<Leaf>,
    /// The slots that won. The root is node 1, the children of a node are from 2 times its number
    /// on; from the number of leaves on, nodes are those of the leaves. Node 0 is not used.
    winners: Table<Word>,
    /// Whether a CPU plays.
    is_played: Word,
    /// The first slot that is to be played again.
    queue: Word,
    sums: Option<Sums>,
}

impl Share for Order {}

/// The key of a dest, or [`Key::NEVER`] in a slot without one.
struct Leaf {
    high: Word,
    /// In the bits that say nothing, how far the slot is from the last one.
    low: Word,
    /// The slot behind it in the queue.
    next: Word,
}

impl Leaf {
    fn new(slot: u64, key: Key) -> Self {
        Self {
            high: Word::new(key.high),
            low: Word::new(key.low_with(Self::from_last(slot))),
            next: Word::new(NOT_QUEUED),
        }
    }

    /// Of dests with equal keys the one with the higher slot is first.
    const fn from_last(slot: u64) -> u64 {
        (MOST_ROOM as u64).wrapping_sub(1).wrapping_sub(slot)
    }

    /// The less, the sooner; no two leaves of an order have the same.
    #[inline(always)]
    fn rank(&self) -> u128 {
        u128::from(self.high.get()) << 64 | u128::from(self.low.get())
    }

    /// Whether the leaf, which has that slot, has this key.
    #[inline]
    fn is(&self, slot: u64, key: Key) -> bool {
        self.high.get() == key.high && self.low.get() == key.low_with(Self::from_last(slot))
    }

    #[inline]
    fn set(&self, slot: u64, key: Key) {
        self.high.set(key.high);
        self.low.set(key.low_with(Self::from_last(slot)));
    }
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

impl Order {
    /// The order of `dests`, with slots from 0 at the end of the list, and room for more: the
    /// next power of 2, and enough that adding dests costs each no more than 64 dests' part in
    /// this.
    pub(super) fn new<D: Candidate>(kind: Kind, dests: &[D]) -> Result<Self, NoMemory> {
        let spare = (dests.len() / 64).saturating_add(1);
        let room = match dests.len() {
            0 | 1 => LEAST_ROOM,
            len => len
                .saturating_add(spare)
                .checked_next_power_of_two()
                .filter(|room| *room <= MOST_ROOM)
                .ok_or(NoMemory)?
                .max(LEAST_ROOM),
        };
        let figures = |slot: usize| {
            let index = dests.len().checked_sub(slot.wrapping_add(1));
            index.and_then(|index| dests.get(index)).map(D::figures)
        };
        let leaves = Table::new(room, |slot| {
            Leaf::new(slot as u64, key(kind, figures(slot)))
        })?;
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
        let winners = Table::new(room.wrapping_mul(2), |node| {
            Word::new(node.saturating_sub(room) as u64)
        })?;
        let order = Self {
            kind,
            leaves,
            winners,
            is_played: Word::new(0),
            queue: Word::new(LAST),
            sums,
        };
        for node in (1..room).rev() {
            if let (Some(winner), Some(word)) = (order.winner_below(node), order.winners.get(node))
            {
                word.set(winner);
            }
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
        let slot = self.winners.get(1)?.get();
        let leaf = self.leaves.get(slot as usize)?;
        (leaf.high.get() != Key::NEVER.high).then_some(slot as u32)
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
        let slot = u64::from(slot);
        let mut seen = look();
        if leaf.is(slot, key(self.kind, seen)) {
            return;
        }
        loop {
            leaf.set(slot, key(self.kind, seen));
            fence();
            let now = look();
            if now == seen {
                break;
            }
            seen = now;
        }
        self.play_or_queue(slot, leaf);
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

    /// Has the nodes above a leaf follow its key: now, or when the CPU that plays has done.
    fn play_or_queue(&self, slot: u64, leaf: &Leaf) {
        let _undisturbed = undisturbed();
        if self.is_played.exchange(0, 1) {
            self.play(slot);
            self.stop_playing();
        } else {
            self.enqueue(slot, leaf);
        }
        for _ in 0..ROUNDS {
            if self.queue.get() == LAST || !self.is_played.exchange(0, 1) {
                return;
            }
            self.play_queue();
            self.stop_playing();
        }
    }

    fn stop_playing(&self) {
        self.is_played.set(0);
        // Who queued a slot found us playing: the queue is looked at after this.
        fence();
    }

    /// Queues a slot, whose leaf was stored before a full barrier.
    #[cold]
    fn enqueue(&self, slot: u64, leaf: &Leaf) {
        if !leaf.next.exchange(NOT_QUEUED, LAST) {
            return;
        }
        loop {
            let first = self.queue.get();
            leaf.next.set(first);
            if self.queue.exchange(first, slot) {
                return;
            }
        }
    }

    #[cold]
    fn play_queue(&self) {
        let mut slot = self.queue.swap(LAST);
        while let Some(leaf) = self.leaves.get(slot as usize) {
            let next = leaf.next.swap(NOT_QUEUED);
            self.play(slot);
            slot = next;
        }
    }

    /// Writes the nodes above a leaf whose key has changed; see "Nodes that can be left alone".
    #[inline]
    fn play(&self, slot: u64) {
        // The compiler need not read again what may be written to.
        let (leaves, winners) = (&self.leaves[..], &self.winners[..]);
        let Some(leaf) = leaves.get(slot as usize) else {
            return;
        };
        let mut best = (slot, leaf.rank());
        let mut node = (slot as usize).wrapping_add(leaves.len());
        while node > 1 {
            let Some(rival) = entrant(leaves, winners, node ^ 1) else {
                return;
            };
            best = winner(best, rival);
            node /= 2;
            let Some(word) = winners.get(node) else {
                return;
            };
            if best.0 != slot && word.get() == best.0 {
                return;
            }
            word.set(best.0);
        }
    }

    fn winner_below(&self, node: usize) -> Option<u64> {
        let entrant = |node: usize| entrant(&self.leaves, &self.winners, node);
        let first = node.wrapping_mul(2);
        let one = entrant(first)?;
        Some(winner(one, entrant(first.wrapping_add(1))?).0)
    }
}

/// The slot that a node names, and its rank.
#[inline(always)]
fn entrant(leaves: &[Leaf], winners: &[Word], node: usize) -> Option<(u64, u128)> {
    let slot = winners.get(node)?.get();
    Some((slot, leaves.get(slot as usize)?.rank()))
}

/// Which of two slots comes first.
#[inline(always)]
fn winner(one: (u64, u128), other: (u64, u128)) -> (u64, u128) {
    if other.1 < one.1 {
        other
    } else {
        one
    }
}

#[cfg(test)]
impl Order {
    /// Whether all leaves are as `dests` are, with slots from 0 at the end of the list, and all
    /// nodes as they must be when no change is under way.
    pub(super) fn is_settled<D: Candidate>(&self, dests: &[D]) -> bool {
        let leaves_are = self.leaves.iter().zip(dests.iter().rev());
        let is_winner = |node: usize| Some(self.winners[node].get()) == self.winner_below(node);
        assert!(self.queue.get() == LAST);
        leaves_are.zip(0..).fold(true, |all, ((leaf, dest), slot)| {
            let is_in = dest.place().is_in(self);
            let key = self.kind.key(&dest.figures());
            all && leaf.is(slot, if is_in { key } else { Key::NEVER })
        }) && (1..self.leaves.len()).all(is_winner)
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
