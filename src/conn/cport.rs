// SPDX-License-Identifier: GPL-2.0

//! Conns without client port, for data connections that a client will open from a port that is not
//! known yet.
//!
//! Such a conn is in the table of the templates, so that packets do not traverse it. It is searched
//! only for packets that belong to no conn, and only while there is such a conn. The first packet
//! replaces it by a conn with the packet's port, so the port of a conn never changes.
//!
//! C version: `ip_vs_conn_in_get()`, `ip_vs_conn_fill_cport()` [net/netfilter/ipvs/ip_vs_conn.c].

use super::{
    table::ConnTable,
    Conn,
    ConnRef,
    End,
    Params,
    HAS_APP, //
};
use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    oot::sync::{
        Once,
        RcuHash, //
    },
    packet::Packet,
    proto::ProtoData,
    uapi::IP_VS_CONN_F_NO_CPORT, //
};
use kernel::sync::{
    atomic::Relaxed,
    rcu, //
};

impl Conn {
    /// Whether the client's port is not known yet.
    pub(crate) fn is_portless(&self) -> bool {
        self.flags() & IP_VS_CONN_F_NO_CPORT != 0
    }

    /// Whether this is the conn without client port of this protocol and client. `end` is that of
    /// the service.
    fn is_portless_for(&self, family: Family, protocol: u8, caddr: &Addr, end: End<'_>) -> bool {
        self.is_portless()
            && self.proto as u8 == protocol
            && self.family == family
            && self.caddr == *caddr
            && self.vport == end.1
            && self.vaddr == *end.0
    }

    /// Counts a conn without client port.
    pub(super) fn count_portless(&self, guard: &rcu::Guard, change: i32) {
        if let Some(counts) = self.ext.get(guard).and_then(|ext| ext.counts.as_ref()) {
            counts.portless(self.family).fetch_add(change, Relaxed);
        }
    }
}

impl ConnTable {
    /// Whether there is a conn without client port.
    #[inline]
    pub(crate) fn has_portless(&self, family: Family) -> bool {
        self.counts.portless(family).read_once() != 0
    }

    /// Returns the conn without client port that a packet to a service belongs to.
    #[cold]
    pub(crate) fn find_portless<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        packet: &Packet,
    ) -> Option<ConnRef<'g>> {
        let Packet {
            family, protocol, ..
        } = *packet;
        let (caddr, end) = (&packet.saddr, (&packet.daddr, packet.dport));
        let hash = self.hash_of(family, protocol, (caddr, Port::ZERO), end);
        self.templates.find(guard, hash, |link, conn| {
            link == 0 && conn.is_portless_for(family, protocol, caddr, end)
        })
    }

    /// Returns the conn without client port of the dest's end `from` and the client of `control`.
    pub(crate) fn find_portless_of<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        control: &Conn,
        from: End<'_>,
    ) -> Option<ConnRef<'g>> {
        let Conn { family, proto, .. } = *control;
        let client = (&control.caddr, Port::ZERO);
        let hash = self.hash_of(family, proto as u8, client, from);
        self.templates.find(guard, hash, |link, conn| {
            link == 1
                && conn.is_portless()
                && conn.proto == proto
                && conn.family == family
                && conn.caddr == control.caddr
                && conn.dport == from.1
                && conn.daddr == *from.0
        })
    }

    /// Replaces a conn without client port by one with the port `cport`, in the same state. It is
    /// counted for dest and controlling conn as the old one was.
    ///
    /// Returns `None` if another packet has done that, or if memory is short.
    pub(crate) fn fill_cport<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        old: ConnRef<'_>,
        cport: Port,
        data: &ProtoData,
    ) -> Option<ConnRef<'g>> {
        let conn = old.get();
        let params = Params {
            family: conn.family,
            proto: conn.proto,
            caddr: &conn.caddr,
            cport,
            vaddr: &conn.vaddr,
            vport: conn.vport,
            daddr: &conn.daddr,
            dport: conn.dport,
            local: None,
            pe: None,
            fwmark: conn.fwmark,
            flags: conn.flags() & !(IP_VS_CONN_F_NO_CPORT | HAS_APP),
            hash: None,
        };
        let (dest, control) = (conn.dest.load(), conn.control.clone());
        let entry = self.create(guard, &params, params.flags, dest, control)?;
        // Of all packets, one succeeds.
        let death = conn.life.kill()?;
        entry.resume(data, conn.life.state(), death.was_inactive);
        conn.count_portless(guard, -1);
        conn.unbind_app(guard);
        drop(RcuHash::unlink(old, guard));
        self.enter(guard, entry, None)
    }
}
