// SPDX-License-Identifier: GPL-2.0

//! Direct routing: the packet goes to the dest as it is.
//!
//! C version: `ip_vs_dr_xmit()` [net/netfilter/ipvs/ip_vs_xmit.c].

use super::{
    nat::sum_options,
    output::{
        self,
        Context, //
    },
    route::{
        self,
        Mode,
        Reach, //
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
    match route::to_dest(context, &mut skb, Mode::DIRECT) {
        Some(Reach::Remote(_)) if has_options(context.packet, &skb) => match sum_header(&mut skb) {
            Some(()) => output::send(context, skb),
            None => skb.free(),
        },
        Some(Reach::Remote(_)) => output::send(context, skb),
        Some(Reach::Local) => output::accept(skb),
        None => skb.free(),
    }
}

/// The length of the packet's own IPv4 header, which `packet` is inside of in an ICMP error.
#[inline(always)]
fn header_len(skb: &Skb) -> u32 {
    skb.read(0)
        .map_or(0, |first: u8| u32::from(first & 0xf) << 2)
}

#[inline(always)]
fn has_options(packet: &Packet, skb: &Skb) -> bool {
    packet.family == Family::Inet && header_len(skb) > ipv4::MIN_LEN as u32
}

#[cold]
fn sum_header(skb: &mut Skb) -> Option<()> {
    let len = header_len(skb);
    sum_options(skb.writable(len).ok()?)
}
