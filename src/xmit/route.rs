// SPDX-License-Identifier: GPL-2.0

//! The way to a dest, which it keeps, and what a packet must be to take it.
//!
//! C version: `__ip_vs_get_out_rt()`, `__ip_vs_get_out_rt_v6()`
//! [net/netfilter/ipvs/ip_vs_xmit.c].

use super::Context;
use crate::{
    addr::{
        Addr,
        Family, //
    },
    dest::Dest,
    oot::{
        net::{
            device::Device,
            dst::{
                Dst,
                DstRef, //
            },
            ip,
            namespace::Net,
            skbuff::Skb, //
        },
        sync::{
            bh,
            RcuBox,
            RcuCell, //
        },
    },
    wire::{
        icmp,
        icmpv6,
        ipv4,
        ipv6, //
    },
};
use kernel::{
    new_spinlock,
    prelude::*,
    sync::{
        rcu,
        SpinLock, //
    },
};
use zerocopy::FromBytes;

/// The least MTU that IPv4 allows.
const MIN_MTU4: u32 = 68;
/// The least MTU that IPv6 allows.
const MIN_MTU6: u32 = 1280;

/// What is allowed of the route to a dest (C: `IP_VS_RT_MODE_*`).
#[derive(Clone, Copy)]
pub(crate) struct Mode {
    /// The dest may be this host.
    local: bool,
    /// It may be so even for a packet that was not to this host.
    redirect: bool,
    /// The packet keeps its own destination.
    known_next_hop: bool,
    /// The source address of the route is wanted, and the packet gets a header more.
    tunnel: bool,
}

impl Mode {
    pub(crate) const DIRECT: Self = Self {
        local: true,
        redirect: false,
        known_next_hop: true,
        tunnel: false,
    };
    pub(crate) const NAT: Self = Self {
        local: true,
        redirect: true,
        known_next_hop: false,
        tunnel: false,
    };
    /// For an ICMP error that this host forwards.
    pub(crate) const NAT_FORWARDED: Self = Self {
        local: false,
        redirect: false,
        known_next_hop: false,
        tunnel: false,
    };
    pub(crate) const TUNNEL: Self = Self {
        local: true,
        redirect: false,
        known_next_hop: false,
        tunnel: true,
    };
}

/// Where the dest turned out to be.
pub(crate) enum Reach {
    /// This host.
    Local,
    /// Another, from this source address. The packet has its route.
    Remote(Addr),
}

/// A route that a dest keeps.
struct Cached {
    dst: Dst,
    cookie: u32,
    saddr: Addr,
}

/// The route to a dest, found when it is first needed and when it no longer holds.
#[pin_data]
pub(crate) struct DestRoute {
    cached: RcuCell<Cached>,
    #[pin]
    lock: SpinLock<()>,
}

impl DestRoute {
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init::pin_init!(Self {
            cached: RcuCell::new(None),
            lock <- new_spinlock!(()),
        })
    }

    /// Forgets the route (C: `__ip_vs_dst_cache_reset()`).
    pub(crate) fn reset(&self) {
        let _bh = bh::Disabled::new();
        let _lock = self.lock.lock();
        drop(self.cached.replace(None));
    }

    /// Forgets the route if it is by that device, which goes down (C: `ip_vs_forget_dev()`).
    pub(crate) fn forget(&self, device: &Device) {
        let _bh = bh::Disabled::new();
        let _lock = self.lock.lock();
        let is_by = self
            .cached
            .get(&rcu::read_lock())
            .is_some_and(|cached| cached.dst.as_ref().is_by(device));
        if is_by {
            drop(self.cached.replace(None));
        }
    }

    /// The path MTU of the route that is kept, if one is.
    pub(crate) fn mtu(&self, guard: &rcu::Guard) -> Option<u32> {
        Some(self.cached.get(guard)?.dst.as_ref().mtu())
    }

    /// The route that is kept, if it holds.
    #[inline(always)]
    fn get<'g>(&'g self, guard: &'g rcu::Guard) -> Option<&'g Cached> {
        let cached = self.cached.get(guard)?;
        cached
            .dst
            .as_ref()
            .is_valid(cached.cookie)
            .then_some(cached)
    }
}

/// A route to use now: one that the dest keeps, or our own.
enum Way<'g> {
    Kept(DstRef<'g>),
    Own(Dst),
}

impl Way<'_> {
    #[inline(always)]
    fn dst(&self) -> DstRef<'_> {
        match self {
            Self::Kept(dst) => *dst,
            Self::Own(dst) => dst.as_ref(),
        }
    }
}

/// Gives a packet the route to its conn's dest, if the packet may take it: its TTL is lowered, its
/// size checked, and the sender told by ICMP what is wrong.
///
/// `None` if it cannot go: it is to be freed.
#[inline(always)]
pub(crate) fn to_dest(context: Context<'_>, skb: &mut Skb, mode: Mode) -> Option<Reach> {
    let dest: &Dest = &context.conn.dest;
    let (way, saddr) = match dest.route.get(context.rcu) {
        Some(cached) => (Way::Kept(cached.dst.as_ref()), cached.saddr),
        None => match find(context, dest, mode) {
            Some(found) => found,
            None => {
                skb.set_dst_dev_if_none();
                skb.link_failure();
                return None;
            }
        },
    };
    let local = is_local(way.dst(), dest.family);
    if crosses_local_boundary(context, skb, mode, local) {
        return None;
    }
    if local {
        // The local stack goes by the route that the packet has.
        return Some(Reach::Local);
    }
    decrement_ttl(context, skb)?;
    check_mtu(context, skb, mode, way.dst())?;
    match way {
        Way::Kept(dst) => skb.set_dst_noref(dst, context.rcu),
        Way::Own(dst) => skb.set_dst(dst),
    }
    Some(Reach::Remote(saddr))
}

#[inline(always)]
fn is_local(dst: DstRef<'_>, family: Family) -> bool {
    match family {
        Family::Inet => dst.is_local4(),
        Family::Inet6 => dst.is_local6(),
    }
}

/// Looks the route up, and has the dest keep it unless it or the device is about to go.
#[cold]
fn find<'g>(context: Context<'g>, dest: &'g Dest, mode: Mode) -> Option<(Way<'g>, Addr)> {
    let _bh = bh::Disabled::new();
    let _lock = dest.route.lock.lock();
    let Ok(route) = look_up(context.netns.net(), dest, mode) else {
        drop(dest.route.cached.replace(None));
        return None;
    };
    let saddr = route.saddr;
    if !route.dst.as_ref().is_dev_running() || !dest.is_available() {
        return Some((Way::Own(route.dst), saddr));
    }
    let cached = RcuBox::new(route, kernel::alloc::flags::GFP_ATOMIC).ok()?;
    drop(dest.route.cached.replace(Some(cached)));
    let cached = dest.route.cached.get(context.rcu)?;
    Some((Way::Kept(cached.dst.as_ref()), saddr))
}

fn look_up(net: &Net, dest: &Dest, mode: Mode) -> Result<Cached> {
    match dest.family {
        Family::Inet => {
            let daddr = dest.addr.v4();
            let mut route = ip::route4(net, daddr, [0; 4], mode.known_next_hop)?;
            if mode.tunnel && route.saddr != [0; 4] {
                // Bound to its source address, as the packets will be (C: `RT_MODE_CONNECT`).
                route = ip::route4(net, daddr, route.saddr, false)?;
            }
            Ok(Cached {
                dst: route.dst,
                cookie: route.cookie,
                saddr: Addr::from_v4(route.saddr),
            })
        }
        Family::Inet6 => {
            let daddr = *dest.addr.bytes();
            let route = ip::route6(net, daddr, mode.known_next_hop, true, mode.tunnel)?;
            Ok(Cached {
                dst: route.dst,
                cookie: route.cookie,
                saddr: Addr::from_v6(route.saddr),
            })
        }
    }
}

/// Whether the packet would change between what is this host's and what is not, in a way that the
/// stack cannot follow (C: `crosses_local_route_boundary()`).
#[inline(always)]
fn crosses_local_boundary(context: Context<'_>, skb: &Skb, mode: Mode, local: bool) -> bool {
    let packet = context.packet;
    if local {
        let was_local = skb.dst().is_some_and(|dst| is_local(dst, packet.family));
        return !mode.local || !(mode.redirect || was_local);
    }
    // Of the packet itself: an ICMP error's inner one is described by `packet`.
    match packet.family {
        Family::Inet => source4(skb).is_some_and(|[first, ..]| first == 127),
        Family::Inet6 => {
            (!skb.has_dev() || skb.dev_is_loopback())
                && skb
                    .read(0)
                    .is_some_and(|header: ipv6::Header| is_loopback6(&header.saddr))
        }
    }
}

#[inline(always)]
fn source4(skb: &Skb) -> Option<[u8; 4]> {
    skb.read(12)
}

pub(super) fn is_loopback6(addr: &Addr) -> bool {
    *addr.bytes() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]
}

/// Lowers the TTL or hop limit; a packet at its end is answered and goes no further (C:
/// `decrement_ttl()`).
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
    ip::icmp_send(skb, icmp::TIME_EXCEEDED, 0, 0);
    None
}

#[cold]
fn time_exceeded6(context: Context<'_>, skb: &mut Skb) -> Option<()> {
    let net = context.netns.net();
    ip::count_header_error6(net, skb);
    // The source address is that of the device it would have left by.
    skb.force_dst_dev();
    ip::icmpv6_send(skb, icmpv6::TIME_EXCEED, 0, 0);
    None
}

/// Checks the packet's size against the way's MTU, and tells the sender if it is too big.
#[inline(always)]
fn check_mtu(context: Context<'_>, skb: &mut Skb, mode: Mode, dst: DstRef<'_>) -> Option<()> {
    let mut mtu = dst.mtu();
    if mode.tunnel {
        mtu = tunnel_mtu(context, skb, mtu)?;
    }
    let packet = context.packet;
    match packet.family {
        Family::Inet => {
            if mode.tunnel && !context.netns.sysctl.pmtu_disc() {
                return Some(());
            }
            if !skb.exceeds_mtu(mtu) || packet.in_icmp || !is_dont_fragment(skb) {
                return Some(());
            }
            ip::icmp_send(skb, icmp::DEST_UNREACH, icmp::FRAG_NEEDED, mtu);
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
            if !packet.is_later_fragment && !packet.in_icmp {
                ip::icmpv6_send(skb, icmpv6::PKT_TOOBIG, 0, mtu);
            }
        }
    }
    None
}

fn is_dont_fragment(skb: &Skb) -> bool {
    skb.read(0)
        .is_some_and(|header: ipv4::Header| header.is_dont_fragment())
}

/// What is left of the MTU in the tunnel, which the sender's socket is told, if it is ours.
fn tunnel_mtu(context: Context<'_>, skb: &mut Skb, mtu: u32) -> Option<u32> {
    let (header, least) = match context.conn.dest.family {
        Family::Inet => (ipv4::MIN_LEN, MIN_MTU4),
        Family::Inet6 => (ipv6::LEN, MIN_MTU6),
    };
    let mtu = mtu.checked_sub(header as u32)?;
    if mtu < least {
        return None;
    }
    ip::update_socket_pmtu(skb, mtu);
    Some(mtu)
}
