// SPDX-License-Identifier: GPL-2.0

//! The last step of all transmitters: passing the packet back to the IP stack.
//!
//! C version: `ip_vs_send_or_cont()`, `ip_vs_nat_send_or_cont()`, `ip_vs_tunnel_xmit_prepare()`
//! [net/netfilter/ipvs/ip_vs_xmit.c].

use crate::{
    addr::Family,
    conn::Conn,
    dest::Dest,
    netns::Netns,
    oot::net::{
        filter::{
            HookNum,
            HookSkb,
            Verdict, //
        },
        ip,
        nf_proto::NfProto,
        pernet::PerNet,
        skbuff::{
            SkBuff,
            Skb,
            SkbRoute, //
        }, //
    },
    packet::Packet, //
};
use kernel::sync::rcu;

/// The input of a transmitter.
#[derive(Clone, Copy)]
pub(crate) struct Context<'a> {
    pub(crate) netns: &'a PerNet<Netns>,
    pub(crate) rcu: &'a rcu::Guard,
    /// The hook point at which IPVS received the packet.
    pub(crate) place: HookNum,
    pub(crate) conn: &'a Conn,
    /// The conn's dest; `None` if it is not configured.
    pub(crate) dest: Option<&'a Dest>,
    pub(crate) packet: &'a Packet,
}

impl Context<'_> {
    /// The family of the dest's address, or of the client's if the dest is not configured.
    #[inline]
    pub(super) fn dest_family(&self) -> Family {
        self.dest.map_or(self.conn.family, |dest| dest.family)
    }
}

/// Marks a packet as handled by IPVS, so that later hooks skip it, and disables its conntrack.
#[inline(always)]
fn mark(skb: &mut Skb) {
    skb.set_ipvs_property();
    skb.notrack();
}

/// Accepts a packet, which is delivered or forwarded along its current route
/// (C: `ip_vs_null_xmit()`).
#[inline(always)]
pub(super) fn accept(mut skb: HookSkb<'_>) -> Verdict<'_> {
    mark(&mut skb);
    skb.accept()
}

/// Sends a packet along the route to the dest.
#[inline(always)]
pub(super) fn send<'h>(
    context: Context<'_>,
    mut skb: HookSkb<'h>,
    route: SkbRoute<'_>,
) -> Verdict<'h> {
    drop_early_demux(&mut skb);
    // The size has been checked already.
    skb.set_ignore_df();
    mark(&mut skb);
    skb.forget_receive_state();
    let (skb, verdict) = skb.steal();
    ip::output(context.netns.net(), skb, route);
    verdict
}

/// Sends a translated packet along the route to the dest, or accepts it if `route` is `None`, which
/// means that the dest is this host.
#[inline(always)]
pub(super) fn send_translated<'h>(
    context: Context<'_>,
    mut skb: HookSkb<'h>,
    route: Option<SkbRoute<'_>>,
) -> Verdict<'h> {
    let conn = context.conn;
    if let Some(route) = route {
        return send(context, skb, route);
    }
    skb.set_ignore_df();
    // The socket found by early demux is valid only if the translation changed nothing.
    if conn.vport != conn.dport || conn.vaddr != conn.daddr {
        drop_early_demux(&mut skb);
    }
    accept(skb)
}

/// Sends a packet with its outer header (C: `ip_vs_tunnel_xmit_prepare()`). The conntrack entry
/// belongs to the inner packet, so it is dropped.
pub(super) fn send_outer<'h>(context: Context<'_>, mut skb: SkBuff<'h>, route: SkbRoute<'h>) {
    skb.set_ignore_df();
    skb.set_ipvs_property();
    skb.reset_conntrack();
    skb.forget_receive_state();
    ip::local_out(context.netns.net(), skb, route);
}

/// Detaches a received packet from the local socket that early demux may have found
/// (C: `ip_vs_drop_early_demux_sk()`).
#[inline(always)]
pub(super) fn drop_early_demux(skb: &mut Skb) {
    if skb.has_dev() {
        skb.orphan();
    }
}

/// The netfilter protocol of an address family.
#[inline(always)]
pub(crate) const fn nf_proto(family: Family) -> NfProto {
    match family {
        Family::Inet => NfProto::Ipv4,
        Family::Inet6 => NfProto::Ipv6,
    }
}
