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

/// The type of the header after the outer IP header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Encap {
    /// The inner packet.
    Ip,
    /// A UDP header, and further headers as its payload.
    Udp { has_checksum: bool },
    /// A UDP header with checksum, and headers with which the receiver completes the inner
    /// checksum.
    UdpRemoteChecksum,
    /// A GRE header.
    Gre { has_checksum: bool },
}

impl Encap {
    /// The flags of GSO packets, except those of the IP headers.
    #[inline(always)]
    fn gso_type(self) -> i32 {
        match self {
            Self::Ip => 0,
            Self::Udp {
                has_checksum: false,
            } => bindings::SKB_GSO_UDP_TUNNEL,
            Self::Udp { has_checksum: true } => bindings::SKB_GSO_UDP_TUNNEL_CSUM,
            Self::UdpRemoteChecksum => {
                bindings::SKB_GSO_UDP_TUNNEL_CSUM | bindings::SKB_GSO_TUNNEL_REMCSUM
            }
            Self::Gre {
                has_checksum: false,
            } => bindings::SKB_GSO_GRE,
            Self::Gre { has_checksum: true } => bindings::SKB_GSO_GRE_CSUM,
        }
    }
}

/// Marks the packet as the inner packet of an outer one of family `outer`, and prepares GSO packets
/// for that (`iptunnel_handle_offloads()`). `protocol` is the IP protocol number of the inner
/// packet.
///
/// # Errors
///
/// `ENOMEM` if the header of a GSO packet cannot be copied.
#[inline(always)]
pub(crate) fn start(skb: &mut SkBuff<'_>, outer: NfProto, protocol: u8, encap: Encap) -> Result {
    let gso_type = match outer {
        NfProto::Ipv4 => bindings::SKB_GSO_IPXIP4,
        NfProto::Ipv6 => bindings::SKB_GSO_IPXIP6,
    };
    let gso_type = gso_type | encap.gso_type();
    // SAFETY: We own the packet.
    to_result(unsafe { bindings::iptunnel_handle_offloads(skb.as_raw(), gso_type) })?;
    // SAFETY: We own the packet, and its network header is set.
    unsafe { bindings::oot_skb_set_inner_headers(skb.as_raw(), protocol) };
    match encap {
        Encap::Gre { .. } => set_inner_ethertype(skb),
        Encap::UdpRemoteChecksum if !skb.is_gso() => leave_checksum(skb),
        _ => (),
    }
    Ok(())
}

/// Sets the Ethernet protocol of the inner packet, as `gre_build_header()`.
fn set_inner_ethertype(skb: &mut SkBuff<'_>) {
    let ethertype = match skb.family() {
        NfProto::Ipv4 => bindings::ETH_P_IP,
        NfProto::Ipv6 => bindings::ETH_P_IPV6,
    };
    // SAFETY: We own the packet.
    unsafe { bindings::oot_skb_set_inner_ethertype(skb.as_raw(), ethertype as u16) };
}

/// Leaves an incomplete inner checksum as it is: neither the stack nor the device completes it.
fn leave_checksum(skb: &mut SkBuff<'_>) {
    skb.set_checksum_none();
    // SAFETY: We own the packet.
    unsafe { bindings::oot_skb_clear_encapsulation(skb.as_raw()) };
}

/// The UDP source port of a tunnel for the flow of the packet, in network byte order
/// (`udp_flow_src_port()`). The same for all packets of a flow, within the namespace's range of
/// local ports. A packet without a hash, as a device may have set it, gets `hash`, which must be
/// the same for all packets of the flow. If `hash` is 0, it is computed from the headers.
pub(crate) fn flow_source_port(net: &Net, skb: &mut SkBuff<'_>, hash: u32) -> u16 {
    // SAFETY: We own the packet, and the namespace is live.
    unsafe { bindings::oot_udp_flow_src_port(net.as_raw(), skb.as_raw(), hash) }
}

/// Sets the identification field of an IPv4 packet, as `ip_select_ident()`.
pub(crate) fn select_ident(net: &Net, skb: &mut SkBuff<'_>) {
    if skb.family() == NfProto::Ipv4 {
        // SAFETY: By the type invariant the packet starts with a linear IPv4 header.
        unsafe { bindings::oot_ip_select_ident(net.as_raw(), skb.as_raw()) };
    }
}
