// SPDX-License-Identifier: GPL-2.0

//! The route to a dest, which the dest caches, and the checks of a packet before it is sent there.
//!
//! C version: `__ip_vs_get_out_rt()`, `__ip_vs_get_out_rt_v6()`
//! [net/netfilter/ipvs/ip_vs_xmit.c].

use super::output::Context;
use crate::{
    addr::{
        Addr,
        Family, //
    },
    dest::{
        route::Route,
        Dest, //
    },
    forward::Forward,
    netns::Netns,
    oot::net::{
        dst::DstRef,
        filter::{
            HookSkb,
            Verdict, //
        },
        ip::{
            self,
            IcmpError,
            Icmpv6Error, //
        },
        pernet::PerNet,
        skbuff::{
            Skb,
            SkbRoute, //
        }, //
    },
    wire::{
        icmp,
        ipv4,
        ipv6, //
    },
};
use kernel::{
    prelude::*,
    sync::rcu, //
};
use zerocopy::FromBytes;

/// The conditions on the route to a dest (C: `IP_VS_RT_MODE_*`).
#[derive(Clone, Copy)]
pub(crate) struct RouteFlags {
    /// The dest may be this host (C: `IP_VS_RT_MODE_LOCAL`).
    local: bool,
    /// The dest may be this host even if the packet was sent to another host
    /// (C: `IP_VS_RT_MODE_RDR`).
    redirect: bool,
    /// The packet keeps its destination address (C: `IP_VS_RT_MODE_KNOWN_NH`).
    known_next_hop: bool,
    /// The packet gets an outer header with the source address of the route
    /// (C: `IP_VS_RT_MODE_TUNNEL`, `IP_VS_RT_MODE_CONNECT`).
    tunnel: bool,
}

impl RouteFlags {
    /// For direct routing.
    pub(crate) const DIRECT: Self = Self {
        local: true,
        redirect: false,
        known_next_hop: true,
        tunnel: false,
    };
    /// For NAT.
    pub(crate) const NAT: Self = Self {
        local: true,
        redirect: true,
        known_next_hop: false,
        tunnel: false,
    };
    /// For an ICMP error that this host forwards, with NAT.
    pub(crate) const NAT_FORWARDED: Self = Self {
        local: false,
        redirect: false,
        known_next_hop: false,
        tunnel: false,
    };
    /// For packets that are sent to their own destination.
    pub(crate) const BYPASS: Self = Self {
        local: false,
        redirect: false,
        known_next_hop: false,
        tunnel: false,
    };
    /// For tunnelling.
    pub(crate) const TUNNEL: Self = Self {
        local: true,
        redirect: false,
        known_next_hop: false,
        tunnel: true,
    };
}

/// The host to which the dest's address is routed.
pub(crate) enum Target<'g> {
    /// This host.
    Local,
    /// Another host, with the route to it and the source address of the route.
    Remote(SkbRoute<'g>, &'g Addr),
}

impl<'g> Target<'g> {
    /// The route, unless the dest is this host.
    #[inline(always)]
    pub(super) fn route(self) -> Option<SkbRoute<'g>> {
        match self {
            Self::Local => None,
            Self::Remote(route, _) => Some(route),
        }
    }

    /// The route by which the packet will be sent. To this host it keeps its current one.
    #[inline(always)]
    pub(super) fn dst<'s>(&'s self, skb: &'s Skb) -> Option<DstRef<'s>> {
        match self {
            Self::Local => skb.dst(),
            Self::Remote(route, _) => Some(route.dst()),
        }
    }
}

/// A forwarding method that sends packets along the route to the dest.
pub(super) trait Transmitter {
    /// The conditions on the route.
    fn flags(context: Context<'_>) -> RouteFlags;

    /// The MTU for the packet, if that of the route is `mtu`, in bytes. If it is too small for any
    /// packet, returns `None`.
    #[inline(always)]
    fn inner_mtu(_context: Context<'_>, _skb: &mut Skb, mtu: u32) -> Option<u32> {
        Some(mtu)
    }

    /// Sends a packet that has passed all checks. It still has its previous route.
    fn send<'h>(context: Context<'_>, skb: HookSkb<'h>, target: Target<'_>) -> Verdict<'h>;
}

/// Sends a packet to the dest of its conn. Before that, decrements the TTL and checks the size. If
/// the TTL is used up or the packet is too big, sends an ICMP error and drops the packet.
#[inline(always)]
pub(super) fn transmit<'h, T: Transmitter>(context: Context<'_>, skb: HookSkb<'h>) -> Verdict<'h> {
    match context.dest.and_then(|dest| dest.route.get(context.rcu)) {
        Some(kept) => {
            let way = SkbRoute::NoRef(kept.dst.as_ref());
            by_route::<T>(context, skb, way, &kept.saddr)
        }
        None => transmit_anew::<T>(context, skb),
    }
}

/// As [`transmit`], for a dest without a valid cached route.
#[cold]
fn transmit_anew<'h, T: Transmitter>(context: Context<'_>, mut skb: HookSkb<'h>) -> Verdict<'h> {
    match find(context, T::flags(context)) {
        Some((way, saddr)) => by_route::<T>(context, skb, way, &saddr),
        None => {
            unreachable(context, &mut skb);
            skb.drop_silently()
        }
    }
}

/// Sends a packet from the dest to the client, along the route to the client.
pub(super) fn transmit_to_client<'h, T: Transmitter>(
    context: Context<'_>,
    mut skb: HookSkb<'h>,
) -> Verdict<'h> {
    let conn = context.conn;
    match look_up_addr(context.netns, conn.family, &conn.caddr, T::flags(context)) {
        Ok(route) => by_route::<T>(context, skb, SkbRoute::Owned(route.dst), &route.saddr),
        Err(_) => {
            unreachable(context, &mut skb);
            skb.drop_silently()
        }
    }
}

/// The address from which this host sends packets to `dest`. `None` if there is no route.
pub(crate) fn source_to(netns: &PerNet<Netns>, guard: &rcu::Guard, dest: &Dest) -> Option<Addr> {
    if let Some(kept) = dest.route.get(guard) {
        return Some(kept.saddr);
    }
    let route = look_up_addr(netns, dest.family, &dest.addr, RouteFlags::NAT);
    route.ok().map(|route| route.saddr)
}

#[inline(always)]
fn by_route<'h, T: Transmitter>(
    context: Context<'_>,
    mut skb: HookSkb<'h>,
    way: SkbRoute<'_>,
    saddr: &Addr,
) -> Verdict<'h> {
    let flags = T::flags(context);
    let local = way.dst().is_local(context.rcu);
    if crosses_local_boundary(context, &skb, flags, local) {
        return skb.drop_silently();
    }
    if local {
        // The packet keeps its current route for local delivery.
        return T::send(context, skb, Target::Local);
    }
    let may_go = decrement_ttl(context, &mut skb)
        .and_then(|()| check_mtu::<T>(context, &mut skb, way.dst()));
    match may_go {
        Some(()) => T::send(context, skb, Target::Remote(way, saddr)),
        None => skb.drop_silently(),
    }
}

/// Sends an ICMP error because there is no route to the dest, unless the network namespace is being
/// destroyed.
fn unreachable(context: Context<'_>, skb: &mut Skb) {
    if !context.netns.is_going() {
        skb.set_dst_dev_if_none();
        skb.link_failure();
    }
}

/// Looks up the route. A configured dest caches it, unless the device or the dest is being removed.
fn find<'g>(context: Context<'g>, flags: RouteFlags) -> Option<(SkbRoute<'g>, Addr)> {
    let Some(dest) = context.dest else {
        let route = look_up(context, flags).ok()?;
        return Some((SkbRoute::Owned(route.dst), route.saddr));
    };
    let may_keep =
        |route: &Route| route.dst.as_ref().is_dev_running(context.rcu) && dest.is_available();
    dest.route
        .refresh(context.rcu, || look_up(context, flags), may_keep)
}

fn look_up(context: Context<'_>, flags: RouteFlags) -> Result<Route> {
    let daddr = match context.conn.forward() {
        Forward::Bypass => context.packet.receiver(),
        _ => &context.conn.daddr,
    };
    look_up_addr(context.netns, context.dest_family(), daddr, flags)
}

fn look_up_addr(
    netns: &PerNet<Netns>,
    family: Family,
    daddr: &Addr,
    flags: RouteFlags,
) -> Result<Route> {
    let net = netns.net();
    match family {
        Family::Inet => {
            let daddr = daddr.v4();
            let mut route = ip::route4(net, daddr, [0; 4], flags.known_next_hop)?;
            if flags.tunnel && route.saddr != [0; 4] {
                // Bind the route to the source address of the outer header
                // (C: `IP_VS_RT_MODE_CONNECT`).
                route = ip::route4(net, daddr, route.saddr, false)?;
            }
            Ok(Route {
                dst: route.dst,
                cookie: route.cookie,
                saddr: Addr::from_v4(route.saddr),
            })
        }
        Family::Inet6 => {
            let route = ip::route6(
                net,
                *daddr.bytes(),
                flags.known_next_hop,
                true,
                flags.tunnel,
            )?;
            Ok(Route {
                dst: route.dst,
                cookie: route.cookie,
                saddr: Addr::from_v6(route.saddr),
            })
        }
    }
}

/// Whether the new route would make a local packet non-local, or vice versa, in a way that the
/// stack does not support (C: `crosses_local_route_boundary()`).
#[inline(always)]
fn crosses_local_boundary(context: Context<'_>, skb: &Skb, flags: RouteFlags, local: bool) -> bool {
    let packet = context.packet;
    if local {
        let was_local = skb.dst().is_some_and(|dst| dst.is_local(context.rcu));
        return !flags.local || !(flags.redirect || was_local);
    }
    match packet.family {
        Family::Inet => matches!(packet.sender().v4(), [127, ..]),
        Family::Inet6 => (!skb.has_dev() || skb.dev_is_loopback()) && is_loopback6(packet.sender()),
    }
}

/// Whether an IPv6 address is the loopback address, `::1`.
pub(super) fn is_loopback6(addr: &Addr) -> bool {
    *addr.bytes() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
}

/// Decrements the TTL or hop limit. If it is 1 or less, sends an ICMP error and returns `None`
/// (C: `decrement_ttl()`).
#[inline(always)]
fn decrement_ttl(context: Context<'_>, skb: &mut Skb) -> Option<()> {
    match context.packet.family {
        Family::Inet => {
            let header = skb.writable(ipv4::MIN_LEN as u32).ok()?;
            let (header, _) = ipv4::Header::mut_from_prefix(header).ok()?;
            if header.ttl <= 1 {
                return time_exceeded4(context, skb);
            }
            header.decrease_ttl();
        }
        Family::Inet6 => {
            let header = skb.writable(ipv6::LEN as u32).ok()?;
            let (header, _) = ipv6::Header::mut_from_prefix(header).ok()?;
            if header.hop_limit <= 1 {
                return time_exceeded6(context, skb);
            }
            header.hop_limit = header.hop_limit.wrapping_sub(1);
        }
    }
    Some(())
}

#[cold]
fn time_exceeded4(context: Context<'_>, skb: &mut Skb) -> Option<()> {
    ip::count_header_error4(context.netns.net());
    ip::icmp_send(skb, IcmpError::TimeExceeded, 0, 0);
    None
}

#[cold]
fn time_exceeded6(context: Context<'_>, skb: &mut Skb) -> Option<()> {
    let net = context.netns.net();
    ip::count_header_error6(net, skb);
    // The ICMP error gets its source address from the output device.
    skb.force_dst_dev();
    ip::icmpv6_send(skb, Icmpv6Error::TimeExceed, 0, 0);
    None
}

/// Checks the size of the packet against the MTU of the route. If the packet is too big, sends an
/// ICMP error and returns `None` (C: `ensure_mtu_is_adequate()`).
#[inline(always)]
fn check_mtu<T: Transmitter>(context: Context<'_>, skb: &mut Skb, dst: DstRef<'_>) -> Option<()> {
    let mtu = T::inner_mtu(context, skb, dst.mtu())?;
    let packet = context.packet;
    match packet.family {
        Family::Inet => {
            if T::flags(context).tunnel && !context.netns.sysctl.pmtu_disc() {
                return Some(());
            }
            if !skb.exceeds_mtu(mtu) || packet.is_in_icmp() || !packet.must_not_be_fragmented() {
                return Some(());
            }
            ip::icmp_send(skb, IcmpError::DestUnreach, icmp::FRAG_NEEDED, mtu);
        }
        Family::Inet6 => {
            let largest = skb.ip6_frag_max_size();
            let too_big = match largest {
                0 => skb.exceeds_mtu(mtu),
                size => size > mtu,
            };
            if !too_big {
                return Some(());
            }
            skb.set_loopback_dev_if_none(context.netns.net());
            if !packet.is_later_fragment && !packet.is_in_icmp() {
                ip::icmpv6_send(skb, Icmpv6Error::PktTooBig, 0, mtu);
            }
        }
    }
    None
}
