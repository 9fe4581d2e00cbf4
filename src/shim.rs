// SPDX-License-Identifier: GPL-2.0

//! Primitives for the pure files: the kernel's in the module, those of `std` in the host tests.
//!
//! A pure file imports only `core`, `zerocopy`, other pure files and this file, so that
//! `qemu-test/check` can compile and test it without a kernel.

#[cfg(test)]
mod host;
#[cfg(not(test))]
mod module;

#[cfg(not(test))]
use kernel::sync::atomic::{Atomic, Relaxed};

#[cfg(test)]
use core::sync::atomic::{AtomicU64, Ordering};

#[cfg(test)]
use host as world;
#[cfg(not(test))]
use module as world;

#[cfg(test)]
pub(crate) use host::{
    hold_up,
    lack_memory,
    set_jiffies,
    set_setting, //
};

pub(crate) use world::{
    bh_disable,
    fence,
    jiffies,
    random_u64,
    read_lock,
    share,
    start,
    zeroed,
    Array,
    Bytes,
    Guard,
    Item,
    Jiffies,
    List,
    Periodic,
    Share,
    Shared,
    SharedCell,
    Tick,
    Word,
    Word32,
    HZ, //
};

/// The error of a failed allocation (C: `-ENOMEM`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoMemory;

#[cfg(not(test))]
impl From<kernel::alloc::AllocError> for NoMemory {
    fn from(_: kernel::alloc::AllocError) -> Self {
        Self
    }
}

#[cfg(not(test))]
impl From<NoMemory> for kernel::error::Error {
    fn from(_: NoMemory) -> Self {
        kernel::error::code::ENOMEM
    }
}

/// A position in a cycle that all CPUs share and move without a lock.
///
/// Its accesses are relaxed: they do not order other accesses.
pub(crate) struct Cursor(
    #[cfg(not(test))] Atomic<u64>,
    #[cfg(test)] AtomicU64, //
);

impl Cursor {
    /// A cursor at the position `place`.
    #[inline]
    pub(crate) const fn new(place: u64) -> Self {
        #[cfg(not(test))]
        return Self(Atomic::new(place));
        #[cfg(test)]
        return Self(AtomicU64::new(place));
    }

    /// The current position.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        #[cfg(not(test))]
        return self.0.load(Relaxed);
        #[cfg(test)]
        return self.0.load(Ordering::Relaxed);
    }

    /// Moves the cursor from `from` to `to`.
    ///
    /// # Errors
    ///
    /// The current position, if it is not `from`: another CPU has moved the cursor.
    #[inline]
    pub(crate) fn advance(&self, from: u64, to: u64) -> Result<(), u64> {
        #[cfg(not(test))]
        let moved = self.0.cmpxchg(from, to, Relaxed);
        #[cfg(test)]
        let moved = self
            .0
            .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
        moved.map(|_| ())
    }
}
