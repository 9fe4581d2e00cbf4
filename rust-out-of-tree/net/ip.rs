// SPDX-License-Identifier: GPL-2.0

//! The IP stack: finding routes, sending packets and ICMP errors.
//!
//! Addresses are in network byte order.
//!
//! C headers: [`include/net/route.h`](srctree/include/net/route.h),
//! [`include/net/ip6_route.h`](srctree/include/net/ip6_route.h),
//! [`include/net/icmp.h`](srctree/include/net/icmp.h)

use core::ptr::NonNull;
use kernel::{
    error::from_err_ptr,
    prelude::*, //
};

use crate::oot::bindings;

use super::{
    device::Device,
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

/// A route and the source address that goes with it.
pub(crate) struct Route<A> {
    pub(crate) dst: Dst,
    /// The address that this host would send from.
    pub(crate) saddr: A,
    /// To be given to [`DstRef::is_valid`](super::dst::DstRef::is_valid).
    pub(crate) cookie: u32,
}

/// The route from this host to `daddr`; from `saddr` if that is not zero.
///
/// With `known_next_hop` the packet's own destination may differ from `daddr`, as in direct
/// routing. As `ip_route_output_key()`.
///
/// # Errors
///
/// What the lookup returns, such as `ENETUNREACH`.
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
    // SAFETY: The namespace is live and `source` a local.
    let rt = from_err_ptr(unsafe {
        bindings::oot_ip_route_output(net.as_raw(), u32::from_ne_bytes(daddr), &mut source, flags)
    })?;
    let dst = NonNull::new(rt).ok_or(EHOSTUNREACH)?;
    Ok(Route {
        // SAFETY: The look-up gave us a reference.
        dst: unsafe { Dst::from_raw(dst, NfProto::Ipv4) },
        saddr: source.to_ne_bytes(),
        cookie: 0,
    })
}

/// The IPv6 route from this host to `daddr`. With `want_source`, the source address is chosen as
/// a socket would choose it, and IPsec policy (`transform`) is looked up.
///
/// # Errors
///
/// `EHOSTUNREACH`, or what the lookup of the IPsec policy returns.
pub(crate) fn route6(
    net: &Net,
    daddr: [u8; 16],
    known_next_hop: bool,
    want_source: bool,
    transform: bool,
) -> Result<Route<[u8; 16]>> {
    let mut flow = bindings::flowi6::default();
    // SAFETY: Any bytes are an address.
    *unsafe { flow.daddr.in6_u.u6_addr8.as_mut() } = daddr;
    if known_next_hop {
        flow.__fl_common.flowic_flags = bindings::FLOWI_FLAG_KNOWN_NH as u8;
    }
    // SAFETY: The namespace is live and `flow` a local; a route is always given, maybe an error.
    let dst = unsafe { bindings::oot_ip6_route_output(net.as_raw(), &mut flow) };
    let dst = NonNull::new(dst).ok_or(EHOSTUNREACH)?;
    // SAFETY: The look-up gave us a reference.
    let mut dst = unsafe { Dst::from_raw(dst, NfProto::Ipv6) };
    // SAFETY: The route is live.
    if unsafe { bindings::oot_dst_error(dst.as_ref().as_raw()) } != 0 {
        return Err(EHOSTUNREACH);
    }
    if want_source {
        // SAFETY: Reads a union of plain bytes.
        let unspecified = *unsafe { flow.saddr.in6_u.u6_addr8.as_ref() } == [0; 16];
        if unspecified {
            let dst = dst.as_ref().as_raw();
            // SAFETY: The route is live and `flow` a local.
            if unsafe { bindings::oot_ip6_get_saddr(net.as_raw(), dst, &mut flow) } < 0 {
                return Err(EHOSTUNREACH);
            }
        }
        if transform {
            // SAFETY: `xfrm_lookup()` takes over the reference and gives one, or an error.
            let found = from_err_ptr(unsafe {
                bindings::oot_xfrm_lookup6(net.as_raw(), dst.into_raw(), &mut flow)
            })?;
            let found = NonNull::new(found).ok_or(EHOSTUNREACH)?;
            // SAFETY: The reference that `xfrm_lookup()` gave becomes ours.
            dst = unsafe { Dst::from_raw(found, NfProto::Ipv6) };
        }
    }
    // SAFETY: The route is live and an IPv6 one.
    let cookie = unsafe { bindings::oot_rt6_get_cookie(dst.as_ref().as_raw()) };
    Ok(Route {
        // SAFETY: Reads a union of plain bytes.
        saddr: *unsafe { flow.saddr.in6_u.u6_addr8.as_ref() },
        cookie,
        dst,
    })
}

/// The route that a UDP socket would get from `saddr`, if that is not zero, to the multicast group
/// `group` by `device`.
///
/// # Errors
///
/// What the lookup returns, such as `ENETUNREACH`.
pub(crate) fn route_to_group4(
    net: &Net,
    group: [u8; 4],
    saddr: [u8; 4],
    device: &Device,
) -> Result<Dst> {
    let [daddr, saddr] = [group, saddr].map(u32::from_ne_bytes);
    let (net, index) = (net.as_raw(), device.index());
    // SAFETY: The namespace is live.
    let rt = from_err_ptr(unsafe { bindings::oot_ip_route_udp(net, daddr, saddr, index) })?;
    let dst = NonNull::new(rt).ok_or(EHOSTUNREACH)?;
    // SAFETY: The look-up gave us a reference.
    Ok(unsafe { Dst::from_raw(dst, NfProto::Ipv4) })
}

/// As [`route_to_group4`] for IPv6, from an address of the kernel's choice.
///
/// # Errors
///
/// What the lookup returns, such as `ENETUNREACH`.
pub(crate) fn route_to_group6(net: &Net, group: [u8; 16], device: &Device) -> Result<Dst> {
    let mut flow = bindings::flowi6::default();
    // SAFETY: Any bytes are an address.
    *unsafe { flow.daddr.in6_u.u6_addr8.as_mut() } = group;
    flow.__fl_common.flowic_oif = device.index();
    flow.__fl_common.flowic_proto = bindings::IPPROTO_UDP as u8;
    let (sk, final_dst) = (core::ptr::null(), core::ptr::null());
    // SAFETY: The namespace is live and `flow` a local; neither socket nor last hop is needed.
    let dst = from_err_ptr(unsafe {
        bindings::ip6_dst_lookup_flow(net.as_raw(), sk, &mut flow, final_dst)
    })?;
    let dst = NonNull::new(dst).ok_or(EHOSTUNREACH)?;
    // SAFETY: The look-up gave us a reference.
    Ok(unsafe { Dst::from_raw(dst, NfProto::Ipv6) })
}

/// Gives a packet its route and sends it through LOCAL_OUT and on its way, as `NF_HOOK()` with
/// `dst_output()`. With a route of another family it is dropped.
#[inline(always)]
pub(crate) fn output<'h>(net: &Net, mut skb: SkBuff<'h>, route: SkbRoute<'h>) {
    let family = skb.family();
    if route.dst().family() != family {
        return;
    }
    skb.set_route(route);
    let raw = skb.into_raw();
    match family {
        // SAFETY: The packet is ours to give and has an IPv4 header and route.
        NfProto::Ipv4 => unsafe { bindings::oot_nf_local_out4(net.as_raw(), raw) },
        // SAFETY: The packet is ours to give and has an IPv6 header and route.
        NfProto::Ipv6 => unsafe { bindings::oot_nf_local_out6(net.as_raw(), raw) },
    };
}

/// Gives a packet that this host put an IP header on its route and sends it, as `ip_local_out()`.
/// With a route of another family it is dropped.
pub(crate) fn local_out<'h>(net: &Net, mut skb: SkBuff<'h>, route: SkbRoute<'h>) {
    let family = skb.family();
    if route.dst().family() != family {
        return;
    }
    skb.set_route(route);
    let raw = skb.into_raw();
    match family {
        // SAFETY: The packet is ours to give and has an IPv4 header and route.
        NfProto::Ipv4 => unsafe { bindings::oot_ip_local_out(net.as_raw(), raw) },
        // SAFETY: The packet is ours to give and has an IPv6 header and route.
        NfProto::Ipv6 => unsafe { bindings::oot_ip6_local_out(net.as_raw(), raw) },
    };
}

/// The errors of ICMP. C looks what each is like up in a table by this number, which is not checked.
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
    /// The error with that number, if it is one of these.
    pub(crate) fn from_type(number: u8) -> Option<Self> {
        [Self::DestUnreach, Self::SourceQuench, Self::TimeExceeded]
            .into_iter()
            .find(|error| *error as u8 == number)
    }
}

/// The errors of ICMPv6.
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

/// Sends an ICMP error about a packet to its source; `info` in host byte order. As `icmp_send()`.
/// None is sent about a packet without IPv4 route.
pub(crate) fn icmp_send(skb: &mut Skb, error: IcmpError, code: u8, info: u32) {
    let is_ipv4 = skb.protocol() == Some(NfProto::Ipv4)
        && skb.dst().is_some_and(|dst| dst.family() == NfProto::Ipv4);
    if is_ipv4 {
        // SAFETY: The packet is an IPv4 one with such a route, and C's table has the error.
        unsafe { bindings::oot_icmp_send(skb.as_raw(), error as i32, code.into(), info.to_be()) };
    }
}

/// Sends an ICMPv6 error about a packet to its source; `info` in host byte order. As
/// `icmpv6_send()`. None is sent about a packet without device or of IPv4.
pub(crate) fn icmpv6_send(skb: &mut Skb, error: Icmpv6Error, code: u8, info: u32) {
    if skb.has_dev() && skb.protocol() == Some(NfProto::Ipv6) {
        // SAFETY: The packet is an IPv6 one and has a device.
        unsafe { bindings::oot_icmpv6_send(skb.as_raw(), error as u8, code, info) };
    }
}

/// Routes a packet anew after its source changed, as `ip_route_me_harder()` for a packet that is
/// treated as this host's own.
///
/// # Errors
///
/// `EHOSTUNREACH`, also for a packet that has no route.
pub(crate) fn route_me_harder(net: &Net, skb: &mut HookSkb<'_>) -> Result {
    if !skb.has_dst() {
        return Err(EHOSTUNREACH);
    }
    let failed = match skb.family() {
        // SAFETY: The packet has an IPv4 header, and a route.
        NfProto::Ipv4 => unsafe { bindings::oot_ip_route_me_harder(net.as_raw(), skb.as_raw()) },
        // SAFETY: The packet has an IPv6 header, and a route.
        NfProto::Ipv6 => unsafe { bindings::oot_ip6_route_me_harder(net.as_raw(), skb.as_raw()) },
    };
    match failed {
        0 => Ok(()),
        _ => Err(EHOSTUNREACH),
    }
}

/// Counts an IPv4 packet with an error in its header.
pub(crate) fn count_header_error4(net: &Net) {
    // SAFETY: The namespace is live.
    unsafe { bindings::oot_ip_inc_hdrerrors(net.as_raw()) };
}

/// Counts an IPv6 packet with an error in its header, for the device that it came by.
pub(crate) fn count_header_error6(net: &Net, skb: &Skb) {
    // SAFETY: The namespace and the packet are live.
    unsafe { bindings::oot_ip6_inc_hdrerrors(net.as_raw(), skb.as_raw()) };
}

/// Learns the path MTU of the destination of the IPv4 header that the packet begins with, as
/// `ipv4_update_pmtu()`.
pub(crate) fn update_pmtu4(net: &Net, skb: &mut SkBuff<'_>, mtu: u32) {
    if skb.family() == NfProto::Ipv4 {
        // SAFETY: The packet begins with a linear IPv4 header by the type's invariant.
        unsafe { bindings::ipv4_update_pmtu(skb.as_raw(), net.as_raw(), mtu, 0, 0) };
    }
}

/// Tells the socket of a packet of our own the MTU of the way that it really takes.
pub(crate) fn update_socket_pmtu(skb: &mut Skb, mtu: u32) {
    if !skb.has_dev() && skb.has_full_socket() && skb.has_dst() {
        // SAFETY: The packet has a full socket and a route.
        unsafe { bindings::oot_update_socket_pmtu(skb.as_raw(), mtu) };
    }
}

/// Whether a process needs a privilege to bind `port`, in host byte order: one below the sysctl
/// `ip_unprivileged_port_start`.
pub(crate) fn requires_privilege(net: &Net, port: u16) -> bool {
    // SAFETY: The namespace is live.
    unsafe { bindings::oot_inet_port_requires_bind_service(net.as_raw(), port) }
}

/// Whether the caller may bind a socket to `port`, in host byte order; 0 is any that is free.
pub(crate) fn may_bind_port(net: &Net, port: u16) -> bool {
    port == 0 || !requires_privilege(net, port) || net.is_capable(bindings::CAP_NET_BIND_SERVICE)
}

/// Whether a socket may join any IPv4 multicast group: the sysctl `igmp_max_memberships` allows
/// one.
pub(crate) fn may_join4(net: &Net) -> bool {
    // SAFETY: The namespace is live.
    unsafe { bindings::oot_igmp_max_memberships(net.as_raw()) > 0 }
}

/// Whether a socket may be bound to an IPv4 address of a device: it is this host's by now, or the
/// sysctl `ip_nonlocal_bind` is set.
pub(crate) fn may_bind4(net: &Net, addr: [u8; 4]) -> bool {
    // SAFETY: The namespace is live.
    let any = unsafe { bindings::oot_ip_nonlocal_bind(net.as_raw()) };
    any || addr_type4(net, addr) == bindings::RTN_LOCAL
}

/// What kind of address an IPv4 address is for this host: `RTN_UNICAST`, `RTN_LOCAL`, ...
pub(crate) fn addr_type4(net: &Net, addr: [u8; 4]) -> u32 {
    // SAFETY: The namespace is live.
    unsafe { bindings::inet_addr_type(net.as_raw(), u32::from_ne_bytes(addr)) }
}
