// SPDX-License-Identifier: GPL-2.0

//! The primitives for the pure files in the kernel. [`host`](super::host) has those of the host
//! tests.

use super::NoMemory;
use crate::oot::sync::{
    Once,
    RcuArc, //
};
use core::ops::{
    Deref,
    DerefMut, //
};
use kernel::{
    alloc::KVVec,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Full,
            Relaxed, //
        },
        barrier::smp_mb, //
    },
};

/// Evidence of an RCU read-side critical section.
pub(crate) use kernel::sync::rcu::{
    read_lock,
    Guard, //
};

/// The time in jiffies, which wraps, and the number of jiffies per second.
pub(crate) use crate::oot::time::{
    jiffies,
    HZ, //
};

/// A time that a sysctl sets, in jiffies.
pub(crate) use crate::oot::fs::sysctl::Jiffies;

/// A type that may be [`Shared`]; a counted reference to such a value, which is freed a grace
/// period after the last reference is dropped; a cell with such a reference that readers follow
/// under RCU.
pub(crate) use crate::oot::sync::{
    Object as Share,
    RcuArc as Shared,
    RcuArcCell as SharedCell, //
};

/// Allocates a shared `value`.
///
/// # Errors
///
/// [`NoMemory`] if the allocation fails.
pub(crate) fn share<T: Share>(value: T) -> Result<Shared<T>, NoMemory> {
    RcuArc::new(value, GFP_KERNEL).map_err(|_| NoMemory)
}

/// A value with a timer; the trait of values with periodic work.
pub(crate) use crate::oot::sync::{
    Periodic,
    Tick, //
};

/// Shares `value` and calls its [`Tick::tick`] every `interval` jiffies until the last reference is
/// dropped.
///
/// # Errors
///
/// [`NoMemory`] if the allocation fails.
pub(crate) fn start<T: Tick>(value: T, interval: usize) -> Result<Shared<Periodic<T>>, NoMemory> {
    Periodic::start(value, interval, GFP_KERNEL).map_err(|_| NoMemory)
}

/// A list that readers walk under RCU while elements are added at its head and removed; an
/// allocated element of such a list. The allocation does not sleep.
pub(crate) use crate::oot::sync::{
    RcuList as List,
    RcuListItem as Item, //
};

/// A full memory barrier, `smp_mb()`.
#[inline(always)]
pub(crate) fn fence() {
    smp_mb(Full);
}

/// Disables softirqs and preemption on this CPU until the result is dropped
/// (C: `local_bh_disable()`).
#[inline(always)]
pub(crate) fn bh_disable() -> crate::oot::sync::bh::Disabled {
    crate::oot::sync::bh::Disabled::new()
}

/// Returns a random 64-bit number.
pub(crate) use crate::oot::hash::random_u64;

/// A 64-bit word that CPUs access concurrently.
///
/// Its accesses are ordered with accesses of other words only, not with accesses of other memory:
/// on x86 the compiler may reorder those.
pub(crate) struct Word(Atomic<u64>);

impl Word {
    pub(crate) const fn new(value: u64) -> Self {
        Self(Atomic::new(value))
    }

    /// Reads the word, before all later accesses of words.
    #[inline(always)]
    pub(crate) fn get(&self) -> u64 {
        // On x86 every load is an acquire, and the compiler keeps the order of volatile accesses.
        #[cfg(CONFIG_X86)]
        return self.0.read_once();
        #[cfg(not(CONFIG_X86))]
        return self.0.load(kernel::sync::atomic::Acquire);
    }

    /// Writes the word, after all earlier accesses of words.
    #[inline(always)]
    pub(crate) fn set(&self, value: u64) {
        // On x86 every store is a release, and the compiler keeps the order of volatile accesses.
        #[cfg(CONFIG_X86)]
        self.0.write_once(value);
        #[cfg(not(CONFIG_X86))]
        self.0.store(value, kernel::sync::atomic::Release);
    }

    /// Writes `to` if the word is `from`, fully ordered. Returns whether it was `from`.
    #[inline(always)]
    pub(crate) fn exchange(&self, from: u64, to: u64) -> bool {
        self.0.cmpxchg(from, to, Full).is_ok()
    }

    /// Writes `to` if the word is `from`, fully ordered.
    ///
    /// # Errors
    ///
    /// The current value, if it is not `from`.
    #[inline(always)]
    pub(crate) fn compare_exchange(&self, from: u64, to: u64) -> Result<(), u64> {
        self.0.cmpxchg(from, to, Full).map(|_| ())
    }

    /// Writes `to` and returns the old value, fully ordered.
    #[inline]
    pub(crate) fn swap(&self, to: u64) -> u64 {
        self.0.xchg(to, Full)
    }

    /// Adds `value` to the word, fully ordered. The sum wraps.
    #[inline]
    pub(crate) fn add(&self, value: u64) {
        self.0.fetch_add(value, Full);
    }
}

/// A 32-bit word that CPUs access concurrently. Its accesses are relaxed.
pub(crate) struct Word32(Atomic<u32>);

impl Word32 {
    pub(crate) const fn new(value: u32) -> Self {
        Self(Atomic::new(value))
    }

    #[inline(always)]
    pub(crate) fn get(&self) -> u32 {
        self.0.read_once()
    }

    #[inline(always)]
    pub(crate) fn set(&self, value: u32) {
        self.0.write_once(value);
    }

    /// Replaces the value by what `next` returns for it, and returns the old one. No write of
    /// another CPU is lost.
    pub(crate) fn update(&self, next: impl Fn(u32) -> u32) -> u32 {
        let mut old = self.get();
        loop {
            match self.0.cmpxchg(old, next(old), Relaxed) {
                Ok(_) => return old,
                Err(now) => old = now,
            }
        }
    }
}

impl Word32 {
    /// Adds `value` and returns the old value. The sum wraps.
    #[inline(always)]
    pub(crate) fn fetch_add(&self, value: u32) -> u32 {
        self.0.fetch_add(value, Relaxed)
    }

    /// Writes `to` if the word is `from`.
    ///
    /// # Errors
    ///
    /// The current value, if it is not `from`.
    #[inline]
    pub(crate) fn compare_exchange(&self, from: u32, to: u32) -> Result<(), u32> {
        self.0.cmpxchg(from, to, Relaxed).map(|_| ())
    }
}

/// Allocates `len` bytes, which are 0. Does not sleep.
///
/// # Errors
///
/// [`NoMemory`] if the allocation fails.
pub(crate) fn zeroed(len: usize) -> Result<KVec<u8>, NoMemory> {
    KVec::zeroed(len, GFP_ATOMIC).map_err(|_| NoMemory)
}

/// Allocated bytes.
pub(crate) type Bytes = KVec<u8>;

/// An allocated array of fixed length.
pub(crate) struct Array<T>(KVVec<T>);

impl<T> Array<T> {
    /// Allocates an array of `len` elements; `make` returns the element for each index.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if the allocation fails.
    pub(crate) fn new(len: usize, mut make: impl FnMut(usize) -> T) -> Result<Self, NoMemory> {
        let mut table = KVVec::with_capacity(len, GFP_KERNEL).map_err(|_| NoMemory)?;
        for index in 0..len {
            table
                .push_within_capacity(make(index))
                .map_err(|_| NoMemory)?;
        }
        Ok(Self(table))
    }
}

impl<T> Deref for Array<T> {
    type Target = [T];

    #[inline(always)]
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for Array<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}
