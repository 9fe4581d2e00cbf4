// SPDX-License-Identifier: GPL-2.0

//! Direct routing: the packet is sent to the dest unchanged.
//!
//! C version: `ip_vs_dr_xmit()` [net/netfilter/ipvs/ip_vs_xmit.c].

use super::{
    output::{
        self,
        Context, //
    },
    route::{
        RouteFlags,
        Target,
        Transmitter, //
    }, //
};
use crate::{
    addr::Family,
    oot::net::{
        filter::{
            HookSkb,
            Verdict, //
        },
        skbuff::Skb, //
    },
    packet::Packet,
    wire::ipv4, //
};

/// The transmitter of packets to the dest.
pub(super) struct DirectRoute;

impl Transmitter for DirectRoute {
    #[inline(always)]
    fn flags(_context: Context<'_>) -> RouteFlags {
        RouteFlags::DIRECT
    }

    #[inline(always)]
    fn send<'h>(context: Context<'_>, mut skb: HookSkb<'h>, target: Target<'_>) -> Verdict<'h> {
        let Target::Remote(route, _) = target else {
            return output::accept(context, skb);
        };
        if has_options(context.packet) && sum_header(context.packet, &mut skb).is_none() {
            return skb.drop_silently();
        }
        output::send(context, skb, route)
    }
}

#[inline(always)]
fn has_options(packet: &Packet) -> bool {
    packet.family == Family::Inet && packet.network_len() > ipv4::MIN_LEN as u32
}

/// Sets the header checksum. The stack may have written options without updating the checksum
/// (C: `ip_send_check()`).
#[cold]
fn sum_header(packet: &Packet, skb: &mut Skb) -> Option<()> {
    ipv4::set_checksum(skb.writable(packet.network_len()).ok()?)
}
