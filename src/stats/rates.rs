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

/// Figures and rates, to be shown.
#[derive(Clone, Copy, Default)]
pub(crate) struct Shown {
    pub(crate) counts: Counts,
    /// How much of each there is in a second.
    pub(crate) rates: Counts,
}

/// Rates of figures that only grow (C: `struct ip_vs_estimator`).
#[pin_data]
pub(crate) struct Rates {
    #[pin]
    averages: SpinLock<Averages>,
    /// Where the estimator has them.
    pub(crate) spot: Spot,
}

#[derive(Default)]
struct Averages {
    /// The figures two seconds ago.
    last: Counts,
    /// Scaled.
    average: Counts,
}

impl Rates {
    pub(super) fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            averages <- new_spinlock!(Averages::default()),
            spot: Spot::default(),
        })
    }

    /// Another two seconds are over, and the figures are what `now` reads; answers what was counted in
    /// them.
    pub(super) fn estimate(&self, now: impl FnOnce() -> Counts) -> Counts {
        let mut averages = self.averages.lock();
        // Read under the lock: the figures never go back.
        let now = now();
        let counted = now.since(averages.last);
        averages.last = now;
        averages.average = averages.average.averaged(counted);
        counted
    }

    /// Passes over what was counted until now, and answers it.
    pub(super) fn pass_over(&self, now: impl FnOnce() -> Counts) -> Counts {
        let mut averages = self.averages.lock();
        let now = now();
        let counted = now.since(averages.last);
        averages.last = now;
        counted
    }

    /// The rates are 0; what is counted from now on makes them again.
    pub(super) fn zero(&self, now: impl FnOnce() -> Counts) {
        let mut averages = self.averages.lock();
        *averages = Averages {
            last: now(),
            average: Counts::default(),
        };
    }

    /// The figures, and the rates.
    pub(super) fn shown(&self, counts: impl FnOnce() -> Counts) -> Shown {
        let averages = self.averages.lock();
        Shown {
            counts: counts(),
            rates: averages.average.per_second(),
        }
    }
}

/// Where a source is: its row, and its index in that.
#[derive(Default)]
pub(crate) struct Spot {
    pub(crate) row: Number,
    pub(crate) index: Number,
}

/// A number that changes under a lock, and is read without.
pub(crate) struct Number(Atomic<u32>);

impl Default for Number {
    fn default() -> Self {
        Self(Atomic::new(0))
    }
}

impl Number {
    pub(crate) fn get(&self) -> usize {
        self.0.read_once() as usize
    }

    pub(crate) fn set(&self, index: usize) {
        self.0.write_once(index as u32);
    }
}
