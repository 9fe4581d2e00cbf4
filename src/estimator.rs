// SPDX-License-Identifier: GPL-2.0

//! Estimates the rates of dests, services and the network namespace, each every two seconds.
//!
//! Two seconds are divided into ticks, and the sources into one row per tick, so that many sources
//! do not cause a burst of work. The estimation of a dest adds its increments to the service. The
//! rates of the service are computed from the sum, so no counter is read twice.
//!
//! C version: [net/netfilter/ipvs/ip_vs_est.c]. C measures how many estimators a thread can handle
//! and starts more threads. Here a namespace has one thread, as the work is a fraction of C's.
//!
//! # Locking
//!
//! The control plane adds and removes sources under the control mutex. Each row has its own mutex,
//! which is taken after that one. The thread holds it while it estimates the row.

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

/// The number of rows, and of ticks per two seconds (C: `IPVS_EST_NTICKS`).
const ROWS: usize = 50;

/// The length of a tick, in jiffies.
const TICK: usize = 2 * HZ / ROWS;

/// The number of sources by which a row may exceed the average, so that few sources fill few rows.
const SLACK: usize = 32;

/// A source of counters whose rates are estimated.
pub(crate) enum Source {
    /// A dest, and the statistics of its service.
    Dest(RcuArc<Dest>, Arc<ServiceStats>),
    Service(Arc<ServiceStats>),
}

/// The sources of a row. Each source stores its index in its `est_slot`.
struct Sources {
    dests: KVVec<DestSource>,
    services: KVVec<Arc<ServiceStats>>,
}

/// A dest, and the statistics of its service.
struct DestSource {
    dest: RcuArc<Dest>,
    service: Arc<ServiceStats>,
}

/// An element of a vector of [`Sources`].
trait HasRates {
    fn rates(&self) -> &Rates;
}

impl HasRates for DestSource {
    fn rates(&self) -> &Rates {
        &self.dest.stats.rates
    }
}

impl HasRates for Arc<ServiceStats> {
    fn rates(&self) -> &Rates {
        &self.rates
    }
}

impl DestSource {
    /// Updates the rates of the dest and adds its increments to the service.
    fn estimate(&self) {
        let counted = self.dest.stats.estimate();
        if !counted.is_zero() {
            self.service.dest_counted(counted);
        }
    }

    /// Adds the increments of a removed dest since its last estimation to the service.
    fn leave(&self) {
        self.service.dest_counted(self.dest.stats.pass_over());
    }
}

impl Sources {
    const fn new() -> Self {
        Self {
            dests: KVVec::new(),
            services: KVVec::new(),
        }
    }

    fn len(&self) -> usize {
        self.dests.len().wrapping_add(self.services.len())
    }

    fn estimate(&self) {
        self.dests.iter().for_each(DestSource::estimate);
        // The dests first: the services are estimated by the increments of their dests.
        for service in &self.services {
            service.estimate();
        }
    }
}

/// Adds an element and stores its index in its `est_slot`.
///
/// # Errors
///
/// `ENOMEM`.
fn push<T: HasRates>(elements: &mut KVVec<T>, element: T) -> Result {
    element.rates().est_slot.index.set(elements.len());
    vec::push(elements, element, GFP_KERNEL).map_err(|_| ENOMEM)
}

/// Removes and returns the element with these rates, if it is in `elements`. The last element moves
/// to its index.
fn take<T: HasRates>(elements: &mut KVVec<T>, rates: &Rates) -> Option<T> {
    let index = rates.est_slot.index.get();
    if !core::ptr::eq(elements.get(index)?.rates(), rates) {
        return None;
    }
    let taken = vec::swap_remove(elements, index);
    if elements.is_empty() {
        *elements = KVVec::new();
    }
    if let Some(moved) = elements.get(index) {
        moved.rates().est_slot.index.set(index);
    }
    taken
}

/// A row of sources.
#[pin_data]
struct Row {
    #[pin]
    sources: Mutex<Sources>,
    len: Number,
}

impl Row {
    fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            sources <- new_mutex!(Sources::new()),
            len: Number::default(),
        })
    }

    /// Adds a source.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn push(&self, source: Source) -> Result {
        let mut sources = self.sources.lock();
        match source {
            Source::Dest(dest, service) => push(&mut sources.dests, DestSource { dest, service }),
            Source::Service(service) => push(&mut sources.services, service),
        }?;
        self.len.set(sources.len());
        Ok(())
    }

    /// Removes all sources and returns them.
    fn take_all(&self) -> Sources {
        let mut sources = self.sources.lock();
        self.len.set(0);
        core::mem::replace(&mut *sources, Sources::new())
    }

    /// Removes the source with these rates. Returns whether it was in the row. `service_stays` is
    /// as for [`Estimator::remove`].
    fn remove(&self, rates: &Rates, service_stays: bool) -> bool {
        let mut sources = self.sources.lock();
        let removed = match take(&mut sources.dests, rates) {
            Some(dest) => {
                if service_stays {
                    dest.leave();
                }
                true
            }
            None => take(&mut sources.services, rates).is_some(),
        };
        self.len.set(sources.len());
        removed
    }
}

/// The estimator of a network namespace, with the statistics of the whole namespace.
#[pin_data]
pub(crate) struct Estimator {
    /// The counters and rates of the whole namespace.
    #[pin]
    pub(crate) total: Stats,
    #[pin]
    rows: [Row; ROWS],
    /// The number of sources in all rows.
    len: Number,
    /// 1 once the namespace has had a service.
    enabled: Number,
    /// The index of the row to be estimated next.
    next: Number,
    /// The index of the row to which sources are added: the row estimated last or, if that is full,
    /// an earlier one. Each tick resets it.
    filling: Number,
    /// The time at which `next` is due, in jiffies.
    due: Atomic<usize>,
}

impl Estimator {
    /// An estimator without sources.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        pin_init::pin_init!(Self {
            total <- Stats::new(),
            rows <- pin_init::pin_init_array_from_fn(|_| Row::new()),
            len: Number::default(),
            enabled: Number::default(),
            next: Number::default(),
            filling: Number::new(ROWS - 1),
            due: Atomic::new(jiffies()),
        }? Error)
    }

    /// Records that the namespace has had a service.
    pub(crate) fn enable(&self) {
        self.enabled.set(1);
    }

    /// Whether the namespace has had a service.
    pub(crate) fn is_enabled(&self) -> bool {
        self.enabled.get() != 0
    }

    /// Adds a source (C: `ip_vs_start_estimator()`). The caller holds the control mutex.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn add(&self, source: Source) -> Result {
        let number = self.row_to_fill();
        match &source {
            Source::Dest(dest, _) => &dest.stats.rates,
            Source::Service(stats) => &stats.rates,
        }
        .est_slot
        .row
        .set(number);
        self.rows.get(number).ok_or(EINVAL)?.push(source)?;
        self.len.set(self.len.get().wrapping_add(1));
        Ok(())
    }

    /// Returns the index of the row for a new source: the row that was estimated last, whose next
    /// estimation is two full seconds away, or the closest earlier row that is not too long.
    fn row_to_fill(&self) -> usize {
        let longest = (self.len.get() / ROWS).wrapping_add(SLACK);
        let first = self.filling.get();
        let mut row = first;
        while self
            .rows
            .get(row)
            .is_some_and(|row| row.len.get() >= longest)
        {
            row = before(row);
            if row == first {
                break;
            }
        }
        self.filling.set(row);
        row
    }

    /// Removes the source with these rates, if it was added (C: `ip_vs_stop_estimator()`). With
    /// `service_stays`, the increments of a dest since its last estimation are added to its
    /// service.
    #[inline]
    pub(crate) fn remove(&self, rates: &Rates, service_stays: bool) {
        // Skips the lookup after `clear()`. Only the control plane adds sources.
        if self.len.get() != 0 {
            self.find_and_remove(rates, service_stays);
        }
    }

    #[inline(never)]
    fn find_and_remove(&self, rates: &Rates, service_stays: bool) {
        let row = self.rows.get(rates.est_slot.row.get());
        if row.is_some_and(|row| row.remove(rates, service_stays)) {
            self.len.set(self.len.get().wrapping_sub(1));
        }
    }

    /// Removes all sources. The rates of the whole namespace are still estimated.
    pub(crate) fn clear(&self) {
        for row in &self.rows {
            drop(row.take_all());
        }
        self.len.set(0);
    }

    /// Estimates a row; with the first row also the whole namespace.
    fn estimate(&self, row: usize) {
        if row == 0 {
            self.total.estimate();
        }
        if let Some(row) = self.rows.get(row) {
            row.sources.lock().estimate();
        }
    }
}

/// The index of the row that is estimated before `row`.
fn before(row: usize) -> usize {
    row.checked_sub(1).unwrap_or(ROWS - 1)
}

impl Steps for Estimator {
    fn step(&self) -> Option<usize> {
        let early = self.due.load(Relaxed).wrapping_sub(jiffies());
        if (1..=TICK).contains(&early) {
            return Some(early);
        }
        // Skip missed ticks after a long sleep, or after the thread was stopped for long.
        if early.wrapping_neg() > 8 * TICK {
            self.due.store(jiffies(), Relaxed);
        }
        let row = self.next.get();
        self.estimate(row);
        self.filling.set(row);
        self.next.set(row.wrapping_add(1) % ROWS);
        self.due
            .store(self.due.load(Relaxed).wrapping_add(TICK), Relaxed);
        None
    }
}
