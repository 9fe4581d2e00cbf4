// SPDX-License-Identifier: GPL-2.0

//! The parameters of a new conn.

use super::local::Local;
use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    packet::Packet,
    pe::Engine,
    proto::Proto, //
};

/// The parameters of a new conn (C: `struct ip_vs_conn_param`).
pub(crate) struct Params<'a> {
    pub(crate) family: Family,
    pub(crate) proto: Proto,
    pub(crate) caddr: &'a Addr,
    pub(crate) cport: Port,
    pub(crate) vaddr: &'a Addr,
    pub(crate) vport: Port,
    pub(crate) daddr: &'a Addr,
    /// The port that packets to the dest get: the dest's or, if that is 0, the one the client used.
    pub(crate) dport: Port,
    /// The local end, which replaces the client's in packets to the dest, if any.
    pub(crate) local: Option<Local>,
    /// For a template: the persistence engine and its data, if the service has an engine.
    pub(crate) pe: Option<(Engine, &'a [u8])>,
    pub(crate) fwmark: u32,
    /// `IP_VS_CONN_F_*`, in addition to those of the dest.
    pub(crate) flags: u32,
    /// The hash of client and service, if it is known.
    pub(crate) hash: Option<u32>,
}

impl<'a> Params<'a> {
    /// The parameters of a conn that starts with `packet`, from the client to the service, except
    /// the dest's address and port.
    #[inline(always)]
    pub(crate) fn to_service(packet: &'a Packet, proto: Proto, fwmark: u32) -> Self {
        Self {
            family: packet.family,
            proto,
            caddr: &packet.saddr,
            cport: packet.sport,
            vaddr: &packet.daddr,
            vport: packet.dport,
            daddr: &Addr::ANY,
            dport: Port::ZERO,
            local: None,
            pe: None,
            fwmark,
            flags: 0,
            hash: None,
        }
    }
}
