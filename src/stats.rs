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
//!
//! # Locking
//!
//! The data path adds to raw counters. All else is done under the mutex of the control plane.

use crate::oot::sync::{
    Once,
    PerCpuCounters, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

const CONNS: usize = 0;
const INPKTS: usize = 1;
const OUTPKTS: usize = 2;
const INBYTES: usize = 3;
const OUTBYTES: usize = 4;
const COUNTERS: usize = 5;

/// The figures at one moment.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) conns: u64,
    pub(crate) inpkts: u64,
    pub(crate) outpkts: u64,
    pub(crate) inbytes: u64,
    pub(crate) outbytes: u64,
}

impl Counts {
    /// Figure by figure, which wraps.
    fn each(self, other: Self, op: fn(u64, u64) -> u64) -> Self {
        Self {
            conns: op(self.conns, other.conns),
            inpkts: op(self.inpkts, other.inpkts),
            outpkts: op(self.outpkts, other.outpkts),
            inbytes: op(self.inbytes, other.inbytes),
            outbytes: op(self.outbytes, other.outbytes),
        }
    }

    /// The sum of both.
    pub(crate) fn plus(self, other: Self) -> Self {
        self.each(other, u64::wrapping_add)
    }

    /// What has been counted since `start`.
    pub(crate) fn since(self, start: Self) -> Self {
        self.each(start, u64::wrapping_sub)
    }
}

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

/// Raw counters with the zero point of their figures.
pub(crate) struct Stats {
    raw: PerCpuCounters<COUNTERS>,
    zero: Kept,
}

impl Stats {
    /// Counters at 0.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            raw: PerCpuCounters::new()?,
            zero: Kept::default(),
        })
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
        Counts {
            conns: self.raw.sum(CONNS),
            inpkts: self.raw.sum(INPKTS),
            outpkts: self.raw.sum(OUTPKTS),
            inbytes: self.raw.sum(INBYTES),
            outbytes: self.raw.sum(OUTBYTES),
        }
    }

    /// All that was counted on one CPU since the beginning.
    pub(crate) fn on_cpu(&self, cpu: u32) -> Counts {
        Counts {
            conns: self.raw.on_cpu(cpu, CONNS),
            inpkts: self.raw.on_cpu(cpu, INPKTS),
            outpkts: self.raw.on_cpu(cpu, OUTPKTS),
            inbytes: self.raw.on_cpu(cpu, INBYTES),
            outbytes: self.raw.on_cpu(cpu, OUTBYTES),
        }
    }

    /// The figures to show (C: `ip_vs_copy_stats()`).
    pub(crate) fn shown(&self) -> Counts {
        self.raw().since(self.zero.get())
    }

    /// Has the figures start from 0 (C: `ip_vs_zero_stats()`).
    pub(crate) fn zero(&self) {
        self.zero.set(self.raw());
    }
}

/// What a service's dests have counted for it while they were its dests, those that are forgotten.
pub(crate) struct Tally {
    gone: Kept,
    zero: Kept,
    /// How many of its dests are in the trash.
    discarded: Atomic<u32>,
}

impl Tally {
    /// All at 0.
    pub(crate) fn new() -> Self {
        Self {
            gone: Kept::default(),
            zero: Kept::default(),
            discarded: Atomic::new(0),
        }
    }

    /// A dest has gone into the trash.
    pub(crate) fn discarded(&self) {
        self.discarded.fetch_add(1, Relaxed);
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

    /// The figures to show, with `all` what all dests have counted.
    pub(crate) fn shown(&self, all: Counts) -> Counts {
        all.since(self.zero.get())
    }

    /// Has the figures start from 0; `all` is as for [`Self::shown`].
    pub(crate) fn zero(&self, all: Counts) {
        self.zero.set(all);
    }
}
