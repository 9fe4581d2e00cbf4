// SPDX-License-Identifier: GPL-2.0

//! Averages of counters. The [`estimator`](crate::estimator) updates them every two seconds.
//!
//! C version: `struct ip_vs_estimator` [include/net/ip_vs.h].

use super::counts::Counts;
use crate::oot::sync::Once;
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::Atomic,
        SpinLock, //
    },
};

/// A snapshot of counters and rates (C: `struct ip_vs_kstats`).
#[derive(Clone, Copy, Default)]
pub(crate) struct KStats {
    pub(crate) counts: Counts,
    /// The increase of each counter per second.
    pub(crate) rates: Counts,
}

/// The rates of a set of counters (C: `struct ip_vs_estimator`).
#[pin_data]
pub(crate) struct Rates {
    #[pin]
    averages: SpinLock<Averages>,
    /// The position of the source in the estimator.
    pub(crate) est_slot: EstSlot,
}

#[derive(Default)]
struct Averages {
    /// The counters at the last update.
    last: Counts,
    /// The average rate per second, scaled as in [`Counts::averaged`].
    average: Counts,
}

impl Rates {
    /// Rates of 0.
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            averages <- new_spinlock!(Averages::default()),
            est_slot: EstSlot::default(),
        })
    }

    /// Updates the averages, to be called every two seconds. `now` reads the counters. Returns
    /// their increase since the last update.
    pub(super) fn estimate(&self, now: impl FnOnce() -> Counts) -> Counts {
        let mut averages = self.averages.lock();
        // Read under the lock, so that readings do not go backwards.
        let now = now();
        let counted = now.since(averages.last);
        // Most sources of a large configuration are idle. Skip them: their averages stay 0.
        if !(counted.is_zero() && averages.average.is_zero()) {
            averages.last = now;
            averages.average = averages.average.averaged(counted);
        }
        counted
    }

    /// Returns the increase since the last update, and excludes it from the averages.
    pub(super) fn pass_over(&self, now: impl FnOnce() -> Counts) -> Counts {
        let mut averages = self.averages.lock();
        let now = now();
        let counted = now.since(averages.last);
        averages.last = now;
        counted
    }

    /// Sets the rates to 0. `now` reads the counters; only later increases affect the averages.
    pub(super) fn zero(&self, now: impl FnOnce() -> Counts) {
        let mut averages = self.averages.lock();
        *averages = Averages {
            last: now(),
            average: Counts::default(),
        };
    }

    /// Returns the counters, which `counts` reads under the lock, and the rates.
    pub(super) fn read(&self, counts: impl FnOnce() -> Counts) -> KStats {
        let averages = self.averages.lock();
        KStats {
            counts: counts(),
            rates: averages.average.per_second(),
        }
    }
}

/// The position of a source in the estimator: its row and its index in the row.
#[derive(Default)]
pub(crate) struct EstSlot {
    pub(crate) row: Number,
    pub(crate) index: Number,
}

/// A number that is changed under a lock and read without it.
pub(crate) struct Number(Atomic<u32>);

impl Default for Number {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Number {
    pub(crate) fn new(number: usize) -> Self {
        Self(Atomic::new(number as u32))
    }

    pub(crate) fn get(&self) -> usize {
        self.0.read_once() as usize
    }

    pub(crate) fn set(&self, index: usize) {
        self.0.write_once(index as u32);
    }
}
