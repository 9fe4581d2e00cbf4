// SPDX-License-Identifier: GPL-2.0

//! The control plane: adds, edits and removes services and dests.
//!
//! Generic netlink ([`genl`]) and socket options ([`sockopt`]) decode requests into
//! [`spec`](crate::spec) types; [`Ctl`] carries them out. Checks run in C's order, since the order
//! determines the errno of a request with several errors.
//!
//! C version: [net/netfilter/ipvs/ip_vs_ctl.c].
//!
//! # Locking
//!
//! A [`Ctl`] holds the control mutex of the network namespace; every change is made under it. The
//! trash has its own mutex, which is taken after that one.

mod daemon;
pub(crate) mod defense;
mod dests;
pub(crate) mod genl;
pub(crate) mod proc;
pub(crate) mod sockopt;
pub(crate) mod sysctl;

use crate::{
    addr::Family,
    estimator::Source,
    forward, hook,
    netns::{
        Control,
        Netns, //
    },
    oot::{
        net::{
            addrconf,
            namespace::Net,
            pernet::{
                PerNet,
                Ref, //
            },
        },
        sync::HashCursor,
        time::HZ,
    },
    pe::Engine,
    proto::tcp::states::State as TcpState,
    sched::Kind,
    service::{
        Pool,
        Service, //
        ServiceRef,
    },
    spec::{
        Refusal,
        ServiceId,
        ServiceSpec,
        Timeouts, //
    },
    stats::{
        Counts,
        KStats, //
    },
    uapi::{
        IP_VS_SVC_F_SCHED3,
        IP_VS_VERSION_CODE, //
    },
};
use kernel::{
    fmt,
    prelude::*,
    str::BStr,
    sync::lock::{
        mutex::MutexBackend,
        Guard, //
    },
};

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid => EINVAL,
            Refusal::OutOfRange => ERANGE,
        }
    }
}

/// Returns the IPVS state of the network namespace of a request.
///
/// # Errors
///
/// `ESRCH` if the namespace is being deleted or the module is being unloaded.
fn netns_of(net: &Net) -> Result<Ref<Netns>> {
    PerNet::<Netns>::of(net).ok_or(ESRCH)
}

/// The control plane of a network namespace, with the control mutex held.
pub(crate) struct Ctl<'a> {
    netns: &'a PerNet<Netns>,
    state: Guard<'a, Control, MutexBackend>,
}

impl<'a> Ctl<'a> {
    /// Locks the control mutex. Sleeps.
    pub(crate) fn lock(netns: &'a PerNet<Netns>) -> Self {
        Self {
            netns,
            state: netns.control.lock(),
        }
    }

    /// Returns the service named `id`, if it exists (C: `__ip_vs_service_find()`).
    pub(crate) fn find(&self, id: &ServiceId) -> Option<ServiceRef> {
        self.netns.services.load(id)
    }

    /// Returns the first service after `cursor` and moves `cursor` past it. `None` at the end of
    /// the table.
    pub(crate) fn next(&self, cursor: &mut HashCursor) -> Option<ServiceRef> {
        self.netns.services.load_next(cursor)
    }

    /// Runs `make` holding a module reference, kept on success.
    ///
    /// # Errors
    ///
    /// `ENOPROTOOPT` if the module is being unloaded; whatever `make` returns.
    fn with_module_ref(&mut self, make: impl FnOnce(&mut Self) -> Result) -> Result {
        if !self.state.uses.inc() {
            return Err(ENOPROTOOPT);
        }
        let made = make(self);
        if made.is_err() {
            self.state.uses.dec();
        }
        made
    }

    /// Adds a service named `id`, without dests (C: `ip_vs_add_service()`).
    ///
    /// The caller has checked that no service has this name. The first service of a family
    /// registers the hooks of the family. The estimator is started if it does not run.
    ///
    /// # Errors
    ///
    /// In this order:
    ///
    /// - `ENOPROTOOPT` if the module is being unloaded.
    /// - `ENOENT` if the scheduler or the persistence engine is unknown.
    /// - `EINVAL` if the netmask of an IPv6 service is not a prefix length from 1 to 128.
    /// - Whatever [`addrconf::enable_defrag6`] returns, for an IPv6 service.
    /// - Whatever [`hook::enable`] returns, for the first service of the family.
    /// - `ENOMEM`.
    pub(crate) fn add_service(&mut self, id: ServiceId, spec: &ServiceSpec<'_>) -> Result {
        self.with_module_ref(|ctl| ctl.try_add_service(id, spec))
    }

    /// Adds a service; the caller holds the module reference.
    ///
    /// # Errors
    ///
    /// As for [`add_service`](Self::add_service), except `ENOPROTOOPT`.
    fn try_add_service(&self, id: ServiceId, spec: &ServiceSpec<'_>) -> Result {
        let netns = self.netns;
        let (kind, engine) = (scheduler(spec)?, engine(spec)?);
        spec.check_netmask(id.family)?;
        enable_defrag(netns.net(), id.family)?;
        let is_first = netns.services.len(id.family) == 0;
        if is_first {
            hook::enable(netns, id.family)?;
        }
        let added = self.new_service(id, spec, kind, engine);
        if added.is_err() && is_first {
            hook::disable(netns, id.family);
        }
        added
    }

    /// Allocates a service, and adds it to the estimator and to the table.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn new_service(
        &self,
        id: ServiceId,
        spec: &ServiceSpec<'_>,
        kind: Option<Kind>,
        engine: Option<Engine>,
    ) -> Result {
        let netns = self.netns;
        let service = Service::new(id, spec, kind, &netns.sysctl)?;
        netns.estimator.begin();
        netns
            .estimator
            .add(Source::Service(service.stats.clone()))?;
        netns.services.set_engine(&service, engine);
        self.prepare_fullnat(&service, 0);
        netns.services.insert(service);
        Ok(())
    }

    /// Prepares the search for local ends if the service, or a dest with these flags, is FULLNAT.
    fn prepare_fullnat(&self, service: &Service, dest_flags: u32) {
        if service.flags() & IP_VS_SVC_F_SCHED3 != 0 || forward::is_fullnat(dest_flags) {
            self.netns.conns.locals.prepare();
        }
    }

    /// Sets scheduler, flags, timeout, netmask and persistence engine of a service
    /// (C: `ip_vs_edit_service()`).
    ///
    /// # Errors
    ///
    /// In this order:
    ///
    /// - `ENOENT` if the scheduler or the persistence engine is unknown.
    /// - `EINVAL` if the netmask of an IPv6 service is not a prefix length from 1 to 128.
    /// - `EINVAL` if the service has more dests than the new scheduler supports.
    /// - `ENOMEM`.
    ///
    /// On error the service is unchanged, except that the state of its scheduler may be initialized
    /// again; see [`Service::set_scheduler`].
    pub(crate) fn edit_service(&mut self, service: &Service, spec: &ServiceSpec<'_>) -> Result {
        let (kind, engine) = (scheduler(spec)?, engine(spec)?);
        spec.check_netmask(service.id.family)?;
        service.set_scheduler(kind, &self.netns.sysctl)?;
        service.configure(spec);
        self.prepare_fullnat(service, 0);
        self.netns.services.set_engine(service, engine);
        Ok(())
    }

    /// Removes a service and moves its dests to the trash (C: `ip_vs_del_service()`). The last
    /// service of a family unregisters the hooks of the family.
    pub(crate) fn del_service(&mut self, service: &ServiceRef) {
        let netns = self.netns;
        netns.services.remove(service);
        if netns.services.len(service.id.family) == 0 {
            hook::disable(netns, service.id.family);
        }
        netns.estimator.remove(&service.stats.rates, false);
        if let Ok(pool) = service.current() {
            for dest in pool.dests() {
                self.left(service, dest, false);
            }
            netns.trash.put_all(pool.list());
            self.queue_nodest_flush();
        }
        self.untrack(service);
        self.state.uses.dec();
    }

    /// Removes all services (C: `ip_vs_flush()`).
    pub(crate) fn flush(&mut self) {
        // Empties each row once, instead of a lookup in the rows for each dest.
        self.netns.estimator.clear();
        let mut cursor = HashCursor::default();
        while let Some(service) = self.next(&mut cursor) {
            self.del_service(&service);
        }
    }

    /// Returns the raw counters of a service: the sum of what its dests, removed ones included,
    /// have counted since they joined it.
    fn counted(&self, service: &Service, pool: &Pool) -> Counts {
        pool.dests()
            .iter()
            .fold(service.stats.gone(), |sum, dest| sum.plus(dest.counted()))
    }

    /// Returns the counters and rates of a service (C: `ip_vs_copy_stats()`). `pool` is its current
    /// pool.
    pub(crate) fn stats(&self, service: &Service, pool: &Pool) -> KStats {
        service.stats.read(self.counted(service, pool))
    }

    /// Zeroes the counters and rates of a service and of its dests (C: `ip_vs_zero_service()`).
    ///
    /// # Errors
    ///
    /// `ESRCH` if the service has no pool. Every service has one, so this does not occur.
    pub(crate) fn zero_service(&mut self, service: &Service) -> Result {
        let pool = service.current()?;
        for dest in pool.dests() {
            dest.stats.zero();
        }
        service.stats.zero(self.counted(service, &pool));
        Ok(())
    }

    /// Zeroes the counters and rates of all services and dests, and of the namespace
    /// (C: `ip_vs_zero_all()`).
    ///
    /// # Errors
    ///
    /// As for [`zero_service`](Self::zero_service).
    pub(crate) fn zero_all(&mut self) -> Result {
        let mut cursor = HashCursor::default();
        while let Some(service) = self.next(&mut cursor) {
            self.zero_service(&service)?;
        }
        self.netns.stats().zero();
        Ok(())
    }

    /// Returns the timeouts of TCP in ESTABLISHED, TCP in FIN_WAIT, and UDP, in seconds
    /// (C: `__ip_vs_get_timeouts()`).
    pub(crate) fn timeouts(&self) -> Timeouts {
        let now = &self.netns.protocols;
        Timeouts {
            tcp: now.tcp.timeout(TcpState::Established) / HZ as u32,
            tcp_fin: now.tcp.timeout(TcpState::FinWait) / HZ as u32,
            udp: now.udp.timeout() / HZ as u32,
        }
    }

    /// Sets these timeouts, in seconds; 0 keeps the current value (C: `ip_vs_set_timeout()`).
    ///
    /// # Errors
    ///
    /// `EINVAL` if any is above `i32::MAX / HZ`; none is set then.
    pub(crate) fn set_timeouts(&mut self, timeouts: &Timeouts) -> Result {
        timeouts.check(HZ as u32)?;
        let jiffies = |seconds: u32| seconds.wrapping_mul(HZ as u32);
        let now = &self.netns.protocols;
        if timeouts.tcp != 0 {
            now.tcp
                .set_timeout(TcpState::Established, jiffies(timeouts.tcp));
        }
        if timeouts.tcp_fin != 0 {
            now.tcp
                .set_timeout(TcpState::FinWait, jiffies(timeouts.tcp_fin));
        }
        if timeouts.udp != 0 {
            now.udp.set_timeout(jiffies(timeouts.udp));
        }
        Ok(())
    }
}

/// The number of buckets of the conn table, as reported to user space. 0 until the first service is
/// added or the first backup daemon is started.
fn conn_tab_size(netns: &Netns) -> u32 {
    if netns.services.is_used() {
        netns.conns.size() as u32
    } else {
        0
    }
}

/// The version line of `/proc/net/ip_vs` and `IP_VS_SO_GET_VERSION`, with the size of the conn
/// table.
struct Version<'a>(&'a Netns);

impl fmt::Display for Version<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, major, minor, patch] = IP_VS_VERSION_CODE.to_be_bytes();
        let size = conn_tab_size(self.0);
        write!(
            f,
            "IP Virtual Server version {major}.{minor}.{patch} (size={size})"
        )
    }
}

/// Stops the sync daemons, when the namespace is deleted or the module is unloaded
/// (C: `ip_vs_sync_net_cleanup()`). None can be started any more.
pub(crate) fn stop_daemons(netns: &PerNet<Netns>) {
    Ctl::lock(netns).stop_daemons();
}

/// Removes all services, when the namespace is deleted or the module is unloaded
/// (C: `ip_vs_control_net_cleanup()`).
pub(crate) fn cleanup(netns: &PerNet<Netns>) {
    Ctl::lock(netns).flush();
}

/// Returns the scheduler that `spec` names, or `None` for "none".
///
/// # Errors
///
/// `ENOENT` if the scheduler is unknown.
fn scheduler(spec: &ServiceSpec<'_>) -> Result<Option<Kind>> {
    match spec.sched_name {
        b"none" => Ok(None),
        name => Kind::by_name(name).map(Some).ok_or_else(|| {
            let name = BStr::from_bytes(name);
            pr_info!("Scheduler module ip_vs_{name} not found\n");
            ENOENT
        }),
    }
}

/// Returns the persistence engine that `spec` names, if it names one.
///
/// # Errors
///
/// `ENOENT` if the engine is unknown.
fn engine(spec: &ServiceSpec<'_>) -> Result<Option<Engine>> {
    match spec.pe_name {
        b"" => Ok(None),
        name => Engine::by_name(name).map(Some).ok_or_else(|| {
            let name = BStr::from_bytes(name);
            pr_info!("persistence engine module ip_vs_pe_{name} not found\n");
            ENOENT
        }),
    }
}

/// Enables IPv6 defragmentation, which runs before the IPVS hooks. The IPv4 hooks defragment
/// packets themselves.
///
/// # Errors
///
/// Whatever [`addrconf::enable_defrag6`] returns.
fn enable_defrag(net: &Net, family: Family) -> Result {
    match family {
        Family::Inet => Ok(()),
        Family::Inet6 => addrconf::enable_defrag6(net),
    }
}
