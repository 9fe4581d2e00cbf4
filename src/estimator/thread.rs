// SPDX-License-Identifier: GPL-2.0

//! The estimator thread of a network namespace.
//!
//! C version: `ip_vs_est_kthread_start()`, `est_reload_work_handler()`
//! [net/netfilter/ipvs/ip_vs_est.c], [net/netfilter/ipvs/ip_vs_ctl.c].

use super::Estimator;
use crate::{
    oot::{
        kthread::Threaded,
        time::HZ,
        workqueue::{
            Delayed,
            Work, //
        }, //
    },
    sysctl::EstimatorSettings, //
};
use core::ops::Deref;
use kernel::{
    prelude::*,
    str::CString,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
};

/// The number of namespaces created so far.
static GENERATIONS: Atomic<u32> = Atomic::new(0);

/// The estimator with its thread and settings. Its work item starts the thread again after a
/// failure (C: `est_reload_work_handler()`). The work is cancelled before the thread is stopped on
/// drop.
#[pin_data]
pub(crate) struct EstimatorThread {
    #[pin]
    thread: Threaded<Estimator>,
    #[pin]
    pub(crate) settings: EstimatorSettings,
    /// The number of namespaces created before this one; part of the thread's name.
    generation: u32,
}

impl EstimatorThread {
    /// The delay until the next attempt to start the thread, in jiffies.
    const RETRY: usize = HZ / 10;

    /// An estimator whose thread does not run.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        kernel::try_pin_init!(Self {
            thread <- Threaded::new(Estimator::new()),
            settings <- EstimatorSettings::new(),
            generation: GENERATIONS.fetch_add(1, Relaxed),
        }? Error)
    }

    /// The number of namespaces created before this one.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Starts the thread, unless `run_estimation` is 0 or `est_cpulist` is empty. The caller has
    /// locked the settings.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; whatever [`Threaded::start`] returns.
    fn start_held(&self) -> Result {
        let cpus = self.settings.cpulist();
        let none = cpus.as_ref().is_some_and(|cpus| cpus.empty());
        if none || !self.settings.is_wanted() {
            return Ok(());
        }
        let cpus = cpus.as_deref().map(Deref::deref);
        let name = CString::try_from_fmt(fmt!("ipvs-e:{}:0", self.generation))?;
        if self.thread.start(&name, self.settings.nice(), cpus)? {
            pr_info!("starting estimator thread 0...\n");
        }
        Ok(())
    }
}

impl Delayed<EstimatorThread> {
    /// Starts the thread when a service is added, unless it runs or the settings disable it
    /// (C: `ip_vs_est_reload_start()`).
    pub(crate) fn begin(&self) {
        if self.is_running() {
            return;
        }
        let _settings = self.settings.hold();
        self.enable();
        self.begin_held();
    }

    /// Starts the thread, or queues the work item if that fails. The caller has locked the
    /// settings.
    fn begin_held(&self) {
        if self.start_held().is_err() {
            pr_err!("cannot start the estimator thread, retrying\n");
            self.schedule(EstimatorThread::RETRY);
        }
    }

    /// Stops the thread and, if there has been a service, starts it with the current settings. The
    /// caller has locked the settings.
    pub(crate) fn restart(&self) {
        if self.stop() {
            pr_info!("stopping estimator thread 0...\n");
        }
        if self.is_enabled() {
            self.begin_held();
        }
    }
}

impl Deref for EstimatorThread {
    type Target = Threaded<Estimator>;

    #[inline(always)]
    fn deref(&self) -> &Threaded<Estimator> {
        &self.thread
    }
}

impl Work for EstimatorThread {
    fn run(&self) -> Option<usize> {
        let _settings = self.settings.hold();
        self.start_held().is_err().then_some(Self::RETRY)
    }
}
