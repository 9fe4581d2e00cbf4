// SPDX-License-Identifier: GPL-2.0

//! NAT: the destination of a packet to the service becomes the dest's address and port.
//!
//! C version: `ip_vs_nat_xmit()`, `ip_vs_icmp_xmit()` [net/netfilter/ipvs/ip_vs_xmit.c].

use super::{
    app,
    edit::Edit,
    icmp,
    output::{
        self,
        Context, //
    },
    route::{
        is_loopback6,
        RouteFlags,
        Target,
        Transmitter, //
    },
    toa, //
};
use crate::{
    addr::Family,
    oot::net::{
        filter::{
            HookNum,
            HookSkb,
            Verdict, //
        },
        skbuff::{
            IpSummed,
            Skb, //
        }, //
    },
};

/// The transmitter of packets to the dest, and of ICMP errors about packets from it.
pub(super) struct Nat;

impl Transmitter for Nat {
    #[inline(always)]
    fn flags(context: Context<'_>) -> RouteFlags {
        // At the forward hook, only ICMP errors are sent to dests.
        match context.place {
            HookNum::Forward => RouteFlags::NAT_FORWARDED,
            _ => RouteFlags::NAT,
        }
    }

    #[inline(always)]
    fn send<'h>(context: Context<'_>, mut skb: HookSkb<'h>, target: Target<'_>) -> Verdict<'h> {
        if is_leak(context, &target, &skb)
            || is_clash(context, &target, &skb)
            || make_room(context, &target, &mut skb).is_none()
            || translate(context, &target, &mut skb).is_none()
        {
            return skb.drop_silently();
        }
        output::send_translated(context, skb, target.route())
    }
}

/// Translates the destination, and the source if the conn has a local end.
#[inline(always)]
fn translate(context: Context<'_>, target: &Target<'_>, skb: &mut Skb) -> Option<()> {
    let Context { conn, packet, .. } = context;
    if conn.is_translated_rarely() || packet.is_in_icmp() {
        app::request(context, skb)?;
        let edit = Edit::request(conn, conn.local(context.rcu));
        let sums_sctp = skb.ip_summed() == IpSummed::Partial
            && target
                .dst(skb)
                .is_some_and(|dst| dst.sums_sctp(context.rcu));
        icmp::translate_rarely(&edit, packet, conn.proto, skb, sums_sctp)?;
        return toa::request(context, target, skb);
    }
    Edit::request(conn, None).apply(packet, conn.proto, skb)
}

/// Whether a packet from another host would be sent to a loopback address of this host.
#[inline(always)]
fn is_leak(context: Context<'_>, target: &Target<'_>, skb: &Skb) -> bool {
    matches!(target, Target::Local) && is_loopback(context) && is_from_outside(context, skb)
}

/// Whether connection tracking would see the replies of a received conn twice, since the dest is
/// this host.
#[inline(always)]
fn is_clash(context: Context<'_>, target: &Target<'_>, skb: &Skb) -> bool {
    matches!(target, Target::Local) && context.conn.is_received() && skb.conntrack().is_some()
}

/// Whether the packet was received from another host.
fn is_from_outside(context: Context<'_>, skb: &Skb) -> bool {
    match context.packet.family {
        Family::Inet => skb.is_input_route4(),
        Family::Inet6 => skb.has_dev() && !skb.dev_is_loopback(),
    }
}

/// Whether the dest has a loopback address, which other hosts must not reach.
fn is_loopback(context: Context<'_>) -> bool {
    let daddr = &context.conn.daddr;
    match context.packet.family {
        Family::Inet => matches!(daddr.v4(), [127, ..]),
        Family::Inet6 => is_loopback6(daddr),
    }
}

/// Makes the packet writable, with headroom for the link-layer header (C: `skb_cow()`).
#[inline(always)]
fn make_room(context: Context<'_>, target: &Target<'_>, skb: &mut Skb) -> Option<()> {
    let headroom = target.dst(skb)?.hard_header_len(context.rcu);
    skb.cow(headroom).ok()
}
