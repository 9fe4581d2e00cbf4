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

/// The GRE header of a tunnel.
pub(super) struct Gre {
    has_checksum: bool,
}

impl Gre {
    pub(super) fn of(tunnel: Tunnel) -> Self {
        Self {
            has_checksum: tunnel.flags & IP_VS_TUNNEL_ENCAP_FLAG_CSUM != 0,
        }
    }
}

impl Encap for Gre {
    type Headers = gre::Headers;

    fn len(&self) -> u32 {
        match self.has_checksum {
            false => gre::Headers::LEN as u32,
            true => gre::Headers::LEN_CHECKSUM as u32,
        }
    }

    fn offload(&self) -> tunnel::Encap {
        tunnel::Encap::Gre {
            has_checksum: self.has_checksum,
        }
    }

    fn protocol(&self, _inner: u8) -> u8 {
        IPPROTO_GRE
    }

    #[inline(always)]
    fn headers(&self, context: Context<'_>, _inner: u8, _skb: &mut SkBuff<'_>) -> gre::Headers {
        gre::Headers::new(context.packet.family, self.has_checksum)
    }

    /// The checksum of a GSO packet stays 0: each segment gets its own.
    #[inline(always)]
    fn set_checksum(&self, _outer: Outer<'_>, start: u32, skb: &mut SkBuff<'_>) -> Option<()> {
        if !self.has_checksum || skb.is_gso() {
            return Some(());
        }
        sum(start, skb)
    }
}

#[inline(never)]
fn sum(start: u32, skb: &mut SkBuff<'_>) -> Option<()> {
    checksum::set(skb, Sum::ZERO, start, gre::CHECK, |check| check)
}
