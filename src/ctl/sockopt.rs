// SPDX-License-Identifier: GPL-2.0

//! The socket options `IP_VS_SO_*`, the legacy control interface.
//!
//! They support only IPv4. IPv6 services, and IPv6 dests of IPv4 services, are omitted from
//! replies.
//!
//! C version: `do_ip_vs_set_ctl()`, `do_ip_vs_get_ctl()` [net/netfilter/ipvs/ip_vs_ctl.c].

mod layout;

use crate::{
    addr::Family,
    dest::Dest,
    forward,
    netns::Netns,
    oot::{
        net::{
            pernet::PerNet,
            sockopt::{
                Get,
                Registration,
                Set,
                SockOpt,
                SockOpts, //
            },
        },
        sync::{
            HashCursor,
            RcuArc, //
        },
        time::HZ, //
    },
    sched::Kind,
    service::{
        Service, //
        ServiceRef,
    },
    spec::ServiceId,
    stats::KStats,
    sync::config::Role,
    uapi::*,
    LocalModule, //
};
use core::fmt::Write;
use kernel::{
    module::this_module,
    prelude::*,
    str::Formatter, //
};
use zerocopy::{
    FromBytes,
    Immutable,
    IntoBytes, //
};

use super::{
    conn_tab_size,
    netns_of,
    Ctl,
    Version, //
};
use layout::{
    DaemonUser,
    DestEntry,
    GetDests,
    GetInfo,
    GetServices,
    ServiceDestUser,
    ServiceEntry,
    ServiceUser,
    StatsUser,
    TimeoutUser, //
};

static OPTIONS: SockOpts = SockOpts::new::<Options>(
    this_module::<LocalModule>(),
    IP_VS_BASE_CTL..IP_VS_SO_SET_MAX + 1,
    IP_VS_BASE_CTL..IP_VS_SO_GET_MAX + 1,
);

/// Registers the socket options.
///
/// # Errors
///
/// `EBUSY` if another module has registered any of them.
pub(crate) fn register() -> Result<Registration> {
    OPTIONS.register()
}

struct Options;

impl SockOpt for Options {
    /// Carries out a command (C: `do_ip_vs_set_ctl()`).
    ///
    /// # Errors
    ///
    /// - `EPERM` if the caller lacks `CAP_NET_ADMIN` in the user namespace of the network
    ///   namespace.
    /// - `ESRCH` if the namespace is being deleted or the module is being unloaded.
    /// - `EINVAL` if the option is unknown, its length is wrong, or a daemon to be started has an
    ///   empty device name or one without NUL.
    /// - `EFAULT` if the value cannot be read.
    /// - Whatever [`set_service`], [`set_dest`] or the method of [`Ctl`] returns.
    fn set(call: &Set<'_>) -> Result {
        if !call.net().is_admin() {
            return Err(EPERM);
        }
        let netns = &*netns_of(call.net())?;
        match call.option() {
            IP_VS_SO_SET_FLUSH => {
                exactly::<()>(call)?;
                Ctl::lock(netns).flush();
                Ok(())
            }
            IP_VS_SO_SET_TIMEOUT => {
                let user: TimeoutUser = exactly(call)?;
                Ctl::lock(netns).set_timeouts(&user.timeouts())
            }
            IP_VS_SO_SET_STARTDAEMON => {
                let user: DaemonUser = exactly(call)?;
                let spec = user.spec().ok_or(EINVAL)?;
                Ctl::lock(netns).start_daemon(&spec, user.state)
            }
            IP_VS_SO_SET_STOPDAEMON => {
                let user: DaemonUser = exactly(call)?;
                Ctl::lock(netns).stop_daemon(user.state)
            }
            IP_VS_SO_SET_ADD | IP_VS_SO_SET_EDIT | IP_VS_SO_SET_DEL | IP_VS_SO_SET_ZERO => {
                let user: ServiceUser = exactly(call)?;
                set_service(&mut Ctl::lock(netns), call.option(), &user)
            }
            IP_VS_SO_SET_ADDDEST | IP_VS_SO_SET_EDITDEST | IP_VS_SO_SET_DELDEST => {
                let user: ServiceDestUser = exactly(call)?;
                set_dest(&mut Ctl::lock(netns), call.option(), &user)
            }
            _ => Err(EINVAL),
        }
    }

    /// Answers a query (C: `do_ip_vs_get_ctl()`).
    ///
    /// # Errors
    ///
    /// - `EPERM` if the caller lacks `CAP_NET_ADMIN` in the user namespace of the network
    ///   namespace.
    /// - `ESRCH` if the namespace is being deleted or the module is being unloaded, or if the
    ///   service does not exist.
    /// - `EINVAL` if the option is unknown, the buffer is too short, or its length does not match
    ///   the number of entries that it requests.
    /// - `EFAULT` if the buffer cannot be read or written.
    fn get(call: &mut Get<'_>) -> Result {
        if !call.net().is_admin() {
            return Err(EPERM);
        }
        let netns = &*netns_of(call.net())?;
        match call.option() {
            IP_VS_SO_GET_VERSION => get_version(netns, call),
            IP_VS_SO_GET_INFO => {
                at_least::<GetInfo>(call)?;
                let info = GetInfo {
                    version: IP_VS_VERSION_CODE,
                    size: conn_tab_size(netns),
                    num_services: netns.services.len(Family::Inet),
                };
                answer(call, &info)
            }
            IP_VS_SO_GET_SERVICES => get_services(netns, call),
            IP_VS_SO_GET_SERVICE => get_service(netns, call),
            IP_VS_SO_GET_DESTS => get_dests(netns, call),
            IP_VS_SO_GET_TIMEOUT => {
                at_least::<TimeoutUser>(call)?;
                let timeouts = Ctl::lock(netns).timeouts();
                answer(call, &TimeoutUser::of(timeouts))
            }
            IP_VS_SO_GET_DAEMON => get_daemons(netns, call),
            _ => Err(EINVAL),
        }
    }
}

/// Reads the value of an option whose length must be that of `T`.
///
/// # Errors
///
/// `EINVAL` if it has another length; `EFAULT` if it cannot be read.
fn exactly<T: FromBytes + IntoBytes>(call: &Set<'_>) -> Result<T> {
    match call.len() == size_of::<T>() {
        true => call.read(),
        false => Err(EINVAL),
    }
}

/// Reads the request at the start of the reply buffer, which must have at least the length of a
/// `T`.
///
/// # Errors
///
/// `EINVAL` if it is shorter; `EFAULT` if it cannot be read.
fn at_least<T: FromBytes + IntoBytes>(call: &Get<'_>) -> Result<T> {
    match call.len() < size_of::<T>() {
        true => Err(EINVAL),
        false => call.read(),
    }
}

/// Copies a reply to the start of the buffer.
///
/// # Errors
///
/// `EFAULT` if the buffer cannot be written.
fn answer<T: IntoBytes + Immutable>(call: &Get<'_>, value: &T) -> Result {
    call.writer(0).write_slice(value.as_bytes())
}

/// Carries out an option that names a service.
///
/// # Errors
///
/// - `EINVAL` if a service is added or edited and the name of the scheduler lacks a NUL.
/// - `EFAULT` if the protocol is not TCP, UDP or SCTP.
/// - `EEXIST` if a service to be added exists.
/// - `ESRCH` if any other service does not exist.
/// - Whatever the method of [`Ctl`] returns.
fn set_service(ctl: &mut Ctl<'_>, option: i32, user: &ServiceUser) -> Result {
    let id = user.id();
    if option == IP_VS_SO_SET_ZERO && id.fwmark == 0 && id.addr.is_any() && id.port.is_zero() {
        return ctl.zero_all();
    }
    match option {
        IP_VS_SO_SET_ADD => {
            let spec = user.spec().ok_or(EINVAL)?;
            check_protocol(&id)?;
            match ctl.find(&id) {
                Some(_) => Err(EEXIST),
                None => ctl.add_service(id, &spec),
            }
        }
        IP_VS_SO_SET_EDIT => {
            let spec = user.spec().ok_or(EINVAL)?;
            let service = find(ctl, &id)?;
            ctl.edit_service(&service, &spec)
        }
        IP_VS_SO_SET_DEL => {
            let service = find(ctl, &id)?;
            ctl.del_service(&service);
            Ok(())
        }
        _ => {
            let service = find(ctl, &id)?;
            ctl.zero_service(&service)
        }
    }
}

/// Carries out an option that names a service and a dest.
///
/// # Errors
///
/// Whatever [`find`] or the method of [`Ctl`] returns.
fn set_dest(ctl: &mut Ctl<'_>, option: i32, user: &ServiceDestUser) -> Result {
    let service = find(ctl, &user.service.id())?;
    let id = user.dest.id();
    match option {
        IP_VS_SO_SET_ADDDEST => ctl.add_dest(&service, id, &user.dest.spec()),
        IP_VS_SO_SET_EDITDEST => ctl.edit_dest(&service, id, &user.dest.spec()),
        _ => ctl.del_dest(&service, id),
    }
}

/// Returns the service to be changed. As in C, the protocol must match for a fwmark service too,
/// though it is not part of the name.
///
/// # Errors
///
/// `EFAULT` if the protocol is not TCP, UDP or SCTP; `ESRCH` if the service does not exist.
fn find(ctl: &Ctl<'_>, id: &ServiceId) -> Result<ServiceRef> {
    check_protocol(id)?;
    let service = ctl.find(id).ok_or(ESRCH)?;
    match service.id.protocol == id.protocol {
        true => Ok(service),
        false => Err(ESRCH),
    }
}

/// Checks the protocol of a service; as in C, of a fwmark service too.
///
/// # Errors
///
/// `EFAULT`, as in C, if the protocol is not TCP, UDP or SCTP.
fn check_protocol(id: &ServiceId) -> Result {
    match u8::try_from(id.protocol) {
        Ok(IPPROTO_TCP | IPPROTO_UDP | IPPROTO_SCTP) => Ok(()),
        _ => {
            let protocol = id.protocol;
            let [a, b, c, d] = id.addr.v4();
            let port = id.port.host();
            pr_err!("set_ctl: invalid protocol: {protocol} {a}.{b}.{c}.{d}:{port}\n");
            Err(EFAULT)
        }
    }
}

/// `IP_VS_SO_GET_VERSION`: replies with a text of up to 64 bytes, including the terminating NUL.
///
/// # Errors
///
/// `EINVAL` if the buffer is too short; `EFAULT` if it cannot be read or written.
fn get_version(netns: &PerNet<Netns>, call: &mut Get<'_>) -> Result {
    let mut text = at_least::<[u8; 64]>(call)?;
    let mut formatter = Formatter::new(&mut text);
    formatter
        .write_fmt(fmt!("{}\0", Version(netns)))
        .map_err(|_| EINVAL)?;
    let len = formatter.bytes_written();
    call.writer(0).write_slice(text.get(..len).ok_or(EINVAL)?)?;
    call.set_len(len);
    Ok(())
}

/// `IP_VS_SO_GET_SERVICES`: replies with the IPv4 services, at most as many as the caller requests.
///
/// # Errors
///
/// `EINVAL` if the length of the buffer does not match the number requested; `EFAULT` if the buffer
/// cannot be read or written.
fn get_services(netns: &PerNet<Netns>, call: &Get<'_>) -> Result {
    let asked: GetServices = at_least(call)?;
    check_len(call, asked.size())?;
    let ctl = Ctl::lock(netns);
    let mut writer = call.writer(size_of::<GetServices>());
    let mut cursor = HashCursor::default();
    let services = core::iter::from_fn(|| ctl.next(&mut cursor));
    let alike = |service: &ServiceRef| service.id.family == Family::Inet;
    for (_, service) in (0..asked.num_services).zip(services.filter(alike)) {
        let mut entry = ServiceEntry::default();
        fill(&mut entry, &ctl, &service)?;
        writer.write_slice(entry.as_bytes())?;
    }
    Ok(())
}

/// `IP_VS_SO_GET_SERVICE`: replies with one service.
///
/// # Errors
///
/// `EINVAL` if the buffer is too short; `ESRCH` if the service does not exist; `EFAULT` if the
/// buffer cannot be read or written.
fn get_service(netns: &PerNet<Netns>, call: &Get<'_>) -> Result {
    let mut entry: ServiceEntry = at_least(call)?;
    let ctl = Ctl::lock(netns);
    let service = ctl.find(&entry.id()).ok_or(ESRCH)?;
    fill(&mut entry, &ctl, &service)?;
    answer(call, &entry)
}

/// `IP_VS_SO_GET_DESTS`: replies with the dests of a service that have its family, at most as many
/// as the caller requests.
///
/// # Errors
///
/// `EINVAL` if the length of the buffer does not match the number requested; `ESRCH` if the service
/// does not exist; `EFAULT` if the buffer cannot be read or written.
fn get_dests(netns: &PerNet<Netns>, call: &Get<'_>) -> Result {
    let asked: GetDests = at_least(call)?;
    check_len(call, asked.size())?;
    let ctl = Ctl::lock(netns);
    let service = ctl.find(&asked.id()).ok_or(ESRCH)?;
    let pool = service.current()?;
    let mut writer = call.writer(size_of::<GetDests>());
    let alike = |dest: &&RcuArc<Dest>| dest.family == service.id.family;
    for (_, dest) in (0..asked.num_dests).zip(pool.dests().iter().filter(alike)) {
        writer.write_slice(dest_entry(dest).as_bytes())?;
    }
    Ok(())
}

/// Checks that the length of the buffer is `size`.
///
/// # Errors
///
/// `EINVAL` if it is not.
fn check_len(call: &Get<'_>, size: usize) -> Result {
    if call.len() != size {
        pr_err!("length: {} != {size}\n", call.len());
        return Err(EINVAL);
    }
    Ok(())
}

/// `IP_VS_SO_GET_DAEMON`: replies with both sync daemons; the entry of one that does not run is 0.
///
/// # Errors
///
/// `EINVAL` if the buffer is too short; `EFAULT` if it cannot be read or written.
fn get_daemons(netns: &PerNet<Netns>, call: &Get<'_>) -> Result {
    at_least::<[DaemonUser; 2]>(call)?;
    let ctl = Ctl::lock(netns);
    let daemons = Role::ALL.map(|role| {
        ctl.daemon(role)
            .map_or(DaemonUser::default(), |config| DaemonUser::of(role, config))
    });
    answer(call, &daemons)
}

/// Fills in the entry of a service (C: `ip_vs_copy_service()`). As in C, the padding is unchanged.
///
/// # Errors
///
/// `ESRCH` if the service has no pool. Every service has one, so this does not occur.
fn fill(entry: &mut ServiceEntry, ctl: &Ctl<'_>, service: &Service) -> Result {
    let pool = service.current()?;
    entry.set(&service.id, pool.kind().map_or("none", Kind::name));
    entry.flags = service.flags();
    entry.timeout = service.timeout() / HZ as u32;
    entry.netmask = service.netmask();
    entry.num_dests = pool.dests().len() as u32;
    fill_stats(&mut entry.stats, ctl.stats(service, &pool));
    Ok(())
}

/// Returns the entry of a dest (C: `__ip_vs_get_dest_entries()`).
fn dest_entry(dest: &Dest) -> DestEntry {
    let mut entry = DestEntry::new(&dest.id());
    entry.conn_flags = forward::to_user(dest.conn_flags());
    entry.weight = dest.weight();
    entry.u_threshold = dest.u_threshold();
    entry.l_threshold = dest.l_threshold();
    entry.activeconns = dest.active_conns() as u32;
    entry.inactconns = dest.inactive_conns() as u32;
    entry.persistconns = dest.persist_conns() as u32;
    fill_stats(&mut entry.stats, dest.stats.read());
    entry
}

/// Fills in statistics; rates and the counters of conns and packets are truncated to 32 bits
/// (C: `ip_vs_export_stats_user()`).
fn fill_stats(stats: &mut StatsUser, shown: KStats) {
    let KStats { counts, rates } = shown;
    *stats = StatsUser {
        conns: counts.conns as u32,
        inpkts: counts.inpkts as u32,
        outpkts: counts.outpkts as u32,
        inbytes: counts.inbytes,
        outbytes: counts.outbytes,
        cps: rates.conns as u32,
        inpps: rates.inpkts as u32,
        outpps: rates.outpkts as u32,
        inbps: rates.inbytes as u32,
        outbps: rates.outbytes as u32,
        ..*stats
    };
}
