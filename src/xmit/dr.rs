// SPDX-License-Identifier: GPL-2.0

//! Direct routing: the packet goes to the dest unchanged.
//!
//! C version: `ip_vs_dr_xmit()` [net/netfilter/ipvs/ip_vs_xmit.c].

use super::{
    output::{
        self,
        Context, //
    },
    route::{
        self,
        RouteFlags,
        Target, //
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

#[inline(always)]
pub(super) fn transmit<'h>(context: Context<'_>, mut skb: HookSkb<'h>) -> Verdict<'h> {
    match route::to_dest(context, &mut skb, RouteFlags::DIRECT) {
        Some(Target::Remote(route, _)) if has_options(context.packet) => {
            match sum_header(context.packet, &mut skb) {
                Some(()) => output::send(context, skb, route),
                None => skb.drop_silently(),
            }
        }
        Some(Target::Remote(route, _)) => output::send(context, skb, route),
        Some(Target::Local) => output::accept(skb),
        None => skb.drop_silently(),
    }
}

#[inline(always)]
fn has_options(packet: &Packet) -> bool {
    packet.family == Family::Inet && packet.network_len() > ipv4::MIN_LEN as u32
}

/// The stack may have written into the options and left the checksum as it was
/// (C: `ip_send_check()`).
#[cold]
fn sum_header(packet: &Packet, skb: &mut Skb) -> Option<()> {
    ipv4::set_checksum(skb.writable(packet.network_len()).ok()?)
}
