// SPDX-License-Identifier: GPL-2.0

//! The transmitters, which send packets to dests.
//!
//! C version: [net/netfilter/ipvs/ip_vs_xmit.c].

mod app;
mod bypass;
mod dr;
mod edit;
mod fullnat;
mod icmp;
mod nat;
mod output;
pub(crate) mod reply;
mod route;
mod toa;
mod tun;

use crate::{
    forward::Forward,
    oot::net::filter::{
        HookSkb,
        Verdict, //
    }, //
};

pub(crate) use output::Context;
pub(crate) use route::source_to;

/// Sends a packet, or an ICMP error about a packet from the dest, to the dest of the conn.
#[inline(always)]
pub(crate) fn transmit<'h>(context: Context<'_>, skb: HookSkb<'h>) -> Verdict<'h> {
    match context.conn.forward() {
        Forward::DirectRoute => route::transmit::<dr::DirectRoute>(context, skb),
        Forward::Masq => route::transmit::<nat::Nat>(context, skb),
        Forward::Tunnel => tunnel(context, skb),
        Forward::Local => output::accept(context, skb),
        Forward::Bypass => bypass::transmit(context, skb),
        // As in C, where such a conn has no transmitter.
        Forward::Unknown => skb.accept(),
    }
}

/// Not inlined, unlike the other methods: encapsulation costs more than a call.
fn tunnel<'h>(context: Context<'_>, skb: HookSkb<'h>) -> Verdict<'h> {
    route::transmit::<tun::Tunnel>(context, skb)
}
