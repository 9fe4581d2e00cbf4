// SPDX-License-Identifier: GPL-2.0

//! The values of the sysctls `net.ipv4.vs.*`, per network namespace.
//!
//! C version: `sysctl_*` of `struct netns_ipvs` [include/net/ip_vs.h].
//!
//! # Differences from C
//!
//! At the default load factor a table has up to one entry per bucket. C's has 16 or 4 buckets per
//! conn, and 8 or 4 per service. As in C, each step of the load factor halves or doubles the table.

pub(crate) mod defense;

use crate::{
    laddr::AddrList,
    oot::{
        cpumask::CpuMask,
        fs::sysctl::Jiffies,
        mm,
        net::namespace::Net,
        sync::{
            Once,
            RcuBox,
            RcuCell, //
        },
    },
    sched::{
        locality::cache::DEFAULT_EXPIRATION,
        mh, //
    },
    sync::due::Policy, //
};
use core::ops::RangeInclusive;
use defense::PacketDrops;
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::Atomic,
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        rcu,
        Arc,
        Mutex, //
    },
};

/// The maximum of `conn_max` (C: `IP_VS_CONN_MAX`, on 64-bit systems).
pub(crate) const CONN_MAX: i32 = 1 << 30;

/// Declares the integer sysctls, each with its default value.
macro_rules! ints {
    ($($(#[$cfg:meta])? $name:ident: [$($first:expr),*],)*) => {
        /// The integer sysctls.
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
    sync_resync: [1],
    sync_early: [0],
    nat_icmp_send: [0],
    pmtu_disc: [1],
    backup_only: [0],
    conn_reuse_mode: [1],
    schedule_icmp: [0],
    ignore_tunneled: [0],
    conn_lfactor: [0],
    svc_lfactor: [0],
    fullnat: [0],
    fullnat_ports: [1024, 65535],
    fullnat_client: [0],
}

/// The sysctls of a network namespace, except `conn_max`, which the conn table stores, and
/// [`EstimatorSettings`].
#[pin_data]
pub(crate) struct Sysctl {
    pub(crate) ints: Ints,
    /// Which packets `drop_packet` drops.
    pub(crate) packet_drops: PacketDrops,
    /// The maximum number of sync messages queued for sending.
    pub(crate) sync_qlen_max: Atomic<usize>,
    /// The time after which an unused lblc entry expires.
    pub(crate) lblc_expiration: Jiffies,
    /// The time after which an unused lblcr entry expires, or its server set is shrunk.
    pub(crate) lblcr_expiration: Jiffies,
    /// The module parameters of mh.
    pub(crate) mh: mh::Settings,
    /// The default load factors.
    pub(crate) load: LoadFactors,
    /// The addresses of local ends, if any are listed.
    fullnat_laddr: RcuCell<AddrList>,
    /// The maximum of `conn_max` for a user without `CAP_NET_ADMIN` in the initial user namespace.
    #[pin]
    pub(crate) conn_max_limit: Mutex<i32>,
    /// Held while related values change.
    #[pin]
    pub(crate) changes: Mutex<()>,
}

/// The sysctls of the estimator, which stores them.
#[pin_data]
pub(crate) struct EstimatorSettings {
    pub(crate) run: [Atomic<i32>; 1],
    pub(crate) nice: [Atomic<i32>; 1],
    /// The CPUs of the estimator thread; `None` for the housekeeping CPUs.
    #[pin]
    pub(crate) cpulist: Mutex<Option<Arc<CpuMask>>>,
    /// Held while any setting changes, and while the estimator is started or stopped.
    #[pin]
    changes: Mutex<()>,
}

/// C's default load factors: binary logarithms of the number of entries per bucket.
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
    /// The default values of C. `conn_max` is the initial [`conn_max_limit`](Self::conn_max_limit).
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(net: &Net, conn_max: i32, mh: mh::Settings) -> impl PinInit<Self, Error> {
        let load = LoadFactors::new(net);
        let ints = Ints::new();
        set(&ints.conn_lfactor, load.conns);
        set(&ints.svc_lfactor, load.services);
        pin_init::pin_init!(Self {
            ints,
            packet_drops: PacketDrops::new(),
            sync_qlen_max: Atomic::new(mm::free_buffer_pages() / 32),
            lblc_expiration: Jiffies::new(DEFAULT_EXPIRATION)?,
            lblcr_expiration: Jiffies::new(DEFAULT_EXPIRATION)?,
            mh,
            load,
            fullnat_laddr: RcuCell::new(None),
            conn_max_limit <- new_mutex!(conn_max),
            changes <- new_mutex!(()),
        }? Error)
    }

    /// Whether new conns use connection tracking.
    #[inline]
    pub(crate) fn conntrack(&self) -> bool {
        #[cfg(CONFIG_IP_VS_NFCT)]
        return get(&self.ints.conntrack) != 0;
        #[cfg(not(CONFIG_IP_VS_NFCT))]
        false
    }

    /// Whether replies are routed again after translation.
    #[inline(always)]
    pub(crate) fn snat_reroute(&self) -> bool {
        get(&self.ints.snat_reroute) != 0
    }

    /// Whether conns of a removed dest expire immediately.
    #[inline(always)]
    pub(crate) fn expire_nodest_conn(&self) -> bool {
        get(&self.ints.expire_nodest_conn) != 0
    }

    /// Whether any TCP segment may create a conn, not only a SYN.
    #[inline(always)]
    pub(crate) fn sloppy_tcp(&self) -> bool {
        get(&self.ints.sloppy_tcp) != 0
    }

    /// Whether any SCTP packet may create a conn, not only an INIT.
    #[inline(always)]
    pub(crate) fn sloppy_sctp(&self) -> bool {
        get(&self.ints.sloppy_sctp) != 0
    }

    /// Whether a dest gets an ICMP error for a packet that belongs to no conn.
    #[inline(always)]
    pub(crate) fn nat_icmp_send(&self) -> bool {
        get(&self.ints.nat_icmp_send) != 0
    }

    /// Whether an ICMP error about a packet that belongs to no conn starts one.
    pub(crate) fn schedule_icmp(&self) -> bool {
        get(&self.ints.schedule_icmp) != 0
    }

    /// Whether a packet to a service is not handled if it arrives in a tunnel that ends on this
    /// host.
    pub(crate) fn ignore_tunneled(&self) -> bool {
        get(&self.ints.ignore_tunneled) != 0
    }

    /// Whether clients of a fwmark service without a dest are sent to their own destination.
    pub(crate) fn cache_bypass(&self) -> bool {
        get(&self.ints.cache_bypass) != 0
    }

    /// Whether a template is not used while its dest has weight 0.
    #[inline]
    pub(crate) fn expire_quiescent_template(&self) -> bool {
        get(&self.ints.expire_quiescent_template) != 0
    }

    /// Whether tunnels follow the path MTU.
    #[inline(always)]
    pub(crate) fn pmtu_disc(&self) -> bool {
        get(&self.ints.pmtu_disc) != 0
    }

    /// Whether a SYN on an existing conn creates a new conn: if not 0, when the old one is closed;
    /// with bit 1, also when it is closing.
    #[inline(always)]
    pub(crate) fn conn_reuse_mode(&self) -> i32 {
        get(&self.ints.conn_reuse_mode)
    }

    /// The number of ports of each sync daemon.
    pub(crate) fn sync_ports(&self) -> i32 {
        get(&self.ints.sync_ports)
    }

    /// The size of the buffers of the sync daemons' sockets in bytes, 0 for the default.
    pub(crate) fn sync_sock_size(&self) -> i32 {
        get(&self.ints.sync_sock_size)
    }

    /// The version of sync messages.
    #[inline(always)]
    pub(crate) fn sync_version(&self) -> i32 {
        get(&self.ints.sync_version)
    }

    /// Whether only the templates of persistent services are sent, not the conns that they control.
    #[inline(always)]
    pub(crate) fn sync_persist_mode(&self) -> bool {
        get(&self.ints.sync_persist_mode) != 0
    }

    /// The number of the packet with which a conn is sent first.
    #[inline(always)]
    pub(crate) fn sync_threshold(&self) -> i32 {
        let [threshold, _] = &self.ints.sync_threshold;
        threshold.read_once()
    }

    /// Whether a director requests all conns of others when a daemon starts, and answers such
    /// requests.
    pub(crate) fn sync_resync(&self) -> bool {
        get(&self.ints.sync_resync) != 0
    }

    /// Whether conns are sent with their first packet, and in states in which C does not send them.
    #[inline(always)]
    pub(crate) fn sync_early(&self) -> bool {
        get(&self.ints.sync_early) != 0
    }

    /// The sysctls that control when a conn is sent.
    #[inline(always)]
    pub(crate) fn sync_policy(&self) -> Policy {
        let [threshold, period] = &self.ints.sync_threshold;
        Policy {
            threshold: threshold.read_once(),
            period: period.read_once(),
            refresh_period: get(&self.ints.sync_refresh_period) as u32,
            retries: get(&self.ints.sync_retries),
        }
    }

    /// Whether all dests with NAT are FULLNAT.
    pub(crate) fn fullnat(&self) -> bool {
        get(&self.ints.fullnat) != 0
    }

    /// The first and the last port of local ends, in host byte order.
    pub(crate) fn fullnat_ports(&self) -> RangeInclusive<u16> {
        let [first, last] = &self.ints.fullnat_ports;
        first.read_once() as u16..=last.read_once() as u16
    }

    /// Whether packets of all FULLNAT services have the client's address by TOA.
    pub(crate) fn fullnat_client(&self) -> bool {
        get(&self.ints.fullnat_client) != 0
    }

    /// The addresses of local ends, if any are listed.
    pub(crate) fn fullnat_laddr<'g>(&'g self, guard: &'g rcu::Guard) -> Option<&'g AddrList> {
        self.fullnat_laddr.get(guard)
    }

    /// Sets the addresses of local ends.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn set_fullnat_laddr(&self, list: AddrList) -> Result {
        let list = RcuBox::new(list, GFP_KERNEL)?;
        drop(self.fullnat_laddr.replace(Some(list)));
        Ok(())
    }

    /// The load factor of the conn table, in C's scale.
    pub(crate) fn conn_lfactor(&self) -> i32 {
        get(&self.ints.conn_lfactor)
    }

    /// The load factor of the service table, in C's scale.
    pub(crate) fn svc_lfactor(&self) -> i32 {
        get(&self.ints.svc_lfactor)
    }
}

impl EstimatorSettings {
    /// The default values of C.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            run: [Atomic::new(1)],
            nice: [Atomic::new(0)],
            cpulist <- new_mutex!(None),
            changes <- new_mutex!(()),
        })
    }

    /// Locks the settings against changes until the guard is dropped.
    pub(crate) fn hold(&self) -> Guard<'_, (), MutexBackend> {
        self.changes.lock()
    }

    /// Whether rates are estimated (`run_estimation`).
    pub(crate) fn is_wanted(&self) -> bool {
        get(&self.run) != 0
    }

    /// The nice value of the estimator thread (`est_nice`).
    pub(crate) fn nice(&self) -> i32 {
        get(&self.nice)
    }

    /// The number of CPUs that the estimator thread may use.
    pub(crate) fn cpus(&self) -> usize {
        let weight = |cpus: &CpuMask| cpus.weight() as usize;
        match self.cpulist() {
            Some(cpus) => weight(&cpus),
            None => CpuMask::housekeeping().as_ref().map_or(1, weight),
        }
    }

    /// The CPUs of `est_cpulist`, which may be an empty set; `None` if it was never written.
    pub(crate) fn cpulist(&self) -> Option<Arc<CpuMask>> {
        self.cpulist.lock().clone()
    }
}

/// Returns the value of an integer sysctl.
#[inline(always)]
pub(crate) fn get([int]: &[Atomic<i32>; 1]) -> i32 {
    int.read_once()
}

/// Sets the value of an integer sysctl.
pub(crate) fn set([int]: &[Atomic<i32>; 1], value: i32) {
    int.write_once(value);
}
