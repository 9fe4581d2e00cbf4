// SPDX-License-Identifier: GPL-2.0

//! Conns with a local end: packets to the dest have an address and a port of this host as source.
//!
//! Replies are found by the dest's and the local end, so no two conns may have both in common. An
//! end is chosen that no conn uses with the dest. Another CPU may choose the same one at the same
//! time, if one of the conns owns no bit of [`Used`](crate::ports::Used): after a conn was added,
//! the table is searched for another one with the same replies. At least one of the two CPUs finds
//! the other's conn.
//!
//! A TCP conn that another one of the same client replaces may be over, while the real server still
//! has the connection in `TIME_WAIT`. A conn without packets *reserves* the local end until then.
//! It has the local end as client and the dest as service, so that it is found by the same replies.

use super::{
    local::Local,
    table::{
        Birth,
        ConnTable, //
    },
    Conn,
    ConnRef,
    End,
    Params,
    RESERVED, //
};
use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    oot::sync::RcuHash,
    ports::Ends,
    proto::{
        tcp::states::State,
        Proto,
        ProtoData, //
    },
    uapi::IP_VS_CONN_F_LOCALNODE, //
};
use kernel::sync::rcu;

impl ConnTable {
    /// Chooses one of `ends` for a conn with these parameters; `addr_of` returns the address with
    /// an index. `None` if all that were tried are in use.
    pub(crate) fn free_end<R: Fn(u32) -> u64>(
        &self,
        guard: &rcu::Guard,
        params: &Params<'_>,
        ends: &Ends<'_, R>,
        addr_of: impl Fn(u32) -> Addr,
    ) -> Option<Local> {
        let (family, protocol) = (params.family, params.proto as u8);
        let dest = (params.daddr, params.dport);
        let hash_of = |index| {
            let addr = addr_of(index);
            self.hash_of(family, protocol, dest, (&addr, Port::ZERO))
        };
        let is_free = |index, port| {
            let reply = (dest, (&addr_of(index), Port::new(port)));
            self.find_reply(guard, family, params.proto, reply, |_| true)
                .is_none()
        };
        // The same client gets another end next time.
        let number = self.locals.next_search();
        let hash = self.hash_of_start(params).wrapping_add(number);
        let choice = ends.choose(self.locals.used(), hash, hash_of, is_free)?;
        Some(Local {
            addr: addr_of(choice.addr),
            port: Port::new(choice.port),
            bit: choice.bit,
            has_toa: false,
        })
    }

    /// The hash of the client and the service of a new conn, with a secret.
    fn hash_of_start(&self, params: &Params<'_>) -> u32 {
        params.hash.unwrap_or_else(|| {
            let client = (params.caddr, params.cport);
            let service = (params.vaddr, params.vport);
            self.hash_of(params.family, params.proto as u8, client, service)
        })
    }

    /// Another conn that has the same replies as this one.
    pub(crate) fn double_of<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        conn: ConnRef<'_>,
    ) -> Option<ConnRef<'g>> {
        let is_other = |other: ConnRef<'_>| !core::ptr::eq(other.get(), conn.get());
        let reply = conn.get().reply(guard);
        self.find_reply(guard, conn.family, conn.proto, reply, is_other)
    }

    /// A conn for which `is_it` is true and that has replies with this source and destination.
    fn find_reply<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        family: Family,
        proto: Proto,
        reply: (End<'_>, End<'_>),
        is_it: impl Fn(ConnRef<'_>) -> bool,
    ) -> Option<ConnRef<'g>> {
        let hash = self.hash_of(family, proto as u8, reply.0, reply.1);
        let has_reply = |conn: ConnRef<'_>| {
            conn.family == family && conn.proto == proto && conn.get().reply(guard) == reply
        };
        self.find_hashed(guard, hash, |conn| has_reply(conn) && is_it(conn))
    }

    /// Keeps the local end of a TCP conn from others as long as the real server may have the
    /// connection in `TIME_WAIT`. To be called before the conn is killed.
    #[cold]
    pub(crate) fn reserve(&self, guard: &rcu::Guard, conn: ConnRef<'_>, data: &ProtoData) {
        let conn = conn.get();
        let Some((caddr, cport)) = conn.local(guard) else {
            return;
        };
        // A real server has no `TIME_WAIT` after a reset, nor without an answer.
        if conn.proto != Proto::Tcp
            || conn.state() == State::Close as u8
            || !conn.is_answered(guard) && !conn.is_received()
        {
            return;
        }
        let params = Params {
            family: conn.family,
            proto: conn.proto,
            caddr,
            cport,
            vaddr: &conn.daddr,
            vport: conn.dport,
            daddr: &conn.daddr,
            dport: conn.dport,
            local: None,
            pe: None,
            fwmark: 0,
            flags: RESERVED | IP_VS_CONN_F_LOCALNODE,
            hash: None,
        };
        let timeout = Proto::Tcp.timeout(data, State::TimeWait as u8);
        self.add(guard, &params, None, None, Birth::Reserved(timeout));
    }
}

impl Conn {
    /// Whether it only keeps the local end of a former conn from others.
    pub(crate) fn is_reserved(&self) -> bool {
        self.flags() & RESERVED != 0
    }

    /// Stores that a packet from the dest has arrived for the local end.
    pub(crate) fn set_answered(&self, guard: &rcu::Guard) {
        if let Some(ext) = self.ext.get(guard) {
            if ext.answered.get() == 0 {
                ext.answered.set(1);
            }
        }
    }

    fn is_answered(&self, guard: &rcu::Guard) -> bool {
        self.ext
            .get(guard)
            .is_some_and(|ext| ext.answered.get() != 0)
    }

    /// Sets state and timeout, in jiffies, of a conn that reserves a local end and is not in the
    /// table yet.
    pub(super) fn begin_reserved(&self, timeout: u32) {
        self.life.receive(State::TimeWait as u8, true);
        self.life.set_timeout(timeout);
    }

    /// Frees the local end of a dead conn.
    pub(super) fn release_local(this: ConnRef<'_>, guard: &rcu::Guard) {
        let local = this.ext.get(guard).and_then(|ext| ext.local.as_ref());
        if let (Some(owner), Some(local)) = (RcuHash::owner(this, guard), local) {
            owner.locals().release(local);
        }
    }
}
