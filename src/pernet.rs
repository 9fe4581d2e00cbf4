// SPDX-License-Identifier: GPL-2.0

//! What the module sets up in each network namespace: the director's state, its files and settings,
//! and what it does when a device goes down or the namespace is deleted.
//!
//! C version: `__ip_vs_init()`, `__ip_vs_dev_cleanup_batch()` [net/netfilter/ipvs/ip_vs_core.c].

use crate::{
    conn::table::ConnCache,
    ctl,
    netns::Netns,
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
    },
    sysctl::CONN_MAX, //
};
use kernel::{
    prelude::*,
    sync::ArcBorrow, //
};

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
        (ctl::sysctl::PATH, ctl::sysctl::FILES)
    }

    fn init<'a>(net: &'a Net, cache: ArcBorrow<'a, ConnCache>) -> impl PinInit<Self, Error> {
        // A new namespace begins with the limit of the initial one.
        let conn_max =
            PerNet::<Netns>::of(Net::init()).map_or(CONN_MAX, |initial| initial.conns.max());
        Netns::new(net, cache.into(), conn_max)
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
