// SPDX-License-Identifier: GPL-2.0

//! Counters of packets, bytes and conns.
//!
//! C version: `struct ip_vs_stats` [include/net/ip_vs.h].
//!
//! # Vocabulary
//!
//! - *Raw* counters only grow: a dest has them, and the namespace.
//! - A *tally* is what a service shows: the sum of what its dests have counted since they joined
//!   it. C counts every packet a second time for that.
//! - A *zero point* is what is taken off when a figure is shown; to zero a figure is to move it.
//! - *Rates* are averages that the [`estimator`](crate::estimator) updates every two seconds.
//!
//! # Locking
//!
//! The data path adds to raw counters. All else is done under the mutex of the control plane.

mod counts;

use crate::{
    estimator::Spot,
    oot::sync::{
        Once,
        PerCpuCounters, //
    }, //
};
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        SpinLock, //
    },
};

pub(crate) use counts::Counts;

const CONNS: usize = 0;
const INPKTS: usize = 1;
const OUTPKTS: usize = 2;
const INBYTES: usize = 3;
const OUTBYTES: usize = 4;
const COUNTERS: usize = 5;

/// Figures that are kept, such as a zero point.
#[derive(Default)]
pub(crate) struct Kept {
    conns: Figure,
    inpkts: Figure,
    outpkts: Figure,
    inbytes: Figure,
    outbytes: Figure,
}

struct Figure(Atomic<u64>);

impl Default for Figure {
    fn default() -> Self {
        Self(Atomic::new(0))
    }
}

impl Kept {
    pub(crate) fn get(&self) -> Counts {
        Counts {
            conns: self.conns.0.read_once(),
            inpkts: self.inpkts.0.read_once(),
            outpkts: self.outpkts.0.read_once(),
            inbytes: self.inbytes.0.read_once(),
            outbytes: self.outbytes.0.read_once(),
        }
    }

    pub(crate) fn add(&self, counts: Counts) {
        self.conns.0.add(counts.conns, Relaxed);
        self.inpkts.0.add(counts.inpkts, Relaxed);
        self.outpkts.0.add(counts.outpkts, Relaxed);
        self.inbytes.0.add(counts.inbytes, Relaxed);
        self.outbytes.0.add(counts.outbytes, Relaxed);
    }

    pub(crate) fn set(&self, counts: Counts) {
        self.conns.0.write_once(counts.conns);
        self.inpkts.0.write_once(counts.inpkts);
        self.outpkts.0.write_once(counts.outpkts);
        self.inbytes.0.write_once(counts.inbytes);
        self.outbytes.0.write_once(counts.outbytes);
    }
}

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
    fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            averages <- new_spinlock!(Averages::default()),
            spot: Spot::default(),
        })
    }

    /// Another two seconds are over, and the figures are `now`; answers what was counted in them.
    fn estimate(&self, now: Counts) -> Counts {
        let mut averages = self.averages.lock();
        let counted = now.since(averages.last);
        averages.last = now;
        averages.average = averages.average.averaged(counted);
        counted
    }

    /// Passes over what was counted until `now`, and answers it.
    fn pass_over(&self, now: Counts) -> Counts {
        let mut averages = self.averages.lock();
        let counted = now.since(averages.last);
        averages.last = now;
        counted
    }

    /// The rates are 0; what is counted from `now` on makes them again.
    fn zero(&self, now: Counts) {
        *self.averages.lock() = Averages {
            last: now,
            average: Counts::default(),
        };
    }

    fn shown(&self) -> Counts {
        self.averages.lock().average.per_second()
    }
}

/// Raw counters with the zero point of their figures, and rates.
#[pin_data]
pub(crate) struct Stats {
    raw: PerCpuCounters<COUNTERS>,
    zero: Kept,
    #[pin]
    pub(crate) rates: Rates,
}

impl Stats {
    /// Counters at 0.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        pin_init::pin_init!(Self {
            raw: PerCpuCounters::new()?,
            zero: Kept::default(),
            rates <- Rates::new(),
        }? Error)
    }

    /// Counts a conn (C: `ip_vs_conn_stats()`).
    #[inline]
    pub(crate) fn count_conn(&self) {
        self.raw.add(CONNS, 1);
    }

    /// Counts a packet of `bytes` bytes from a client (C: `ip_vs_in_stats()`).
    #[inline]
    pub(crate) fn count_in(&self, bytes: u64) {
        self.raw.add(INPKTS, 1);
        self.raw.add(INBYTES, bytes);
    }

    /// Counts a packet of `bytes` bytes to a client (C: `ip_vs_out_stats()`).
    #[inline]
    pub(crate) fn count_out(&self, bytes: u64) {
        self.raw.add(OUTPKTS, 1);
        self.raw.add(OUTBYTES, bytes);
    }

    /// All that was counted since the beginning.
    pub(crate) fn raw(&self) -> Counts {
        counts(self.raw.sums())
    }

    /// All that was counted on one CPU since the beginning.
    pub(crate) fn on_cpu(&self, cpu: u32) -> Counts {
        counts(self.raw.on_cpu(cpu))
    }

    /// What to show (C: `ip_vs_copy_stats()`).
    pub(crate) fn shown(&self) -> Shown {
        Shown {
            counts: self.raw().since(self.zero.get()),
            rates: self.rates.shown(),
        }
    }

    /// Has the figures start from 0 (C: `ip_vs_zero_stats()`).
    pub(crate) fn zero(&self) {
        let raw = self.raw();
        self.zero.set(raw);
        self.rates.zero(raw);
    }

    /// Another two seconds are over; answers what was counted in them.
    pub(crate) fn estimate(&self) -> Counts {
        self.rates.estimate(self.raw())
    }

    /// What was counted since the last estimate, which no estimate will be made of.
    pub(crate) fn pass_over(&self) -> Counts {
        self.rates.pass_over(self.raw())
    }
}

/// Counters by their names.
fn counts([conns, inpkts, outpkts, inbytes, outbytes]: [u64; COUNTERS]) -> Counts {
    Counts {
        conns,
        inpkts,
        outpkts,
        inbytes,
        outbytes,
    }
}

/// What a service's dests have counted for it while they were its dests, those that are forgotten;
/// and its rates.
#[pin_data]
pub(crate) struct Tally {
    gone: Kept,
    zero: Kept,
    /// How many of its dests are in the trash.
    discarded: Atomic<u32>,
    /// What its dests' estimates have been made of.
    estimated: Kept,
    #[pin]
    pub(crate) rates: Rates,
}

impl Tally {
    /// All at 0.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            gone: Kept::default(),
            zero: Kept::default(),
            discarded: Atomic::new(0),
            estimated: Kept::default(),
            rates <- Rates::new(),
        })
    }

    /// So many dests have gone into the trash.
    pub(crate) fn discarded(&self, number: u32) {
        self.discarded.fetch_add(number, Relaxed);
    }

    /// A dest has come back from the trash.
    pub(crate) fn recovered(&self) {
        self.discarded.fetch_sub(1, Relaxed);
    }

    /// Takes over the figures of a dest in the trash that goes for good.
    pub(crate) fn forgot(&self, counts: Counts) {
        self.gone.add(counts);
        self.recovered();
    }

    /// Whether any of its dests are in the trash.
    pub(crate) fn has_discarded(&self) -> bool {
        self.discarded.read_once() != 0
    }

    /// What the dests that are forgotten have counted.
    pub(crate) fn gone(&self) -> Counts {
        self.gone.get()
    }

    /// What to show, with `all` what all dests have counted.
    pub(crate) fn shown(&self, all: Counts) -> Shown {
        Shown {
            counts: all.since(self.zero.get()),
            rates: self.rates.shown(),
        }
    }

    /// Has the figures start from 0; `all` is as for [`Self::shown`].
    pub(crate) fn zero(&self, all: Counts) {
        self.zero.set(all);
        self.rates.zero(self.estimated.get());
    }

    /// A dest has counted that since its estimate before.
    pub(crate) fn dest_counted(&self, counted: Counts) {
        self.estimated.add(counted);
    }

    /// Another two seconds are over, and each dest was estimated once in them.
    pub(crate) fn estimate(&self) {
        self.rates.estimate(self.estimated.get());
    }
}
