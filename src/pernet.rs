// SPDX-License-Identifier: GPL-2.0

//! Sets up each network namespace: the state, the files in /proc/net and the sysctls. Handles
//! devices that go down and the deletion of the namespace.
//!
//! C version: `__ip_vs_init()`, `__ip_vs_dev_cleanup_batch()` [net/netfilter/ipvs/ip_vs_core.c].
//!
//! # Deletion of a namespace
//!
//! Packets of clients must not reach the local stack during the deletion: it would reset
//! connections that another director may have taken over. Hooks, services and conns therefore stay
//! until the last device of the namespace is removed. Packets without a route are dropped without
//! an ICMP error ([`Netns::is_going`]). When a device goes down, each dest drops its cached route
//! through the device, and caches no other route through it, so that the device can be removed.
//! After the last device, no packet arrives: hooks and files are unregistered, services and conns
//! are flushed, and the state is freed after a grace period.
//!
//! Sync daemons are stopped first, since their sockets refer to devices.
//!
//! # Differences from C
//!
//! C unregisters its hooks before the devices are removed. For some milliseconds, the local stack
//! replies to packets of clients.

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
                impl_has_pernet_id,
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

impl_has_pernet_id! {
    impl HasPernetId for Netns
}

impl Pernet for Netns {
    /// A new namespace shares the slab cache of the initial namespace, which is set up first, and
    /// inherits its `conn_max`.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if the module is being unloaded; `ENOMEM`.
    fn init(net: &Net) -> impl PinInit<Self, Error> {
        let initial = PerNet::<Netns>::of(Net::init());
        let (cache, conn_max) = match &initial {
            Some(initial) => (Ok(initial.conns.cache().clone()), initial.conns.max()),
            None if net.is_init() => (new_cache(), CONN_MAX),
            // The module is being unloaded: `of()` does not return the initial namespace any more.
            None => (Err(EAGAIN), CONN_MAX),
        };
        let mh = crate::mh_settings().unwrap_or(mh::Settings::DEFAULT);
        Netns::new(net, cache, conn_max, mh)
    }

    /// Creates the work of the defenses, and registers the sysctls and the files in /proc/net.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also if a file or sysctl of that name exists.
    fn start(this: &Ref<Self>) -> Result {
        this.conns.set_owner(KBox::new(this.clone(), GFP_KERNEL)?)?;
        let defense = ctl::defense::work(this.clone())?;
        let settings = ctl::sysctl::FILES;
        let settings = fs::sysctl::Registration::new(this.clone(), ctl::sysctl::PATH, settings)?;
        let files = fs::proc::Registration::new(this.clone(), &ctl::proc::FILES)?;
        let mut registrations = this.registrations.lock();
        registrations.sysctl = Some(settings);
        registrations.proc = Some(files);
        registrations.defense = Some(defense);
        Ok(())
    }

    fn pre_exit(this: &PerNet<Self>) {
        this.set_going();
        ctl::stop_daemons(this);
    }

    fn exit(this: &PerNet<Self>) {
        let mut registrations = this.registrations.lock();
        registrations.are_closed = true;
        let hooks = [Family::Inet, Family::Inet6].map(|family| registrations.hooks(family).take());
        let files = (registrations.proc.take(), registrations.sysctl.take());
        let defense = registrations.defense.take();
        // Unregistering waits for accesses of the files, which may lock the mutex.
        drop(registrations);
        drop(hooks);
        drop(files);
        drop(defense);
        ctl::cleanup(this);
        // As in C, the conntrack entries are not deleted.
        this.conns.drop_owner();
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
