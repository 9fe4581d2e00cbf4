// SPDX-License-Identifier: GPL-2.0

//! How long the chains of an [`RcuHash`] are, for people.

use kernel::sync::rcu;

use crate::oot::{
    bindings,
    sync::rcu_dereference::rcu_dereference_marked, //
};

use super::{
    buckets::{
        Bucket,
        Buckets,
        Link, //
    },
    HasHashLinks,
    RcuHash, //
};

/// How many chains there are of 0 to 6 links and, last, of 7 or more.
pub(crate) type ChainLengths = [u32; 8];

/// The links of a chain are counted up to here.
const MAX_LENGTH: usize = 7;

/// How many buckets are looked at in one read-side section: with chains of the greatest length
/// that is as long as a packet takes, a few times over.
const CHUNK: usize = 1 << 10;

/// How often to start over because the table is another.
const TRIES: u32 = 5;

impl<T: HasHashLinks> RcuHash<T> {
    /// Counts the chains by length; while a resize is under way, those of both tables. `None` if
    /// the table is resized again and again meanwhile.
    ///
    /// Sleeps. The 2^26 buckets of the largest table are looked at in chunks, each in a read-side
    /// section of its own after which others may run, so that neither a grace period nor another
    /// task waits for the whole of it; and a chain is walked for [`MAX_LENGTH`] links at most. What
    /// changes meanwhile is counted as it was or as it is.
    pub(crate) fn chain_lengths(&self) -> Option<ChainLengths> {
        (0..TRIES).find_map(|_| self.try_chain_lengths())
    }

    /// `None` if the table is resized meanwhile.
    fn try_chain_lengths(&self) -> Option<ChainLengths> {
        let sizes = self.sizes(&rcu::read_lock());
        let mut lengths = [0; MAX_LENGTH + 1];
        for (is_newer, size) in [(false, sizes.0), (true, sizes.1)] {
            for start in (0..size).step_by(CHUNK) {
                let guard = rcu::read_lock();
                if self.sizes(&guard) != sizes {
                    return None;
                }
                let table = self.buckets.current(&guard);
                let table = if is_newer { table.newest() } else { table };
                table.count(&guard, start, &mut lengths);
                drop(guard);
                // SAFETY: This sleeps in no critical section: the guard is gone, and the function
                // says that it sleeps.
                unsafe { bindings::oot_cond_resched() };
            }
        }
        Some(lengths)
    }

    /// The number of buckets of the table, and of its successor if there is one.
    fn sizes(&self, guard: &rcu::Guard) -> (usize, usize) {
        let table = self.buckets.current(guard);
        let size = |table: &Buckets| table.heads.len();
        (size(table), table.successor().map_or(0, size))
    }
}

impl Buckets {
    /// Counts a chunk of chains.
    fn count(&self, guard: &rcu::Guard, start: usize, lengths: &mut ChainLengths) {
        for head in self.heads.iter().skip(start).take(CHUNK) {
            if let Some(number) = lengths.get_mut(Bucket(head).length(guard)) {
                *number = number.wrapping_add(1);
            }
        }
    }
}

impl Bucket<'_> {
    /// How many links the chain has, as far as they are counted. One that is moved meanwhile leads
    /// into another chain, which is then counted on.
    fn length(self, _guard: &rcu::Guard) -> usize {
        let mut at = self.first();
        let mut length = 0;
        while at & 1 == 0 && length < MAX_LENGTH {
            // SAFETY: A link found in a chain is live until the section ends that the guard is of.
            at = rcu_dereference_marked(unsafe { &(*(at as *const Link)).next });
            length = length.wrapping_add(1);
        }
        length
    }
}
