// SPDX-License-Identifier: GPL-2.0

//! Counters of packets, bytes and conns.
//!
//! C version: `struct ip_vs_stats` [include/net/ip_vs.h].
//!
//! # Vocabulary
//!
//! - *Raw counters* only increase. Each dest has a set, and the network namespace has one.
//! - The counters of a *service* are the sum of what its dests have counted since they joined it. C
//!   counts every packet a second time for the service.
//! - A *zero point* is subtracted from a raw counter when it is read. Zeroing a counter sets its
//!   zero point to the raw value.
//! - *Rates* are averages that the [`estimator`](crate::estimator) updates every two seconds.
//!
//! # Locking
//!
//! The data path adds to raw counters without a lock. The control plane sets zero points under its
//! mutex. Zero points and rates are read and changed under the lock of the rates.

mod counts;
mod rates;

use crate::oot::sync::{
    Once,
    PerCpuCounters, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};

pub(crate) use self::{
    counts::Counts,
    rates::{
        KStats, //
        Number,
        Rates,
    }, //
};

const CONNS: usize = 0;
const INPKTS: usize = 1;
const OUTPKTS: usize = 2;
const INBYTES: usize = 3;
const OUTBYTES: usize = 4;
const COUNTERS: usize = 5;

/// A stored value of each counter, such as a zero point. Each value is accessed atomically, the set
/// is not.
#[derive(Default)]
pub(crate) struct CounterSet {
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

impl CounterSet {
    /// The stored values.
    pub(crate) fn get(&self) -> Counts {
        Counts {
            conns: self.conns.0.read_once(),
            inpkts: self.inpkts.0.read_once(),
            outpkts: self.outpkts.0.read_once(),
            inbytes: self.inbytes.0.read_once(),
            outbytes: self.outbytes.0.read_once(),
        }
    }

    /// Adds to the stored values; each wraps.
    pub(crate) fn add(&self, counts: Counts) {
        self.conns.0.add(counts.conns, Relaxed);
        self.inpkts.0.add(counts.inpkts, Relaxed);
        self.outpkts.0.add(counts.outpkts, Relaxed);
        self.inbytes.0.add(counts.inbytes, Relaxed);
        self.outbytes.0.add(counts.outbytes, Relaxed);
    }

    /// Replaces the stored values.
    pub(crate) fn set(&self, counts: Counts) {
        self.conns.0.write_once(counts.conns);
        self.inpkts.0.write_once(counts.inpkts);
        self.outpkts.0.write_once(counts.outpkts);
        self.inbytes.0.write_once(counts.inbytes);
        self.outbytes.0.write_once(counts.outbytes);
    }
}

/// Raw counters with their zero point, and rates (C: `struct ip_vs_stats`).
#[pin_data]
pub(crate) struct Stats {
    raw: PerCpuCounters<COUNTERS>,
    zero: CounterSet,
    #[pin]
    pub(crate) rates: Rates,
}

impl Stats {
    /// Counters at 0. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        pin_init::pin_init!(Self {
            raw: PerCpuCounters::new()?,
            zero: CounterSet::default(),
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

    /// The raw counters, summed over the CPUs.
    pub(crate) fn raw(&self) -> Counts {
        counts(self.raw.sums())
    }

    /// The raw counters of one CPU.
    pub(crate) fn on_cpu(&self, cpu: u32) -> Counts {
        counts(self.raw.on_cpu(cpu))
    }

    /// The counters since they were zeroed, and the rates (C: `ip_vs_copy_stats()`).
    pub(crate) fn read(&self) -> KStats {
        self.rates.read(|| self.raw().since(self.zero.get()))
    }

    /// Zeroes the counters and the rates (C: `ip_vs_zero_stats()`).
    pub(crate) fn zero(&self) {
        self.rates.zero(|| {
            let raw = self.raw();
            self.zero.set(raw);
            raw
        });
    }

    /// Updates the rates, to be called every two seconds. Returns the increments since the last
    /// call.
    pub(crate) fn estimate(&self) -> Counts {
        self.rates.estimate(|| self.raw())
    }

    /// Returns the increments since the last [`estimate`](Self::estimate). The rates do not change.
    pub(crate) fn pass_over(&self) -> Counts {
        self.rates.pass_over(|| self.raw())
    }
}

/// Converts an array of counters, indexed by [`CONNS`] to [`OUTBYTES`].
fn counts([conns, inpkts, outpkts, inbytes, outbytes]: [u64; COUNTERS]) -> Counts {
    Counts {
        conns,
        inpkts,
        outpkts,
        inbytes,
        outbytes,
    }
}

/// The statistics of a service, without the counters of its current dests: the counters of its
/// removed dests, the zero point and the rates.
#[pin_data]
pub(crate) struct ServiceStats {
    /// The sum of the final counters of all removed dests.
    gone: CounterSet,
    zero: CounterSet,
    /// The sum of the increments that [`Stats::estimate`] returned for the dests.
    estimated: CounterSet,
    #[pin]
    pub(crate) rates: Rates,
}

impl ServiceStats {
    /// Counters at 0.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            gone: CounterSet::default(),
            zero: CounterSet::default(),
            estimated: CounterSet::default(),
            rates <- Rates::new(),
        })
    }

    /// Adds the final counters of a removed dest.
    pub(crate) fn keep(&self, counts: Counts) {
        self.gone.add(counts);
    }

    /// The sum of the final counters of all removed dests.
    pub(crate) fn gone(&self) -> Counts {
        self.gone.get()
    }

    /// The counters since they were zeroed, and the rates. `all` is the sum of the counters of all
    /// dests, removed ones included.
    pub(crate) fn read(&self, all: Counts) -> KStats {
        self.rates.read(|| all.since(self.zero.get()))
    }

    /// Zeroes the counters and the rates; `all` is as for [`Self::read`].
    pub(crate) fn zero(&self, all: Counts) {
        self.rates.zero(|| {
            self.zero.set(all);
            self.estimated.get()
        });
    }

    /// Adds the increments of a dest since its last estimation.
    pub(crate) fn dest_counted(&self, counted: Counts) {
        self.estimated.add(counted);
    }

    /// Updates the rates, to be called every two seconds.
    pub(crate) fn estimate(&self) {
        self.rates.estimate(|| self.estimated.get());
    }
}
