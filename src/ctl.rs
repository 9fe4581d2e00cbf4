// SPDX-License-Identifier: GPL-2.0

//! The control plane: adding, editing and removing services and dests.
//!
//! Requests arrive decoded ([`spec`](crate::spec)), from netlink ([`genl`]) or by socket options
//! ([`sockopt`]), and are carried out here. Checks stand in C's order, which decides about the errno
//! of a request with several faults.
//!
//! C version: [net/netfilter/ipvs/ip_vs_ctl.c].
//!
//! # Locking
//!
//! A [`Ctl`] holds the namespace's mutex, under which all of this is done. The trash has a mutex of
//! its own, taken after that one.

mod daemon;
mod dests;
pub(crate) mod genl;
pub(crate) mod proc;
pub(crate) mod sockopt;
pub(crate) mod sysctl;

use crate::{
    addr::Family,
    estimator::Source,
    hook,
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
    proto::tcp::states::State as TcpState,
    sched::Kind,
    service::{
        Entry,
        Pool,
        Service, //
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
    uapi::IP_VS_VERSION_CODE, //
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

/// The state of the namespace of a request.
///
/// # Errors
///
/// `ESRCH` if the namespace, or the module, is going away.
fn netns_of(net: &Net) -> Result<Ref<Netns>> {
    PerNet::<Netns>::of(net).ok_or(ESRCH)
}

/// The control plane of a namespace, with its mutex held.
pub(crate) struct Ctl<'a> {
    netns: &'a PerNet<Netns>,
    state: Guard<'a, Control, MutexBackend>,
}

impl<'a> Ctl<'a> {
    /// Takes the mutex. Sleeps.
    pub(crate) fn lock(netns: &'a PerNet<Netns>) -> Self {
        Self {
            netns,
            state: netns.control.lock(),
        }
    }

    /// The service named `id` (C: `__ip_vs_service_find()`).
    pub(crate) fn find(&self, id: &ServiceId) -> Option<Entry> {
        self.netns.services.load(id)
    }

    /// The first service after `cursor`, and moves `cursor` past it. `None` at the end of the table.
    pub(crate) fn next(&self, cursor: &mut HashCursor) -> Option<Entry> {
        self.netns.services.load_next(cursor)
    }

    /// Runs `make` holding a module reference, kept on success.
    ///
    /// # Errors
    ///
    /// `ENOPROTOOPT` if the module is going away, or what `make` returns.
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

    /// Adds a service named `id`, without dests; the caller has seen that there is none of that name
    /// (C: `ip_vs_add_service()`). The first service of a family registers its hooks, the first of
    /// all starts the estimator.
    ///
    /// # Errors
    ///
    /// In this order: `ENOPROTOOPT` if the module is going away; `ENOENT` if there is no scheduler or
    /// persistence engine of that name; `EINVAL` for an IPv6 netmask that is no prefix length from 1
    /// to 128; what IPv6 defragmentation or the hooks cannot be registered by; `ENOMEM`.
    pub(crate) fn add_service(&mut self, id: ServiceId, spec: &ServiceSpec<'_>) -> Result {
        self.with_module_ref(|ctl| ctl.try_add_service(id, spec))
    }

    fn try_add_service(&self, id: ServiceId, spec: &ServiceSpec<'_>) -> Result {
        let netns = self.netns;
        let kind = scheduler(spec)?;
        spec.check_netmask(id.family)?;
        enable_defrag(netns.net(), id.family)?;
        let is_first = netns.services.len(id.family) == 0;
        if is_first {
            hook::enable(netns, id.family)?;
        }
        let added = self.new_service(id, spec, kind);
        if added.is_err() && is_first {
            hook::disable(netns, id.family);
        }
        added
    }

    fn new_service(&self, id: ServiceId, spec: &ServiceSpec<'_>, kind: Option<Kind>) -> Result {
        let netns = self.netns;
        let service = Service::new(id, spec, kind, &netns.sysctl)?;
        netns.estimator.begin();
        netns
            .estimator
            .add(Source::Service(service.stats.clone()))?;
        netns.services.insert(service);
        Ok(())
    }

    /// Changes scheduler, flags, timeout and netmask of a service to what `spec` says
    /// (C: `ip_vs_edit_service()`).
    ///
    /// # Errors
    ///
    /// `ENOENT` and `EINVAL` as for [`add_service`](Self::add_service); `EINVAL` too if the new
    /// scheduler cannot choose from as many dests; `ENOMEM`. The service is unchanged, but for a
    /// scheduler that starts anew.
    pub(crate) fn edit_service(&mut self, service: &Service, spec: &ServiceSpec<'_>) -> Result {
        let kind = scheduler(spec)?;
        spec.check_netmask(service.id.family)?;
        service.set_scheduler(kind, &self.netns.sysctl)?;
        service.configure(spec);
        Ok(())
    }

    /// Removes a service (C: `ip_vs_del_service()`). Its dests go to the trash. The last service of a
    /// family unregisters its hooks.
    pub(crate) fn del_service(&mut self, service: &Entry) {
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
        self.state.uses.dec();
    }

    /// Removes all services (C: `ip_vs_flush()`).
    pub(crate) fn flush(&mut self) {
        // In one pass, rather than row by row for each dest.
        self.netns.estimator.clear();
        let mut cursor = HashCursor::default();
        while let Some(service) = self.next(&mut cursor) {
            self.del_service(&service);
        }
    }

    /// The raw counters of a service: what its dests, removed ones included, have counted since they
    /// joined it.
    fn counted(&self, service: &Service, pool: &Pool) -> Counts {
        pool.dests()
            .iter()
            .fold(service.stats.gone(), |sum, dest| sum.plus(dest.counted()))
    }

    /// The counters and rates of a service (C: `ip_vs_copy_stats()`).
    pub(crate) fn stats(&self, service: &Service, pool: &Pool) -> KStats {
        service.stats.read(self.counted(service, pool))
    }

    /// Zeroes the counters and rates of a service and of its dests (C: `ip_vs_zero_service()`).
    ///
    /// # Errors
    ///
    /// `ESRCH` without a pool, which no service is.
    pub(crate) fn zero_service(&mut self, service: &Service) -> Result {
        let pool = service.current()?;
        for dest in pool.dests() {
            dest.stats.zero();
        }
        service.stats.zero(self.counted(service, &pool));
        Ok(())
    }

    /// Zeroes the counters and rates of all services and dests and of the namespace
    /// (C: `ip_vs_zero_all()`).
    ///
    /// # Errors
    ///
    /// Those of [`zero_service`](Self::zero_service), which no service in the table has.
    pub(crate) fn zero_all(&mut self) -> Result {
        let mut cursor = HashCursor::default();
        while let Some(service) = self.next(&mut cursor) {
            self.zero_service(&service)?;
        }
        self.netns.stats().zero();
        Ok(())
    }

    /// The timeouts of established TCP, TCP in FIN_WAIT and UDP, in seconds
    /// (C: `__ip_vs_get_timeouts()`).
    pub(crate) fn timeouts(&self) -> Timeouts {
        let now = &self.netns.protocols;
        Timeouts {
            tcp: now.tcp.timeout(TcpState::Established) / HZ as u32,
            tcp_fin: now.tcp.timeout(TcpState::FinWait) / HZ as u32,
            udp: now.udp.timeout() / HZ as u32,
        }
    }

    /// Sets these timeouts, in seconds; 0 leaves one as it is (C: `ip_vs_set_timeout()`).
    ///
    /// # Errors
    ///
    /// `EINVAL` if any is above `i32::MAX / HZ`.
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

/// The number of buckets of the conn table, as reported; 0 until there has been a service.
fn conn_tab_size(netns: &Netns) -> u32 {
    if netns.services.is_used() {
        netns.conns.size() as u32
    } else {
        0
    }
}

/// The line with version and size of the conn table, in files and options.
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

/// Stops the daemons and removes all services of a namespace that goes away, or whose module does
/// (C: `ip_vs_control_net_cleanup()`).
pub(crate) fn cleanup(netns: &PerNet<Netns>) {
    let mut ctl = Ctl::lock(netns);
    ctl.stop_daemons();
    ctl.flush();
}

/// The scheduler that `spec` names; `None` for "none".
///
/// # Errors
///
/// `ENOENT` if there is no scheduler, or no persistence engine, of that name.
fn scheduler(spec: &ServiceSpec<'_>) -> Result<Option<Kind>> {
    let kind = match spec.sched_name {
        b"none" => None,
        name => Some(Kind::by_name(name).ok_or_else(|| {
            let name = BStr::from_bytes(name);
            pr_info!("Scheduler module ip_vs_{name} not found\n");
            ENOENT
        })?),
    };
    if spec.pe_name.is_empty() {
        return Ok(kind);
    }
    // No persistence engine exists.
    let name = BStr::from_bytes(spec.pe_name);
    pr_info!("persistence engine module ip_vs_pe_{name} not found\n");
    Err(ENOENT)
}

/// Turns on the reassembly of fragments before our hooks for IPv6. For IPv4, the hooks do it.
///
/// # Errors
///
/// What the hooks of the reassembly cannot be registered by, such as `ENOMEM`.
fn enable_defrag(net: &Net, family: Family) -> Result {
    match family {
        Family::Inet => Ok(()),
        Family::Inet6 => addrconf::enable_defrag6(net),
    }
}
