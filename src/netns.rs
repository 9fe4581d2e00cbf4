// SPDX-License-Identifier: GPL-2.0

//! The state of one network namespace's director.
//!
//! C version: `struct netns_ipvs` [include/net/ip_vs.h].

use crate::{
    addr::Family,
    conn::table::{
        ConnCache,
        Table as Conns, //
    },
    dest::trash::Trash,
    estimator::EstimatorThread,
    oot::{
        fs::{
            proc,
            sysctl as sysctl_files, //
        },
        module,
        net::{
            filter,
            namespace::Net,
            pernet::Ref, //
        },
        sync::Once,
        workqueue::Delayed, //
    },
    proto::ProtoData,
    sched::mh,
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
        atomic::Atomic,
        Arc,
        Mutex, //
    },
};

/// A namespace's director. Once nothing is registered any more, its fields are dropped in this order.
#[pin_data]
pub(crate) struct Netns {
    #[pin]
    pub(crate) registrations: Mutex<Registrations>,
    /// The namespace goes: see [`Netns::is_going`].
    going: Atomic<u32>,
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

/// What is registered in the namespace to be called with its director. Each refers to that, and is
/// dropped before.
#[derive(Default)]
pub(crate) struct Registrations {
    /// The namespace goes: nothing is registered any more.
    pub(crate) are_closed: bool,
    /// There while there is a service of IPv4.
    inet: Option<filter::Registration<Ref<Netns>>>,
    /// There while there is a service of IPv6.
    inet6: Option<filter::Registration<Ref<Netns>>>,
    pub(crate) proc: Option<proc::Registration<Ref<Netns>>>,
    pub(crate) sysctl: Option<sysctl_files::Registration<Ref<Netns>>>,
}

impl Registrations {
    /// The hooks of a family.
    pub(crate) fn hooks(
        &mut self,
        family: Family,
    ) -> &mut Option<filter::Registration<Ref<Netns>>> {
        match family {
            Family::Inet => &mut self.inet,
            Family::Inet6 => &mut self.inet6,
        }
    }
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
    /// A director without services, with room for `conn_max` conns from `cache`, if there is one.
    pub(crate) fn new(
        net: &Net,
        cache: Result<Arc<ConnCache>>,
        conn_max: i32,
        mh: mh::Settings,
    ) -> impl PinInit<Self, Error> + use<'_> {
        kernel::try_pin_init!(Self {
            registrations <- new_mutex!(Registrations::default()),
            going: Atomic::new(0),
            trash <- Trash::new(),
            control <- new_mutex!(Control {
                uses: module::Uses::new(this_module::<LocalModule>()),
                daemons: Daemons::default(),
                mixed_family_dests: 0,
            }),
            conns <- Delayed::new(Conns::new(cache?, conn_max)),
            services <- service::Table::new(),
            estimator <- Delayed::new(EstimatorThread::new()),
            protocols: ProtoData::new(),
            sysctl <- Sysctl::new(net, conn_max, mh),
        }? Error)
    }

    /// The namespace begins to go.
    pub(crate) fn set_going(&self) {
        self.going.write_once(1);
    }

    /// Whether the namespace goes, and with it its devices, one after the other: packets that no
    /// longer have a route are dropped without an ICMP error, as another director may have taken over.
    pub(crate) fn is_going(&self) -> bool {
        self.going.read_once() != 0
    }

    /// The counters and rates of the namespace as a whole.
    #[inline(always)]
    pub(crate) fn stats(&self) -> &Stats {
        &self.estimator.total
    }
}
