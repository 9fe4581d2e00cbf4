// SPDX-License-Identifier: GPL-2.0

//! Tunnels with a UDP and a GUE header.
//!
//! C version: `ipvs_gue_encap()` [net/netfilter/ipvs/ip_vs_xmit.c].

use super::{
    checksum,
    Encap,
    Outer, //
};
use crate::{
    addr::Port,
    oot::net::{
        skbuff::{
            IpSummed,
            SkBuff,
            Skb, //
        },
        tunnel, //
    },
    spec::Tunnel,
    uapi::{
        IPPROTO_UDP,
        IP_VS_TUNNEL_ENCAP_FLAG_CSUM,
        IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM, //
    },
    wire::{
        csum::{
            Csum16,
            Sum, //
        },
        gue::{
            Headers,
            RemoteChecksum, //
        },
        udp, //
    },
    xmit::output::Context,
};

/// The length of the headers of a packet in bytes.
pub(super) fn len(tunnel: Tunnel, skb: &Skb) -> u32 {
    match leaves_checksum(tunnel, skb) {
        false => Headers::LEN as u32,
        true => Headers::LEN_REMOTE as u32,
    }
}

/// Whether the receiver completes the inner checksum: the tunnel has that flag, and the checksum
/// was left to the device.
fn leaves_checksum(tunnel: Tunnel, skb: &Skb) -> bool {
    tunnel.flags & IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM != 0 && skb.ip_summed() == IpSummed::Partial
}

/// The UDP and GUE headers of a packet.
pub(super) struct Gue {
    port: Port,
    has_checksum: bool,
    remote: Option<RemoteChecksum>,
}

impl Gue {
    /// The headers of a packet that begins with its inner IP header. `None` if its checksum field
    /// is not within the packet's linear part or its first 64 KiB.
    pub(super) fn of(tunnel: Tunnel, skb: &Skb) -> Option<Self> {
        const CHECKSUM: u16 = IP_VS_TUNNEL_ENCAP_FLAG_CSUM | IP_VS_TUNNEL_ENCAP_FLAG_REMCSUM;
        let remote = match leaves_checksum(tunnel, skb) {
            false => None,
            true => {
                let partial = skb.partial_checksum()?;
                Some(RemoteChecksum {
                    start: partial.start.try_into().ok()?,
                    field: partial.field.try_into().ok()?,
                })
            }
        };
        Some(Self {
            port: tunnel.port,
            has_checksum: tunnel.flags & CHECKSUM != 0,
            remote,
        })
    }
}

impl Encap for Gue {
    type Headers = Headers;

    fn len(&self) -> u32 {
        match self.remote {
            None => Headers::LEN as u32,
            Some(_) => Headers::LEN_REMOTE as u32,
        }
    }

    fn offload(&self) -> tunnel::Encap {
        match self.remote {
            None => tunnel::Encap::Udp {
                has_checksum: self.has_checksum,
            },
            Some(_) => tunnel::Encap::UdpRemoteChecksum,
        }
    }

    fn protocol(&self, _inner: u8) -> u8 {
        IPPROTO_UDP
    }

    fn headers(&self, context: Context<'_>, inner: u8, skb: &mut SkBuff<'_>) -> Headers {
        // The conn's hash replaces that of the flow, for which C dissects the headers.
        let hash = context.conn.flow_hash();
        let source = tunnel::flow_source_port(context.netns.net(), skb, hash);
        let source = Port::from_be16(source);
        Headers::new(source, self.port, inner, skb.len(), self.remote)
    }

    fn set_checksum(&self, outer: Outer<'_>, start: u32, skb: &mut SkBuff<'_>) -> Option<()> {
        if !self.has_checksum {
            return Some(());
        }
        let len = skb.len().checked_sub(start)?;
        let (saddr, daddr) = (outer.saddr, &outer.context.conn.daddr);
        let pseudo = Sum::ZERO.add_pseudo(outer.family, saddr, daddr, IPPROTO_UDP, len);
        // Each segment of a GSO packet gets its own checksum.
        if skb.is_gso() {
            let field = start.checked_add(udp::CHECK.into())?;
            return checksum::write(skb, field, pseudo.partial());
        }
        checksum::set(skb, pseudo, start, udp::CHECK, Csum16::mangled)
    }
}
