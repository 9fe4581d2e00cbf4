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
    hook,
    oot::{
        fs,
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
        workqueue::Delayed, //
    },
    service,
    stats::Stats,
    sysctl::{
        self,
        Sysctl, //
    }, //
};
use kernel::{
    prelude::*,
    sync::ArcBorrow, //
};

/// A namespace's director. Once hooks and files are gone, its fields are dropped in this order.
#[pin_data]
pub(crate) struct Netns {
    #[pin]
    pub(crate) ctl: ctl::State,
    #[pin]
    pub(crate) conns: Delayed<conn::table::Table>,
    #[pin]
    pub(crate) services: service::Table,
    pub(crate) stats: Stats,
    pub(crate) timeouts: Timeouts,
    #[pin]
    pub(crate) sysctl: Sysctl,
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
            stats: Stats::new()?,
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
