// SPDX-License-Identifier: GPL-2.0

//! Bypass: the packet is sent to its own destination address, past the dests.
//!
//! C version: `ip_vs_bypass_xmit()` [net/netfilter/ipvs/ip_vs_xmit.c].

use super::{
    dr::DirectRoute,
    output::Context,
    route::{
        self,
        RouteFlags,
        Target,
        Transmitter, //
    }, //
};
use crate::oot::net::filter::{
    HookSkb,
    Verdict, //
};

/// The transmitter of packets to their own destination.
struct Bypass;

impl Transmitter for Bypass {
    fn flags(_context: Context<'_>) -> RouteFlags {
        RouteFlags::BYPASS
    }

    fn send<'h>(context: Context<'_>, skb: HookSkb<'h>, target: Target<'_>) -> Verdict<'h> {
        DirectRoute::send(context, skb, target)
    }
}

/// Sends a packet along the route to its destination. The dest, if the conn has one, is not used.
#[cold]
pub(super) fn transmit<'h>(context: Context<'_>, skb: HookSkb<'h>) -> Verdict<'h> {
    let context = Context {
        dest: None,
        ..context
    };
    route::transmit::<Bypass>(context, skb)
}
