// SPDX-License-Identifier: GPL-2.0

//! FULLNAT: packets to a dest with NAT get an address and a port of this host as source, so that
//! replies come back to this host from anywhere.
//!
//! C has no such method.

use super::HookCtx;
use crate::{
    addr::{
        Addr,
        Port, //
    },
    conn::{
        Conn,
        ConnRef,
        Params, //
    },
    dest::Dest,
    forward::Forward,
    oot::net::{
        filter::{
            HookSkb,
            Verdict, //
        },
        ip, //
    },
    packet::Packet,
    ports::Ports,
    proto::direction::Direction,
    service::Service,
    uapi::IP_VS_SVC_F_SCHED3,
    xmit, //
};

impl<'a> HookCtx<'a> {
    /// Whether new conns of the service to `dest` get a local end.
    #[inline]
    pub(super) fn is_fullnat(self, service: &Service, dest: &Dest) -> bool {
        let is_wanted = || service.flags() & IP_VS_SVC_F_SCHED3 != 0;
        Forward::of(dest.conn_flags()) == Forward::Masq
            && (is_wanted() || self.netns.sysctl.fullnat())
    }

    /// The local end of a new conn: a listed address or, if none is listed for the dest's family,
    /// the one from which this host sends to the dest, and a port that no other conn to the dest
    /// uses. `None` if there is no route, or no port.
    #[cold]
    pub(super) fn local_end(self, params: &Params<'_>, dest: &Dest) -> Option<(Addr, Port)> {
        let (conns, sysctl) = (&self.netns.conns, &self.netns.sysctl);
        let range = sysctl.fullnat_ports();
        let listed = sysctl.fullnat_laddr(self.rcu()).and_then(|list| {
            let hash = conns.hash_of_start(params);
            list.at(dest.family, hash.checked_rem(list.len(dest.family))?)
        });
        let (addr, ports) = match listed {
            Some(addr) => (addr, Ports::all(range)),
            None => (
                xmit::source_to(self.netns, self.rcu(), dest)?,
                // Sockets of this host with the same address use these.
                Ports::new(range, ip::local_ports(self.netns.net())),
            ),
        };
        let port = conns.free_port(self.rcu(), params, &addr, &ports)?;
        Some((addr, port))
    }

    /// Sends the first packet of a conn that was added.
    pub(super) fn added<'h>(
        self,
        skb: HookSkb<'h>,
        conn: ConnRef<'a>,
        packet: &Packet,
    ) -> Verdict<'h> {
        if conn.has_local() && self.netns.conns.has_double(self.rcu(), conn) {
            Conn::kill(conn, self.rcu());
            return skb.drop_eperm();
        }
        self.first(skb, conn.get(), packet)
    }

    /// Handles a packet from the dest to the local end of a conn.
    #[inline(never)]
    pub(super) fn response_to_local<'h>(
        self,
        skb: HookSkb<'h>,
        conn: ConnRef<'a>,
        packet: &Packet,
    ) -> Verdict<'h> {
        let context = self.context_of(conn, packet);
        self.count_out(context.dest, &skb);
        self.touch::<true>(conn, Direction::Output, packet);
        xmit::reply::send_to_client(context, skb)
    }
}
