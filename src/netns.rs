// SPDX-License-Identifier: GPL-2.0

//! All that belongs to one network namespace.
//!
//! C version: `struct netns_ipvs` [include/net/ip_vs.h].

pub(crate) use crate::proto::Timeouts;
use crate::{
    addr::Family,
    conn::{
        self,
        table::ConnCache, //
    },
    ctl,
    estimator::Estimator,
    hook,
    oot::{
        fs,
        kthread::Threaded,
        net::{
            device::{
                Device,
                Watch, //
            },
            namespace::{
                Id,
                Net,
                PerNet,
                Pernet, //
            },
        },
        time::HZ,
        workqueue::{
            Delayed,
            Work, //
        }, //
    },
    service,
    stats::Stats,
    sysctl::{
        self,
        Sysctl, //
    }, //
};
use core::ops::Deref;
use kernel::{
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        ArcBorrow, //
    },
};

/// How many namespaces there have been.
static GENERATIONS: Atomic<u32> = Atomic::new(0);

/// A namespace's director. Once hooks and files are gone, its fields are dropped in this order.
#[pin_data]
pub(crate) struct Netns {
    #[pin]
    pub(crate) ctl: ctl::State,
    #[pin]
    pub(crate) conns: Delayed<conn::table::Table>,
    #[pin]
    pub(crate) services: service::Table,
    #[pin]
    pub(crate) estimator: Delayed<Estimation>,
    pub(crate) timeouts: Timeouts,
    #[pin]
    pub(crate) sysctl: Sysctl,
}

impl Netns {
    /// The figures of the namespace as a whole.
    #[inline(always)]
    pub(crate) fn stats(&self) -> &Stats {
        &self.estimator.total
    }

    /// Has rates estimated from now on, as the settings want it: there is a service
    /// (C: `ip_vs_est_reload_start()`).
    pub(crate) fn start_estimator(&self) {
        if self.estimator.is_running() {
            return;
        }
        let _settings = self.estimator.settings.hold();
        self.estimator.enable();
        self.start_estimator_held();
    }

    fn start_estimator_held(&self) {
        if self.estimator.start_held().is_err() {
            pr_err!("could not start the estimator thread yet\n");
            self.estimator.schedule(Estimation::RETRY);
        }
    }

    /// Has rates estimated as the settings, which the caller holds, want it now.
    pub(crate) fn restart_estimator(&self) {
        if self.estimator.stop() {
            pr_info!("stopping estimator thread 0...\n");
        }
        if self.estimator.is_enabled() {
            self.start_estimator_held();
        }
    }
}

/// The estimator with its thread, and how it is to run. The work is to start the thread if that
/// failed (C: `est_reload_work_handler()`); it is cancelled before the thread is stopped for good.
#[pin_data]
pub(crate) struct Estimation {
    #[pin]
    thread: Threaded<Estimator>,
    #[pin]
    pub(crate) settings: sysctl::Estimation,
    /// How many namespaces were there before this one.
    generation: u32,
}

impl Estimation {
    /// In how many jiffies to try again.
    const RETRY: usize = HZ / 10;

    fn new() -> impl PinInit<Self, Error> {
        kernel::try_pin_init!(Self {
            thread <- Threaded::new(Estimator::new()),
            settings <- sysctl::Estimation::new(),
            generation: GENERATIONS.fetch_add(1, Relaxed),
        }? Error)
    }

    /// Starts the thread if the settings, which the caller holds, want it.
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

impl Deref for Estimation {
    type Target = Threaded<Estimator>;

    #[inline(always)]
    fn deref(&self) -> &Threaded<Estimator> {
        &self.thread
    }
}

impl Work for Estimation {
    fn run(&self) -> Option<usize> {
        let _settings = self.settings.hold();
        self.start_held().is_err().then_some(Self::RETRY)
    }
}

impl Pernet for Netns {
    type Shared = ConnCache;

    fn id() -> &'static Id<Self> {
        static ID: Id<Netns> = Id::new();
        &ID
    }

    fn files() -> &'static [fs::proc::File] {
        &ctl::proc::FILES
    }

    fn settings() -> (&'static CStr, &'static [fs::sysctl::File<Self>]) {
        (sysctl::PATH, sysctl::FILES)
    }

    fn init<'a>(net: &'a Net, cache: ArcBorrow<'a, ConnCache>) -> impl PinInit<Self, Error> {
        let conn_max = sysctl::first_conn_max();
        kernel::try_pin_init!(Self {
            ctl <- ctl::State::new(),
            conns <- Delayed::new(conn::table::Table::new(cache.into(), conn_max)),
            services <- service::Table::new(),
            estimator <- Delayed::new(Estimation::new()),
            timeouts: Timeouts::new(),
            sysctl <- Sysctl::new(net, conn_max),
        }? Error)
    }

    fn pre_exit(this: &PerNet<Self>) {
        ctl::cleanup(this);
        this.conns.flush();
    }
}

impl Watch for Netns {
    /// C: `ip_vs_dst_event()`.
    fn went_down(this: &PerNet<Self>, device: &Device) {
        this.services
            .for_each_dest(|dest| dest.route.forget(device));
    }
}

/// The hooks of a namespace are there while it has a service of their family.
pub(crate) fn enable_hooks(netns: &PerNet<Netns>, family: Family) -> Result {
    match family {
        Family::Inet => netns.enable_hooks(0, &hook::INET),
        Family::Inet6 => netns.enable_hooks(1, &hook::INET6),
    }
}

/// The last service of the family is gone.
pub(crate) fn disable_hooks(netns: &PerNet<Netns>, family: Family) {
    match family {
        Family::Inet => netns.disable_hooks(0),
        Family::Inet6 => netns.disable_hooks(1),
    }
}
