// SPDX-License-Identifier: GPL-2.0

//! What the module sets up in each network namespace: the director's state, its files and settings,
//! and what it does when a device goes down or the namespace is deleted.
//!
//! C version: `__ip_vs_init()`, `__ip_vs_dev_cleanup_batch()` [net/netfilter/ipvs/ip_vs_core.c].
//!
//! # A namespace goes
//!
//! Its clients' packets must not come to the local stack meanwhile, which would reset their
//! connections: another director may have taken those over. So hooks, services and conns stay as
//! they are until the last of the namespace's devices is gone. What a packet no longer finds a route
//! for is dropped without an ICMP error ([`Netns::is_going`]). A dest lets its route by a device go
//! when that goes down, and keeps none by it afterwards, so that the device can go. When no packet
//! can come any more, hooks and files are unregistered, daemons, services and conns end, and the
//! rest is dropped after a grace period.
//!
//! # Differences from C
//!
//! C unregisters its hooks before the devices go: for some milliseconds the local stack answers.

use crate::{
    addr::Family,
    conn::table::ConnCache,
    ctl,
    netns::Netns,
    oot::{
        fs,
        net::{
            device::Device,
            namespace::Net,
            notifier::DeviceNotifier,
            pernet::{
                Id,
                PerNet,
                Pernet,
                Ref, //
            },
        },
    },
    sched::mh,
    sysctl::CONN_MAX, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

impl Pernet for Netns {
    fn id() -> &'static Id<Self> {
        static ID: Id<Netns> = Id::new();
        &ID
    }

    /// A new namespace shares the cache of the initial one, which is made first, and begins with its
    /// limit.
    fn init(net: &Net) -> impl PinInit<Self, Error> {
        let initial = PerNet::<Netns>::of(Net::init());
        let (cache, conn_max) = match &initial {
            Some(initial) => (Ok(initial.conns.cache().clone()), initial.conns.max()),
            None if net.is_init() => (new_cache(), CONN_MAX),
            // The module is being removed: the initial director is no longer found.
            None => (Err(EAGAIN), CONN_MAX),
        };
        let mh = crate::mh_settings().unwrap_or(mh::Settings::DEFAULT);
        Netns::new(net, cache, conn_max, mh)
    }

    fn start(this: &Ref<Self>) -> Result {
        let settings = ctl::sysctl::FILES;
        let settings = fs::sysctl::Registration::new(this.clone(), ctl::sysctl::PATH, settings)?;
        let files = fs::proc::Registration::new(this.clone(), &ctl::proc::FILES)?;
        let mut registrations = this.registrations.lock();
        registrations.sysctl = Some(settings);
        registrations.proc = Some(files);
        Ok(())
    }

    fn pre_exit(this: &PerNet<Self>) {
        this.set_going();
    }

    fn exit(this: &PerNet<Self>) {
        let mut registrations = this.registrations.lock();
        registrations.are_closed = true;
        let hooks = [Family::Inet, Family::Inet6].map(|family| registrations.hooks(family).take());
        let files = (registrations.proc.take(), registrations.sysctl.take());
        // Readers and writers of files are waited for, and may need the mutex.
        drop(registrations);
        drop(hooks);
        drop(files);
        ctl::cleanup(this);
        this.conns.flush();
    }
}

fn new_cache() -> Result<Arc<ConnCache>> {
    Ok(Arc::new(ConnCache::new(c"ip_vs_conn")?, GFP_KERNEL)?)
}

impl DeviceNotifier for Netns {
    /// C: `ip_vs_dst_event()`.
    fn down(net: &Net, device: &Device) {
        if let Some(this) = PerNet::<Netns>::of(net) {
            this.services
                .for_each_dest(|dest| dest.route.forget(device));
        }
    }
}
