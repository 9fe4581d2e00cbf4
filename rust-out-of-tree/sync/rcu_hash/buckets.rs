// SPDX-License-Identifier: GPL-2.0

//! One size of an [`RcuHash`](super::RcuHash): its buckets, their locks and chains.

use core::ptr::NonNull;
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed,
            Release, //
        },
        barrier::{
            smp_mb,
            Read, //
        }, //
    },
};

use crate::oot::{
    bindings,
    sync::{
        bh,
        rcu_dereference::{
            rcu_dereference,
            rcu_dereference_marked, //
        },
        Once, //
    },
};

/// A link of a chain. `next` is the address of another link, or an end mark.
#[repr(C)]
pub(super) struct Link {
    pub(super) next: Atomic<usize>,
    pub(super) hash: Atomic<u32>,
    /// Bit 0 is the index of the link in its entry, and does not change. The other bits of the
    /// first link's tag are the entry's state: see [`HashLinks`](super::HashLinks).
    pub(super) tag: Atomic<i32>,
}

impl Link {
    /// The index of this link in its entry: 0 or 1.
    #[inline(always)]
    pub(super) fn index(&self) -> u32 {
        (self.tag.read_once() & 1) as u32
    }
}

/// The smallest table has 2^8 buckets, the largest 2^26.
const MIN_BITS: u32 = 8;
const MAX_BITS: u32 = 26;

/// A table is not shrunk below twice the smallest size.
const LEAST_SHRUNK_BITS: u32 = MIN_BITS + 1;

/// The size of a table, and its load factor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// The binary logarithm of the number of buckets.
    bits: u32,
    /// The load factor.
    load: i32,
}

impl Size {
    pub(super) const SMALLEST: Self = Self {
        bits: MIN_BITS,
        load: 0,
    };

    /// Returns the size for `len` entries, given the current size `old`.
    pub(super) fn fitting(len: usize, load: i32, old: Self) -> Self {
        let need = u32::BITS.wrapping_sub((len as u32).saturating_sub(1).leading_zeros());
        let bits = (need as i32)
            .saturating_sub(load)
            .clamp(MIN_BITS as i32, MAX_BITS as i32) as u32;
        // Shrink to twice the size needed, so that a varying number of entries causes few resizes.
        let bits = if bits < old.bits && load == old.load {
            bits.wrapping_add(1).min(old.bits)
        } else {
            bits
        };
        Self { bits, load }
    }

    /// The number of entries that the size is for.
    fn capacity(self) -> usize {
        1usize
            .checked_shl(self.bits.saturating_add_signed(self.load))
            .unwrap_or(usize::MAX)
    }

    /// The table grows if it has more entries.
    fn most(self) -> usize {
        if self.bits < MAX_BITS {
            self.capacity()
        } else {
            usize::MAX
        }
    }

    /// The table shrinks if it has fewer entries.
    fn least(self) -> usize {
        if self.bits > LEAST_SHRUNK_BITS {
            self.capacity() / 16
        } else {
            0
        }
    }
}

/// The buckets of one table size.
pub(super) struct Buckets {
    pub(super) heads: KVVec<Atomic<usize>>,
    pub(super) size: Size,
    /// The table grows above `most` entries, and shrinks below `least`.
    pub(super) most: usize,
    pub(super) least: usize,
    /// The successor during a resize, else null.
    pub(super) successor: Atomic<*mut Buckets>,
}

impl Buckets {
    /// Allocates empty buckets. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(size: Size) -> Result<KBox<Self>> {
        let len = 1usize.wrapping_shl(size.bits);
        let mut heads = KVVec::with_capacity(len, GFP_KERNEL | __GFP_NOWARN)?;
        for _ in 0..len {
            heads
                .push_within_capacity(Atomic::new(0))
                .map_err(|_| ENOMEM)?;
        }
        Ok(KBox::new(
            Self {
                heads,
                size,
                most: size.most(),
                least: size.least(),
                successor: Atomic::new(core::ptr::null_mut()),
            },
            GFP_KERNEL,
        )?)
    }

    /// The bucket for `hash`.
    #[inline(always)]
    pub(super) fn bucket(&self, hash: u32) -> Bucket<'_> {
        let index = hash.wrapping_shr(32u32.wrapping_sub(self.size.bits)) as usize;
        // SAFETY: There are `2^bits` heads, and `index` has `bits` bits.
        Bucket(unsafe { self.heads.get_unchecked(index) })
    }

    /// The last hash in the range of the bucket that contains `hash`.
    pub(super) fn last_of(&self, hash: u32) -> u32 {
        hash | u32::MAX.wrapping_shr(self.size.bits)
    }

    /// The successor of this table, which has the links that were moved.
    ///
    /// A link is added to the new chain before it is removed from the old one. A reader that did
    /// not find it in the old chain must not read an older state of the new chain (`rhashtable` has
    /// the same barrier).
    #[inline]
    pub(super) fn successor(&self) -> Option<&Self> {
        smp_mb(Read);
        // SAFETY: The pointer is null, or a table that stays valid until a grace period after it
        // was replaced.
        unsafe { rcu_dereference(&self.successor).as_ref() }
    }

    /// The table to which entries are added.
    pub(super) fn newest(&self) -> &Self {
        self.successor().unwrap_or(self)
    }
}

/// The head of a chain.
#[derive(Clone, Copy)]
pub(super) struct Bucket<'a>(pub(super) &'a Atomic<usize>);

impl Bucket<'_> {
    /// The end mark of the chain.
    #[inline(always)]
    pub(super) fn end_mark(self) -> usize {
        core::ptr::from_ref(self.0) as usize | 1
    }

    /// Returns the first link, or the end mark.
    #[inline(always)]
    pub(super) fn first(self) -> usize {
        match rcu_dereference_marked(self.0) & !1 {
            0 => self.end_mark(),
            link => link,
        }
    }

    /// Takes the bit lock of the bucket, with softirqs disabled.
    pub(super) fn lock(self) -> LockedBucket {
        let bh = bh::Disabled::new();
        // SAFETY: The word is live as long as the table, and bit 0 is used only as a lock.
        unsafe { bindings::oot_bit_spin_lock(0, self.0.as_ptr().cast()) };
        // INVARIANT: The lock was just taken. The caller's RCU critical section keeps the word
        // live.
        LockedBucket {
            head: NonNull::from(self.0),
            _bh: bh,
        }
    }
}

/// A bucket whose lock is held.
///
/// # Invariants
///
/// `head` is live and its bit 0 was set by us.
pub(super) struct LockedBucket {
    head: NonNull<Atomic<usize>>,
    _bh: bh::Disabled,
}

impl LockedBucket {
    pub(super) fn bucket(&self) -> Bucket<'_> {
        // SAFETY: The word is live by the type invariant.
        Bucket(unsafe { self.head.as_ref() })
    }

    /// Makes `link` the first of the chain; if it is the end mark, the chain becomes empty.
    fn set_first(&self, link: usize) {
        let word = if link & 1 == 0 { link } else { 0 };
        self.bucket().0.store(word | 1, Release);
    }

    /// Adds `link` at the head of the chain.
    pub(super) fn push(&self, link: &Link) {
        link.next.store(self.bucket().first(), Relaxed);
        self.set_first(core::ptr::from_ref(link) as usize);
    }

    /// Removes `link` from the chain and returns whether it was there. Its `next` stays, for
    /// readers.
    pub(super) fn remove(&self, link: &Link) -> bool {
        let wanted = core::ptr::from_ref(link) as usize;
        let mut at = self.bucket().first();
        if at == wanted {
            self.set_first(link.next.read_once());
            return true;
        }
        while at & 1 == 0 {
            // SAFETY: Links in a chain are live while its lock is held.
            let next = unsafe { &(*(at as *const Link)).next };
            at = next.read_once();
            if at == wanted {
                next.store(link.next.read_once(), Release);
                return true;
            }
        }
        false
    }

    /// Moves the first link to the chain of `to`.
    pub(super) fn move_first(&self, to: Bucket<'_>) {
        let at = self.bucket().first();
        // SAFETY: The caller checked that the chain is not empty; its links are live under its
        // lock.
        let link = unsafe { &*(at as *const Link) };
        let rest = link.next.read_once();
        to.lock().push(link);
        self.set_first(rest);
    }
}

impl Drop for LockedBucket {
    fn drop(&mut self) {
        // SAFETY: By the type invariant we hold the lock.
        unsafe { bindings::oot_bit_spin_unlock(0, self.bucket().0.as_ptr().cast()) };
    }
}
