// SPDX-License-Identifier: GPL-2.0

//! Walks over all entries of an [`RcuHash`].

use kernel::sync::rcu;

use crate::oot::{
    bindings,
    sync::{
        rcu_arc::RcuRef,
        rcu_dereference::rcu_dereference_marked,
        Once, //
    }, //
};

use super::{
    buckets::{
        Buckets,
        Link, //
    },
    links::entry_of,
    HasHashLinks,
    RcuHash, //
};

/// The position of a walk over the table: all entries at or before it were visited.
///
/// Entries are visited in the order of (hash, address). So an entry that is in the table during the
/// whole walk is visited exactly once, even if others are added or removed or the table is resized.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HashCursor {
    hash: u32,
    link: usize,
}

impl HashCursor {
    /// Returns the cursor as two words, for callers that store it in a C array.
    pub(crate) fn to_words(self) -> [usize; 2] {
        [self.hash as usize, self.link]
    }

    /// The inverse of [`HashCursor::to_words`].
    pub(crate) fn from_words([hash, link]: [usize; 2]) -> Self {
        Self {
            hash: hash as u32,
            link,
        }
    }
}

/// [`RcuHash::for_each_between`] ends a read-side critical section after this many links and
/// buckets. That is less than a million instructions, even if each entry is removed.
const CHUNK: usize = 1 << 8;

impl<T: HasHashLinks> RcuHash<T> {
    /// Returns the next entry of a walk and the cursor after it, or `None` at the end.
    pub(crate) fn next<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        cursor: HashCursor,
    ) -> Option<(RcuRef<'g, T>, HashCursor)> {
        let table = self.buckets.current(guard);
        let mut start = cursor.hash;
        loop {
            // The hash range of the bucket that contains `start`, in the table with fewer buckets.
            let last = table.last_of(start).max(table.newest().last_of(start));
            let mut least: Option<HashCursor> = None;
            let mut newer = Some(table);
            while let Some(buckets) = newer {
                least = buckets.least_after(cursor, start, last, least);
                newer = buckets.successor();
            }
            if let Some(found) = least {
                // SAFETY: The link was found in a chain within this read-side critical section.
                let (_, entry) = unsafe { entry_of(found.link) };
                return Some((entry, found));
            }
            start = last.checked_add(1)?;
        }
    }

    /// Calls `each` with every entry, each in its own read-side critical section, so that a long
    /// walk does not delay a grace period.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&rcu::Guard, RcuRef<'_, T>)) {
        let mut cursor = HashCursor::default();
        loop {
            let guard = rcu::read_lock();
            let Some((entry, after)) = self.next(&guard, cursor) else {
                return;
            };
            cursor = after;
            each(&guard, entry);
        }
    }
}

impl<T: HasHashLinks> RcuHash<T> {
    /// Calls `each` with the entries whose first link has a hash from `first` to `last`, in any
    /// order. If the table is resized meanwhile, some may be left out or visited twice.
    ///
    /// Sleeps. The links are visited in chunks, each in its own read-side critical section, with a
    /// reschedule point after each.
    pub(crate) fn for_each_between(
        &self,
        first: u32,
        last: u32,
        mut each: impl FnMut(&rcu::Guard, RcuRef<'_, T>),
    ) {
        let mut start = Some(first);
        while let Some(first) = start {
            start = self.visit_chunk(&rcu::read_lock(), first, last, &mut each);
            // SAFETY: No critical section is active here: the guard was dropped, and the function
            // is documented to sleep.
            unsafe { bindings::oot_cond_resched() };
        }
    }

    /// Visits a chunk, and returns the hash with which the next one starts, if there is one.
    fn visit_chunk(
        &self,
        guard: &rcu::Guard,
        first: u32,
        last: u32,
        each: &mut impl FnMut(&rcu::Guard, RcuRef<'_, T>),
    ) -> Option<u32> {
        let table = self.buckets.current(guard);
        let (mut start, mut visited) = (first, 0_usize);
        loop {
            let end = table.last_of(start).min(last);
            let mut newer = Some(table);
            while let Some(buckets) = newer {
                let steps = buckets.visit(guard, start, end, |link| {
                    // SAFETY: The link was found in a chain within this critical section.
                    let (_, entry) = unsafe { entry_of(link) };
                    each(guard, entry);
                });
                visited = visited.wrapping_add(steps);
                newer = buckets.successor();
            }
            start = end.checked_add(1).filter(|start| *start <= last)?;
            if visited >= CHUNK {
                return Some(start);
            }
        }
    }
}

impl Buckets {
    /// Calls `each` with the first links that have a hash in `first..=last`. Returns the number of
    /// links and buckets visited. A chain in which a link was moved is not visited to its end.
    fn visit(
        &self,
        _guard: &rcu::Guard,
        first: u32,
        last: u32,
        mut each: impl FnMut(usize),
    ) -> usize {
        let (mut hash, mut steps) = (first, 0_usize);
        loop {
            let mut at = self.bucket(hash).first();
            while at & 1 == 0 {
                // SAFETY: A link found in a chain is live until the guard's critical section ends.
                let link = unsafe { &*(at as *const Link) };
                if link.index() == 0 && (first..=last).contains(&link.hash.read_once()) {
                    each(at);
                }
                steps = steps.wrapping_add(1);
                at = rcu_dereference_marked(&link.next);
            }
            steps = steps.wrapping_add(1);
            match self.last_of(hash).checked_add(1) {
                Some(next) if next <= last => hash = next,
                _ => return steps,
            }
        }
    }

    /// The least first link after `cursor` with a hash in `start..=last`, or `least` if that is
    /// less.
    fn least_after(
        &self,
        cursor: HashCursor,
        start: u32,
        last: u32,
        mut least: Option<HashCursor>,
    ) -> Option<HashCursor> {
        let mut hash = start;
        loop {
            let bucket = self.bucket(hash);
            let mut at = bucket.first();
            while at & 1 == 0 {
                // SAFETY: A link found in a chain is live until the caller's critical section ends.
                let link = unsafe { &*(at as *const Link) };
                let here = HashCursor {
                    hash: link.hash.read_once(),
                    link: at,
                };
                if link.index() == 0
                    && here.is_after(cursor)
                    && (start..=last).contains(&here.hash)
                    && least.is_none_or(|least| least.is_after(here))
                {
                    least = Some(here);
                }
                at = rcu_dereference_marked(&link.next);
            }
            if at != bucket.end_mark() {
                continue;
            }
            // Go on with the next bucket of this table if the range spans several buckets.
            match self.last_of(hash).checked_add(1) {
                Some(next) if next <= last => hash = next,
                _ => return least,
            }
        }
    }
}

impl HashCursor {
    fn is_after(self, other: Self) -> bool {
        (self.hash, self.link) > (other.hash, other.link)
    }
}
