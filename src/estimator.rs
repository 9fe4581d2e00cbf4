// SPDX-License-Identifier: GPL-2.0

//! Estimates the rates of dests, services and the namespace, each every two seconds.
//!
//! Two seconds are divided into ticks. The sources are divided into as many rows, one for each tick,
//! so that there is no burst with many dests. A service is estimated by what its dests counted when
//! they were estimated, so that no counter is read twice.
//!
//! C version: [net/netfilter/ipvs/ip_vs_est.c], which measures how many estimators a thread can
//! handle and starts further threads. Here a namespace has one thread, as the work is a fraction of
//! C's.
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
        ServiceStats, //
        Stats,
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

/// The number of rows, and of ticks in two seconds (C: `IPVS_EST_NTICKS`).
const ROWS: usize = 50;

/// The length of a tick, in jiffies.
const TICK: usize = 2 * HZ / ROWS;

/// The number of sources by which a row may exceed the average, so that few sources make few rows.
const SLACK: usize = 32;

/// Something whose rates are estimated.
pub(crate) enum Source {
    /// A dest, and the statistics of the service that it counts for.
    Dest(RcuArc<Dest>, Arc<ServiceStats>),
    Service(Arc<ServiceStats>),
}

impl Source {
    fn rates(&self) -> &Rates {
        match self {
            Self::Dest(dest, _) => &dest.stats.rates,
            Self::Service(stats) => &stats.rates,
        }
    }

    fn is_dest(&self) -> bool {
        matches!(self, Self::Dest(..))
    }

    fn estimate(&self) {
        match self {
            Self::Dest(dest, service) => service.dest_counted(dest.stats.estimate()),
            Self::Service(stats) => stats.estimate(),
        }
    }

    /// Adds what a removed dest counted since its last estimation to its service.
    fn leave(&self) {
        if let Self::Dest(dest, service) = self {
            service.dest_counted(dest.stats.pass_over());
        }
    }
}

/// The sources that are estimated in the same tick.
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
        source.rates().est_slot.index.set(sources.len());
        vec::push(&mut sources, source, GFP_KERNEL).map_err(|_| ENOMEM)?;
        self.len.set(sources.len());
        Ok(())
    }

    /// Removes all sources and returns them.
    fn take_all(&self) -> KVVec<Source> {
        let mut sources = self.sources.lock();
        self.len.set(0);
        core::mem::replace(&mut *sources, KVVec::new())
    }

    /// Removes the source at `index` and returns it, if `rates` are its own. The last source of the
    /// row takes its place.
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
            moved.rates().est_slot.index.set(index);
        }
        taken
    }
}

/// The estimator of a namespace, with the statistics of the namespace as a whole.
#[pin_data]
pub(crate) struct Estimator {
    #[pin]
    pub(crate) total: Stats,
    #[pin]
    rows: [Row; ROWS],
    len: Number,
    /// 1 once the namespace has had a service.
    enabled: Number,
    /// The row to be estimated next.
    next: Number,
    /// The time of that, in jiffies.
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

    /// Notes that the namespace has a service.
    pub(crate) fn enable(&self) {
        self.enabled.set(1);
    }

    /// Whether the namespace has had a service.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.get() != 0
    }

    /// Adds a source (C: `ip_vs_start_estimator()`).
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn add(&self, source: Source) -> Result {
        let longest = (self.len.get() / ROWS).wrapping_add(SLACK);
        // The row that was estimated last comes again in two full seconds.
        let next = self.next.get().wrapping_add(ROWS);
        let row = (1..=ROWS)
            .map(|back| next.wrapping_sub(back) % ROWS)
            .find(|row| {
                self.rows
                    .get(*row)
                    .is_some_and(|row| row.len.get() < longest)
            })
            .unwrap_or(0);
        source.rates().est_slot.row.set(row);
        self.rows.get(row).ok_or(EINVAL)?.push(source)?;
        self.len.set(self.len.get().wrapping_add(1));
        Ok(())
    }

    /// Removes the source with these rates (C: `ip_vs_stop_estimator()`). If it is a dest whose
    /// service stays, the service takes over what the dest counted since its last estimation.
    #[inline]
    pub(crate) fn remove(&self, rates: &Rates, service_stays: bool) {
        // So it is after `clear()`. Only the control plane adds sources.
        if self.len.get() == 0 {
            return;
        }
        let row = self.rows.get(rates.est_slot.row.get());
        if let Some(source) = row.and_then(|row| row.take(rates.est_slot.index.get(), rates)) {
            self.len.set(self.len.get().wrapping_sub(1));
            if service_stays {
                source.leave();
            }
        }
    }

    /// Removes all sources. The namespace as a whole is estimated further.
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
            // Services are estimated by what their dests have counted.
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
        // After a long sleep, or a long stop, missed ticks are skipped.
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
