// SPDX-License-Identifier: GPL-2.0

//! The distribution of chain lengths in an [`RcuHash`], for status output.

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

/// The number of chains with 0 to 6 links and, last, with 7 or more.
pub(crate) type ChainLengths = [u32; 8];

/// Links of a chain are counted up to this number.
const MAX_LENGTH: usize = 7;

/// The number of buckets per read-side critical section. With chains of the maximum length, one
/// section takes a few times as long as the processing of a packet.
const CHUNK: usize = 1 << 10;

/// The number of attempts when the table is resized meanwhile.
const TRIES: u32 = 5;

impl<T: HasHashLinks> RcuHash<T> {
    /// Counts the chains by length. During a resize, the chains of both tables are counted. Returns
    /// `None` if the table is resized at each attempt.
    ///
    /// Sleeps. The buckets, up to 2^26, are visited in chunks, each in its own read-side critical
    /// section, with a reschedule point after each. So the count delays neither a grace period nor
    /// other tasks for its whole duration. At most [`MAX_LENGTH`] links of a chain are visited. A
    /// concurrent change may or may not be counted.
    pub(crate) fn chain_lengths(&self) -> Option<ChainLengths> {
        (0..TRIES).find_map(|_| self.try_chain_lengths())
    }

    /// One attempt; `None` if the table is resized meanwhile.
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
                // SAFETY: No critical section is active here: the guard was dropped, and the
                // function is documented to sleep.
                unsafe { bindings::oot_cond_resched() };
            }
        }
        Some(lengths)
    }

    /// The number of buckets of the table, and of its successor or 0.
    fn sizes(&self, guard: &rcu::Guard) -> (usize, usize) {
        let table = self.buckets.current(guard);
        let size = |table: &Buckets| table.heads.len();
        (size(table), table.successor().map_or(0, size))
    }
}

impl Buckets {
    /// Counts a chunk of chains, from bucket `start` on.
    fn count(&self, guard: &rcu::Guard, start: usize, lengths: &mut ChainLengths) {
        for head in self.heads.iter().skip(start).take(CHUNK) {
            if let Some(number) = lengths.get_mut(Bucket(head).length(guard)) {
                *number = number.wrapping_add(1);
            }
        }
    }
}

impl Bucket<'_> {
    /// The number of links in the chain, up to [`MAX_LENGTH`]. If a link is moved meanwhile, the
    /// count continues in the other chain.
    fn length(self, _guard: &rcu::Guard) -> usize {
        let mut at = self.first();
        let mut length = 0;
        while at & 1 == 0 && length < MAX_LENGTH {
            // SAFETY: A link found in a chain is live until the guard's critical section ends.
            at = rcu_dereference_marked(unsafe { &(*(at as *const Link)).next });
            length = length.wrapping_add(1);
        }
        length
    }
}
