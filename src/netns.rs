// SPDX-License-Identifier: GPL-2.0

//! The state of one network namespace's director.
//!
//! C version: `struct netns_ipvs` [include/net/ip_vs.h].

use crate::{
    conn::table::{
        ConnCache,
        Table as Conns, //
    },
    dest::trash::Trash,
    estimator::EstimatorThread,
    oot::{
        module,
        net::namespace::Net,
        workqueue::Delayed, //
    },
    proto::ProtoData,
    service,
    stats::Stats,
    sync::Daemons,
    sysctl::Sysctl,
    LocalModule, //
};
use kernel::{
    module::this_module,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    },
};

/// A namespace's director. Once hooks and files are gone, its fields are dropped in this order.
#[pin_data]
pub(crate) struct Netns {
    #[pin]
    pub(crate) trash: Trash,
    #[pin]
    pub(crate) control: Mutex<Control>,
    #[pin]
    pub(crate) conns: Delayed<Conns>,
    #[pin]
    pub(crate) services: service::Table,
    #[pin]
    pub(crate) estimator: Delayed<EstimatorThread>,
    pub(crate) protocols: ProtoData,
    #[pin]
    pub(crate) sysctl: Sysctl,
}

/// What the mutex of the control plane guards, beside services and dests.
pub(crate) struct Control {
    /// One for each service and each daemon: the module cannot be removed meanwhile.
    pub(crate) uses: module::Uses,
    pub(crate) daemons: Daemons,
    /// The number of dests of another family than their service. Daemons are refused with any.
    pub(crate) mixed_family_dests: u32,
}

impl Netns {
    /// A director without services, with room for `conn_max` conns from `cache`.
    pub(crate) fn new(
        net: &Net,
        cache: Arc<ConnCache>,
        conn_max: i32,
    ) -> impl PinInit<Self, Error> + use<'_> {
        kernel::try_pin_init!(Self {
            trash <- Trash::new(),
            control <- new_mutex!(Control {
                uses: module::Uses::new(this_module::<LocalModule>()),
                daemons: Daemons::default(),
                mixed_family_dests: 0,
            }),
            conns <- Delayed::new(Conns::new(cache, conn_max)),
            services <- service::Table::new(),
            estimator <- Delayed::new(EstimatorThread::new()),
            protocols: ProtoData::new(),
            sysctl <- Sysctl::new(net, conn_max),
        }? Error)
    }

    /// The counters and rates of the namespace as a whole.
    #[inline(always)]
    pub(crate) fn stats(&self) -> &Stats {
        &self.estimator.total
    }
}
