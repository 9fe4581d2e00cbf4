// SPDX-License-Identifier: GPL-2.0

//! Transmitters: how a packet gets to its dest.
//!
//! C version: [net/netfilter/ipvs/ip_vs_xmit.c].

mod dr;
pub(crate) mod icmp;
pub(crate) mod nat;
pub(crate) mod route;
mod tun;

use crate::{
    addr::Family,
    conn::Conn,
    netns::Netns,
    oot::net::{
        filter::{
            HookSkb,
            Pf,
            Verdict, //
        },
        ip,
        namespace::PerNet,
        skbuff::Skb, //
    },
    packet::{
        Packet,
        Ports, //
    },
    uapi::*, //
};
use kernel::sync::rcu;

/// The forwarding methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    /// NAT: the packet gets the dest's address, and replies the service's.
    Masq,
    /// To the local stack.
    Local,
    /// In a tunnel.
    Tunnel,
    /// Direct routing: as it is, by the link to the dest.
    DirectRoute,
    /// To where its own destination address leads (C: `ip_vs_bypass_xmit()`). C drops what leads to
    /// this host, as all that came in by LOCAL_IN does. Here all is dropped as yet.
    Bypass,
    /// A number that is none of these. Nothing is sent.
    Unknown,
}

impl Forward {
    /// The method in the low bits of a conn's or dest's flags.
    #[inline(always)]
    pub(crate) const fn of(flags: u32) -> Self {
        match flags & IP_VS_CONN_F_FWD_MASK {
            IP_VS_CONN_F_MASQ => Self::Masq,
            IP_VS_CONN_F_LOCALNODE => Self::Local,
            IP_VS_CONN_F_TUNNEL => Self::Tunnel,
            IP_VS_CONN_F_DROUTE => Self::DirectRoute,
            IP_VS_CONN_F_BYPASS => Self::Bypass,
            _ => Self::Unknown,
        }
    }
}

/// What a transmitter works with.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) netns: &'a PerNet<Netns>,
    pub(crate) rcu: &'a rcu::Guard,
    pub(crate) conn: &'a Conn,
    pub(crate) packet: &'a Packet,
}

/// Sends a packet to the dest of its conn.
#[inline(always)]
pub(crate) fn transmit<'h>(context: Context<'_>, ports: &Ports, skb: HookSkb<'h>) -> Verdict<'h> {
    match context.conn.forward() {
        Forward::DirectRoute => dr::transmit(context, skb),
        Forward::Masq => nat::transmit(context, ports, skb),
        Forward::Tunnel => tun::transmit(context, skb),
        Forward::Local => accept_local(skb),
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
        Forward::Local => accept_local(skb),
        Forward::Bypass => skb.free(),
        Forward::Masq | Forward::Unknown => skb.accept(),
    }
}

/// The packet's dest is this host: it goes on up the stack (C: `ip_vs_null_xmit()`).
fn accept_local(mut skb: HookSkb<'_>) -> Verdict<'_> {
    skb.set_ipvs_property();
    skb.notrack();
    skb.accept()
}

/// Sends a packet that has its route to the dest (C: `ip_vs_send_or_cont()`).
#[inline(always)]
fn send<'h>(context: Context<'_>, mut skb: HookSkb<'h>) -> Verdict<'h> {
    // We do our own fragmentation checks.
    skb.set_ignore_df();
    skb.set_ipvs_property();
    skb.notrack();
    drop_early_demux(&mut skb);
    skb.forget_receive_state();
    let (skb, verdict) = skb.steal();
    ip::output(context.netns.net(), pf(context.packet.family), skb);
    verdict
}

/// A packet from outside may have been given to a socket of this host, where it does not go.
#[inline(always)]
fn drop_early_demux(skb: &mut Skb) {
    if skb.has_dev() {
        skb.orphan();
    }
}

#[inline(always)]
pub(crate) fn pf(family: Family) -> Pf {
    match family {
        Family::Inet => Pf::Inet,
        Family::Inet6 => Pf::Inet6,
    }
}
