// SPDX-License-Identifier: GPL-2.0

//! Address types, the state of IPv6, and IPv6 reassembly.
//!
//! Addresses are in network byte order.
//!
//! C headers: [`include/net/addrconf.h`](srctree/include/net/addrconf.h),
//! [`nf_defrag_ipv6.h`](srctree/include/net/netfilter/ipv6/nf_defrag_ipv6.h)

use crate::oot::bindings;
use kernel::{
    error::to_result,
    prelude::*,
    sync::rcu, //
};

use super::{
    ip,
    namespace::Net, //
};

/// Whether an IPv4 address is the unicast address of a host, local or remote.
pub(crate) fn is_unicast_or_local4(net: &Net, addr: [u8; 4]) -> bool {
    matches!(
        ip::addr_type4(net, addr),
        bindings::RTN_UNICAST | bindings::RTN_LOCAL
    )
}

/// Whether an IPv4 address is the unicast address of another host.
pub(crate) fn is_unicast4(net: &Net, addr: [u8; 4]) -> bool {
    ip::addr_type4(net, addr) == bindings::RTN_UNICAST
}

/// Whether an IPv4 address is an address of this host.
pub(crate) fn is_local4(net: &Net, addr: [u8; 4]) -> bool {
    ip::addr_type4(net, addr) == bindings::RTN_LOCAL
}

/// Whether an IPv6 address is a unicast address.
pub(crate) fn is_unicast6(addr: [u8; 16]) -> bool {
    type6(addr) & bindings::IPV6_ADDR_UNICAST != 0
}

/// The type and scope of an IPv6 address, `IPV6_ADDR_*` (C: `__ipv6_addr_type()`).
fn type6(addr: [u8; 16]) -> u32 {
    let mut in6 = bindings::in6_addr::default();
    // SAFETY: Any 16 bytes are a valid address.
    *unsafe { in6.in6_u.u6_addr8.as_mut() } = addr;
    // SAFETY: The function only reads a live address.
    (unsafe { bindings::__ipv6_addr_type(&in6) }) as u32
}

/// Whether an IPv6 address is a unicast address that is not link-local, or an address of this host.
pub(crate) fn is_unicast_or_local6(net: &Net, addr: [u8; 16]) -> bool {
    let kind = type6(addr);
    let is_unicast = kind & bindings::IPV6_ADDR_UNICAST != 0;
    (is_unicast && kind & bindings::IPV6_ADDR_LINKLOCAL == 0) || is_local6(net, addr)
}

/// Whether an IPv6 address is an address of this host.
pub(crate) fn is_local6(net: &Net, addr: [u8; 16]) -> bool {
    ip::route6(net, addr, false, false, false)
        .is_ok_and(|route| route.dst.as_ref().is_local(&rcu::read_lock()))
}

/// Whether the IPv6 module is enabled (C: `ipv6_mod_enabled()`).
pub(crate) fn is_ipv6_enabled() -> bool {
    // SAFETY: May be called in any context.
    unsafe { bindings::oot_ipv6_mod_enabled() }
}

/// Enables reassembly of IPv6 fragments in this namespace, before hooks with a priority above
/// `NF_IP6_PRI_CONNTRACK_DEFRAG`.
///
/// # Errors
///
/// The error of `nf_defrag_ipv6_enable()`, for example `ENOMEM`.
pub(crate) fn enable_defrag6(net: &Net) -> Result {
    // SAFETY: The namespace is live.
    to_result(unsafe { bindings::nf_defrag_ipv6_enable(net.as_raw()) })
}
