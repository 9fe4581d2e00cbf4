// SPDX-License-Identifier: GPL-2.0

//! Tunnelling: the packet is sent to the dest inside another IP packet.
//!
//! C version: `ip_vs_tunnel_xmit()`, `ip_vs_tunnel_xmit_v6()`
//! [net/netfilter/ipvs/ip_vs_xmit.c].
//!
//! # Not supported
//!
//! GUE and GRE: packets to a dest with such a tunnel are dropped.

use super::{
    output::{
        self,
        drop_early_demux,
        Context, //
    },
    route::{
        RouteFlags,
        Target,
        Transmitter, //
    }, //
};
use crate::{
    addr::{
        Addr,
        Family, //
    },
    oot::net::{
        filter::{
            HookSkb,
            Verdict, //
        },
        skbuff::SkBuff,
        tunnel, //
    },
    packet::nf_proto,
    uapi::IP_VS_CONN_F_TUNNEL_TYPE_IPIP,
    wire::{
        ipv4,
        ipv6, //
    }, //
};

/// The fields of the outer header that the inner one determines.
struct Inherited {
    protocol: u8,
    traffic_class: u8,
    ttl: u8,
    dont_fragment: bool,
}

/// The transmitter of packets to the dest.
pub(super) struct Tunnel;

impl Transmitter for Tunnel {
    fn flags(_context: Context<'_>) -> RouteFlags {
        RouteFlags::TUNNEL
    }

    fn send<'h>(context: Context<'_>, skb: HookSkb<'h>, target: Target<'_>) -> Verdict<'h> {
        let Target::Remote(route, saddr) = target else {
            return output::accept(context, skb);
        };
        let (skb, verdict) = skb.steal();
        let reserved = route.dst().reserved_space(context.rcu);
        if let Some(skb) = encapsulate(context, saddr, reserved, skb) {
            output::send_outer(context, skb, route);
        }
        verdict
    }
}

/// Adds the outer header, with `reserved` bytes of headroom before it. Frees the packet and returns
/// `None` on failure.
fn encapsulate<'h>(
    context: Context<'_>,
    saddr: &Addr,
    reserved: u32,
    mut skb: SkBuff<'h>,
) -> Option<SkBuff<'h>> {
    let dest = context.dest?;
    if dest.tunnel().kind != IP_VS_CONN_F_TUNNEL_TYPE_IPIP {
        kernel::pr_warn_once!("GUE and GRE tunnels are not supported yet\n");
        return None;
    }
    let header_len = match dest.family {
        Family::Inet => ipv4::MIN_LEN,
        Family::Inet6 => ipv6::LEN,
    } as u32;
    let headroom = reserved.checked_add(header_len)?;
    drop_early_demux(&mut skb);
    let mut skb = skb.with_headroom(headroom).ok()?;
    let inherited = inherit(context.packet.family, &mut skb)?;
    let payload = skb.len();
    tunnel::start(&mut skb, nf_proto(dest.family), inherited.protocol).ok()?;

    match dest.family {
        Family::Inet => outer4(context, saddr, &inherited, skb),
        Family::Inet6 => outer6(context, saddr, &inherited, payload, skb),
    }
}

/// Reads the inner header. Recomputes its IPv4 checksum, which may be wrong.
fn inherit(family: Family, skb: &mut SkBuff<'_>) -> Option<Inherited> {
    match family {
        Family::Inet => {
            let header: ipv4::Header = skb.read(0)?;
            ipv4::set_checksum(skb.writable(header.len() as u32).ok()?)?;
            Some(Inherited {
                protocol: tunnel::IPPROTO_IPIP,
                traffic_class: header.tos,
                ttl: header.ttl,
                dont_fragment: header.is_dont_fragment(),
            })
        }
        Family::Inet6 => {
            let header: ipv6::Header = skb.read(0)?;
            Some(Inherited {
                protocol: tunnel::IPPROTO_IPV6,
                traffic_class: header.traffic_class(),
                ttl: header.hop_limit,
                dont_fragment: false,
            })
        }
    }
}

/// The traffic class of the outer header for that of the inner one. By RFC 3168, CE becomes ECT(0)
/// (C: `INET_ECN_encapsulate()`).
fn encapsulated_class(class: u8) -> u8 {
    const MASK: u8 = 3;
    const CE: u8 = 3;
    const ECT_0: u8 = 2;
    match class & MASK {
        CE => class & !MASK | ECT_0,
        _ => class,
    }
}

fn outer4<'h>(
    context: Context<'_>,
    saddr: &Addr,
    inherited: &Inherited,
    mut skb: SkBuff<'h>,
) -> Option<SkBuff<'h>> {
    let dont_fragment = inherited.dont_fragment && context.netns.sysctl.pmtu_disc();
    let header = ipv4::Header::new(
        encapsulated_class(inherited.traffic_class),
        dont_fragment,
        inherited.ttl,
        inherited.protocol,
        saddr,
        &context.conn.daddr,
    );
    skb.push_ipv4_header(&header).ok()?;
    tunnel::select_ident(context.netns.net(), &mut skb);
    Some(skb)
}

fn outer6<'h>(
    context: Context<'_>,
    saddr: &Addr,
    inherited: &Inherited,
    payload: u32,
    mut skb: SkBuff<'h>,
) -> Option<SkBuff<'h>> {
    // A GSO packet may be too long for the field. Each segment gets its own length.
    let payload = u16::try_from(payload).unwrap_or(0);
    let header = ipv6::Header::new(
        encapsulated_class(inherited.traffic_class),
        payload,
        inherited.protocol,
        inherited.ttl,
        saddr,
        &context.conn.daddr,
    );
    skb.push_ipv6_header(&header).ok()?;
    Some(skb)
}
