// SPDX-License-Identifier: GPL-2.0

//! Replies: with NAT, the source of a packet from the dest becomes the service's address and port.
//!
//! C version: `handle_response()`, `ip_vs_route_me_harder()` [net/netfilter/ipvs/ip_vs_core.c].

use super::{
    app,
    edit::Edit,
    fullnat::ToClient,
    icmp,
    output::{
        self,
        Context, //
    },
    route,
};
use crate::oot::net::{
    filter::{
        HookNum,
        HookSkb,
        Verdict, //
    },
    ip, //
};

/// Translates a packet from the dest, or an ICMP error about a packet to it, if the conn's
/// forwarding method is NAT.
///
/// Returns `None` if the translation fails. The packet must not be sent then.
#[inline(always)]
pub(crate) fn translate(context: Context<'_>, skb: &mut HookSkb<'_>) -> Option<()> {
    if !context.conn.is_masqueraded() {
        return Some(());
    }
    let Context { conn, packet, .. } = context;
    if conn.is_translated_rarely() || packet.is_in_icmp() {
        app::reply(context, skb)?;
        let edit = Edit::reply(conn, conn.local(context.rcu));
        // The device is not known until the packet is routed again.
        icmp::translate_rarely(&edit, packet, conn.proto, skb, false)?;
    } else {
        Edit::reply(conn, None).apply(packet, conn.proto, skb)?;
    }
    reroute(context, skb)
}

/// Translates a packet from the dest to the local end of a conn, or an ICMP error about a packet
/// from there, and sends it to the client.
pub(crate) fn send_to_client<'h>(context: Context<'_>, skb: HookSkb<'h>) -> Verdict<'h> {
    route::transmit_to_client::<ToClient>(context, skb)
}

/// Sends a reply along its current route.
#[inline(always)]
pub(crate) fn send<'h>(context: Context<'_>, skb: HookSkb<'h>) -> Verdict<'h> {
    output::accept_reply(context, skb)
}

/// Looks up the route again, since it may depend on the source address
/// (C: `ip_vs_route_me_harder()`).
#[inline(always)]
fn reroute(context: Context<'_>, skb: &mut HookSkb<'_>) -> Option<()> {
    if !context.netns.sysctl.snat_reroute() || context.place == HookNum::LocalIn {
        return Some(());
    }
    if skb.dst()?.is_local(context.rcu) {
        return Some(());
    }
    ip::route_me_harder(context.netns.net(), skb).ok()
}
