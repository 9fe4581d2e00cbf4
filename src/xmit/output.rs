// SPDX-License-Identifier: GPL-2.0

//! The last step of all transmitters: passing the packet back to the IP stack.
//!
//! C version: `ip_vs_send_or_cont()`, `ip_vs_nat_send_or_cont()`, `ip_vs_tunnel_xmit_prepare()`
//! [net/netfilter/ipvs/ip_vs_xmit.c].

use crate::{
    addr::Family,
    conn::{
        tuple_end,
        Conn, //
    },
    dest::Dest,
    netns::Netns,
    oot::net::{
        filter::{
            HookNum,
            HookSkb,
            Verdict, //
        },
        ip,
        pernet::PerNet,
        skbuff::{
            SkBuff,
            Skb,
            SkbRoute, //
        }, //
    },
    packet::Packet,
    proto::direction::Direction,
    uapi::{
        IPPROTO_ICMP,
        IPPROTO_ICMPV6, //
    }, //
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

/// Marks a packet as handled by IPVS, so that later hooks skip it. Its conntrack entry is adapted
/// if connection tracking follows the conn, and dropped if not.
#[inline(always)]
fn mark(context: Context<'_>, direction: Direction, skb: &mut Skb) {
    skb.set_ipvs_property();
    if context.conn.is_tracked() {
        track(context, direction, skb);
    } else {
        skb.notrack();
    }
}

/// Sets the reply tuple of the conntrack entry of a packet that starts a connection, for replies
/// after NAT (C: `ip_vs_update_conntrack()`). Unlike in C, the connection is kept out of
/// flowtables, which would not translate its packets.
#[cold]
fn track(context: Context<'_>, direction: Direction, skb: &mut Skb) {
    let Context { conn, rcu, .. } = context;
    // No reply to a single packet is translated.
    if conn.is_one_packet() {
        return;
    }
    let Some(mut entry) = skb.new_conntrack() else {
        return;
    };
    entry.forbid_offload();
    if !conn.is_masqueraded() || conn.has_app() && !entry.allow_seq_adjustment() {
        return;
    }
    entry.alter_reply(|reply| match direction {
        // Entries of ICMP have no ports: no error starts a connection.
        _ if matches!(reply.protocol(), IPPROTO_ICMP | IPPROTO_ICMPV6) => (),
        Direction::Output => {
            reply.set_destination(tuple_end(conn.service()));
            if conn.has_local() {
                reply.set_source(tuple_end(conn.client()));
            }
        }
        _ => {
            reply.set_source(tuple_end(conn.dest_end()));
            if let Some(local) = conn.local(rcu) {
                reply.set_destination(tuple_end(local));
            }
        }
    });
}

/// Accepts a packet to the dest, which is delivered along its current route
/// (C: `ip_vs_null_xmit()`).
#[inline(always)]
pub(super) fn accept<'h>(context: Context<'_>, mut skb: HookSkb<'h>) -> Verdict<'h> {
    mark(context, Direction::Input, &mut skb);
    skb.accept()
}

/// Accepts a packet from the dest, which is forwarded along its current route.
#[inline(always)]
pub(super) fn accept_reply<'h>(context: Context<'_>, mut skb: HookSkb<'h>) -> Verdict<'h> {
    mark(context, Direction::Output, &mut skb);
    skb.accept()
}

/// Sends a packet along the route to the dest.
#[inline(always)]
pub(super) fn send<'h>(context: Context<'_>, skb: HookSkb<'h>, route: SkbRoute<'_>) -> Verdict<'h> {
    send_in(Direction::Input, context, skb, route)
}

#[inline(always)]
fn send_in<'h>(
    direction: Direction,
    context: Context<'_>,
    mut skb: HookSkb<'h>,
    route: SkbRoute<'_>,
) -> Verdict<'h> {
    drop_early_demux(&mut skb);
    // The size has been checked already.
    skb.set_ignore_df();
    mark(context, direction, &mut skb);
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
    accept(context, skb)
}

/// Sends a translated packet along the route to the client, or accepts it if `route` is `None`,
/// which means that the client is this host.
pub(super) fn send_reply<'h>(
    context: Context<'_>,
    mut skb: HookSkb<'h>,
    route: Option<SkbRoute<'_>>,
) -> Verdict<'h> {
    if let Some(route) = route {
        return send_in(Direction::Output, context, skb, route);
    }
    skb.set_ignore_df();
    drop_early_demux(&mut skb);
    accept_reply(context, skb)
}

/// Sends a packet with its outer header (C: `ip_vs_tunnel_xmit_prepare()`). The conntrack entry
/// belongs to the inner packet: it is confirmed, if connection tracking follows the conn, and then
/// dropped.
pub(super) fn send_outer<'h>(context: Context<'_>, mut skb: SkBuff<'h>, route: SkbRoute<'h>) {
    skb.set_ignore_df();
    skb.set_ipvs_property();
    if context.conn.is_tracked() && !confirm(&mut skb) {
        return;
    }
    skb.reset_conntrack();
    skb.forget_receive_state();
    ip::local_out(context.netns.net(), skb, route);
}

/// Adds the conntrack entry of a packet that starts a connection to the table. Returns false if the
/// packet must be dropped.
#[cold]
fn confirm(skb: &mut Skb) -> bool {
    if let Some(mut entry) = skb.new_conntrack() {
        entry.forbid_offload();
    }
    skb.confirm_conntrack()
}

/// Detaches a received packet from the local socket that early demux may have found
/// (C: `ip_vs_drop_early_demux_sk()`).
#[inline(always)]
pub(super) fn drop_early_demux(skb: &mut Skb) {
    if skb.has_dev() {
        skb.orphan();
    }
}
