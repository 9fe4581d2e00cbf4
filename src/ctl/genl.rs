// SPDX-License-Identifier: GPL-2.0

//! The generic netlink family `IPVS`.
//!
//! C version: [net/netfilter/ipvs/ip_vs_ctl.c], "Generic Netlink interface".

mod decode;
mod encode;

use crate::{
    oot::{
        net::genetlink::{
            DoIt,
            Dump,
            DumpIt,
            Family,
            Progress,
            Registration,
            Request,
            SmallOp, //
        },
        sync::HashCursor, //
    },
    sync::config::Role,
    uapi::*,
    LocalModule, //
};
use kernel::{
    module::this_module,
    prelude::*,
    sync::rcu, //
};

use super::{
    netns_of,
    Ctl, //
};
use decode::{
    DestAttrs,
    ServiceAttrs, //
};

static OPS: [SmallOp; 16] = [
    SmallOp::admin(IPVS_CMD_NEW_SERVICE).doit::<SetCmd>(),
    SmallOp::admin(IPVS_CMD_SET_SERVICE).doit::<SetCmd>(),
    SmallOp::admin(IPVS_CMD_DEL_SERVICE).doit::<SetCmd>(),
    SmallOp::admin(IPVS_CMD_GET_SERVICE)
        .doit::<GetCmd>()
        .dumpit::<DumpServices>(),
    SmallOp::admin(IPVS_CMD_NEW_DEST).doit::<SetCmd>(),
    SmallOp::admin(IPVS_CMD_SET_DEST).doit::<SetCmd>(),
    SmallOp::admin(IPVS_CMD_DEL_DEST).doit::<SetCmd>(),
    SmallOp::admin(IPVS_CMD_GET_DEST).dumpit::<DumpDests>(),
    SmallOp::admin(IPVS_CMD_NEW_DAEMON).doit::<SetDaemon>(),
    SmallOp::admin(IPVS_CMD_DEL_DAEMON).doit::<SetDaemon>(),
    SmallOp::admin(IPVS_CMD_GET_DAEMON).dumpit::<DumpDaemons>(),
    SmallOp::admin(IPVS_CMD_SET_CONFIG).doit::<SetCmd>(),
    SmallOp::admin(IPVS_CMD_GET_CONFIG).doit::<GetCmd>(),
    SmallOp::admin(IPVS_CMD_GET_INFO).doit::<GetCmd>(),
    SmallOp::admin(IPVS_CMD_ZERO).doit::<SetCmd>(),
    SmallOp::admin(IPVS_CMD_FLUSH).doit::<SetCmd>(),
];

static FAMILY: Family = Family::new(
    this_module::<LocalModule>(),
    c"IPVS",
    IPVS_GENL_VERSION,
    &decode::CMD_POLICY,
    &OPS,
    IPVS_CMD_FLUSH + 1,
);

/// Registers the generic netlink family.
///
/// # Errors
///
/// `EEXIST` if a family of that name is registered; `ENOMEM`.
pub(crate) fn register() -> Result<Registration> {
    FAMILY.register()
}

/// The commands that change something (C: `ip_vs_genl_set_cmd()`).
struct SetCmd;

impl DoIt for SetCmd {
    /// # Errors
    ///
    /// `ESRCH` if the namespace is being deleted or the module is being unloaded; for
    /// `IPVS_CMD_SET_CONFIG` whatever [`Ctl::set_timeouts`] returns; for other commands whatever
    /// [`ServiceAttrs::parse`] and [`set_service`] return.
    fn doit(request: &Request<'_>) -> Result {
        let netns = netns_of(request.net())?;
        let mut ctl = Ctl::lock(&netns);
        let service = request.attr(IPVS_CMD_ATTR_SERVICE);
        match request.cmd() {
            IPVS_CMD_FLUSH => {
                ctl.flush();
                Ok(())
            }
            IPVS_CMD_SET_CONFIG => {
                let timeouts = decode::timeouts(request, ctl.timeouts());
                ctl.set_timeouts(&timeouts)
            }
            IPVS_CMD_ZERO if service.is_none() => ctl.zero_all(),
            cmd => set_service(&mut ctl, cmd, &ServiceAttrs::parse(service)?, request),
        }
    }
}

/// Carries out a command that names a service.
///
/// As in C, some attributes are checked before the service is looked up and some after that.
///
/// # Errors
///
/// - `EINVAL` if an attribute is missing or malformed, or if the command is unknown.
/// - `EAFNOSUPPORT` if the family of a dest is not IP, or is IPv6 and IPv6 is disabled.
/// - `EEXIST` if a service to be added exists.
/// - `ESRCH` if any other service does not exist.
/// - Whatever the method of [`Ctl`] returns.
fn set_service(
    ctl: &mut Ctl<'_>,
    cmd: u8,
    attrs: &ServiceAttrs<'_>,
    request: &Request<'_>,
) -> Result {
    let found = ctl.find(&attrs.id);
    if cmd == IPVS_CMD_NEW_SERVICE {
        let spec = attrs.spec()?;
        return match found {
            Some(_) => Err(EEXIST),
            None => ctl.add_service(attrs.id, &spec),
        };
    }
    if cmd == IPVS_CMD_SET_SERVICE {
        let spec = attrs.spec()?;
        return ctl.edit_service(&*found.ok_or(ESRCH)?, &spec);
    }
    let service = found.ok_or(ESRCH)?;
    match cmd {
        IPVS_CMD_DEL_SERVICE => {
            ctl.del_service(&service);
            Ok(())
        }
        IPVS_CMD_ZERO => ctl.zero_service(&service),
        IPVS_CMD_DEL_DEST => {
            let dest = DestAttrs::parse(request.attr(IPVS_CMD_ATTR_DEST))?;
            ctl.del_dest(&service, dest.id(service.id.family)?)
        }
        IPVS_CMD_NEW_DEST | IPVS_CMD_SET_DEST => {
            let dest = DestAttrs::parse(request.attr(IPVS_CMD_ATTR_DEST))?;
            let spec = dest.spec()?;
            let id = dest.id(service.id.family)?;
            if id.family != service.id.family {
                ctl.check_mixed_family(&spec)?;
            }
            match cmd {
                IPVS_CMD_NEW_DEST => ctl.add_dest(&service, id, &spec),
                _ => ctl.edit_dest(&service, id, &spec),
            }
        }
        _ => Err(EINVAL),
    }
}

/// The commands that reply with one message (C: `ip_vs_genl_get_cmd()`).
struct GetCmd;

impl DoIt for GetCmd {
    /// # Errors
    ///
    /// - `ESRCH` if the namespace is being deleted, the module is being unloaded, or the service
    ///   does not exist.
    /// - `EINVAL` if the command is unknown; whatever [`ServiceAttrs::parse`] returns.
    /// - `ENOMEM` if the reply cannot be allocated; `EMSGSIZE` if the attributes do not fit.
    /// - Whatever [`Reply::send`](crate::oot::net::genetlink::Reply::send) returns.
    fn doit(request: &Request<'_>) -> Result {
        let netns = &*netns_of(request.net())?;
        match request.cmd() {
            IPVS_CMD_GET_SERVICE => {
                let mut reply = request.reply(IPVS_CMD_NEW_SERVICE)?;
                let ctl = Ctl::lock(netns);
                let attrs = ServiceAttrs::parse(request.attr(IPVS_CMD_ATTR_SERVICE))?;
                let service = ctl.find(&attrs.id).ok_or(ESRCH)?;
                let pool = service.current()?;
                let stats = ctl.stats(&service, &pool);
                encode::service(reply.writer(), &service, &pool, stats)?;
                reply.send()
            }
            IPVS_CMD_GET_CONFIG => {
                let mut reply = request.reply(IPVS_CMD_SET_CONFIG)?;
                encode::timeouts(reply.writer(), Ctl::lock(netns).timeouts())?;
                reply.send()
            }
            IPVS_CMD_GET_INFO => {
                let mut reply = request.reply(IPVS_CMD_SET_INFO)?;
                let writer = reply.writer();
                writer.put_u32(IPVS_INFO_ATTR_VERSION, IP_VS_VERSION_CODE)?;
                writer.put_u32(IPVS_INFO_ATTR_CONN_TAB_SIZE, super::conn_tab_size(netns))?;
                reply.send()
            }
            _ => Err(EINVAL),
        }
    }
}

/// The dump of services (C: `ip_vs_genl_dump_services()`). Its cursor is a [`HashCursor`].
struct DumpServices;

impl DumpIt for DumpServices {
    /// # Errors
    ///
    /// `ESRCH` if the namespace is being deleted or the module is being unloaded.
    fn dumpit(dump: &mut Dump<'_>) -> Result<Progress> {
        let netns = netns_of(dump.net())?;
        let ctl = Ctl::lock(&netns);
        let [hash, link, ..] = *dump.cursor();
        let mut cursor = HashCursor::from_words([hash as usize, link as usize]);
        let progress = loop {
            let before = cursor;
            let Some(service) = ctl.next(&mut cursor) else {
                break Progress::All;
            };
            let pool = service.current()?;
            let stats = ctl.stats(&service, &pool);
            let put = dump.message(IPVS_CMD_NEW_SERVICE, |writer| {
                encode::service(writer, &service, &pool, stats)
            });
            if put.is_err() {
                cursor = before;
                break Progress::Part;
            }
        };
        let [hash, link, ..] = dump.cursor();
        [*hash, *link] = cursor.to_words().map(|word| word as isize);
        Ok(progress)
    }
}

/// The dump of a service's dests (C: `ip_vs_genl_dump_dests()`).
struct DumpDests;

impl DumpIt for DumpDests {
    /// # Errors
    ///
    /// None: an error ends the dump.
    fn dumpit(dump: &mut Dump<'_>) -> Result<Progress> {
        // As in C, the dump for an unknown service is empty and succeeds.
        Ok(dump_dests(dump).unwrap_or(Progress::All))
    }
}

/// Dumps the dests of a service, from the index in the cursor on.
///
/// # Errors
///
/// `EINVAL` if an attribute is missing or malformed; `EAFNOSUPPORT` as for [`ServiceAttrs::parse`];
/// `ESRCH` if the service does not exist.
fn dump_dests(dump: &mut Dump<'_>) -> Result<Progress> {
    let netns = netns_of(dump.net())?;
    let attrs = dump.attrs(&decode::CMD_POLICY)?;
    let id = ServiceAttrs::parse(attrs.get(IPVS_CMD_ATTR_SERVICE))?.id;
    let guard = rcu::read_lock();
    let service = netns.services.get(&guard, &id).ok_or(ESRCH)?;
    let pool = service.pool(&guard).ok_or(ESRCH)?;
    let [start, ..] = *dump.cursor();
    for dest in pool.dests().iter().skip(start as usize) {
        let put = dump.message(IPVS_CMD_NEW_DEST, |writer| encode::dest(writer, dest));
        if put.is_err() {
            return Ok(Progress::Part);
        }
        let [done, ..] = dump.cursor();
        *done = done.wrapping_add(1);
    }
    Ok(Progress::All)
}

/// The commands that start and stop a sync daemon (C: `ip_vs_genl_set_daemon()`).
struct SetDaemon;

impl DoIt for SetDaemon {
    /// # Errors
    ///
    /// - `EINVAL` if an attribute is missing or malformed, or if a daemon is to be started while a
    ///   service has a dest of the other family.
    /// - `ESRCH` if the namespace is being deleted or the module is being unloaded.
    /// - Whatever [`Ctl::start_daemon`] or [`Ctl::stop_daemon`] returns.
    fn doit(request: &Request<'_>) -> Result {
        let daemon = request.attr(IPVS_CMD_ATTR_DAEMON).ok_or(EINVAL)?;
        let attrs = request
            .nested(daemon, &decode::DAEMON_POLICY)
            .map_err(|_| EINVAL)?;
        let state = attrs.get(IPVS_DAEMON_ATTR_STATE).ok_or(EINVAL)?.u32();
        let netns = &*netns_of(request.net())?;
        if request.cmd() == IPVS_CMD_DEL_DAEMON {
            return Ctl::lock(netns).stop_daemon(state);
        }
        let spec = decode::daemon(&attrs)?;
        let mut ctl = Ctl::lock(netns);
        // Sync messages cannot carry dests of mixed family.
        if ctl.has_mixed_families() {
            return Err(EINVAL);
        }
        ctl.start_daemon(&spec, state)
    }
}

/// The dump of the daemons that run (C: `ip_vs_genl_dump_daemons()`).
struct DumpDaemons;

impl DumpIt for DumpDaemons {
    /// # Errors
    ///
    /// `ESRCH` if the namespace is being deleted or the module is being unloaded.
    fn dumpit(dump: &mut Dump<'_>) -> Result<Progress> {
        let netns = netns_of(dump.net())?;
        let ctl = Ctl::lock(&netns);
        for (i, role) in Role::ALL.into_iter().enumerate() {
            let is_done = dump.cursor().get(i).is_some_and(|done| *done != 0);
            let Some(config) = ctl.daemon(role).filter(|_| !is_done) else {
                continue;
            };
            let put = dump.message(IPVS_CMD_NEW_DAEMON, |writer| {
                encode::daemon(writer, role, config)
            });
            if put.is_err() {
                return Ok(Progress::Part);
            }
            if let Some(done) = dump.cursor().get_mut(i) {
                *done = 1;
            }
        }
        Ok(Progress::All)
    }
}
