// SPDX-License-Identifier: GPL-2.0

//! Conns with a local end: packets to the dest have an address and a port of this host as source.
//!
//! Replies are found by the dest's and the local end, so no two conns may have both in common. A port
//! is chosen that no conn uses with the dest. Another CPU may choose the same one at the same time:
//! after a conn was added, the table is searched for another one with the same replies. Of two such
//! conns, at least one is found to have a double.

use super::{
    table::ConnTable,
    ConnRef,
    End,
    Params, //
};
use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    ports::Ports,
    proto::Proto,
};
use kernel::sync::rcu;

impl ConnTable {
    /// Chooses one of `ports` of the local address `addr` for a conn with these parameters. `None`
    /// if all that were tried are in use.
    pub(crate) fn free_port(
        &self,
        guard: &rcu::Guard,
        params: &Params<'_>,
        addr: &Addr,
        ports: &Ports,
    ) -> Option<Port> {
        ports
            .order(self.hash_of_start(params))
            .map(Port::new)
            .find(|port| !self.has_reply(guard, params, (addr, *port)))
    }

    /// The hash of the client and the service of a new conn, with a secret.
    pub(crate) fn hash_of_start(&self, params: &Params<'_>) -> u32 {
        params.hash.unwrap_or_else(|| {
            let client = (params.caddr, params.cport);
            let service = (params.vaddr, params.vport);
            self.hash_of(params.family, params.proto as u8, client, service)
        })
    }

    /// Whether packets from the dest to `local` belong to a conn.
    fn has_reply(&self, guard: &rcu::Guard, params: &Params<'_>, local: End<'_>) -> bool {
        let reply = ((params.daddr, params.dport), local);
        self.is_reply_of(guard, params.family, params.proto, reply, |_| true)
    }

    /// Whether another conn has the same replies as this one.
    pub(crate) fn has_double(&self, guard: &rcu::Guard, conn: ConnRef<'_>) -> bool {
        let is_other = |other: ConnRef<'_>| !core::ptr::eq(other.get(), conn.get());
        self.is_reply_of(
            guard,
            conn.family,
            conn.proto,
            conn.get().reply(guard),
            is_other,
        )
    }

    /// Whether a conn for which `is_it` is true has replies with this source and destination.
    fn is_reply_of(
        &self,
        guard: &rcu::Guard,
        family: Family,
        proto: Proto,
        reply: (End<'_>, End<'_>),
        is_it: impl Fn(ConnRef<'_>) -> bool,
    ) -> bool {
        let hash = self.hash_of(family, proto as u8, reply.0, reply.1);
        let has_reply = |conn: ConnRef<'_>| {
            conn.family == family && conn.proto == proto && conn.get().reply(guard) == reply
        };
        self.find_hashed(guard, hash, |conn| has_reply(conn) && is_it(conn))
            .is_some()
    }
}
