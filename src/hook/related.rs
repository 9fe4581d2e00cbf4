// SPDX-License-Identifier: GPL-2.0

//! AH and ESP: packets related to the conn of an ISAKMP exchange.
//!
//! The conn is the one from the client's UDP port 500 to that of the service. Its dest gets the AH
//! and ESP packets between the same addresses, and they keep the conn from expiring. They start no
//! conn and have no states. Their IP headers are translated, but nothing behind them. IPv4
//! fragments are not reassembled.
//!
//! C version: [net/netfilter/ipvs/ip_vs_proto_ah_esp.c].

use super::HookCtx;
use crate::{
    conn::{
        Conn,
        ConnRef, //
    },
    oot::net::filter::{
        HookSkb,
        Verdict, //
    },
    packet::Packet,
    proto::direction::Direction,
    xmit, //
};

impl<'a> HookCtx<'a> {
    /// Handles an AH or ESP packet.
    #[cold]
    pub(super) fn related<'h>(self, skb: HookSkb<'h>, packet: &Packet) -> Verdict<'h> {
        match self.isakmp(packet) {
            Some((Direction::Output, conn)) => self.related_response(skb, conn, packet),
            Some((_, conn)) if self.may_request(&skb) => self.related_request(skb, conn, packet),
            _ => skb.accept(),
        }
    }

    /// Handles an ICMP error that quotes such a packet.
    pub(super) fn related_error<'h>(self, skb: HookSkb<'h>, inner: &Packet) -> Verdict<'h> {
        match self.isakmp(inner) {
            Some((Direction::Output, conn)) => self.icmp_out(skb, inner, conn),
            Some((_, conn)) if self.may_translate_in(&skb) => self.icmp_in(skb, inner, conn),
            _ => skb.accept(),
        }
    }

    /// The conn of the ISAKMP exchange, and the direction of the packet.
    fn isakmp(self, packet: &Packet) -> Option<(Direction, ConnRef<'a>)> {
        self.netns.conns.find(self.rcu(), &packet.as_isakmp())
    }

    fn related_request<'h>(
        self,
        skb: HookSkb<'h>,
        conn: ConnRef<'a>,
        packet: &Packet,
    ) -> Verdict<'h> {
        let dest = conn.get().dest(self.rcu());
        if dest.is_some_and(|dest| !dest.is_available()) {
            return self.without_dest(skb, conn);
        }
        if !Conn::keep(conn) {
            return skb.accept();
        }
        if let Some(dest) = dest {
            self.count_in(dest, &skb);
        }
        xmit::transmit(self.context(conn.get(), dest, packet), skb)
    }

    /// Handles a packet whose conn has a dest that was removed.
    fn without_dest<'h>(self, skb: HookSkb<'h>, conn: ConnRef<'a>) -> Verdict<'h> {
        if !self.netns.sysctl.expire_nodest_conn() {
            return skb.drop_eperm();
        }
        let has_old_entry = skb.has_confirmed_conntrack();
        if !has_old_entry {
            conn.leave_conntrack();
        }
        Conn::kill(conn, self.rcu());
        match has_old_entry {
            true => skb.drop_eperm(),
            false => skb.accept(),
        }
    }

    fn related_response<'h>(
        self,
        mut skb: HookSkb<'h>,
        conn: ConnRef<'a>,
        packet: &Packet,
    ) -> Verdict<'h> {
        Conn::keep(conn);
        let context = self.context_of(conn, packet);
        if xmit::reply::translate(context, &mut skb).is_none() {
            return skb.drop_silently();
        }
        self.count_out(context.dest, &skb);
        xmit::reply::send(context, skb)
    }
}
