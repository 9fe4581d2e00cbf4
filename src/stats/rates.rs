// SPDX-License-Identifier: GPL-2.0

//! Averages of counters, which the [`estimator`](crate::estimator) updates every two seconds.
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
    /// Of each counter, the increase per second.
    pub(crate) rates: Counts,
}

/// The rates of a set of counters (C: `struct ip_vs_estimator`).
#[pin_data]
pub(crate) struct Rates {
    #[pin]
    averages: SpinLock<Averages>,
    /// Their position in the estimator.
    pub(crate) est_slot: EstSlot,
}

#[derive(Default)]
struct Averages {
    /// The counters at the last update.
    last: Counts,
    /// The average, scaled as in [`Counts`].
    average: Counts,
}

impl Rates {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            averages <- new_spinlock!(Averages::default()),
            est_slot: EstSlot::default(),
        })
    }

    /// Updates the averages, as is done every two seconds. `now` reads the counters; returns their
    /// increase since the last time.
    pub(super) fn estimate(&self, now: impl FnOnce() -> Counts) -> Counts {
        let mut averages = self.averages.lock();
        // Read under the lock, so that no reading is older than the one before it.
        let now = now();
        let counted = now.since(averages.last);
        // Most sources of a large configuration are idle: their averages stay 0.
        if !(counted.is_zero() && averages.average.is_zero()) {
            averages.last = now;
            averages.average = averages.average.averaged(counted);
        }
        counted
    }

    /// Returns the increase since the last update; it will not count for the averages.
    pub(super) fn pass_over(&self, now: impl FnOnce() -> Counts) -> Counts {
        let mut averages = self.averages.lock();
        let now = now();
        let counted = now.since(averages.last);
        averages.last = now;
        counted
    }

    /// Sets the rates to 0; they are made of what is counted from now on.
    pub(super) fn zero(&self, now: impl FnOnce() -> Counts) {
        let mut averages = self.averages.lock();
        *averages = Averages {
            last: now(),
            average: Counts::default(),
        };
    }

    /// The counters, read by `counts` under the lock, with the rates.
    pub(super) fn read(&self, counts: impl FnOnce() -> Counts) -> KStats {
        let averages = self.averages.lock();
        KStats {
            counts: counts(),
            rates: averages.average.per_second(),
        }
    }
}

/// The position of a source in the estimator: its row, and its index there.
#[derive(Default)]
pub(crate) struct EstSlot {
    pub(crate) row: Number,
    pub(crate) index: Number,
}

/// A number that is changed under a lock, and read without it.
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
