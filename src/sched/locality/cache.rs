// SPDX-License-Identifier: GPL-2.0

//! The cache of lblc and lblcr: for each address, the dests that packets were sent to last.
//!
//! An entry holds references to its dests, as in C. So a removed dest stays in the trash as long as
//! an entry refers to it, and is used again when it is added again.
//!
//! # Concurrency
//!
//! Readers find entries under RCU. A bucket is changed under its lock. The lock is taken for a
//! packet to an address without a usable entry, and by the timer.
//!
//! # Expiry
//!
//! A timer fires each minute. Every 30 minutes it removes the entries that were unused for the time
//! of the sysctl. While there are too many entries, it removes those that were unused for 6
//! minutes, until the excess is removed. The buckets and their order are the same as in C, so the
//! same entries are removed.
//!
//! # Costs
//!
//! A hit walks a bucket, of up to 16 entries on average, and writes one word of its entry at most
//! once per jiffy. A new entry costs an allocation and the bucket's lock.

use crate::{
    addr::Addr,
    hash::hash_32,
    sched::{
        Candidate,
        Flow,
        Member, //
    },
    shim::{
        jiffies,
        start,
        Array,
        Guard,
        Item,
        Jiffies,
        List,
        NoMemory,
        Periodic,
        Share,
        Shared,
        Tick,
        Word,
        HZ, //
    },
};
use core::ops::Deref;

/// The base-2 logarithm of the number of buckets (C: `CONFIG_IP_VS_LBLC_TAB_BITS`).
const BUCKET_BITS: u32 = 10;
const BUCKETS: usize = 1 << BUCKET_BITS;

/// The number of entries above which some are removed early (C: `max_size`).
const MANY: u64 = 16 << BUCKET_BITS;
/// The largest number of entries.
const MOST: u64 = MANY * 3 / 2;

/// The time between two checks, in jiffies (C: `CHECK_EXPIRE_INTERVAL`).
const CHECK_INTERVAL: usize = 60 * HZ;
/// One check in this many is a full one (C: `COUNT_FOR_FULL_EXPIRATION`).
const FULL_CHECK: u64 = 30;
/// The time after which an unused entry may be removed early, in jiffies (C: `ENTRY_TIMEOUT`).
const ENTRY_TIMEOUT: usize = 6 * 60 * HZ;

/// The default of the sysctls lblc_expiration and lblcr_expiration, in jiffies.
pub(crate) const DEFAULT_EXPIRATION: i32 = 24 * 60 * 60 * HZ as i32;

/// The content of an entry: the dests of its address.
pub(crate) trait Content: Share + Sized {
    /// The type of the references to dests.
    type Kept: Candidate;

    /// The content for an address whose packets are sent to `dest` from the time `now` on, in
    /// jiffies.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if memory is short.
    fn new<D: Member<Kept = Self::Kept>>(dest: &D, now: usize) -> Result<Self, NoMemory>;

    /// Whether packets to the address may be sent to `dest` without a new entry.
    fn may_take<D: Member<Kept = Self::Kept>>(&self, dest: &D) -> bool;

    /// Updates the content for an address whose packets are sent to `dest` from the time `now` on.
    /// Returns false if that is not possible; the entry must be replaced then.
    ///
    /// May allocate and free memory, so it must not be called with a bucket locked: with PREEMPT_RT
    /// the allocator sleeps.
    fn update<D: Member<Kept = Self::Kept>>(&self, dest: &D, now: usize) -> bool {
        let _ = now;
        self.may_take(dest)
    }
}

/// Whether `kept` is a reference to `dest`.
pub(crate) fn is_same(kept: &impl Candidate, dest: &impl Candidate) -> bool {
    core::ptr::eq(kept.place(), dest.place())
}

/// An entry for one address.
pub(super) struct Entry<T> {
    addr: Addr,
    /// The time of the last use, in jiffies.
    last_use: Word,
    pub(super) content: T,
}

impl<T: Content> Share for Entry<T> {}

/// The cache of one service.
pub(crate) struct Cache<T: Content> {
    buckets: Array<List<Entry<T>>>,
    /// The number of entries.
    len: Word,
    /// The number of checks since the last full one.
    checks: Word,
    /// The bucket that was checked last.
    rover: Word,
    expiration: Jiffies,
}

impl<T: Content> Share for Cache<T> {}

/// A cache with its timer, shared by a scheduler's state and its successors.
pub(super) type SharedCache<T> = Shared<Periodic<Cache<T>>>;

/// C: `time_after()`.
pub(crate) const fn is_after(time: usize, other: usize) -> bool {
    // CAST: The sign of the difference shows which is later, even if jiffies wrap.
    (other.wrapping_sub(time) as isize) < 0
}

impl<T: Content> Cache<T> {
    /// An empty cache whose entries expire when they are unused for `expiration`.
    pub(super) fn new(expiration: Jiffies) -> Result<SharedCache<T>, NoMemory> {
        let cache = Self {
            buckets: Array::new(BUCKETS, |_| List::new())?,
            len: Word::new(0),
            checks: Word::new(1),
            rover: Word::new(0),
            expiration,
        };
        start(cache, CHECK_INTERVAL)
    }

    /// The sysctl's time, in jiffies, after which unused entries expire.
    pub(super) fn expiration(&self) -> usize {
        self.expiration.get()
    }

    /// The entry for the packet's destination address. Marks it as used at the time `now`.
    #[inline]
    pub(super) fn find<'g>(
        &'g self,
        flow: &Flow<'_>,
        now: usize,
        guard: &'g Guard,
    ) -> Option<impl Deref<Target = Entry<T>> + use<'g, T>> {
        let bucket = self.bucket(flow)?;
        let entry = bucket
            .iter(guard)
            .find(|entry| entry.addr == *flow.daddr())?;
        if entry.last_use.get() != now as u64 {
            entry.last_use.set(now as u64);
        }
        Some(entry)
    }

    /// Adds or updates the entry for the packet's destination address, with the dest `dest`.
    ///
    /// If the cache is full or there is no memory, no entry is added.
    pub(crate) fn update<D: Member<Kept = T::Kept>>(
        &self,
        flow: &Flow<'_>,
        now: usize,
        dest: &D,
        guard: &Guard,
    ) {
        let Some(bucket) = self.bucket(flow) else {
            return;
        };
        let addr = flow.daddr();
        let item = T::new(dest, now).and_then(|content| {
            Ok(Item::new(Entry {
                addr: *addr,
                last_use: Word::new(now as u64),
                content,
            })?)
        });
        let mut bucket = bucket.lock();
        let known = bucket.iter().find(|entry| entry.addr == *addr);
        if known.is_some_and(|entry| entry.content.may_take(dest)) {
            // Another CPU has added the entry meanwhile.
            drop(bucket);
            if let Some(entry) = self.find(flow, now, guard) {
                entry.content.update(dest, now);
            }
            return;
        }
        self.forget(bucket.remove(|entry| entry.addr == *addr));
        let spare = match item {
            Ok(item) if self.may_grow() => {
                bucket.push(item);
                None
            }
            item => item.ok(),
        };
        // Memory is freed outside of the lock.
        drop(bucket);
        drop(spare);
    }

    /// Counts a new entry. Returns false if there are too many already.
    fn may_grow(&self) -> bool {
        loop {
            let len = self.len.get();
            if len >= MOST {
                return false;
            }
            if self.len.exchange(len, len.wrapping_add(1)) {
                return true;
            }
        }
    }

    /// Subtracts `gone` removed entries from the count.
    fn forget(&self, gone: usize) {
        if gone > 0 {
            self.len.add((gone as u64).wrapping_neg());
        }
    }

    /// Removes entries that at `now` were unused for `time` jiffies, bucket by bucket, until at
    /// least `goal` are removed.
    fn expire(&self, goal: u64, now: usize, time: usize) {
        let mut gone = 0_u64;
        let mut rover = self.rover.get() as usize;
        for _ in 0..BUCKETS {
            rover = rover.wrapping_add(1) % BUCKETS;
            if let Some(bucket) = self.buckets.get(rover) {
                let is_over = |entry: &Entry<T>| {
                    let end = (entry.last_use.get() as usize).wrapping_add(time);
                    !is_after(end, now)
                };
                let count = bucket.lock().remove(is_over);
                self.forget(count);
                gone = gone.wrapping_add(count as u64);
            }
            if gone >= goal {
                break;
            }
        }
        self.rover.set(rover as u64);
    }

    #[inline]
    fn bucket(&self, flow: &Flow<'_>) -> Option<&List<Entry<T>>> {
        let number = hash_32(flow.daddr().fold(flow.family), BUCKET_BITS);
        self.buckets.get(number as usize)
    }
}

/// The periodic check (C: `ip_vs_lblc_check_expire()`).
impl<T: Content> Tick for Cache<T> {
    fn tick(&self, _guard: &Guard) {
        let (checks, len) = (self.checks.get(), self.len.get());
        if checks >= FULL_CHECK {
            self.expire(u64::MAX, jiffies(), self.expiration());
            self.checks.set(1);
        } else if len <= MANY {
            self.checks.set(checks.wrapping_add(1));
        } else {
            let goal = len.wrapping_sub(MANY).wrapping_mul(4) / 3;
            self.expire(goal.min(MANY / 2), jiffies(), ENTRY_TIMEOUT);
        }
    }
}

#[cfg(test)]
impl<T: Content> Cache<T> {
    pub(crate) fn len(&self) -> usize {
        let len: usize = self
            .buckets
            .iter()
            .map(|bucket| bucket.lock().iter().count())
            .sum();
        assert_eq!(self.len.get(), len as u64);
        len
    }
}
