// SPDX-License-Identifier: GPL-2.0

//! Walks over all entries of an [`RcuHash`].

use kernel::sync::rcu;

use crate::oot::sync::{
    rcu_arc::RcuRef,
    rcu_dereference::rcu_dereference_marked,
    Once, //
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

/// Where a walk over the table stands: everything at or before it has been seen.
///
/// Entries are visited in the order of (hash, address), so an entry that is in the table during
/// the whole walk is visited exactly once, whatever else is added, removed or resized.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HashCursor {
    hash: u32,
    link: usize,
}

impl HashCursor {
    /// As two words, for callers that keep it in a C array.
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

impl<T: HasHashLinks> RcuHash<T> {
    /// The next entry of a walk, and where the walk stands after it. `None` at the end.
    pub(crate) fn next<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        cursor: HashCursor,
    ) -> Option<(RcuRef<'g, T>, HashCursor)> {
        let table = self.buckets.current(guard);
        let mut start = cursor.hash;
        loop {
            // The range of hashes that the bucket of `start` holds, in the smaller table's terms.
            let last = table.last_of(start).max(table.newest().last_of(start));
            let mut least: Option<HashCursor> = None;
            let mut newer = Some(table);
            while let Some(buckets) = newer {
                least = buckets.least_after(cursor, start, last, least);
                newer = buckets.successor();
            }
            if let Some(found) = least {
                // SAFETY: The link was found in a chain within this read-side section.
                let (_, entry) = unsafe { entry_of(found.link) };
                return Some((entry, found));
            }
            start = last.checked_add(1)?;
        }
    }

    /// Calls `each` with every entry, in read-side sections of their own, so that a walk of any
    /// length holds up no grace period.
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

impl Buckets {
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
                // SAFETY: A link found in a chain is live until the caller's section ends.
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
            // The next bucket of this table, should the range span several.
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
