// SPDX-License-Identifier: GPL-2.0

//! Packets in packets: how the one inside is prepared.
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

/// The protocol number of IPv4 inside of a packet.
pub(crate) const IPPROTO_IPIP: u8 = bindings::IPPROTO_IPIP as u8;
/// The protocol number of IPv6 inside of a packet.
pub(crate) const IPPROTO_IPV6: u8 = bindings::IPPROTO_IPV6 as u8;

/// Marks the packet as the inner one of a packet of family `outer`, and prepares bundles of
/// segments for that (`iptunnel_handle_offloads()`). `protocol` is the packet's own as the outer
/// header will name it.
///
/// # Errors
///
/// `ENOMEM` if the header of a bundle cannot be copied.
pub(crate) fn start(skb: &mut SkBuff<'_>, outer: NfProto, protocol: u8) -> Result {
    let gso_type = match outer {
        NfProto::Ipv4 => bindings::SKB_GSO_IPXIP4,
        NfProto::Ipv6 => bindings::SKB_GSO_IPXIP6,
    };
    // SAFETY: The packet is ours to change.
    to_result(unsafe { bindings::iptunnel_handle_offloads(skb.as_raw(), gso_type) })?;
    // SAFETY: The packet is ours to change, and its network header is set.
    unsafe { bindings::oot_skb_set_inner_headers(skb.as_raw(), protocol) };
    Ok(())
}

/// Gives an IPv4 packet of this host its identification, as `ip_select_ident()`.
pub(crate) fn select_ident(net: &Net, skb: &mut SkBuff<'_>) {
    if skb.family() == NfProto::Ipv4 {
        // SAFETY: The packet starts with a linear IPv4 header by the type's invariant.
        unsafe { bindings::oot_ip_select_ident(net.as_raw(), skb.as_raw()) };
    }
}
