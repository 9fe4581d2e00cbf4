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
//! The data path adds to raw counters. Zero points are set under the mutex of the control plane, and
//! read by anybody; a zero point and the rates change, and are read, under the lock of the rates.

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
        Number,
        Rates,
        Shown, //
    }, //
};

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
        self.rates.shown(|| self.raw().since(self.zero.get()))
    }

    /// Has the figures start from 0 (C: `ip_vs_zero_stats()`).
    pub(crate) fn zero(&self) {
        self.rates.zero(|| {
            let raw = self.raw();
            self.zero.set(raw);
            raw
        });
    }

    /// Another two seconds are over; answers what was counted in them.
    pub(crate) fn estimate(&self) -> Counts {
        self.rates.estimate(|| self.raw())
    }

    /// What was counted since the last estimate, which no estimate will be made of.
    pub(crate) fn pass_over(&self) -> Counts {
        self.rates.pass_over(|| self.raw())
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

/// What a service's dests have counted for it that are its dests no more; and its rates.
#[pin_data]
pub(crate) struct Tally {
    gone: Kept,
    zero: Kept,
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
            estimated: Kept::default(),
            rates <- Rates::new(),
        })
    }

    /// Takes over what a dest has counted that leaves.
    pub(crate) fn keep(&self, counts: Counts) {
        self.gone.add(counts);
    }

    /// What the dests that have left have counted.
    pub(crate) fn gone(&self) -> Counts {
        self.gone.get()
    }

    /// What to show, with `all` what all dests have counted.
    pub(crate) fn shown(&self, all: Counts) -> Shown {
        self.rates.shown(|| all.since(self.zero.get()))
    }

    /// Has the figures start from 0; `all` is as for [`Self::shown`].
    pub(crate) fn zero(&self, all: Counts) {
        self.rates.zero(|| {
            self.zero.set(all);
            self.estimated.get()
        });
    }

    /// A dest has counted that since its estimate before.
    pub(crate) fn dest_counted(&self, counted: Counts) {
        self.estimated.add(counted);
    }

    /// Another two seconds are over, and each dest was estimated once in them.
    pub(crate) fn estimate(&self) {
        self.rates.estimate(|| self.estimated.get());
    }
}
