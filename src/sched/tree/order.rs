// SPDX-License-Identifier: GPL-2.0

//! The dests of a service in the order in which its scheduler chooses them: a winner tree.
//!
//! C's schedulers walk the list of dests for each new conn. Here the dests are the leaves of a
//! winner tree (tournament tree) with four children per node. A leaf has the *rank* of its dest, a
//! node the least rank of its children, and so the root the least rank of all dests. When a rank
//! changes, the matches on the path from the leaf to the root are replayed.
//!
//! # Vocabulary
//!
//! - A *slot* is the number of a dest's leaf; see [`slots`](super::slots).
//! - A *rank* is a dest's [`Key`] with the slot in the key's unused bits. Of dests with equal keys,
//!   the one with the highest slot, which is the first in C's list, has the least rank.
//!
//! # Concurrency
//!
//! Any CPU may change any dest at any time. The invariant is: when no change is in progress, each
//! node has the least rank of its children. During a change, a reader may find the previous order.
//!
//! *Leaves* are written by any CPU. After a change of a dest's figures the CPU reads the figures,
//! stores the rank, and after a full barrier reads the figures again. If they differ, it starts
//! over. So the rank that is stored last is that of the last figures: a CPU that stored another
//! rank had read the figures before the last change, reads them again after it, and stores the new
//! rank. The number of repetitions is bounded by the number of concurrent changes to the same dest.
//! A reader may read an old and a new word of a rank; the CPU that stored the later word replays
//! the matches afterwards.
//!
//! *Nodes* are written by one CPU at a time, by flat combining. A CPU that finds an update in
//! progress does not wait: it enqueues its slot, and the combining CPU drains the queue when its
//! own update is done. A slot is dequeued before its matches are replayed, so a rank stored after
//! that enqueues the slot again. A combiner drains the queue at most [`ROUNDS`] times. The next CPU
//! that changes a dest or calls [`Order::first`] drains the rest.
//!
//! A replay ends at the first node that already has the right rank.
//!
//! # Costs
//!
//! A node's four children are one cache line. An update accesses a quarter of the cache lines of a
//! binary tree, with as many instructions. With n slots there are log4(n) levels: 5 for 1,024, 7
//! for 16,384. A change of a dest's figures
//!
//! - reads the figures twice, writes the leaf, 16 bytes, and takes a barrier;
//! - does no more if the key stays the same: always with fo, mostly with ovf;
//! - takes and releases the right to combine: one atomic operation and one barrier;
//! - reads one cache line per level and writes 16 bytes of the next, about 40 instructions. A conn
//!   to the first dest writes all levels. The end of a conn to a dest in the middle writes one or
//!   two.
//!
//! All CPUs that open or end conns of a service write the word `combining`, the root and the nodes
//! below it, as in C they write the service's counters. A packet of an established conn writes none
//! of these. A search for the first dest reads the head of the queue and the root. The two words of
//! the root may belong to two ranks, both just stored, so the caller checks that the dest is
//! available. A slot takes 30 to 40 bytes.
//!
//! # Sums
//!
//! For schedulers that need it, the order also has the sum of the dests' parts: see
//! [`sums`](super::sums).

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
        Array,
        Guard,
        NoMemory,
        Share,
        Word, //
    },
};

/// The number of a node's children, and the smallest number of slots.
const CHILDREN: usize = 4;

/// The largest number of slots, limited by the unused bits of a [`Key`].
const MAX_ROOM: usize = 1 << Key::SPARE_BITS;

const LAST_SLOT: u64 = (MAX_ROOM as u64).wrapping_sub(1);

/// The maximum number of times that a combining CPU drains the queue.
const ROUNDS: usize = 64;

/// The maximum number of times that the control plane polls for the end of other CPUs' updates.
const MAX_POLLS: usize = 1 << 16;

/// The end of the queue.
const END: u64 = u64::MAX;
/// The successor of a slot that is not queued.
const NOT_QUEUED: u64 = u64::MAX - 1;

/// The dests of a service in the order in which its scheduler chooses them.
pub(crate) struct Order {
    /// The scheduler.
    kind: Kind,
    /// The children of each node. The root is node 1, and the children of node n are 4n to 4n + 3,
    /// so the root is a child of node 0. Nodes from `base` on are leaves, slot 0 first.
    children: Array<[Rank; CHILDREN]>,
    /// A power of 4, at least the number of slots.
    base: usize,
    /// The successor of each slot in the queue.
    next: Array<Word>,
    /// 1 while a CPU writes the nodes.
    combining: Word,
    /// The head of the queue of slots whose matches are to be replayed.
    queue: Word,
    sums: Option<Sums>,
}

impl Share for Order {}

/// The place of a dest in the order, the least first. No two dests have the same rank.
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

    /// The rank of a slot whose dest has this key; [`Key::NEVER`] for a slot without a dest.
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

/// The key of a dest with these figures, or of a slot without a dest.
#[inline]
fn key(kind: Kind, figures: Option<Figures>) -> Key {
    figures.map_or(Key::NEVER, |figures| kind.key(&figures))
}

/// The part of a dest with these figures, or of a slot without a dest.
#[inline]
fn part(kind: Kind, figures: Option<Figures>) -> u64 {
    figures.and_then(|figures| kind.part(&figures)).unwrap_or(0)
}

impl Order {
    /// The order of `dests`. Slot 0 is the last dest of the list.
    ///
    /// There is room for more dests, up to the next power of 2. At least one slot in 64 is free,
    /// which bounds the cost of a rebuild per added dest.
    ///
    /// # Errors
    ///
    /// [`NoMemory`], also for more than [`MAX_ROOM`] dests.
    pub(crate) fn new<D: Candidate>(kind: Kind, dests: &[D]) -> Result<Self, NoMemory> {
        let spare = (dests.len() / 64).saturating_add(1);
        let room = match dests.len() {
            0 | 1 => CHILDREN,
            len => len
                .saturating_add(spare)
                .checked_next_power_of_two()
                .filter(|room| *room <= MAX_ROOM)
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
        let children = Array::new(parents.wrapping_add(room / CHILDREN), |node| {
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
            next: Array::new(room, |_| Word::new(NOT_QUEUED))?,
            combining: Word::new(0),
            queue: Word::new(END),
            sums,
        };
        for node in (1..order.children.len()).rev() {
            order.replay_from(node);
        }
        Ok(order)
    }

    /// The scheduler.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The sums, if the scheduler needs them.
    #[inline]
    pub(crate) fn sums(&self) -> Option<&Sums> {
        self.sums.as_ref()
    }

    /// The sum of all dests' parts. It may be negative while a change is in progress.
    #[inline]
    pub(crate) fn total(&self) -> i64 {
        // CAST: The sum is at most the number of dests times the largest part.
        self.sums.as_ref().map_or(0, |sums| sums.total() as i64)
    }

    /// The number of slots.
    pub(crate) fn room(&self) -> usize {
        self.next.len()
    }

    /// The slot of the first dest, or `None` if no dest is available. While ranks change, it may be
    /// the slot of a dest that was first before, an empty slot, or `None`.
    #[inline]
    pub(crate) fn first(&self) -> Option<u32> {
        self.drain();
        let [_, root, ..] = self.children.first()?;
        let is_any = root.high.get() != Key::NEVER.high;
        is_any.then(|| LAST_SLOT.wrapping_sub(root.low.get() & LAST_SLOT) as u32)
    }

    /// Whether no dest is available and no update is in progress.
    pub(crate) fn is_empty(&self) -> bool {
        // A change that ends between the two reads may be missed, as if it came after them.
        self.first().is_none() && self.is_idle()
    }

    /// Whether the matches of all slots that were enqueued before this call have been replayed.
    #[inline]
    fn is_idle(&self) -> bool {
        // In this order: a dequeued slot is replayed under `combining`.
        self.queue.get() == END && self.combining.get() == 0
    }

    /// Waits until all changes made before this call are in the nodes, for a bounded time.
    pub(crate) fn flush(&self) {
        for _ in 0..MAX_POLLS {
            if self.is_idle() {
                return;
            }
            self.drain();
            core::hint::spin_loop();
        }
    }

    /// Updates the order after a change of the figures or of the membership of `dest`, which has or
    /// had this slot.
    pub(crate) fn update<D: Candidate>(&self, slot: u32, dest: &D, guard: &Guard) {
        let Some(leaf) = self.leaf(slot as usize) else {
            return;
        };
        let current = || {
            let is_here = dest.place().is(self, slot, guard);
            is_here.then(|| dest.figures())
        };
        let mut seen = current();
        if let Some(sums) = &self.sums {
            seen = self.update_part(sums, slot, seen, current);
        }
        let rank_of = |figures| Rank::of(slot.into(), key(self.kind, figures));
        let mut rank = rank_of(seen);
        if leaf.get() == rank {
            return;
        }
        loop {
            leaf.set(rank);
            fence();
            let now = current();
            if now == seen {
                break;
            }
            seen = now;
            rank = rank_of(seen);
        }
        self.replay_or_enqueue(slot.into());
    }

    #[inline(always)]
    fn leaf(&self, slot: usize) -> Option<&Rank> {
        let node = self.base.wrapping_add(slot);
        self.children.get(node / CHILDREN)?.get(node % CHILDREN)
    }

    /// Updates a part. As in [`update`](Self::update), repeats this until the figures are those
    /// that were read before the store. Returns these.
    #[inline]
    fn update_part(
        &self,
        sums: &Sums,
        slot: u32,
        seen: Option<Figures>,
        current: impl Fn() -> Option<Figures>,
    ) -> Option<Figures> {
        let mut seen = seen;
        if sums.part(slot as usize) == part(self.kind, seen) {
            return seen;
        }
        loop {
            sums.set(slot as usize, part(self.kind, seen));
            let now = current();
            if now == seen {
                return seen;
            }
            seen = now;
        }
    }

    /// Replays the matches above a leaf, or enqueues the slot for the combining CPU.
    fn replay_or_enqueue(&self, slot: u64) {
        let _bh_disabled = bh_disable();
        if self.combining.exchange(0, 1) {
            self.replay(slot);
            self.stop_combining();
        } else {
            self.enqueue(slot);
        }
        self.combine();
    }

    /// Drains the queue, unless another CPU does. Must be called with BHs disabled.
    #[inline]
    fn combine(&self) {
        for _ in 0..ROUNDS {
            if self.queue.get() == END || !self.combining.exchange(0, 1) {
                return;
            }
            self.replay_queue();
            self.stop_combining();
        }
    }

    /// Drains the queue, if it is not empty.
    #[inline(always)]
    fn drain(&self) {
        if self.queue.get() != END {
            let _bh_disabled = bh_disable();
            self.combine();
        }
    }

    fn stop_combining(&self) {
        self.combining.set(0);
        // A CPU that enqueued a slot has read `combining` as set, so the queue is read after this.
        fence();
    }

    /// Enqueues a slot. A full barrier must separate the store of its leaf from this call.
    #[cold]
    fn enqueue(&self, slot: u64) {
        let Some(next) = self.next.get(slot as usize) else {
            return;
        };
        if !next.exchange(NOT_QUEUED, END) {
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
    fn replay_queue(&self) {
        let mut slot = self.queue.swap(END);
        while let Some(next) = self.next.get(slot as usize) {
            let next = next.swap(NOT_QUEUED);
            self.replay(slot);
            slot = next;
        }
    }

    /// Replays the matches from a leaf to the root.
    #[inline(always)]
    fn replay(&self, slot: u64) {
        self.replay_from(self.base.wrapping_add(slot as usize) / CHILDREN);
    }

    /// Writes this node and its ancestors, up to the first whose rank stays the same.
    #[inline(always)]
    fn replay_from(&self, node: usize) {
        // In local variables, so that the compiler does not load them again after each store.
        let table = &self.children[..];
        let ranks = table.as_flattened();
        let mut node = node;
        while node > 0 {
            let (Some(children), Some(own)) = (table.get(node), ranks.get(node)) else {
                return;
            };
            let rank = least(children);
            // The low word contains the slot, so it nearly always suffices.
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
    /// Whether all leaves match `dests`, slot 0 being the last of the list, and all nodes have the
    /// least rank of their children.
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
        self.combine();
        assert!(self.queue.get() == END);
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
