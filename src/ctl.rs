// SPDX-License-Identifier: GPL-2.0

//! The control plane: what the user does to services and dests.
//!
//! Requests arrive decoded ([`spec`](crate::spec)), from netlink ([`genl`]) or by socket options
//! ([`sockopt`]); what a request asks is done here, in C's order, which decides about the error
//! where several things are wrong.
//!
//! C version: [net/netfilter/ipvs/ip_vs_ctl.c].
//!
//! # Locking
//!
//! All of it is done under the namespace's mutex, which a [`Ctl`] holds. The trash has a mutex of
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
        Shown, //
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

/// What the module keeps in the namespace of a request.
fn netns_of(net: &Net) -> Result<Ref<Netns>> {
    PerNet::<Netns>::of(net).ok_or(ESRCH)
}

/// The control plane of a namespace, with its mutex held.
pub(crate) struct Ctl<'a> {
    netns: &'a PerNet<Netns>,
    state: Guard<'a, Control, MutexBackend>,
}

impl<'a> Ctl<'a> {
    pub(crate) fn lock(netns: &'a PerNet<Netns>) -> Self {
        Self {
            netns,
            state: netns.control.lock(),
        }
    }

    /// The service called `id`.
    pub(crate) fn find(&self, id: &ServiceId) -> Option<Entry> {
        self.netns.services.load(id)
    }

    /// The first service after `cursor`, which moves on.
    pub(crate) fn next(&self, cursor: &mut HashCursor) -> Option<Entry> {
        self.netns.services.load_next(cursor)
    }

    /// Runs `make` with a new reference to the module, which is kept if it succeeds.
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

    /// C: `ip_vs_add_service()`.
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
            .add(Source::Service(service.tally.clone()))?;
        netns.services.insert(service);
        Ok(())
    }

    /// C: `ip_vs_edit_service()`.
    pub(crate) fn edit_service(&mut self, service: &Service, spec: &ServiceSpec<'_>) -> Result {
        let kind = scheduler(spec)?;
        spec.check_netmask(service.id.family)?;
        service.set_scheduler(kind, &self.netns.sysctl)?;
        service.configure(spec);
        Ok(())
    }

    /// C: `ip_vs_del_service()`.
    pub(crate) fn del_service(&mut self, service: &Entry) {
        let netns = self.netns;
        netns.services.remove(service);
        if netns.services.len(service.id.family) == 0 {
            hook::disable(netns, service.id.family);
        }
        netns.estimator.remove(&service.tally.rates, false);
        if let Some(pool) = service.close() {
            for dest in pool.dests() {
                self.left(service, dest, false);
            }
            let trash = &netns.trash;
            trash.put_all(pool.list());
            self.conns_may_end();
        }
        self.state.uses.dec();
    }

    /// C: `ip_vs_flush()`.
    pub(crate) fn flush(&mut self) {
        // All at once, and not each by itself.
        self.netns.estimator.clear();
        let mut cursor = HashCursor::default();
        while let Some(service) = self.next(&mut cursor) {
            self.del_service(&service);
        }
    }

    /// What a service's dests have counted for it, those of before included.
    fn counted(&self, service: &Service, pool: &Pool) -> Counts {
        pool.dests()
            .iter()
            .fold(service.tally.gone(), |sum, dest| sum.plus(dest.counted()))
    }

    /// The figures of a service.
    pub(crate) fn stats(&self, service: &Service, pool: &Pool) -> Shown {
        service.tally.shown(self.counted(service, pool))
    }

    /// C: `ip_vs_zero_service()`.
    pub(crate) fn zero_service(&mut self, service: &Service) -> Result {
        let pool = service.current()?;
        for dest in pool.dests() {
            dest.stats.zero();
        }
        service.tally.zero(self.counted(service, &pool));
        Ok(())
    }

    /// C: `ip_vs_zero_all()`.
    pub(crate) fn zero_all(&mut self) -> Result {
        let mut cursor = HashCursor::default();
        while let Some(service) = self.next(&mut cursor) {
            self.zero_service(&service)?;
        }
        self.netns.stats().zero();
        Ok(())
    }

    /// C: `__ip_vs_get_timeouts()`.
    pub(crate) fn timeouts(&self) -> Timeouts {
        let now = &self.netns.protocols;
        Timeouts {
            tcp: now.tcp.timeout(TcpState::Established) / HZ as u32,
            tcp_fin: now.tcp.timeout(TcpState::FinWait) / HZ as u32,
            udp: now.udp.timeout() / HZ as u32,
        }
    }

    /// C: `ip_vs_set_timeout()`.
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

/// The number of the conn table's buckets, which is 0 until there has been a service.
fn conn_tab_size(netns: &Netns) -> u32 {
    if netns.services.is_used() {
        netns.conns.size() as u32
    } else {
        0
    }
}

/// What files and options call the module, and the size of the conn table.
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

/// The namespace or the module goes: so do its daemons and services.
pub(crate) fn cleanup(netns: &PerNet<Netns>) {
    let mut ctl = Ctl::lock(netns);
    ctl.stop_daemons();
    ctl.flush();
}

/// The scheduler that `spec` names, once the persistence engine has been looked for as well.
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
    // There is none.
    let name = BStr::from_bytes(spec.pe_name);
    pr_info!("persistence engine module ip_vs_pe_{name} not found\n");
    Err(ENOENT)
}

/// Has IPv6 fragments put together before they come to our hooks.
fn enable_defrag(net: &Net, family: Family) -> Result {
    match family {
        Family::Inet => Ok(()),
        Family::Inet6 => addrconf::enable_defrag6(net),
    }
}
