// SPDX-License-Identifier: GPL-2.0

//! Packets from dests.
//!
//! C version: `handle_response()` [net/netfilter/ipvs/ip_vs_core.c].

use super::{
    Call,
    Place, //
};
use crate::{
    addr::Family,
    conn::{
        Conn,
        ConnRef, //
    },
    forward::Forward,
    oot::net::{
        filter::{
            HookSkb,
            Verdict, //
        },
        ip, //
    },
    packet::{
        Packet,
        Ports, //
    },
    proto::direction::Direction,
    xmit::nat::{
        self,
        End, //
    }, //
};

impl<'a> Call<'a> {
    /// A packet of a conn, from its dest: under NAT it becomes the service's.
    #[inline(always)]
    pub(super) fn response<'h>(
        self,
        mut skb: HookSkb<'h>,
        conn: ConnRef<'a>,
        packet: &Packet,
        ports: &Ports,
    ) -> Verdict<'h> {
        if conn.forward() == Forward::Masq {
            if nat::rewrite(conn.get(), packet, ports, End::Source, &mut skb).is_none()
                || self.reroute(&mut skb).is_none()
            {
                return skb.free();
            }
        }
        self.count_out(conn, &skb);
        Conn::touch(
            conn,
            self.rcu,
            &self.netns.timeouts,
            Direction::Output,
            ports,
        );
        skb.set_ipvs_property();
        skb.notrack();
        skb.accept()
    }

    /// A packet whose source has changed may have another way to go (C: `ip_vs_route_me_harder()`).
    pub(super) fn reroute(self, skb: &mut HookSkb<'_>) -> Option<()> {
        if !self.netns.sysctl.snat_reroute() || self.place == Place::LocalIn {
            return Some(());
        }
        let net = self.netns.net();
        let local = match self.family {
            Family::Inet => skb.dst()?.is_local4(),
            Family::Inet6 => skb.dst()?.is_local6(),
        };
        if local {
            return Some(());
        }
        match self.family {
            Family::Inet => ip::route_me_harder4(net, skb),
            Family::Inet6 => ip::route_me_harder6(net, skb),
        }
        .ok()
    }
}
