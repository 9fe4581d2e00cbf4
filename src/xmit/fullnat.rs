// SPDX-License-Identifier: GPL-2.0

//! FULLNAT: a packet from the dest to the local end of a conn gets the service's address and port
//! as source and the client's as destination.

use super::{
    edit::Edit,
    icmp,
    output::{
        self,
        Context, //
    },
    route::{
        RouteFlags,
        Target,
        Transmitter, //
    },
    toa, //
};
use crate::oot::net::{
    filter::{
        HookSkb,
        Verdict, //
    },
    skbuff::Skb, //
};

/// The transmitter of packets to the client, and of ICMP errors about packets from it.
pub(super) struct ToClient;

impl Transmitter for ToClient {
    #[inline(always)]
    fn flags(_context: Context<'_>) -> RouteFlags {
        RouteFlags::NAT
    }

    #[inline(always)]
    fn send<'h>(context: Context<'_>, mut skb: HookSkb<'h>, target: Target<'_>) -> Verdict<'h> {
        match translate(context, &target, &mut skb) {
            Some(()) => output::send_reply(context, skb, target.route()),
            None => skb.drop_silently(),
        }
    }
}

/// Makes room for the link-layer header and translates both ends.
fn translate(context: Context<'_>, target: &Target<'_>, skb: &mut Skb) -> Option<()> {
    let Context { conn, packet, .. } = context;
    let dst = target.dst(skb)?;
    let (headroom, sums_sctp) = (dst.hard_header_len(context.rcu), dst.sums_sctp(context.rcu));
    skb.cow(headroom).ok()?;
    let edit = Edit::reply(conn, conn.local(context.rcu));
    icmp::translate_rarely(&edit, packet, conn.proto, skb, sums_sctp)?;
    toa::reply(context, skb)
}
