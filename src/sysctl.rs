// SPDX-License-Identifier: GPL-2.0

//! The values of net.ipv4.vs.*, per namespace.
//!
//! C version: `sysctl_*` of `struct netns_ipvs` [include/net/ip_vs.h].
//!
//! # Not in force yet
//!
//! Settings of what there is not yet are kept and shown: those of the defence against floods, of
//! synchronisation, and `cache_bypass`, `conntrack`, `ignore_tunneled`, `nat_icmp_send`,
//! `schedule_icmp`, `sloppy_sctp`.
//!
//! # Differences from C
//!
//! A load factor at its default stands for a table with an entry to a bucket, where C's has 16 or
//! 4 buckets to a conn and 8 or 4 to a service. From there on each step halves or doubles it, too.

use crate::{
    oot::{
        cpumask::CpuMask,
        fs::sysctl::Jiffies,
        mm,
        net::namespace::Net,
        sync::Once, //
    },
    sched::{
        locality::cache::DEFAULT_EXPIRATION,
        mh, //
    }, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::Atomic,
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Arc,
        Mutex, //
    },
};

/// C's limit on the number of conns on 64-bit systems (`IP_VS_CONN_MAX`).
pub(crate) const CONN_MAX: i32 = 1 << 30;

/// Declares the integers, each with its default.
macro_rules! ints {
    ($($(#[$cfg:meta])? $name:ident: [$($first:expr),*],)*) => {
        pub(crate) struct Ints {
            $($(#[$cfg])? pub(crate) $name: [Atomic<i32>; [$($first),*].len()],)*
        }

        impl Ints {
            fn new() -> Self {
                Self { $($(#[$cfg])? $name: [$(Atomic::new($first)),*],)* }
            }
        }
    };
}

ints! {
    amemthresh: [1024],
    am_droprate: [10],
    drop_entry: [0],
    drop_packet: [0],
    #[cfg(CONFIG_IP_VS_NFCT)]
    conntrack: [0],
    secure_tcp: [0],
    snat_reroute: [1],
    sync_version: [1],
    sync_ports: [1],
    sync_persist_mode: [0],
    sync_sock_size: [0],
    cache_bypass: [0],
    expire_nodest_conn: [0],
    sloppy_tcp: [0],
    sloppy_sctp: [0],
    expire_quiescent_template: [0],
    sync_threshold: [3, 50],
    sync_refresh_period: [0],
    sync_retries: [0],
    nat_icmp_send: [0],
    pmtu_disc: [1],
    backup_only: [0],
    conn_reuse_mode: [1],
    schedule_icmp: [0],
    ignore_tunneled: [0],
    conn_lfactor: [0],
    svc_lfactor: [0],
}

/// What the files set, but for `conn_max`, which lies with the conns, and [`EstimatorSettings`].
#[pin_data]
pub(crate) struct Sysctl {
    pub(crate) ints: Ints,
    /// The most messages that may wait to be sent to another director.
    pub(crate) sync_qlen_max: Atomic<usize>,
    /// The time after which lblc forgets an unused address.
    pub(crate) lblc_expiration: Jiffies,
    /// The same of lblcr; and how soon a dest of an address goes.
    pub(crate) lblcr_expiration: Jiffies,
    /// What the module's parameters say about mh.
    pub(crate) mh: mh::Settings,
    /// The load factors' defaults.
    pub(crate) load: LoadFactors,
    /// The most that a user without privilege in the whole system may set `conn_max` to.
    #[pin]
    pub(crate) conn_max_limit: Mutex<i32>,
    /// Held while values that belong together change.
    #[pin]
    pub(crate) changes: Mutex<()>,
}

/// How rates are estimated; these values lie with the estimator.
#[pin_data]
pub(crate) struct EstimatorSettings {
    pub(crate) run: [Atomic<i32>; 1],
    pub(crate) nice: [Atomic<i32>; 1],
    /// The CPUs of the thread; unless set, those of any kernel thread.
    #[pin]
    pub(crate) cpulist: Mutex<Option<Arc<CpuMask>>>,
    /// Held while any of it changes, or the estimator is started or stopped for it.
    #[pin]
    changes: Mutex<()>,
}

/// C's default load factors of its tables, as binary logarithms of entries to a bucket.
pub(crate) struct LoadFactors {
    pub(crate) conns: i32,
    pub(crate) services: i32,
}

impl LoadFactors {
    fn new(net: &Net) -> Self {
        let (conns, services) = if net.is_init() { (-4, -3) } else { (-2, -2) };
        Self { conns, services }
    }
}

impl Sysctl {
    /// C's defaults for a namespace with room for so many conns.
    pub(crate) fn new(net: &Net, conn_max: i32, mh: mh::Settings) -> impl PinInit<Self, Error> {
        let load = LoadFactors::new(net);
        let ints = Ints::new();
        set(&ints.conn_lfactor, load.conns);
        set(&ints.svc_lfactor, load.services);
        pin_init::pin_init!(Self {
            ints,
            sync_qlen_max: Atomic::new(mm::free_buffer_pages() / 32),
            lblc_expiration: Jiffies::new(DEFAULT_EXPIRATION)?,
            lblcr_expiration: Jiffies::new(DEFAULT_EXPIRATION)?,
            mh,
            load,
            conn_max_limit <- new_mutex!(conn_max),
            changes <- new_mutex!(()),
        }? Error)
    }

    /// Replies are routed anew after translation.
    #[inline(always)]
    pub(crate) fn snat_reroute(&self) -> bool {
        get(&self.ints.snat_reroute) != 0
    }

    /// Conns of a dest that was removed end at once.
    #[inline(always)]
    pub(crate) fn expire_nodest_conn(&self) -> bool {
        get(&self.ints.expire_nodest_conn) != 0
    }

    /// Any TCP segment may start a conn.
    #[inline(always)]
    pub(crate) fn sloppy_tcp(&self) -> bool {
        get(&self.ints.sloppy_tcp) != 0
    }

    /// Templates do not lead to a dest of weight 0.
    #[inline]
    pub(crate) fn expire_quiescent_template(&self) -> bool {
        get(&self.ints.expire_quiescent_template) != 0
    }

    /// Tunnels obey the path MTU.
    #[inline(always)]
    pub(crate) fn pmtu_disc(&self) -> bool {
        get(&self.ints.pmtu_disc) != 0
    }

    /// When a SYN on a conn starts a new one: not 0 if that is closed, bit 1 if it is closing, too.
    #[inline(always)]
    pub(crate) fn conn_reuse_mode(&self) -> i32 {
        get(&self.ints.conn_reuse_mode)
    }

    /// The number of ports that each sync daemon uses.
    pub(crate) fn sync_ports(&self) -> i32 {
        get(&self.ints.sync_ports)
    }

    /// The load factor of the table of conns, as C counts.
    pub(crate) fn conn_lfactor(&self) -> i32 {
        get(&self.ints.conn_lfactor)
    }

    /// The load factor of the table of services, as C counts.
    pub(crate) fn svc_lfactor(&self) -> i32 {
        get(&self.ints.svc_lfactor)
    }
}

impl EstimatorSettings {
    /// C's defaults.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            run: [Atomic::new(1)],
            nice: [Atomic::new(0)],
            cpulist <- new_mutex!(None),
            changes <- new_mutex!(()),
        })
    }

    /// While this is held, none of it changes.
    pub(crate) fn hold(&self) -> Guard<'_, (), MutexBackend> {
        self.changes.lock()
    }

    /// Rates are estimated, if there are CPUs to do it.
    pub(crate) fn is_wanted(&self) -> bool {
        get(&self.run) != 0
    }

    /// The nice value of the threads that do it.
    pub(crate) fn nice(&self) -> i32 {
        get(&self.nice)
    }

    /// How many CPUs may do it.
    pub(crate) fn cpus(&self) -> usize {
        let weight = |cpus: &CpuMask| cpus.weight() as usize;
        match self.cpulist() {
            Some(cpus) => weight(&cpus),
            None => CpuMask::housekeeping().as_ref().map_or(1, weight),
        }
    }

    /// The CPUs that were chosen to do it, which may be none, if any were.
    pub(crate) fn cpulist(&self) -> Option<Arc<CpuMask>> {
        self.cpulist.lock().clone()
    }
}

/// A value of one integer.
#[inline(always)]
pub(crate) fn get([int]: &[Atomic<i32>; 1]) -> i32 {
    int.read_once()
}

/// Sets a value of one integer.
pub(crate) fn set([int]: &[Atomic<i32>; 1], value: i32) {
    int.write_once(value);
}
