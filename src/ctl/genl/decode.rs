// SPDX-License-Identifier: GPL-2.0

//! Decodes netlink attributes.
//!
//! C version: `ip_vs_genl_parse_service()`, `ip_vs_genl_parse_dest()`
//! [net/netfilter/ipvs/ip_vs_ctl.c].

use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    forward,
    oot::net::{
        addrconf,
        genetlink::Request,
        netlink::{
            Attr,
            AttrPolicy,
            Attrs, //
        },
    },
    spec::{
        DestId,
        DestSpec,
        FlagsEdit,
        ServiceId,
        ServiceSpec,
        Timeouts,
        Tunnel, //
    },
    sync::config::{
        DaemonSpec,
        Group,
        IfName, //
    },
    uapi::*,
};
use kernel::prelude::*;

/// `sizeof(union nf_inet_addr)`
const ADDR_LEN: u16 = 16;

/// C: `ip_vs_cmd_policy`.
pub(super) static CMD_POLICY: [AttrPolicy; 7] = [
    AttrPolicy::ANY,
    AttrPolicy::NESTED, // SERVICE
    AttrPolicy::NESTED, // DEST
    AttrPolicy::NESTED, // DAEMON
    AttrPolicy::U32,    // TIMEOUT_TCP
    AttrPolicy::U32,    // TIMEOUT_TCP_FIN
    AttrPolicy::U32,    // TIMEOUT_UDP
];

/// C: `ip_vs_svc_policy`.
static SVC_POLICY: [AttrPolicy; 13] = [
    AttrPolicy::ANY,
    AttrPolicy::U16,              // AF
    AttrPolicy::U16,              // PROTOCOL
    AttrPolicy::binary(ADDR_LEN), // ADDR
    AttrPolicy::U16,              // PORT
    AttrPolicy::U32,              // FWMARK
    AttrPolicy::nul_string(15),   // SCHED_NAME
    AttrPolicy::binary(8),        // FLAGS
    AttrPolicy::U32,              // TIMEOUT
    AttrPolicy::U32,              // NETMASK
    AttrPolicy::NESTED,           // STATS
    AttrPolicy::nul_string(16),   // PE_NAME
    AttrPolicy::ANY,              // STATS64
];

/// C: `ip_vs_dest_policy`.
static DEST_POLICY: [AttrPolicy; 16] = [
    AttrPolicy::ANY,
    AttrPolicy::binary(ADDR_LEN), // ADDR
    AttrPolicy::U16,              // PORT
    AttrPolicy::U32,              // FWD_METHOD
    AttrPolicy::U32,              // WEIGHT
    AttrPolicy::U32,              // U_THRESH
    AttrPolicy::U32,              // L_THRESH
    AttrPolicy::U32,              // ACTIVE_CONNS
    AttrPolicy::U32,              // INACT_CONNS
    AttrPolicy::U32,              // PERSIST_CONNS
    AttrPolicy::NESTED,           // STATS
    AttrPolicy::U16,              // ADDR_FAMILY
    AttrPolicy::ANY,              // STATS64
    AttrPolicy::U8,               // TUN_TYPE
    AttrPolicy::U16,              // TUN_PORT
    AttrPolicy::U16,              // TUN_FLAGS
];

/// C: `ip_vs_daemon_policy`.
pub(super) static DAEMON_POLICY: [AttrPolicy; 9] = [
    AttrPolicy::ANY,
    AttrPolicy::U32,                // STATE
    AttrPolicy::nul_string(15),     // MCAST_IFN
    AttrPolicy::U32,                // SYNC_ID
    AttrPolicy::U16,                // SYNC_MAXLEN
    AttrPolicy::U32,                // MCAST_GROUP
    AttrPolicy::at_least(ADDR_LEN), // MCAST_GROUP6
    AttrPolicy::U16,                // MCAST_PORT
    AttrPolicy::U8,                 // MCAST_TTL
];

/// The attributes of a service, with its decoded name.
pub(super) struct ServiceAttrs<'a> {
    pub(super) id: ServiceId,
    attrs: Attrs<'a, 13>,
}

impl<'a> ServiceAttrs<'a> {
    /// Checks the attributes against the policy and decodes the name of the service.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `attr` is `None`, does not follow the policy, or lacks a part of the name;
    /// `EAFNOSUPPORT` if the family is not IP, or is IPv6 and IPv6 is disabled.
    pub(super) fn parse(attr: Option<Attr<'a>>) -> Result<Self> {
        let attrs = attr
            .ok_or(EINVAL)?
            .nested(&SVC_POLICY)
            .map_err(|_| EINVAL)?;
        let af = attrs.get(IPVS_SVC_ATTR_AF).ok_or(EINVAL)?.u16();
        let id = match attrs.get(IPVS_SVC_ATTR_FWMARK) {
            Some(fwmark) => ServiceId {
                family: family(af)?,
                protocol: IPPROTO_TCP.into(),
                addr: Addr::ANY,
                port: Port::ZERO,
                fwmark: fwmark.u32(),
            },
            None => {
                let port = attrs.get(IPVS_SVC_ATTR_PORT).ok_or(EINVAL)?;
                let protocol = attrs.get(IPVS_SVC_ATTR_PROTOCOL).ok_or(EINVAL)?;
                let addr = attrs.get(IPVS_SVC_ATTR_ADDR).ok_or(EINVAL)?;
                let family = family(af)?;
                ServiceId {
                    family,
                    protocol: protocol.u16(),
                    addr: address(family, addr)?,
                    port: Port::from_be16(port.u16()),
                    fwmark: 0,
                }
            }
        };
        Ok(Self { id, attrs })
    }

    /// Decodes the specification of the service.
    ///
    /// # Errors
    ///
    /// `EINVAL` if an attribute is missing.
    pub(super) fn spec(&self) -> Result<ServiceSpec<'a>> {
        let get = |attrtype| self.attrs.get(attrtype);
        let sched = get(IPVS_SVC_ATTR_SCHED_NAME).ok_or(EINVAL)?;
        let flags = get(IPVS_SVC_ATTR_FLAGS).ok_or(EINVAL)?.array::<8>();
        let timeout = get(IPVS_SVC_ATTR_TIMEOUT).ok_or(EINVAL)?;
        let netmask = get(IPVS_SVC_ATTR_NETMASK).ok_or(EINVAL)?;
        let [a, b, c, d, e, f, g, h] = flags;
        Ok(ServiceSpec {
            sched_name: sched.str_bytes(),
            pe_name: get(IPVS_SVC_ATTR_PE_NAME).map_or(b"", |pe| pe.str_bytes()),
            flags: FlagsEdit {
                flags: u32::from_ne_bytes([a, b, c, d]),
                mask: u32::from_ne_bytes([e, f, g, h]),
            },
            timeout: timeout.u32(),
            netmask: netmask.u32(),
        })
    }
}

/// The attributes of a dest, with its decoded address and port.
pub(super) struct DestAttrs<'a> {
    addr: Attr<'a>,
    port: Port,
    /// The address family; 0 for that of the service.
    af: u16,
    attrs: Attrs<'a, 16>,
}

impl<'a> DestAttrs<'a> {
    /// Checks the attributes against the policy and decodes port and address family of the dest.
    ///
    /// # Errors
    ///
    /// `EINVAL` if `attr` is `None`, does not follow the policy, or lacks address or port.
    pub(super) fn parse(attr: Option<Attr<'a>>) -> Result<Self> {
        let attrs = attr
            .ok_or(EINVAL)?
            .nested(&DEST_POLICY)
            .map_err(|_| EINVAL)?;
        let addr = attrs.get(IPVS_DEST_ATTR_ADDR).ok_or(EINVAL)?;
        let port = attrs.get(IPVS_DEST_ATTR_PORT).ok_or(EINVAL)?;
        Ok(Self {
            addr,
            port: Port::from_be16(port.u16()),
            af: attrs
                .get(IPVS_DEST_ATTR_ADDR_FAMILY)
                .map_or(0, |af| af.u16()),
            attrs,
        })
    }

    /// Returns the name of the dest. `of_service` is the family of its service.
    ///
    /// # Errors
    ///
    /// `EAFNOSUPPORT` if the family is not IP, or is IPv6 and IPv6 is disabled; `EINVAL` if the
    /// address is longer than 16 bytes, which the policy excludes.
    pub(super) fn id(&self, of_service: Family) -> Result<DestId> {
        let family = match self.af {
            0 => of_service,
            af => family(af)?,
        };
        Ok(DestId {
            family,
            addr: address(family, self.addr)?,
            port: self.port,
        })
    }

    /// Decodes the specification of the dest.
    ///
    /// # Errors
    ///
    /// `EINVAL` if an attribute is missing.
    pub(super) fn spec(&self) -> Result<DestSpec> {
        let get = |attrtype| self.attrs.get(attrtype);
        let fwd = get(IPVS_DEST_ATTR_FWD_METHOD).ok_or(EINVAL)?;
        let weight = get(IPVS_DEST_ATTR_WEIGHT).ok_or(EINVAL)?;
        let u_thresh = get(IPVS_DEST_ATTR_U_THRESH).ok_or(EINVAL)?;
        let l_thresh = get(IPVS_DEST_ATTR_L_THRESH).ok_or(EINVAL)?;
        Ok(DestSpec {
            conn_flags: forward::number(fwd.u32()),
            weight: weight.u32() as i32,
            u_threshold: u_thresh.u32(),
            l_threshold: l_thresh.u32(),
            tunnel: Tunnel {
                kind: get(IPVS_DEST_ATTR_TUN_TYPE).map_or(0, |kind| kind.u8()),
                port: get(IPVS_DEST_ATTR_TUN_PORT)
                    .map_or(Port::ZERO, |port| Port::from_be16(port.u16())),
                flags: get(IPVS_DEST_ATTR_TUN_FLAGS).map_or(0, |flags| flags.u16()),
            },
        })
    }
}

/// Decodes the specification of a sync daemon.
///
/// # Errors
///
/// `EINVAL` if an attribute is missing, the group is not multicast, or the device name is too long.
pub(super) fn daemon(attrs: &Attrs<'_, 9>) -> Result<DaemonSpec> {
    let get = |attrtype| attrs.get(attrtype);
    let ifn = get(IPVS_DAEMON_ATTR_MCAST_IFN).ok_or(EINVAL)?;
    let sync_id = get(IPVS_DAEMON_ATTR_SYNC_ID).ok_or(EINVAL)?;
    let group = match get(IPVS_DAEMON_ATTR_MCAST_GROUP) {
        Some(group) => Some(Group::V4(group.array())),
        None => get(IPVS_DAEMON_ATTR_MCAST_GROUP6).map(|group| Group::V6(group.array())),
    };
    if group.is_some_and(|group| !group.is_multicast()) {
        return Err(EINVAL);
    }
    Ok(DaemonSpec {
        maxlen: get(IPVS_DAEMON_ATTR_SYNC_MAXLEN).map_or(0, |maxlen| maxlen.u16()),
        group,
        port: get(IPVS_DAEMON_ATTR_MCAST_PORT).map_or(0, |port| port.u16()),
        ttl: get(IPVS_DAEMON_ATTR_MCAST_TTL).map_or(0, |ttl| ttl.u8()),
        ..DaemonSpec::new(IfName::new(ifn.bytes()).ok_or(EINVAL)?, sync_id.u32())
    })
}

/// Decodes the timeouts, in seconds. A timeout that `request` does not contain is that of `now`.
pub(super) fn timeouts(request: &Request<'_>, now: Timeouts) -> Timeouts {
    let get = |attrtype, now| request.attr(attrtype).map_or(now, |attr| attr.u32());
    Timeouts {
        tcp: get(IPVS_CMD_ATTR_TIMEOUT_TCP, now.tcp),
        tcp_fin: get(IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, now.tcp_fin),
        udp: get(IPVS_CMD_ATTR_TIMEOUT_UDP, now.udp),
    }
}

/// Decodes an address family (C: `ip_vs_is_af_valid()`).
///
/// # Errors
///
/// `EAFNOSUPPORT` if the family is not IP, or is IPv6 and IPv6 is disabled.
fn family(af: u16) -> Result<Family> {
    match Family::from_af(af) {
        Some(Family::Inet6) if !addrconf::is_ipv6_enabled() => Err(EAFNOSUPPORT),
        Some(family) => Ok(family),
        None => Err(EAFNOSUPPORT),
    }
}

/// Decodes an address. Missing bytes are read as 0.
///
/// # Errors
///
/// `EINVAL` if the attribute is longer than 16 bytes, which the policies exclude.
fn address(family: Family, attr: Attr<'_>) -> Result<Addr> {
    Addr::from_prefix(family, attr.bytes()).ok_or(EINVAL)
}
