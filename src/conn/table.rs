// SPDX-License-Identifier: GPL-2.0

//! The conns of a namespace, and how packets find them.
//!
//! C version: `ip_vs_conn_in_get()`, `ip_vs_conn_out_get()`, `ip_vs_conn_new()`
//! [net/netfilter/ipvs/ip_vs_conn.c].
//!
//! The hash of a packet does not depend on its direction, so that one look into one chain says
//! whether it goes to a service or comes from a dest. A conn of a masqueraded dest has two links,
//! by client and service and by client and dest; every other has the first alone.

use super::{
    Conn,
    ConnRef,
    Params, //
};
use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    dest::Dest,
    oot::{
        hash::HashKey,
        mm::slab::Cache,
        sync::{
            Cursor,
            Linked,
            Once,
            RcuArc,
            RcuHash,
            RcuRef,
            Timed, //
        }, //
    },
    packet::{
        Packet,
        Ports, //
    },
    proto::direction::Direction,
    xmit::Forward, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Atomic,
        rcu,
        Arc, //
    },
};

/// The memory that conns are made of, one for all namespaces.
pub(crate) type ConnCache = Cache<Linked<Timed<Conn>>>;

/// C's limit on 64-bit systems (`IP_VS_CONN_TAB_MAX`'s and `conn_max`'s default).
const CONN_MAX: u32 = 1 << 30;

/// The conns of a namespace.
#[pin_data]
pub(crate) struct Table {
    #[pin]
    hash: RcuHash<Timed<Conn>>,
    key: HashKey,
    cache: Arc<ConnCache>,
    /// How many conns there may be (`net.ipv4.vs.conn_max`).
    pub(crate) max: Atomic<u32>,
}

impl Table {
    pub(crate) fn new(cache: Arc<ConnCache>) -> impl PinInit<Self, Error> {
        kernel::try_pin_init!(Self {
            hash <- RcuHash::new(),
            key: HashKey::random(),
            cache,
            max: Atomic::new(CONN_MAX),
        }? Error)
    }

    /// The conn that a packet belongs to, and which way it goes: one from a dest counts before one
    /// to a service.
    #[inline(always)]
    pub(crate) fn find<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        packet: &Packet,
        ports: &Ports,
    ) -> Option<(Direction, ConnRef<'g>)> {
        let mut to_service = None;
        let hash = self.hash_of(
            packet.family,
            packet.protocol,
            (&packet.saddr, ports.source),
            (&packet.daddr, ports.dest),
        );
        let from_dest = self.hash.find(guard, hash, |link, conn| {
            if conn.is_out(packet, ports) {
                return true;
            }
            if link == 0 && to_service.is_none() && conn.is_in(packet, ports) {
                to_service = Some(conn);
            }
            false
        });
        match from_dest {
            Some(conn) => Some((Direction::Output, conn)),
            None => to_service.map(|conn| (Direction::Input, conn)),
        }
    }

    /// The conn that a packet belongs to if it goes to a service.
    pub(crate) fn find_in<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        packet: &Packet,
        ports: &Ports,
    ) -> Option<ConnRef<'g>> {
        let hash = self.hash_of(
            packet.family,
            packet.protocol,
            (&packet.saddr, ports.source),
            (&packet.daddr, ports.dest),
        );
        self.hash.find(guard, hash, |link, conn| {
            link == 0 && conn.is_in(packet, ports)
        })
    }

    /// Adds a conn to `dest`. `None` if there are too many, no memory, or the dest is gone.
    ///
    /// Its timer runs only once [`Table::started`] was called.
    pub(crate) fn add<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        params: &Params<'_>,
        dest: RcuRef<'_, Dest>,
    ) -> Option<ConnRef<'g>> {
        if self.hash.len() >= self.max.read_once() as usize {
            return None;
        }
        let flags = dest.conn_flags();
        let dest = dest.upgrade()?;
        let conn = Conn::new(params, dest.clone(), flags);
        let entry = RcuArc::new_in(&self.cache, Linked::new(Timed::new(conn))).ok()?;

        let client = (params.caddr, params.cport);
        let hash = |end| self.hash_of(params.family, params.proto as u8, client, end);
        let first = hash((params.vaddr, params.vport));
        let second = match entry.forward() {
            Forward::Masq => Some(hash((&entry.daddr, entry.dport))),
            _ => None,
        };
        dest.conn_bound(flags);
        self.hash.insert(guard, entry, first, second)
    }

    /// A new conn has its first state: from here on it can expire.
    pub(crate) fn started(conn: ConnRef<'_>) {
        Conn::start(conn);
    }

    /// How many conns there are.
    pub(crate) fn len(&self) -> usize {
        self.hash.len()
    }

    /// The number of buckets.
    pub(crate) fn size(&self) -> usize {
        self.hash.size()
    }

    /// The next conn of a walk over all, and where the walk stands after it.
    pub(crate) fn next<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        cursor: Cursor,
    ) -> Option<(ConnRef<'g>, Cursor)> {
        self.hash.next(guard, cursor)
    }

    /// Kills all conns.
    pub(crate) fn flush(&self) {
        self.hash.for_each(|guard, conn| {
            Conn::kill(conn, guard);
        });
    }

    /// The hash of a conversation between two ends, whichever speaks.
    #[inline(always)]
    fn hash_of(
        &self,
        family: Family,
        protocol: u8,
        one: (&Addr, Port),
        other: (&Addr, Port),
    ) -> u32 {
        match family {
            Family::Inet => {
                let end = |(addr, port): (&Addr, Port)| {
                    u64::from(addr.be32()) << 16 | u64::from(port.be16())
                };
                let (one, other) = (end(one), end(other));
                let (low, high) = (one.min(other), one.max(other));
                self.key.hash4([
                    low as u32,
                    (low >> 32) as u32 | u32::from(protocol) << 16,
                    high as u32,
                    (high >> 32) as u32,
                ])
            }
            Family::Inet6 => self.hash6(protocol, one, other),
        }
    }

    #[inline]
    fn hash6(&self, protocol: u8, one: (&Addr, Port), other: (&Addr, Port)) -> u32 {
        let end = |(addr, port): (&Addr, Port)| {
            let [a, b, c, d] = addr.words();
            let pair = |a, b| u64::from(a) << 32 | u64::from(b);
            (pair(a, b), pair(c, d), port.be16())
        };
        let (one, other) = (end(one), end(other));
        let (low, high) = (one.min(other), one.max(other));
        let rest = u64::from(protocol) << 32 | u64::from(low.2) << 16 | u64::from(high.2);
        self.key.hash_words(&[low.0, low.1, high.0, high.1, rest])
    }
}
