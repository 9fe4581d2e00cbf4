// SPDX-License-Identifier: GPL-2.0

//! Tunnelling: the packet is sent to the dest inside another IP packet.
//!
//! C version: `ip_vs_tunnel_xmit()`, `ip_vs_tunnel_xmit_v6()`
//! [net/netfilter/ipvs/ip_vs_xmit.c].

mod checksum;
mod gre;
mod gue;

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
        ip,
        skbuff::{
            SkBuff,
            Skb, //
        },
        tunnel, //
    },
    packet::nf_proto,
    spec,
    uapi::{
        IP_VS_CONN_F_TUNNEL_TYPE_GRE,
        IP_VS_CONN_F_TUNNEL_TYPE_GUE, //
    },
    wire::{
        ipv4,
        ipv6, //
    }, //
};
use zerocopy::FromBytes;

/// The minimum MTU of IPv4 in bytes (RFC 791).
const MIN_MTU4: u32 = 68;
/// The minimum MTU of IPv6 in bytes (RFC 8200).
const MIN_MTU6: u32 = 1280;

/// The transmitter of packets to the dest.
pub(super) struct Tunnel;

impl Transmitter for Tunnel {
    fn flags(_context: Context<'_>) -> RouteFlags {
        RouteFlags::TUNNEL
    }

    /// The MTU inside the tunnel in bytes, `None` if it is below the minimum. A local sender's
    /// socket gets it as its path MTU (C: `maybe_update_pmtu()`).
    fn inner_mtu(context: Context<'_>, skb: &mut Skb, mtu: u32) -> Option<u32> {
        let dest = context.dest?;
        let (header, least) = match dest.family {
            Family::Inet => (ipv4::MIN_LEN, MIN_MTU4),
            Family::Inet6 => (ipv6::LEN, MIN_MTU6),
        };
        let mtu = mtu
            .checked_sub(header as u32)?
            .checked_sub(overhead(dest.tunnel(), skb))?;
        if mtu < least {
            return None;
        }
        ip::update_socket_pmtu(skb, mtu);
        Some(mtu)
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

/// The length in bytes of the headers between the IP headers of a packet.
fn overhead(tunnel: spec::Tunnel, skb: &Skb) -> u32 {
    match tunnel.kind {
        IP_VS_CONN_F_TUNNEL_TYPE_GUE => gue::len(tunnel, skb),
        IP_VS_CONN_F_TUNNEL_TYPE_GRE => gre::len(tunnel),
        _ => Ip.len(),
    }
}

/// Adds the headers of the dest's tunnel, with `reserved` bytes of headroom before them. As in C, a
/// tunnel of an unknown type is an IPIP tunnel. Frees the packet and returns `None` on failure.
#[inline(always)]
fn encapsulate<'h>(
    context: Context<'_>,
    saddr: &Addr,
    reserved: u32,
    skb: SkBuff<'h>,
) -> Option<SkBuff<'h>> {
    let dest = context.dest?;
    let outer = Outer {
        context,
        family: dest.family,
        saddr,
        reserved,
    };
    let tunnel = dest.tunnel();
    match tunnel.kind {
        IP_VS_CONN_F_TUNNEL_TYPE_GUE => outer.wrap(&gue::Gue::of(tunnel, &skb)?, skb),
        IP_VS_CONN_F_TUNNEL_TYPE_GRE => match gre::has_checksum(tunnel) {
            false => outer.wrap(&gre::Gre::<false>, skb),
            true => outer.wrap(&gre::Gre::<true>, skb),
        },
        _ => outer.wrap(&Ip, skb),
    }
}

/// A type of tunnel: the headers between the outer and the inner IP header of a packet.
trait Encap {
    /// The headers.
    type Headers: AsRef<[u8]>;

    /// The length of the headers in bytes.
    fn len(&self) -> u32;

    /// The type, for the offload of GSO packets and checksums.
    fn offload(&self) -> tunnel::Encap;

    /// The protocol number in the outer IP header, if that of the inner packet is `inner`.
    fn protocol(&self, inner: u8) -> u8;

    /// The headers of a packet that begins with its inner IP header.
    fn headers(&self, context: Context<'_>, inner: u8, skb: &mut SkBuff<'_>) -> Self::Headers;

    /// Sets the checksum of the headers, which start at offset `start` of the packet. Returns
    /// `None` on failure.
    fn set_checksum(&self, outer: Outer<'_>, start: u32, skb: &mut SkBuff<'_>) -> Option<()>;
}

/// IP in IP: the inner packet follows the outer header.
struct Ip;

impl Encap for Ip {
    type Headers = [u8; 0];

    #[inline(always)]
    fn len(&self) -> u32 {
        0
    }

    #[inline(always)]
    fn offload(&self) -> tunnel::Encap {
        tunnel::Encap::Ip
    }

    #[inline(always)]
    fn protocol(&self, inner: u8) -> u8 {
        inner
    }

    #[inline(always)]
    fn headers(&self, _: Context<'_>, _: u8, _: &mut SkBuff<'_>) -> Self::Headers {
        []
    }

    #[inline(always)]
    fn set_checksum(&self, _: Outer<'_>, _: u32, _: &mut SkBuff<'_>) -> Option<()> {
        Some(())
    }
}

/// The parameters of the outer header.
#[derive(Clone, Copy)]
struct Outer<'a> {
    context: Context<'a>,
    /// The family of the dest's address.
    family: Family,
    saddr: &'a Addr,
    /// The headroom before the header in bytes.
    reserved: u32,
}

impl Outer<'_> {
    /// Adds the headers of a tunnel. Frees the packet and returns `None` on failure.
    #[inline(always)]
    fn wrap<'h, E: Encap>(self, encap: &E, mut skb: SkBuff<'h>) -> Option<SkBuff<'h>> {
        let header_len = match self.family {
            Family::Inet => ipv4::MIN_LEN,
            Family::Inet6 => ipv6::LEN,
        } as u32;
        let headers_len = header_len.checked_add(encap.len())?;
        drop_early_demux(&mut skb);
        let mut skb = skb
            .with_headroom(self.reserved.checked_add(headers_len)?)
            .ok()?;
        let inherited = inherit(self.context.packet.family, &mut skb)?;
        let inner = inherited.protocol;
        tunnel::start(&mut skb, nf_proto(self.family), inner, encap.offload()).ok()?;

        let headers = encap.headers(self.context, inner, &mut skb);
        let protocol = encap.protocol(inner);
        match self.family {
            Family::Inet => self.push4(&inherited, protocol, headers.as_ref(), &mut skb)?,
            Family::Inet6 => self.push6(&inherited, protocol, headers.as_ref(), &mut skb)?,
        }
        encap.set_checksum(self, header_len, &mut skb)?;
        Some(skb)
    }

    #[inline(always)]
    fn push4(
        self,
        inherited: &Inherited,
        protocol: u8,
        headers: &[u8],
        skb: &mut SkBuff<'_>,
    ) -> Option<()> {
        let netns = self.context.netns;
        let header = ipv4::Header::new(
            encapsulated_class(inherited.traffic_class),
            inherited.dont_fragment && netns.sysctl.pmtu_disc(),
            inherited.ttl,
            protocol,
            self.saddr,
            &self.context.conn.daddr,
        );
        skb.push_ipv4_header(&header, headers).ok()?;
        tunnel::select_ident(netns.net(), skb);
        Some(())
    }

    #[inline(always)]
    fn push6(
        self,
        inherited: &Inherited,
        protocol: u8,
        headers: &[u8],
        skb: &mut SkBuff<'_>,
    ) -> Option<()> {
        let payload = (skb.len() as usize).checked_add(headers.len())?;
        let header = ipv6::Header::new(
            encapsulated_class(inherited.traffic_class),
            // A GSO packet may be too long for the field. Each segment gets its own length.
            u16::try_from(payload).unwrap_or(0),
            protocol,
            inherited.ttl,
            self.saddr,
            &self.context.conn.daddr,
        );
        skb.push_ipv6_header(&header, headers).ok()
    }
}

/// The fields of the outer header that the inner one determines.
struct Inherited {
    /// The protocol number of the inner packet.
    protocol: u8,
    traffic_class: u8,
    ttl: u8,
    dont_fragment: bool,
}

/// Reads the inner header. Recomputes its IPv4 checksum, which may be wrong.
#[inline(always)]
fn inherit(family: Family, skb: &mut SkBuff<'_>) -> Option<Inherited> {
    match family {
        Family::Inet => {
            let bytes = skb.writable(ipv4::MIN_LEN as u32).ok()?;
            let (header, _) = ipv4::Header::ref_from_prefix(bytes).ok()?;
            let inherited = Inherited {
                protocol: tunnel::IPPROTO_IPIP,
                traffic_class: header.tos,
                ttl: header.ttl,
                dont_fragment: header.is_dont_fragment(),
            };
            match header.len() {
                ipv4::MIN_LEN => ipv4::set_checksum(bytes)?,
                len => ipv4::set_checksum(skb.writable(len as u32).ok()?)?,
            }
            Some(inherited)
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
