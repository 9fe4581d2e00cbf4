// SPDX-License-Identifier: GPL-2.0

//! FULLNAT: packets to a dest with NAT get an address and a port of this host as source, so that
//! replies come back to this host from anywhere.
//!
//! C has no such method.

use super::HookCtx;
use crate::{
    addr::Addr,
    conn::{
        local::Local,
        Conn,
        ConnRef,
        Params, //
    },
    dest::Dest,
    forward::{
        self,
        Forward, //
    },
    laddr,
    netns::Netns,
    oot::net::{
        filter::{
            HookSkb,
            Verdict, //
        },
        ip, //
    },
    packet::Packet,
    ports::{
        Ends,
        Ports, //
    },
    proto::{
        direction::Direction,
        Proto, //
    },
    sched::Kind,
    service::{
        Pool,
        Service, //
    },
    uapi::{
        IP_VS_SVC_F_SCHED1,
        IP_VS_SVC_F_SCHED3, //
    },
    xmit, //
};
use kernel::{
    prelude::*,
    str::BStr, //
};

impl<'a> HookCtx<'a> {
    /// Whether new conns of the service to `dest` get a local end.
    #[inline]
    pub(super) fn is_fullnat(self, service: &Service, dest: &Dest) -> bool {
        let flags = dest.conn_flags();
        let is_wanted = || service.flags() & IP_VS_SVC_F_SCHED3 != 0 || forward::is_fullnat(flags);
        Forward::of(flags) == Forward::Masq && (is_wanted() || self.netns.sysctl.fullnat())
    }

    /// Whether packets to the real servers of a FULLNAT service have the client's address as an
    /// option. For sh and mh, which use the flag themselves, only the sysctl says that.
    pub(super) fn has_toa(self, service: &Service, proto: Proto) -> bool {
        if proto != Proto::Tcp {
            return false;
        }
        let kind = service.pool(self.rcu()).and_then(Pool::kind);
        let has_own = kind.is_some_and(Kind::uses_flags);
        !has_own && service.flags() & IP_VS_SVC_F_SCHED1 != 0 || self.netns.sysctl.fullnat_client()
    }

    /// The local end of a new conn: a listed address or, if none is listed for the dest's family,
    /// the one from which this host sends to the dest, and a port, which no other conn to the dest
    /// uses together. `None` if there is no route, or no such end.
    #[cold]
    pub(super) fn local_end(self, params: &Params<'_>, dest: &Dest) -> Option<Local> {
        let (conns, sysctl) = (&self.netns.conns, &self.netns.sysctl);
        let (family, range) = (dest.family, sysctl.fullnat_ports());
        let listed = sysctl
            .fullnat_laddr(self.rcu())
            .filter(|list| list.len(family) != 0);
        let found = match listed {
            Some(list) => {
                let ends = Ends {
                    ports: &Ports::all(range),
                    addrs: list.len(family),
                    reserved: |_| 0,
                };
                let addr_of = |index| list.at(family, index).unwrap_or(Addr::ANY);
                conns.free_end(self.rcu(), params, &ends, addr_of)
            }
            None => {
                // Sockets of this host use the other ports with the same address.
                let net = self.netns.net();
                let ends = Ends {
                    ports: &Ports::new(range, ip::local_ports(net)),
                    addrs: 1,
                    reserved: |block| ip::reserved_ports(net, block),
                };
                let addr = xmit::source_to(self.netns, self.rcu(), dest)?;
                conns.free_end(self.rcu(), params, &ends, |_| addr)
            }
        };
        if found.is_none() && conns.locals.count_exhausted() {
            warn_exhausted(params);
        }
        found
    }

    /// Sends the first packet of a conn that was added. Drops it if the conn was not added.
    pub(super) fn added<'h>(
        self,
        skb: HookSkb<'h>,
        params: &Params<'_>,
        conn: Option<ConnRef<'a>>,
        packet: &Packet,
    ) -> Verdict<'h> {
        let Some(conn) = conn else {
            if let Some(local) = &params.local {
                self.netns.conns.locals.release(local);
            }
            return skb.drop_eperm();
        };
        if conn.has_local() && self.netns.conns.double_of(self.rcu(), conn).is_some() {
            Conn::kill(conn, self.rcu());
            return skb.drop_eperm();
        }
        self.first(skb, conn.get(), packet)
    }

    /// Keeps the local end of a conn that is about to be killed, if it has one, from other conns
    /// while the real server may have the connection in `TIME_WAIT`.
    pub(super) fn reserve(self, old: ConnRef<'a>) {
        if old.has_local() {
            let Netns {
                conns, protocols, ..
            } = &**self.netns;
            conns.reserve(self.rcu(), old, protocols);
        }
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
        conn.set_answered(self.rcu());
        xmit::reply::send_to_client(context, skb)
    }
}

/// Warns that a conn with these parameters gets no local end.
fn warn_exhausted(params: &Params<'_>) {
    let mut text = [0; 48];
    let len = laddr::print_addr(params.family, params.daddr, &mut text);
    pr_warn!(
        "no local end is left for connections to {} port {}; \
         see net.ipv4.vs.fullnat_ports and net.ipv4.vs.fullnat_laddr\n",
        BStr::from_bytes(text.get(..len).unwrap_or_default()),
        params.dport.host()
    );
}
