// SPDX-License-Identifier: GPL-2.0

//! Preparation of inner packets for tunnels.
//!
//! C header: [`include/net/ip_tunnels.h`](srctree/include/net/ip_tunnels.h)

use kernel::{
    error::to_result,
    prelude::*, //
};

use crate::oot::bindings;

use super::{
    namespace::Net,
    nf_proto::NfProto,
    skbuff::SkBuff, //
};

/// The protocol number of an inner IPv4 packet.
pub(crate) const IPPROTO_IPIP: u8 = bindings::IPPROTO_IPIP as u8;
/// The protocol number of an inner IPv6 packet.
pub(crate) const IPPROTO_IPV6: u8 = bindings::IPPROTO_IPV6 as u8;

/// Marks the packet as the inner packet of an outer one of family `outer`, and prepares GSO packets
/// for that (`iptunnel_handle_offloads()`). `protocol` is the IP protocol number of the inner
/// packet.
///
/// # Errors
///
/// `ENOMEM` if the header of a GSO packet cannot be copied.
pub(crate) fn start(skb: &mut SkBuff<'_>, outer: NfProto, protocol: u8) -> Result {
    let gso_type = match outer {
        NfProto::Ipv4 => bindings::SKB_GSO_IPXIP4,
        NfProto::Ipv6 => bindings::SKB_GSO_IPXIP6,
    };
    // SAFETY: We own the packet.
    to_result(unsafe { bindings::iptunnel_handle_offloads(skb.as_raw(), gso_type) })?;
    // SAFETY: We own the packet, and its network header is set.
    unsafe { bindings::oot_skb_set_inner_headers(skb.as_raw(), protocol) };
    Ok(())
}

/// Sets the identification field of an IPv4 packet, as `ip_select_ident()`.
pub(crate) fn select_ident(net: &Net, skb: &mut SkBuff<'_>) {
    if skb.family() == NfProto::Ipv4 {
        // SAFETY: By the type invariant the packet starts with a linear IPv4 header.
        unsafe { bindings::oot_ip_select_ident(net.as_raw(), skb.as_raw()) };
    }
}
