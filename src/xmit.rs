// SPDX-License-Identifier: GPL-2.0

//! Transmitters: how a packet gets to its dest.
//!
//! C version: [net/netfilter/ipvs/ip_vs_xmit.c].

mod dr;
pub(crate) mod icmp;
pub(crate) mod nat;
pub(crate) mod output;
mod route;
mod tun;

use crate::{
    forward::Forward,
    oot::net::filter::{
        HookSkb,
        Verdict, //
    },
    packet::Ports, //
};

pub(crate) use output::Context;

/// Sends a packet to the dest of its conn.
#[inline(always)]
pub(crate) fn transmit<'h>(context: Context<'_>, ports: &Ports, skb: HookSkb<'h>) -> Verdict<'h> {
    match context.conn.forward() {
        Forward::DirectRoute => dr::transmit(context, skb),
        Forward::Masq => nat::transmit(context, ports, skb),
        Forward::Tunnel => tun::transmit(context, skb),
        Forward::Local => output::accept(skb),
        Forward::Bypass => skb.free(),
        // C has no transmitter for it either and lets the packet go on.
        Forward::Unknown => skb.accept(),
    }
}

/// Sends an ICMP error that is not translated: as any packet of its conn.
pub(crate) fn transmit_untranslated<'h>(context: Context<'_>, skb: HookSkb<'h>) -> Verdict<'h> {
    match context.conn.forward() {
        Forward::DirectRoute => dr::transmit(context, skb),
        Forward::Tunnel => tun::transmit(context, skb),
        Forward::Local => output::accept(skb),
        Forward::Bypass => skb.free(),
        Forward::Masq | Forward::Unknown => skb.accept(),
    }
}
