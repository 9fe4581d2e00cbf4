// SPDX-License-Identifier: GPL-2.0

//! The kinds of addresses, whether IPv6 is enabled, and its reassembly.
//!
//! C headers: [`include/net/addrconf.h`](srctree/include/net/addrconf.h),
//! [`include/net/netfilter/ipv6/nf_defrag_ipv6.h`](srctree/include/net/netfilter/ipv6/nf_defrag_ipv6.h)

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

/// Whether an IPv4 address is one that a host can have, this one or another.
pub(crate) fn is_unicast_or_local4(net: &Net, addr: [u8; 4]) -> bool {
    matches!(
        ip::addr_type4(net, addr),
        bindings::RTN_UNICAST | bindings::RTN_LOCAL
    )
}

/// Whether an IPv6 address is a unicast one beyond the link, or one of this host.
pub(crate) fn is_unicast_or_local6(net: &Net, addr: [u8; 16]) -> bool {
    let mut in6 = bindings::in6_addr::default();
    // SAFETY: Any bytes are an address.
    *unsafe { in6.in6_u.u6_addr8.as_mut() } = addr;
    // SAFETY: Computes from a live address.
    let kind = unsafe { bindings::__ipv6_addr_type(&in6) } as u32;
    let is_unicast = kind & bindings::IPV6_ADDR_UNICAST != 0;
    (is_unicast && kind & bindings::IPV6_ADDR_LINKLOCAL == 0)
        || ip::route6(net, addr, false, false, false)
            .is_ok_and(|route| route.dst.as_ref().is_local(&rcu::read_lock()))
}

/// Whether IPv6 is enabled on this host.
pub(crate) fn is_ipv6_enabled() -> bool {
    // SAFETY: It may be asked for at any time.
    unsafe { bindings::oot_ipv6_mod_enabled() }
}

/// Turns on the reassembly of IPv6 fragments in this namespace, before hooks that come after
/// `NF_IP6_PRI_CONNTRACK_DEFRAG`.
///
/// # Errors
///
/// What the hooks of the reassembly cannot be registered by, such as `ENOMEM`.
pub(crate) fn enable_defrag6(net: &Net) -> Result {
    // SAFETY: The namespace is live.
    to_result(unsafe { bindings::nf_defrag_ipv6_enable(net.as_raw()) })
}
