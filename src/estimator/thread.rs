// SPDX-License-Identifier: GPL-2.0

//! The thread of a namespace's estimator, and the settings by which it runs.
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

/// The number of namespaces so far.
static GENERATIONS: Atomic<u32> = Atomic::new(0);

/// The estimator with its thread and settings. As a work item, it starts the thread after that
/// failed (C: `est_reload_work_handler()`). The work is cancelled before the thread is stopped for
/// good.
#[pin_data]
pub(crate) struct EstimatorThread {
    #[pin]
    thread: Threaded<Estimator>,
    #[pin]
    pub(crate) settings: EstimatorSettings,
    /// The number of namespaces before this one, which is in the thread's name.
    generation: u32,
}

impl EstimatorThread {
    /// The delay until the next attempt, in jiffies.
    const RETRY: usize = HZ / 10;

    pub(crate) fn new() -> impl PinInit<Self, Error> {
        kernel::try_pin_init!(Self {
            thread <- Threaded::new(Estimator::new()),
            settings <- EstimatorSettings::new(),
            generation: GENERATIONS.fetch_add(1, Relaxed),
        }? Error)
    }

    /// Starts the thread, if the settings say that there is to be one. The caller holds the settings.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what the thread could not be started by.
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
    /// Starts to estimate rates, as far as the settings allow; called when there is a service
    /// (C: `ip_vs_est_reload_start()`).
    pub(crate) fn begin(&self) {
        if self.is_running() {
            return;
        }
        let _settings = self.settings.hold();
        self.enable();
        self.begin_held();
    }

    /// Starts the thread, now or by the work item. The caller holds the settings.
    fn begin_held(&self) {
        if self.start_held().is_err() {
            pr_err!("could not start the estimator thread yet\n");
            self.schedule(EstimatorThread::RETRY);
        }
    }

    /// Stops the thread and starts it anew with the current settings, which the caller holds.
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
