// SPDX-License-Identifier: GPL-2.0

//! Which of a service's dests comes first, known at any time and kept up to date by every change.
//!
//! C's schedulers walk the list of dests for each new conn. Here a tournament remembers who won:
//! each dest has a leaf with its *rank*, each node the least rank of its four children, the root that
//! of all. A change is played again from the leaf upwards.
//!
//! # Vocabulary
//!
//! - A *slot* is a dest's place in the tree, the number of its leaf; see [`slots`](super::slots).
//! - A *rank* is a dest's [`Key`] and, in the bits of it that say nothing, its slot: of dests with
//!   equal keys the one with the highest slot, the first in C's list, has the least rank.
//!
//! # Concurrency
//!
//! CPUs change any dests at once. What holds is: when no change is under way, each node has the
//! least rank of its children. During a change a reader may find the order as it was before.
//!
//! *Leaves* are written by any CPU. One that has changed a figure of a dest looks at all of them,
//! stores the rank, and after a full barrier looks again; if it sees other figures, it starts over.
//! So the rank that is stored last is that of the last figures: whoever stored another had looked
//! before the last change, looks again after it, and stores anew. It starts over as often as others
//! change the same dest in the meantime. The words of a rank may be seen
//! one old, one new; whoever stored the later one has yet to have the nodes played again.
//!
//! *Nodes* are written by one CPU at a time, the one that *plays*. No CPU waits for it: who finds
//! the order being played queues its slot, and whoever plays looks at the queue when it has done.
//! A slot is taken off the queue before it is played, so what is stored after that queues it again.
//! Who plays does not do so for ever: after [`ROUNDS`] it leaves what is queued to the next CPU that
//! changes a dest or asks for the first.
//! The way up ends at a node that has its rank already.
//!
//! # Costs
//!
//! Four children, which are one cache line: a quarter of the lines of a binary tree's, for as many
//! instructions. With n slots there are log4(n) levels, 5 for 1,024, 7 for 16,384. A change of a
//! dest's figures
//!
//! - reads its figures twice, and writes its leaf, 16 bytes, and a barrier;
//! - does no more if its key is what it was: with fo always, with ovf mostly;
//! - takes and gives back the right to play: an atomic operation and a barrier;
//! - reads one cache line a level, and writes 16 bytes of the next, for some 40 instructions. A
//!   conn that goes to the first dest writes all levels; one that ends at a dest in the middle, one
//!   or two.
//!
//! All CPUs that open or end conns of a service write the right to play, the root and the nodes
//! below it, as they write the service's counts in C; a packet of an established conn writes none
//! of them. Finding the first dest, or that there is none, reads the queue and the root, whose
//! words may be of two ranks, both just stored: the dest is asked again by who takes it. A slot takes
//! 30 to 40 bytes.
//!
//! # Sums
//!
//! For schedulers that ask for it, the dests' parts of some sum are kept up to date in a tree of
//! their own: see [`sums`](super::sums).

use super::{
    key::Key,
    sums::Sums, //
};
use crate::{
    sched::{
        Candidate,
        Figures,
        Kind, //
    },
    shim::{
        bh_disable,
        fence,
        Guard,
        NoMemory,
        Share,
        Table,
        Word, //
    },
};

/// The number of a node's children, and the least of an order's slots.
const CHILDREN: usize = 4;

/// There are no more slots than this: as many as the bits of a [`Key`] that say nothing can number.
const MOST_ROOM: usize = 1 << Key::SPARE_BITS;

const LAST_SLOT: u64 = (MOST_ROOM as u64).wrapping_sub(1);

/// How often a CPU that plays looks at the queue.
const ROUNDS: usize = 64;

/// How often the control plane looks whether others have played; each time takes what a play does,
/// or less.
const PATIENCE: usize = 1 << 16;

/// The end of the queue, and what a slot that is not queued has for its successor.
const LAST: u64 = u64::MAX;
const NOT_QUEUED: u64 = u64::MAX - 1;

/// The dests of a service in the order in which its scheduler takes them.
pub(crate) struct Order {
    /// Whose order it is.
    kind: Kind,
    /// Each node's children. The root is node 1, the children of a node are from 4 times its number
    /// on, and so the root is a child of node 0. From `base` on nodes are leaves, that of slot 0
    /// first.
    children: Table<[Rank; CHILDREN]>,
    /// A power of 4, and no less than the number of slots.
    base: usize,
    /// The slot behind each in the queue.
    next: Table<Word>,
    /// Whether a CPU plays.
    is_played: Word,
    /// The first slot that is to be played again.
    queue: Word,
    sums: Option<Sums>,
}

impl Share for Order {}

/// The less, the sooner; no two dests of an order have the same.
struct Rank {
    high: Word,
    low: Word,
}

impl Rank {
    const NONE: u128 = u128::MAX;

    fn new(rank: u128) -> Self {
        Self {
            high: Word::new((rank >> 64) as u64),
            low: Word::new(rank as u64),
        }
    }

    /// The rank of a slot whose dest has this key, or which has none and [`Key::NEVER`].
    const fn of(slot: u64, key: Key) -> u128 {
        let low = key.low_with(LAST_SLOT.wrapping_sub(slot));
        (key.high as u128) << 64 | low as u128
    }

    #[inline(always)]
    fn get(&self) -> u128 {
        u128::from(self.high.get()) << 64 | u128::from(self.low.get())
    }

    #[inline(always)]
    fn set(&self, rank: u128) {
        self.high.set((rank >> 64) as u64);
        self.low.set(rank as u64);
    }
}

/// The least rank of a node's children.
#[inline(always)]
fn least(children: &[Rank; CHILDREN]) -> u128 {
    let [a, b, c, d] = children;
    a.get().min(b.get()).min(c.get().min(d.get()))
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
    pub(crate) fn new<D: Candidate>(kind: Kind, dests: &[D]) -> Result<Self, NoMemory> {
        let spare = (dests.len() / 64).saturating_add(1);
        let room = match dests.len() {
            0 | 1 => CHILDREN,
            len => len
                .saturating_add(spare)
                .checked_next_power_of_two()
                .filter(|room| *room <= MOST_ROOM)
                .ok_or(NoMemory)?
                .max(CHILDREN),
        };
        let figures = |slot: usize| {
            let index = dests.len().checked_sub(slot.wrapping_add(1));
            index.and_then(|index| dests.get(index)).map(D::figures)
        };
        let mut base = CHILDREN;
        while base < room {
            base = base.wrapping_mul(CHILDREN);
        }
        let parents = base / CHILDREN;
        let rank = |node: usize| {
            let slot = node.checked_sub(base);
            Rank::new(slot.map_or(Rank::NONE, |slot| {
                Rank::of(slot as u64, key(kind, figures(slot)))
            }))
        };
        let children = Table::new(parents.wrapping_add(room / CHILDREN), |node| {
            let first = node.wrapping_mul(CHILDREN);
            core::array::from_fn(|child| rank(first.wrapping_add(child)))
        })?;
        let sums = match kind.part(&Figures::NONE) {
            None => None,
            Some(_) => {
                let part = |slot: usize| part(kind, figures(slot));
                Some(match kind.needs_prefix_sums() {
                    true => Sums::new(room, part)?,
                    false => Sums::total_only(room, part)?,
                })
            }
        };
        let order = Self {
            kind,
            children,
            base,
            next: Table::new(room, |_| Word::new(NOT_QUEUED))?,
            is_played: Word::new(0),
            queue: Word::new(LAST),
            sums,
        };
        for node in (1..order.children.len()).rev() {
            order.play_above(node);
        }
        Ok(order)
    }

    /// Whose order it is.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The sums that its scheduler asks for.
    #[inline]
    pub(crate) fn sums(&self) -> Option<&Sums> {
        self.sums.as_ref()
    }

    /// The sum of all dests' parts; below 0 while it is behind.
    #[inline]
    pub(crate) fn total(&self) -> i64 {
        // CAST: It is no larger than the number of dests by their largest part.
        self.sums.as_ref().map_or(0, |sums| sums.total() as i64)
    }

    /// How many slots there are.
    pub(crate) fn room(&self) -> usize {
        self.next.len()
    }

    /// The slot of the first dest, unless no dest is to be taken. While ranks change, one that was
    /// first, or an empty slot, or none.
    #[inline]
    pub(crate) fn first(&self) -> Option<u32> {
        self.catch_up();
        let [_, root, ..] = self.children.first()?;
        let is_any = root.high.get() != Key::NEVER.high;
        is_any.then(|| LAST_SLOT.wrapping_sub(root.low.get() & LAST_SLOT) as u32)
    }

    /// Whether no dest is to be taken, and no CPU is about to find one.
    pub(crate) fn is_empty(&self) -> bool {
        // A change that ends in between may be missed, as if it came after this.
        self.first().is_none() && self.is_at_rest()
    }

    /// Whether all that was queued before has been played.
    #[inline]
    fn is_at_rest(&self) -> bool {
        // In this order: who took a slot off the queue plays it next.
        self.queue.get() == LAST && self.is_played.get() == 0
    }

    /// Waits, not for ever, until what other CPUs play or have queued is done: what was changed
    /// before is in force then.
    pub(crate) fn settle(&self) {
        for _ in 0..PATIENCE {
            if self.is_at_rest() {
                return;
            }
            self.catch_up();
            core::hint::spin_loop();
        }
    }

    /// Has the order follow the figures of `dest`, or its leaving, if `slot` is or was its slot.
    pub(crate) fn update<D: Candidate>(&self, slot: u32, dest: &D, guard: &Guard) {
        let Some(leaf) = self.leaf(slot as usize) else {
            return;
        };
        let look = || {
            let is_here = dest.place().is(self, slot, guard);
            is_here.then(|| dest.figures())
        };
        let mut seen = look();
        if let Some(sums) = &self.sums {
            seen = self.update_part(sums, slot, seen, look);
        }
        let rank_of = |figures| Rank::of(slot.into(), key(self.kind, figures));
        let mut rank = rank_of(seen);
        if leaf.get() == rank {
            return;
        }
        loop {
            leaf.set(rank);
            fence();
            let now = look();
            if now == seen {
                break;
            }
            seen = now;
            rank = rank_of(seen);
        }
        self.play_or_queue(slot.into());
    }

    #[inline(always)]
    fn leaf(&self, slot: usize) -> Option<&Rank> {
        let node = self.base.wrapping_add(slot);
        self.children.get(node / CHILDREN)?.get(node % CHILDREN)
    }

    /// As with the leaves: whoever stored the part of other figures looks again, and stores anew.
    /// Returns what was seen last.
    #[inline]
    fn update_part(
        &self,
        sums: &Sums,
        slot: u32,
        seen: Option<Figures>,
        look: impl Fn() -> Option<Figures>,
    ) -> Option<Figures> {
        let mut seen = seen;
        if sums.part(slot as usize) == part(self.kind, seen) {
            return seen;
        }
        loop {
            sums.set(slot as usize, part(self.kind, seen));
            let now = look();
            if now == seen {
                return seen;
            }
            seen = now;
        }
    }

    /// Has the nodes above a leaf follow its key: now, or when the CPU that plays has done.
    fn play_or_queue(&self, slot: u64) {
        let _bh = bh_disable();
        if self.is_played.exchange(0, 1) {
            self.play(slot);
            self.stop_playing();
        } else {
            self.enqueue(slot);
        }
        self.help();
    }

    /// Plays what is queued, unless another CPU does.
    #[inline]
    fn help(&self) {
        for _ in 0..ROUNDS {
            if self.queue.get() == LAST || !self.is_played.exchange(0, 1) {
                return;
            }
            self.play_queue();
            self.stop_playing();
        }
    }

    /// The same, for who does not play.
    #[inline(always)]
    fn catch_up(&self) {
        if self.queue.get() != LAST {
            let _bh = bh_disable();
            self.help();
        }
    }

    fn stop_playing(&self) {
        self.is_played.set(0);
        // Who queued a slot found us playing: the queue is looked at after this.
        fence();
    }

    /// Queues a slot, whose leaf was stored before a full barrier.
    #[cold]
    fn enqueue(&self, slot: u64) {
        let Some(next) = self.next.get(slot as usize) else {
            return;
        };
        if !next.exchange(NOT_QUEUED, LAST) {
            return;
        }
        loop {
            let first = self.queue.get();
            next.set(first);
            if self.queue.exchange(first, slot) {
                return;
            }
        }
    }

    #[cold]
    fn play_queue(&self) {
        let mut slot = self.queue.swap(LAST);
        while let Some(next) = self.next.get(slot as usize) {
            let next = next.swap(NOT_QUEUED);
            self.play(slot);
            slot = next;
        }
    }

    /// Has the nodes above a leaf follow it.
    #[inline(always)]
    fn play(&self, slot: u64) {
        self.play_above(self.base.wrapping_add(slot as usize) / CHILDREN);
    }

    /// Writes this node and those above that change with it.
    #[inline(always)]
    fn play_above(&self, node: usize) {
        // The compiler need not expect that these change by what is written.
        let table = &self.children[..];
        let ranks = table.as_flattened();
        let mut node = node;
        while node > 0 {
            let (Some(children), Some(own)) = (table.get(node), ranks.get(node)) else {
                return;
            };
            let rank = least(children);
            // Of the words of two ranks the lower ones differ.
            if own.low.get() == rank as u64 && own.get() == rank {
                return;
            }
            own.set(rank);
            node /= CHILDREN;
        }
    }
}

#[cfg(test)]
impl Order {
    /// Whether all leaves are as `dests` are, with slots from 0 at the end of the list, and all
    /// nodes as they must be when no change is under way.
    pub(crate) fn is_settled<D: Candidate>(&self, dests: &[D]) -> bool {
        let is_leaf_right = |(dest, slot): (&D, u64)| {
            let key = match dest.place().is_in(self) {
                true => self.kind.key(&dest.figures()),
                false => Key::NEVER,
            };
            self.leaf(slot as usize).unwrap().get() == Rank::of(slot, key)
        };
        let is_node_right = |node: usize| {
            let rank = self.children[node / CHILDREN][node % CHILDREN].get();
            rank == least(&self.children[node])
        };
        self.help();
        assert!(self.queue.get() == LAST);
        dests.iter().rev().zip(0..).all(is_leaf_right)
            && (1..self.children.len()).all(is_node_right)
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
