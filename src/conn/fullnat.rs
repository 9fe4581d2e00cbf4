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
        Port, //
    },
    ports::Ports,
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
        let client = (params.caddr, params.cport);
        let service = (params.vaddr, params.vport);
        let hash = self.hash_of(params.family, params.proto as u8, client, service);
        ports
            .order(hash)
            .map(Port::new)
            .find(|port| !self.has_reply(guard, params, (addr, *port)))
    }

    /// Whether packets from the dest to `local` belong to a conn.
    fn has_reply(&self, guard: &rcu::Guard, params: &Params<'_>, local: End<'_>) -> bool {
        let dest = (params.daddr, params.dport);
        let hash = self.hash_of(params.family, params.proto as u8, dest, local);
        let is_it = |conn: ConnRef<'_>| {
            conn.family == params.family
                && conn.proto == params.proto
                && conn.get().reply(guard) == (dest, local)
        };
        self.find_hashed(guard, hash, is_it).is_some()
    }

    /// Whether another conn has the same replies as this one.
    pub(crate) fn has_double(&self, guard: &rcu::Guard, conn: ConnRef<'_>) -> bool {
        let reply = conn.get().reply(guard);
        let hash = self.hash_of(conn.family, conn.proto as u8, reply.0, reply.1);
        let is_double = |other: ConnRef<'_>| {
            !core::ptr::eq(other.get(), conn.get())
                && other.family == conn.family
                && other.proto == conn.proto
                && other.get().reply(guard) == reply
        };
        self.find_hashed(guard, hash, is_double).is_some()
    }
}
