// SPDX-License-Identifier: GPL-2.0

//! The state of a network namespace.
//!
//! C version: `struct netns_ipvs` [include/net/ip_vs.h].

mod provide;
mod receive;

use crate::{
    addr::Family,
    conn::{
        local::Locals,
        table::{
            ConnCache,
            ConnTable,
            Owner, //
        },
        Conn, //
    },
    dest::{
        real::RealServers,
        trash::Trash, //
    },
    estimator::EstimatorThread,
    oot::{
        fs::{
            proc,
            sysctl as sysctl_files, //
        },
        module,
        net::{
            conntrack,
            filter,
            namespace::Net,
            pernet::Ref, //
        },
        sync::Once,
        workqueue::{
            Delayed,
            Work, //
        }, //
    },
    proto::ProtoData,
    sched::mh,
    service::ServiceTable,
    stats::Stats,
    sync::{
        Daemons,
        State, //
    },
    sysctl::Sysctl,
    LocalModule, //
};
use kernel::{
    module::this_module,
    new_mutex, new_spinlock,
    prelude::*,
    sync::{
        atomic::Atomic,
        rcu,
        Arc,
        Mutex,
        SpinLock, //
    },
};

/// The IPVS state of a network namespace (C: `struct netns_ipvs`). The fields are dropped in this
/// order, after everything in `registrations` was unregistered.
#[pin_data]
pub(crate) struct Netns {
    #[pin]
    pub(crate) registrations: Mutex<Registrations>,
    /// 1 once the namespace is being deleted; see [`Netns::is_going`].
    going: Atomic<u32>,
    /// The state of the sync daemons, as read by the data path.
    pub(crate) sync: State,
    /// Held, with softirqs disabled, while a received conn gets a dest.
    #[pin]
    binding: SpinLock<()>,
    #[pin]
    pub(crate) trash: Trash,
    #[pin]
    pub(crate) control: Mutex<Control>,
    #[pin]
    pub(crate) conns: Delayed<ConnTable>,
    #[pin]
    pub(crate) services: ServiceTable,
    #[pin]
    pub(crate) reals: RealServers,
    #[pin]
    pub(crate) estimator: Delayed<EstimatorThread>,
    pub(crate) protocols: ProtoData,
    #[pin]
    pub(crate) sysctl: Sysctl,
}

/// The registrations of the namespace's hooks and files. Each holds a reference to the [`Netns`],
/// so they are dropped before it.
#[derive(Default)]
pub(crate) struct Registrations {
    /// The namespace is being deleted: nothing may be registered any more.
    pub(crate) are_closed: bool,
    /// The IPv4 hooks, registered while there is an IPv4 service.
    inet: Option<filter::Registration<Ref<Netns>>>,
    /// The IPv6 hooks, registered while there is an IPv6 service.
    inet6: Option<filter::Registration<Ref<Netns>>>,
    pub(crate) proc: Option<proc::Registration<Ref<Netns>>>,
    pub(crate) sysctl: Option<sysctl_files::Registration<Ref<Netns>>>,
    /// The work of the defenses against floods.
    pub(crate) defense: Option<Pin<KBox<Delayed<Job>>>>,
}

/// Delayed work on the whole state of a namespace.
pub(crate) struct Job {
    pub(crate) netns: Ref<Netns>,
    /// The function. Returns the number of jiffies after which to run again, or `None`.
    pub(crate) run: fn(&Netns) -> Option<usize>,
}

impl Work for Job {
    fn run(&self) -> Option<usize> {
        (self.run)(&self.netns)
    }
}

impl Registrations {
    /// The registration of the hooks of a family.
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

/// The data guarded by the control mutex, in addition to services and dests.
pub(crate) struct Control {
    /// A module reference for each service and each running daemon; they prevent unloading.
    pub(crate) uses: module::Uses,
    pub(crate) daemons: Daemons<Ref<Netns>>,
    /// The number of dests of another family than their service. No daemon is started unless it is
    /// 0.
    pub(crate) mixed_family_dests: u32,
    /// The services that need connection tracking, of IPv4 and IPv6.
    tracked: [Tracked; 2],
}

/// Connection tracking of a family, which is on while there are services that need it.
#[derive(Default)]
pub(crate) struct Tracked {
    pub(crate) services: u32,
    pub(crate) tracking: Option<conntrack::Tracking<Ref<Netns>>>,
}

impl Control {
    /// The services of a family that need connection tracking.
    pub(crate) fn tracked(&mut self, family: Family) -> &mut Tracked {
        let [inet, inet6] = &mut self.tracked;
        match family {
            Family::Inet => inet,
            Family::Inet6 => inet6,
        }
    }
}

impl Netns {
    /// State without services. Conns, at most `conn_max`, are allocated from `cache`.
    ///
    /// # Errors
    ///
    /// The error in `cache`; `ENOMEM`.
    pub(crate) fn new(
        net: &Net,
        cache: Result<Arc<ConnCache>>,
        conn_max: i32,
        mh: mh::Settings,
    ) -> impl PinInit<Self, Error> + use<'_> {
        kernel::try_pin_init!(Self {
            registrations <- new_mutex!(Registrations::default()),
            going: Atomic::new(0),
            sync: State::new(),
            binding <- new_spinlock!(()),
            trash <- Trash::new(),
            control <- new_mutex!(Control {
                uses: module::Uses::new(this_module::<LocalModule>()),
                daemons: Daemons::new(),
                mixed_family_dests: 0,
                tracked: Default::default(),
            }),
            conns <- Delayed::new(ConnTable::new(cache?, conn_max)),
            services <- ServiceTable::new(),
            reals <- RealServers::new(),
            estimator <- Delayed::new(EstimatorThread::new()),
            protocols: ProtoData::new(),
            sysctl <- Sysctl::new(net, conn_max, mh),
        }? Error)
    }

    /// Marks the namespace as being deleted.
    pub(crate) fn set_going(&self) {
        self.going.write_once(1);
    }

    /// Whether the namespace is being deleted. Its devices are removed one after the other. Packets
    /// without a route are then dropped without an ICMP error, since another director may have
    /// taken over.
    pub(crate) fn is_going(&self) -> bool {
        self.going.read_once() != 0
    }

    /// Counts a packet of a conn to its dest, and sends the conn to backup directors, if that is
    /// due and a master daemon runs.
    #[inline(never)]
    pub(crate) fn sync_conn(&self, conn: &Conn, guard: &rcu::Guard) {
        if let Some(packets) = conn.count(&self.sysctl) {
            self.sync_packet(conn, packets, guard);
        }
    }

    /// The same for the packet with this number.
    #[cold]
    fn sync_packet(&self, conn: &Conn, packets: i32, guard: &rcu::Guard) {
        if let Some(master) = self.sync.master(guard) {
            conn.sync(master, &self.sysctl, packets);
        }
    }

    /// As [`sync_conn`](Self::sync_conn), for the template of a conn for a single packet, which is
    /// itself not sent.
    #[cold]
    pub(crate) fn sync_template(&self, template: &Conn, guard: &rcu::Guard) {
        if self.sysctl.sync_version() != 0 {
            self.sync_packet(template, template.count_any(), guard);
        }
    }

    /// The counters and rates of the whole namespace.
    #[inline(always)]
    pub(crate) fn stats(&self) -> &Stats {
        &self.estimator.total
    }
}

impl Owner for Ref<Netns> {
    fn net(&self) -> &Net {
        (**self).net()
    }

    fn locals(&self) -> &Locals {
        &self.conns.locals
    }

    fn expire_later(&self, conn: &Conn, guard: &rcu::Guard) {
        if let Some(master) = self.sync.master(guard) {
            conn.sync_later(master, &self.sysctl);
        }
    }
}
