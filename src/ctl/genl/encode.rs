// SPDX-License-Identifier: GPL-2.0

//! Encodes services, dests, daemons and timeouts as netlink attributes, in C's order.
//!
//! C version: `ip_vs_genl_fill_service()`, `ip_vs_genl_fill_dest()`
//! [net/netfilter/ipvs/ip_vs_ctl.c].

use crate::{
    dest::Dest,
    forward,
    oot::{
        net::netlink::Writer,
        time::HZ, //
    },
    sched::Kind,
    service::{
        Pool,
        Service, //
    },
    spec::Timeouts,
    stats::KStats,
    sync::config::{
        Config,
        Group,
        Role, //
    },
    uapi::*,
};
use kernel::prelude::*;

/// Writes a service (C: `ip_vs_genl_fill_service()`).
///
/// # Errors
///
/// `EMSGSIZE` if the attributes do not fit.
pub(super) fn service(
    writer: &mut Writer,
    service: &Service,
    pool: &Pool,
    stats: KStats,
) -> Result {
    let id = &service.id;
    writer.nest(IPVS_CMD_ATTR_SERVICE, |nest| {
        nest.put_u16(IPVS_SVC_ATTR_AF, id.family.af())?;
        if id.fwmark != 0 {
            nest.put_u32(IPVS_SVC_ATTR_FWMARK, id.fwmark)?;
        } else {
            nest.put_u16(IPVS_SVC_ATTR_PROTOCOL, id.protocol)?;
            nest.put(IPVS_SVC_ATTR_ADDR, id.addr.bytes())?;
            nest.put_u16(IPVS_SVC_ATTR_PORT, id.port.be16())?;
        }
        let name = pool.kind().map_or("none", Kind::name);
        nest.put_string(IPVS_SVC_ATTR_SCHED_NAME, name)?;
        if let Some(engine) = service.engine() {
            nest.put_string(IPVS_SVC_ATTR_PE_NAME, engine.name())?;
        }
        nest.put(IPVS_SVC_ATTR_FLAGS, &flags(service.flags()))?;
        nest.put_u32(IPVS_SVC_ATTR_TIMEOUT, service.timeout() / HZ as u32)?;
        nest.put_u32(IPVS_SVC_ATTR_NETMASK, service.netmask())?;
        stats32(nest, IPVS_SVC_ATTR_STATS, stats)?;
        stats64(nest, IPVS_SVC_ATTR_STATS64, stats)
    })
}

/// A `struct ip_vs_flags` with all bits set in the mask.
fn flags(flags: u32) -> [u8; 8] {
    let [a, b, c, d] = flags.to_ne_bytes();
    [a, b, c, d, 0xff, 0xff, 0xff, 0xff]
}

/// Writes a dest (C: `ip_vs_genl_fill_dest()`).
///
/// # Errors
///
/// `EMSGSIZE` if the attributes do not fit.
pub(super) fn dest(writer: &mut Writer, dest: &Dest) -> Result {
    let tunnel = dest.tunnel();
    let fwd = forward::number(forward::to_user(dest.conn_flags()));
    let stats = dest.stats.read();
    writer.nest(IPVS_CMD_ATTR_DEST, |nest| {
        nest.put(IPVS_DEST_ATTR_ADDR, dest.addr.bytes())?;
        nest.put_u16(IPVS_DEST_ATTR_PORT, dest.port.be16())?;
        nest.put_u32(IPVS_DEST_ATTR_FWD_METHOD, fwd)?;
        nest.put_u32(IPVS_DEST_ATTR_WEIGHT, dest.weight() as u32)?;
        nest.put_u8(IPVS_DEST_ATTR_TUN_TYPE, tunnel.kind)?;
        nest.put_u16(IPVS_DEST_ATTR_TUN_PORT, tunnel.port.be16())?;
        nest.put_u16(IPVS_DEST_ATTR_TUN_FLAGS, tunnel.flags)?;
        nest.put_u32(IPVS_DEST_ATTR_U_THRESH, dest.u_threshold())?;
        nest.put_u32(IPVS_DEST_ATTR_L_THRESH, dest.l_threshold())?;
        nest.put_u32(IPVS_DEST_ATTR_ACTIVE_CONNS, dest.active_conns() as u32)?;
        nest.put_u32(IPVS_DEST_ATTR_INACT_CONNS, dest.inactive_conns() as u32)?;
        nest.put_u32(IPVS_DEST_ATTR_PERSIST_CONNS, dest.persist_conns() as u32)?;
        nest.put_u16(IPVS_DEST_ATTR_ADDR_FAMILY, dest.family.af())?;
        stats32(nest, IPVS_DEST_ATTR_STATS, stats)?;
        stats64(nest, IPVS_DEST_ATTR_STATS64, stats)
    })
}

/// Writes a running daemon (C: `ip_vs_genl_fill_daemon()`).
///
/// # Errors
///
/// `EMSGSIZE` if the attributes do not fit.
pub(super) fn daemon(writer: &mut Writer, role: Role, config: &Config) -> Result {
    writer.nest(IPVS_CMD_ATTR_DAEMON, |nest| {
        nest.put_u32(IPVS_DAEMON_ATTR_STATE, role.state())?;
        nest.put_slice(IPVS_DAEMON_ATTR_MCAST_IFN, config.ifn.with_nul())?;
        nest.put_u32(IPVS_DAEMON_ATTR_SYNC_ID, config.sync_id)?;
        nest.put_u16(IPVS_DAEMON_ATTR_SYNC_MAXLEN, config.maxlen)?;
        nest.put_u16(IPVS_DAEMON_ATTR_MCAST_PORT, config.port)?;
        nest.put_u8(IPVS_DAEMON_ATTR_MCAST_TTL, config.ttl)?;
        match &config.group {
            Group::V4(group) => nest.put(IPVS_DAEMON_ATTR_MCAST_GROUP, group),
            Group::V6(group) => nest.put(IPVS_DAEMON_ATTR_MCAST_GROUP6, group),
        }
    })
}

/// Writes the timeouts, in seconds.
///
/// # Errors
///
/// `EMSGSIZE` if the attributes do not fit.
pub(super) fn timeouts(writer: &mut Writer, timeouts: Timeouts) -> Result {
    writer.put_u32(IPVS_CMD_ATTR_TIMEOUT_TCP, timeouts.tcp)?;
    writer.put_u32(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, timeouts.tcp_fin)?;
    writer.put_u32(IPVS_CMD_ATTR_TIMEOUT_UDP, timeouts.udp)
}

/// Writes statistics; rates and the counters of conns and packets are truncated to 32 bits
/// (C: `ip_vs_genl_fill_stats()`).
///
/// # Errors
///
/// `EMSGSIZE` if the attributes do not fit.
fn stats32(writer: &mut Writer, attrtype: usize, stats: KStats) -> Result {
    let KStats { counts, rates } = stats;
    writer.nest(attrtype, |nest| {
        nest.put_u32(IPVS_STATS_ATTR_CONNS, counts.conns as u32)?;
        nest.put_u32(IPVS_STATS_ATTR_INPKTS, counts.inpkts as u32)?;
        nest.put_u32(IPVS_STATS_ATTR_OUTPKTS, counts.outpkts as u32)?;
        nest.put_u64_64bit(IPVS_STATS_ATTR_INBYTES, counts.inbytes, IPVS_STATS_ATTR_PAD)?;
        nest.put_u64_64bit(
            IPVS_STATS_ATTR_OUTBYTES,
            counts.outbytes,
            IPVS_STATS_ATTR_PAD,
        )?;
        nest.put_u32(IPVS_STATS_ATTR_CPS, rates.conns as u32)?;
        nest.put_u32(IPVS_STATS_ATTR_INPPS, rates.inpkts as u32)?;
        nest.put_u32(IPVS_STATS_ATTR_OUTPPS, rates.outpkts as u32)?;
        nest.put_u32(IPVS_STATS_ATTR_INBPS, rates.inbytes as u32)?;
        nest.put_u32(IPVS_STATS_ATTR_OUTBPS, rates.outbytes as u32)
    })
}

/// Writes statistics in 64 bits (C: `ip_vs_genl_fill_stats64()`).
///
/// # Errors
///
/// `EMSGSIZE` if the attributes do not fit.
fn stats64(writer: &mut Writer, attrtype: usize, stats: KStats) -> Result {
    let KStats { counts, rates } = stats;
    let figures = [
        counts.conns,
        counts.inpkts,
        counts.outpkts,
        counts.inbytes,
        counts.outbytes,
        rates.conns,
        rates.inpkts,
        rates.outpkts,
        rates.inbytes,
        rates.outbytes,
    ];
    writer.nest(attrtype, |nest| {
        nest.put_u64s_64bit(IPVS_STATS_ATTR_CONNS, figures, IPVS_STATS_ATTR_PAD)
    })
}
