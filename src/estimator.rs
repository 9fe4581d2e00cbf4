// SPDX-License-Identifier: GPL-2.0

//! Estimates rates of dests, services and the namespace, each every two seconds.
//!
//! The two seconds are divided into ticks, and what is to be estimated into as many rows, one for
//! each tick, so that there is no burst however many dests there are. A service's figures are those
//! that its dests had when they were estimated, so that no counter is read twice.
//!
//! C version: [net/netfilter/ipvs/ip_vs_est.c], which measures how many estimators a thread can
//! bear and starts further ones; here a namespace has one thread, as the work is a fraction of C's.
//!
//! # Locking
//!
//! The control plane adds and removes under its mutex. Each row has a mutex of its own, taken after
//! that one, which the thread holds while it works on the row.

mod thread;

use crate::{
    dest::Dest,
    oot::{
        kthread::Steps,
        mm::vec,
        sync::RcuArc,
        time::{
            jiffies,
            HZ, //
        },
    },
    stats::{
        Number,
        Rates,
        Stats,
        Tally, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
};

pub(crate) use thread::EstimatorThread;

/// How many ticks two seconds have (C: `IPVS_EST_NTICKS`).
const ROWS: usize = 50;

/// In jiffies.
const TICK: usize = 2 * HZ / ROWS;

/// By how many a row may be longer than the average, so that few estimators make few rows.
const SLACK: usize = 32;

/// What has rates.
pub(crate) enum Source {
    /// A dest, and the service that it counts for.
    Dest(RcuArc<Dest>, Arc<Tally>),
    Service(Arc<Tally>),
}

impl Source {
    fn rates(&self) -> &Rates {
        match self {
            Self::Dest(dest, _) => &dest.stats.rates,
            Self::Service(tally) => &tally.rates,
        }
    }

    fn is_dest(&self) -> bool {
        matches!(self, Self::Dest(..))
    }

    fn estimate(&self) {
        match self {
            Self::Dest(dest, tally) => tally.dest_counted(dest.stats.estimate()),
            Self::Service(tally) => tally.estimate(),
        }
    }

    /// It was estimated for the last time.
    fn leave(&self) {
        if let Self::Dest(dest, tally) = self {
            tally.dest_counted(dest.stats.pass_over());
        }
    }
}

/// What is estimated in the same tick.
#[pin_data]
struct Row {
    #[pin]
    sources: Mutex<KVVec<Source>>,
    len: Number,
}

impl Row {
    fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            sources <- new_mutex!(KVVec::new()),
            len: Number::default(),
        })
    }

    fn push(&self, source: Source) -> Result {
        let mut sources = self.sources.lock();
        source.rates().spot.index.set(sources.len());
        vec::push(&mut sources, source, GFP_KERNEL).map_err(|_| ENOMEM)?;
        self.len.set(sources.len());
        Ok(())
    }

    /// Takes out all.
    fn take_all(&self) -> KVVec<Source> {
        let mut sources = self.sources.lock();
        self.len.set(0);
        core::mem::replace(&mut *sources, KVVec::new())
    }

    /// Takes out the source with that index if those are its rates; the last one takes its place.
    fn take(&self, index: usize, rates: &Rates) -> Option<Source> {
        let mut sources = self.sources.lock();
        if !core::ptr::eq(sources.get(index)?.rates(), rates) {
            return None;
        }
        let taken = vec::swap_remove(&mut sources, index);
        self.len.set(sources.len());
        if sources.is_empty() {
            *sources = KVVec::new();
        }
        if let Some(moved) = sources.get(index) {
            moved.rates().spot.index.set(index);
        }
        taken
    }
}

/// The estimator of a namespace, whose figures as a whole it holds.
#[pin_data]
pub(crate) struct Estimator {
    #[pin]
    pub(crate) total: Stats,
    #[pin]
    rows: [Row; ROWS],
    len: Number,
    /// Whether there has been a service.
    enabled: Number,
    /// The row whose turn is next.
    next: Number,
    /// When that is, in jiffies.
    due: Atomic<usize>,
}

impl Estimator {
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        pin_init::pin_init!(Self {
            total <- Stats::new(),
            rows <- pin_init::pin_init_array_from_fn(|_| Row::new()),
            len: Number::default(),
            enabled: Number::default(),
            next: Number::default(),
            due: Atomic::new(jiffies()),
        }? Error)
    }

    /// There is a service.
    pub(crate) fn enable(&self) {
        self.enabled.set(1);
    }

    /// Whether there has been a service.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.get() != 0
    }

    /// Has a source estimated from now on (C: `ip_vs_start_estimator()`).
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn add(&self, source: Source) -> Result {
        let longest = (self.len.get() / ROWS).wrapping_add(SLACK);
        // The row that was estimated last has two full seconds before it.
        let next = self.next.get().wrapping_add(ROWS);
        let row = (1..=ROWS)
            .map(|back| next.wrapping_sub(back) % ROWS)
            .find(|row| {
                self.rows
                    .get(*row)
                    .is_some_and(|row| row.len.get() < longest)
            })
            .unwrap_or(0);
        source.rates().spot.row.set(row);
        self.rows.get(row).ok_or(EINVAL)?.push(source)?;
        self.len.set(self.len.get().wrapping_add(1));
        Ok(())
    }

    /// Has what was added with these rates estimated no more (C: `ip_vs_stop_estimator()`). If a
    /// dest's service stays, it is told what the dest has counted last.
    #[inline]
    pub(crate) fn remove(&self, rates: &Rates, service_stays: bool) {
        // As after `clear()`; only the control plane adds any.
        if self.len.get() == 0 {
            return;
        }
        let row = self.rows.get(rates.spot.row.get());
        if let Some(source) = row.and_then(|row| row.take(rates.spot.index.get(), rates)) {
            self.len.set(self.len.get().wrapping_sub(1));
            if service_stays {
                source.leave();
            }
        }
    }

    /// Has nothing estimated any more, but for the namespace's figures.
    pub(crate) fn clear(&self) {
        for row in &self.rows {
            drop(row.take_all());
        }
        self.len.set(0);
    }

    /// Estimates one row.
    fn estimate(&self, row: usize) {
        if row == 0 {
            self.total.estimate();
        }
        if let Some(row) = self.rows.get(row) {
            let sources = row.sources.lock();
            // A service's figures are made of its dests'.
            let (dests, services) = (Source::is_dest, |source: &&Source| !source.is_dest());
            sources
                .iter()
                .filter(|source| dests(source))
                .for_each(Source::estimate);
            sources.iter().filter(services).for_each(Source::estimate);
        }
    }
}

impl Steps for Estimator {
    fn step(&self) -> Option<usize> {
        let early = self.due.load(Relaxed).wrapping_sub(jiffies());
        if (1..=TICK).contains(&early) {
            return Some(early);
        }
        // After a long sleep, or a long stop, ticks are not made up for.
        if early.wrapping_neg() > 8 * TICK {
            self.due.store(jiffies(), Relaxed);
        }
        let row = self.next.get();
        self.estimate(row);
        self.next.set(row.wrapping_add(1) % ROWS);
        self.due
            .store(self.due.load(Relaxed).wrapping_add(TICK), Relaxed);
        None
    }
}
