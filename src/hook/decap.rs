// SPDX-License-Identifier: GPL-2.0

//! The tunnel headers of a packet that an ICMP error quotes.
//!
//! C version: `ipvs_udp_decap()`, `ipvs_gre_decap()` [net/netfilter/ipvs/ip_vs_core.c].
//!
//! As in C, only IPv4 packets in IPv4 tunnels are found.

use crate::{
    addr::Port,
    oot::net::{
        skbuff::Skb,
        tunnel, //
    },
    packet::{
        Extent,
        Packet, //
    },
    spec::Tunnel,
    uapi::{
        IPPROTO_GRE,
        IPPROTO_UDP,
        IP_VS_CONN_F_TUNNEL_TYPE_GRE,
        IP_VS_CONN_F_TUNNEL_TYPE_GUE,
        IP_VS_CONN_F_TUNNEL_TYPE_IPIP, //
    },
    wire::{
        gre,
        gue,
        udp, //
    },
};

/// A packet that may have been sent through a tunnel.
pub(super) struct Tunnelled {
    /// `IP_VS_CONN_F_TUNNEL_TYPE_*`.
    kind: u8,
    /// The destination port of a GUE tunnel, otherwise 0.
    port: Port,
    /// The offset of the inner packet in bytes.
    pub(super) inner: u32,
}

impl Tunnelled {
    /// Reads the headers after the outer IP header. `None` if they are not those of a tunnel.
    pub(super) fn read(skb: &Skb, outer: &Packet) -> Option<Self> {
        if outer.is_later_fragment {
            return None;
        }
        let (kind, port, len) = match outer.protocol {
            tunnel::IPPROTO_IPIP => (IP_VS_CONN_F_TUNNEL_TYPE_IPIP, Port::ZERO, 0),
            IPPROTO_UDP if outer.header != Extent::Nothing => (
                IP_VS_CONN_F_TUNNEL_TYPE_GUE,
                outer.dport,
                gue_len(skb, outer.transport)?,
            ),
            IPPROTO_GRE => (
                IP_VS_CONN_F_TUNNEL_TYPE_GRE,
                Port::ZERO,
                gre_len(skb, outer.transport)?,
            ),
            _ => return None,
        };
        Some(Self {
            kind,
            port,
            inner: outer.transport.checked_add(len)?,
        })
    }

    /// The destination port, if the headers are those of GUE.
    pub(super) fn gue_port(&self) -> Option<Port> {
        (self.kind == IP_VS_CONN_F_TUNNEL_TYPE_GUE).then_some(self.port)
    }

    /// Whether packets to a dest with this tunnel have such headers. As in C, a tunnel without UDP
    /// that was given a port has none.
    pub(super) fn is_by(&self, tunnel: Tunnel) -> bool {
        self.kind == tunnel.kind && self.port == tunnel.port
    }
}

/// The length in bytes of the UDP and GUE headers at offset `start`, if the payload is IPv4.
fn gue_len(skb: &Skb, start: u32) -> Option<u32> {
    const UDP: u32 = size_of::<udp::Header>() as u32;
    let header: gue::Header = skb.read(start.checked_add(UDP)?)?;
    match header.is_data() && header.protocol == tunnel::IPPROTO_IPIP {
        true => Some(UDP.wrapping_add(header.len() as u32)),
        false => None,
    }
}

/// The length in bytes of the GRE header at offset `start`, if the payload is IPv4.
fn gre_len(skb: &Skb, start: u32) -> Option<u32> {
    let header: gre::Header = skb.read(start)?;
    header
        .len()
        .filter(|_| header.is_ipv4())
        .map(|len| len as u32)
}
