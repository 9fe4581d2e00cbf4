// SPDX-License-Identifier: GPL-2.0

//! The IP stack: route lookup, sending packets and ICMP errors.
//!
//! Addresses are in network byte order.
//!
//! C headers: [`include/net/route.h`](srctree/include/net/route.h),
//! [`include/net/ip6_route.h`](srctree/include/net/ip6_route.h),
//! [`include/net/icmp.h`](srctree/include/net/icmp.h)

use core::{
    ops::RangeInclusive,
    ptr::NonNull, //
};
use kernel::{
    error::from_err_ptr,
    prelude::*, //
};

use crate::oot::bindings;

use super::{
    dst::Dst,
    filter::HookSkb,
    namespace::Net,
    nf_proto::NfProto,
    skbuff::{
        SkBuff,
        Skb,
        SkbRoute, //
    }, //
};

/// A route and its source address.
pub(crate) struct Route<A> {
    pub(crate) dst: Dst,
    /// The source address of packets sent from this host on this route.
    pub(crate) saddr: A,
    /// The cookie for [`DstRef::is_valid`](super::dst::DstRef::is_valid).
    pub(crate) cookie: u32,
}

/// Looks up the route from this host to `daddr`, from `saddr` unless that is zero
/// (`ip_route_output_key()`).
///
/// With `known_next_hop` the destination of the packet may differ from `daddr`, as in direct
/// routing.
///
/// # Errors
///
/// The error of the lookup, for example `ENETUNREACH`; `EHOSTUNREACH` if it returns no route.
pub(crate) fn route4(
    net: &Net,
    daddr: [u8; 4],
    saddr: [u8; 4],
    known_next_hop: bool,
) -> Result<Route<[u8; 4]>> {
    let flags = if known_next_hop {
        bindings::FLOWI_FLAG_KNOWN_NH as u8
    } else {
        0
    };
    let mut source = u32::from_ne_bytes(saddr);
    // SAFETY: The namespace is live and `source` is a local variable.
    let rt = from_err_ptr(unsafe {
        bindings::oot_ip_route_output(net.as_raw(), u32::from_ne_bytes(daddr), &mut source, flags)
    })?;
    let dst = NonNull::new(rt).ok_or(EHOSTUNREACH)?;
    Ok(Route {
        // SAFETY: The lookup returned a reference.
        dst: unsafe { Dst::from_raw(dst, NfProto::Ipv4) },
        saddr: source.to_ne_bytes(),
        cookie: 0,
    })
}

/// Looks up the IPv6 route from this host to `daddr`. With `want_source`, the source address is
/// selected as for a socket. With `transform` as well, the IPsec policy is applied
/// (`xfrm_lookup()`).
///
/// # Errors
///
/// `EHOSTUNREACH` if there is no route or source address, or the error of `xfrm_lookup()`.
pub(crate) fn route6(
    net: &Net,
    daddr: [u8; 16],
    known_next_hop: bool,
    want_source: bool,
    transform: bool,
) -> Result<Route<[u8; 16]>> {
    let mut flow = bindings::flowi6::default();
    // SAFETY: Any 16 bytes are a valid address.
    *unsafe { flow.daddr.in6_u.u6_addr8.as_mut() } = daddr;
    if known_next_hop {
        flow.__fl_common.flowic_flags = bindings::FLOWI_FLAG_KNOWN_NH as u8;
    }
    // SAFETY: The namespace is live and `flow` is a local variable. The call always returns a
    // route, which may have an error.
    let dst = unsafe { bindings::oot_ip6_route_output(net.as_raw(), &mut flow) };
    let dst = NonNull::new(dst).ok_or(EHOSTUNREACH)?;
    // SAFETY: The lookup returned a reference.
    let mut dst = unsafe { Dst::from_raw(dst, NfProto::Ipv6) };
    // SAFETY: The route is live.
    if unsafe { bindings::oot_dst_error(dst.as_ref().as_raw()) } != 0 {
        return Err(EHOSTUNREACH);
    }
    if want_source {
        // SAFETY: All members of the union are plain bytes.
        let unspecified = *unsafe { flow.saddr.in6_u.u6_addr8.as_ref() } == [0; 16];
        if unspecified {
            let dst = dst.as_ref().as_raw();
            // SAFETY: The route is live and `flow` is a local variable.
            if unsafe { bindings::oot_ip6_get_saddr(net.as_raw(), dst, &mut flow) } < 0 {
                return Err(EHOSTUNREACH);
            }
        }
        if transform {
            // SAFETY: `xfrm_lookup()` takes over the reference and returns one, or an error.
            let found = from_err_ptr(unsafe {
                bindings::oot_xfrm_lookup6(net.as_raw(), dst.into_raw(), &mut flow)
            })?;
            let found = NonNull::new(found).ok_or(EHOSTUNREACH)?;
            // SAFETY: `xfrm_lookup()` returned a reference.
            dst = unsafe { Dst::from_raw(found, NfProto::Ipv6) };
        }
    }
    // SAFETY: The route is live and an IPv6 one.
    let cookie = unsafe { bindings::oot_rt6_get_cookie(dst.as_ref().as_raw()) };
    Ok(Route {
        // SAFETY: All members of the union are plain bytes.
        saddr: *unsafe { flow.saddr.in6_u.u6_addr8.as_ref() },
        cookie,
        dst,
    })
}

/// Sets the route of a packet and sends it through LOCAL_OUT, as `NF_HOOK()` with `dst_output()`.
/// Frees the packet if the route is of the other family.
#[inline(always)]
pub(crate) fn output<'h>(net: &Net, mut skb: SkBuff<'h>, route: SkbRoute<'h>) {
    let family = skb.family();
    if route.dst().family() != family {
        return;
    }
    skb.set_route(route);
    let raw = skb.into_raw();
    match family {
        // SAFETY: We own the packet, and it has an IPv4 header and route.
        NfProto::Ipv4 => unsafe { bindings::oot_nf_local_out4(net.as_raw(), raw) },
        // SAFETY: We own the packet, and it has an IPv6 header and route.
        NfProto::Ipv6 => unsafe { bindings::oot_nf_local_out6(net.as_raw(), raw) },
    };
}

/// Sets the route of a packet to which this host added an IP header, and sends it, as
/// `ip_local_out()`. Frees the packet if the route is of the other family.
pub(crate) fn local_out<'h>(net: &Net, mut skb: SkBuff<'h>, route: SkbRoute<'h>) {
    skb.set_route(route);
    local_out_again(net, skb);
}

/// Sends a packet by its route, as `ip_local_out()`: it traverses the hooks of packets of this
/// host. Frees the packet if it has no route, or one of the other family.
pub(crate) fn local_out_again(net: &Net, skb: SkBuff<'_>) {
    let family = skb.family();
    if skb.dst().is_none_or(|dst| dst.family() != family) {
        return;
    }
    let raw = skb.into_raw();
    match family {
        // SAFETY: We own the packet, and it has an IPv4 header and route.
        NfProto::Ipv4 => unsafe { bindings::oot_ip_local_out(net.as_raw(), raw) },
        // SAFETY: We own the packet, and it has an IPv6 header and route.
        NfProto::Ipv6 => unsafe { bindings::oot_ip6_local_out(net.as_raw(), raw) },
    };
}

/// Receives a packet again, as `netif_rx()`: it traverses the hooks of received packets. It loses
/// its route, its socket and its conntrack entry. Frees the packet if no device has received it, or
/// if the CPU's queue is full.
pub(crate) fn receive_again(mut skb: SkBuff<'_>) {
    if !skb.has_dev() {
        return;
    }
    skb.orphan();
    skb.reset_conntrack();
    skb.drop_route();
    // SAFETY: We own the packet, which has a device. Its data begin with the network header. No
    // route without a reference is left in it.
    unsafe { bindings::oot_netif_rx(skb.into_raw()) };
}

/// The ICMP errors (types). C uses the number as an unchecked index of a table.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum IcmpError {
    /// `ICMP_DEST_UNREACH`
    DestUnreach = bindings::ICMP_DEST_UNREACH as u8,
    /// `ICMP_SOURCE_QUENCH`
    SourceQuench = bindings::ICMP_SOURCE_QUENCH as u8,
    /// `ICMP_TIME_EXCEEDED`
    TimeExceeded = bindings::ICMP_TIME_EXCEEDED as u8,
}

impl IcmpError {
    /// Returns the error with this ICMP type, if it is one of these.
    pub(crate) fn from_type(number: u8) -> Option<Self> {
        [Self::DestUnreach, Self::SourceQuench, Self::TimeExceeded]
            .into_iter()
            .find(|error| *error as u8 == number)
    }
}

/// The ICMPv6 errors (types).
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Icmpv6Error {
    /// `ICMPV6_DEST_UNREACH`
    DestUnreach = bindings::ICMPV6_DEST_UNREACH as u8,
    /// `ICMPV6_PKT_TOOBIG`
    PktTooBig = bindings::ICMPV6_PKT_TOOBIG as u8,
    /// `ICMPV6_TIME_EXCEED`
    TimeExceed = bindings::ICMPV6_TIME_EXCEED as u8,
}

/// Sends an ICMP error about a packet to its source, as `icmp_send()`. `info` is in host byte
/// order. Does nothing if the packet has no IPv4 route.
pub(crate) fn icmp_send(skb: &mut Skb, error: IcmpError, code: u8, info: u32) {
    let is_ipv4 = skb.protocol() == Some(NfProto::Ipv4)
        && skb.dst().is_some_and(|dst| dst.family() == NfProto::Ipv4);
    if is_ipv4 {
        // SAFETY: The packet is an IPv4 one with an IPv4 route, and C's table has an entry for the
        // error.
        unsafe { bindings::oot_icmp_send(skb.as_raw(), error as i32, code.into(), info.to_be()) };
    }
}

/// Sends an ICMPv6 error about a packet to its source, as `icmpv6_send()`. `info` is in host byte
/// order. Does nothing for an IPv4 packet or one without device.
pub(crate) fn icmpv6_send(skb: &mut Skb, error: Icmpv6Error, code: u8, info: u32) {
    if skb.has_dev() && skb.protocol() == Some(NfProto::Ipv6) {
        // SAFETY: The packet is an IPv6 one and has a device.
        unsafe { bindings::oot_icmpv6_send(skb.as_raw(), error as u8, code, info) };
    }
}

/// Looks up the route of a packet again after a change of its source, as `ip_route_me_harder()` for
/// a packet of this host.
///
/// # Errors
///
/// `EHOSTUNREACH` if the lookup fails or the packet has no route.
pub(crate) fn route_me_harder(net: &Net, skb: &mut HookSkb<'_>) -> Result {
    if !skb.has_dst() {
        return Err(EHOSTUNREACH);
    }
    let failed = match skb.family() {
        // SAFETY: The packet has an IPv4 header and a route.
        NfProto::Ipv4 => unsafe { bindings::oot_ip_route_me_harder(net.as_raw(), skb.as_raw()) },
        // SAFETY: The packet has an IPv6 header and a route.
        NfProto::Ipv6 => unsafe { bindings::oot_ip6_route_me_harder(net.as_raw(), skb.as_raw()) },
    };
    match failed {
        0 => Ok(()),
        _ => Err(EHOSTUNREACH),
    }
}

/// Counts an IPv4 header error (`IPSTATS_MIB_INHDRERRORS`).
pub(crate) fn count_header_error4(net: &Net) {
    // SAFETY: The namespace is live.
    unsafe { bindings::oot_ip_inc_hdrerrors(net.as_raw()) };
}

/// Counts an IPv6 header error (`IPSTATS_MIB_INHDRERRORS`), for the packet's device.
pub(crate) fn count_header_error6(net: &Net, skb: &Skb) {
    // SAFETY: The namespace and the packet are live.
    unsafe { bindings::oot_ip6_inc_hdrerrors(net.as_raw(), skb.as_raw()) };
}

/// Updates the path MTU for the destination in the packet's IPv4 header to `mtu` bytes, as
/// `ipv4_update_pmtu()`.
pub(crate) fn update_pmtu4(net: &Net, skb: &mut SkBuff<'_>, mtu: u32) {
    if skb.family() == NfProto::Ipv4 {
        // SAFETY: By the type invariant the packet begins with a linear IPv4 header.
        unsafe { bindings::ipv4_update_pmtu(skb.as_raw(), net.as_raw(), mtu, 0, 0) };
    }
}

/// Updates the path MTU of the socket of a packet that this host sends, to `mtu` bytes, that of the
/// actual route.
pub(crate) fn update_socket_pmtu(skb: &mut Skb, mtu: u32) {
    if !skb.has_dev() && skb.has_full_socket() && skb.has_dst() {
        // SAFETY: The packet has a full socket and a route.
        unsafe { bindings::oot_update_socket_pmtu(skb.as_raw(), mtu) };
    }
}

/// Whether a process needs a privilege to bind `port`, in host byte order: the port is below the
/// sysctl `ip_unprivileged_port_start`.
pub(crate) fn requires_privilege(net: &Net, port: u16) -> bool {
    // SAFETY: The namespace is live.
    unsafe { bindings::oot_inet_port_requires_bind_service(net.as_raw(), port) }
}

/// The ports that sockets of this host get, in host byte order (sysctl `ip_local_port_range`).
pub(crate) fn local_ports(net: &Net) -> RangeInclusive<u16> {
    // SAFETY: The namespace is live.
    let range = unsafe { bindings::oot_local_port_range(net.as_raw()) };
    range as u16..=(range >> 16) as u16
}

/// The ports of a block of 64 that sockets of this host get only by binding to them, as bits
/// (sysctl `ip_local_reserved_ports`). The block with the number 1 begins with port 64.
pub(crate) fn reserved_ports(net: &Net, block: u32) -> u64 {
    // SAFETY: The namespace is live. The function checks the number of the block.
    unsafe { bindings::oot_local_reserved_ports(net.as_raw(), block) }
}

/// The type of an IPv4 address for this host, `RTN_UNICAST`, `RTN_LOCAL` and so on (C:
/// `inet_addr_type()`).
pub(crate) fn addr_type4(net: &Net, addr: [u8; 4]) -> u32 {
    // SAFETY: The namespace is live.
    unsafe { bindings::inet_addr_type(net.as_raw(), u32::from_ne_bytes(addr)) }
}
