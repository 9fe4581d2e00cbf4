// SPDX-License-Identifier: GPL-2.0

//! Tunnels with a GRE header.
//!
//! C version: `ipvs_gre_encap()` [net/netfilter/ipvs/ip_vs_xmit.c].

use super::{
    checksum,
    Encap,
    Outer, //
};
use crate::{
    oot::net::{
        skbuff::SkBuff,
        tunnel, //
    },
    spec::Tunnel,
    uapi::{
        IPPROTO_GRE,
        IP_VS_TUNNEL_ENCAP_FLAG_CSUM, //
    },
    wire::{
        csum::Sum,
        gre, //
    },
    xmit::output::Context,
};

/// Whether the GRE headers of a tunnel have a checksum.
pub(super) fn has_checksum(tunnel: Tunnel) -> bool {
    tunnel.flags & IP_VS_TUNNEL_ENCAP_FLAG_CSUM != 0
}

/// The length of the headers in bytes.
pub(super) fn len(tunnel: Tunnel) -> u32 {
    match has_checksum(tunnel) {
        false => Gre::<false>.len(),
        true => Gre::<true>.len(),
    }
}

/// The GRE header of a packet. Its length is constant, so that copying it needs no call.
pub(super) struct Gre<const HAS_CHECKSUM: bool>;

impl<const HAS_CHECKSUM: bool> Encap for Gre<HAS_CHECKSUM> {
    type Headers = gre::Headers<HAS_CHECKSUM>;

    fn len(&self) -> u32 {
        Self::Headers::LEN as u32
    }

    fn offload(&self) -> tunnel::Encap {
        tunnel::Encap::Gre {
            has_checksum: HAS_CHECKSUM,
        }
    }

    fn protocol(&self, _inner: u8) -> u8 {
        IPPROTO_GRE
    }

    #[inline(always)]
    fn headers(&self, context: Context<'_>, _inner: u8, _skb: &mut SkBuff<'_>) -> Self::Headers {
        Self::Headers::new(context.packet.family)
    }

    /// The checksum of a GSO packet stays 0: each segment gets its own.
    #[inline(always)]
    fn set_checksum(&self, _outer: Outer<'_>, start: u32, skb: &mut SkBuff<'_>) -> Option<()> {
        if !HAS_CHECKSUM || skb.is_gso() {
            return Some(());
        }
        sum(start, skb)
    }
}

#[inline(never)]
fn sum(start: u32, skb: &mut SkBuff<'_>) -> Option<()> {
    checksum::set(skb, Sum::ZERO, start, gre::CHECK, |check| check)
}
