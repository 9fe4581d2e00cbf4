// SPDX-License-Identifier: GPL-2.0

//! Replies: under NAT, a packet from the dest gets the service's address and port.
//!
//! C version: `handle_response()`, `ip_vs_route_me_harder()` [net/netfilter/ipvs/ip_vs_core.c].

use super::{
    edit::Edit,
    icmp,
    output::{
        self,
        Context, //
    },
};
use crate::{
    addr::Family,
    forward::Forward,
    oot::net::{
        filter::{
            HookNum,
            HookSkb,
            Verdict, //
        },
        ip, //
    },
};

/// Translates a packet from the dest, or an ICMP error about a packet to it, as the conn's
/// forwarding method asks for.
///
/// `None` if that is impossible; the packet is not to be sent then.
#[inline(always)]
pub(crate) fn translate(context: Context<'_>, skb: &mut HookSkb<'_>) -> Option<()> {
    if context.conn.forward() != Forward::Masq {
        return Some(());
    }
    let edit = Edit::reply(context.conn);
    match &context.packet.outer {
        None => edit.apply(context.packet, skb)?,
        Some(outer) => icmp::translate(&edit, context.packet, outer, skb)?,
    }
    reroute(context, skb)
}

/// Lets a translated reply go on its way.
#[inline(always)]
pub(crate) fn send(skb: HookSkb<'_>) -> Verdict<'_> {
    output::accept(skb)
}

/// A packet whose source has changed may need another route.
#[inline(always)]
fn reroute(context: Context<'_>, skb: &mut HookSkb<'_>) -> Option<()> {
    if !context.netns.sysctl.snat_reroute() || context.place == HookNum::LocalIn {
        return Some(());
    }
    let net = context.netns.net();
    let local = match context.packet.family {
        Family::Inet => skb.dst()?.is_local4(),
        Family::Inet6 => skb.dst()?.is_local6(),
    };
    if local {
        return Some(());
    }
    match context.packet.family {
        Family::Inet => ip::route_me_harder4(net, skb),
        Family::Inet6 => ip::route_me_harder6(net, skb),
    }
    .ok()
}
