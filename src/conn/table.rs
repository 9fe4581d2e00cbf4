// SPDX-License-Identifier: GPL-2.0

//! The conns of a namespace, and how packets find them.
//!
//! C version: `ip_vs_conn_in_get()`, `ip_vs_conn_out_get()`, `ip_vs_conn_new()`
//! [net/netfilter/ipvs/ip_vs_conn.c].
//!
//! The hash of a packet does not depend on its direction, so that one search of one chain decides
//! whether it goes to a service or comes from a dest. A conn of a masqueraded dest has two links,
//! by client and service and by client and dest; every other has the first alone. Templates are
//! aside, where the packets of conns do not come across them.

use super::{
    ext::Ext,
    Conn,
    ConnRef,
    End,
    Params, //
};
use crate::{
    addr::Family,
    dest::Dest,
    oot::{
        hash::HashKey,
        sync::{
            ChainLengths,
            HashCursor,
            Object,
            Once,
            RcuArc,
            RcuArcCache,
            RcuHash,
            RcuRef,
            Timer, //
        },
        workqueue::Work, //
    },
    packet::Packet,
    proto::{
        direction::Direction,
        ProtoData,
        Signal, //
    },
    uapi::*, //
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
pub(crate) type ConnCache = RcuArcCache<Conn>;

/// Where a walk over all conns, and then all templates, stands.
#[derive(Clone, Copy)]
pub(crate) enum Walk {
    Conns(HashCursor),
    Templates(HashCursor),
}

impl Default for Walk {
    fn default() -> Self {
        Self::Conns(HashCursor::default())
    }
}

impl Walk {
    /// As three words, of which all are 0 at the start.
    pub(crate) fn to_words(self) -> [usize; 3] {
        let (table, cursor) = match self {
            Self::Conns(cursor) => (0, cursor),
            Self::Templates(cursor) => (1, cursor),
        };
        let [hash, link] = cursor.to_words();
        [table, hash, link]
    }

    /// The inverse of [`Self::to_words`].
    pub(crate) fn from_words([table, hash, link]: [usize; 3]) -> Self {
        let cursor = HashCursor::from_words([hash, link]);
        match table {
            0 => Self::Conns(cursor),
            _ => Self::Templates(cursor),
        }
    }
}

/// How a new conn begins.
#[derive(Clone, Copy)]
pub(crate) enum Birth<'a> {
    /// With the client's first packet, of which this is the signal to the protocol.
    Packet(&'a ProtoData, Signal),
    /// As a template that lives for so many jiffies after its last use.
    Template(u32),
}

/// The conns of a namespace.
#[pin_data]
pub(crate) struct Table {
    #[pin]
    hash: RcuHash<Conn>,
    #[pin]
    templates: RcuHash<Conn>,
    key: HashKey,
    cache: Arc<ConnCache>,
    /// How many conns there may be (`net.ipv4.vs.conn_max`).
    pub(crate) max: [Atomic<i32>; 1],
}

/// Ends the conns of dests that were removed, where they are to end at once.
impl Work for Table {
    fn run(&self) -> Option<usize> {
        self.for_each(Conn::expire_nodest);
        None
    }
}

impl Table {
    /// Where conns are allocated from.
    pub(crate) fn cache(&self) -> &Arc<ConnCache> {
        &self.cache
    }

    /// An empty table with room for `max` conns from `cache`. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new(cache: Arc<ConnCache>, max: i32) -> impl PinInit<Self, Error> {
        kernel::try_pin_init!(Self {
            hash <- RcuHash::new(),
            templates <- RcuHash::new(),
            key: HashKey::random(),
            cache,
            max: [Atomic::new(max)],
        }? Error)
    }

    /// The conn that a packet belongs to, and which way it goes: one from a dest counts before one
    /// to a service.
    #[inline(always)]
    pub(crate) fn find<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        packet: &Packet,
    ) -> Option<(Direction, ConnRef<'g>)> {
        let mut to_service = None;
        let hash = self.hash_of_packet(packet);
        let from_dest = self.hash.find(guard, hash, |link, conn| {
            if conn.is_out(guard, packet) {
                return true;
            }
            if link == 0 && to_service.is_none() && conn.is_in(packet) {
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
    ) -> Option<ConnRef<'g>> {
        let hash = self.hash_of_packet(packet);
        self.hash
            .find(guard, hash, |link, conn| link == 0 && conn.is_in(packet))
    }

    /// The template that `params`, those of a template, ask for (C: `ip_vs_ct_in_get()`).
    pub(crate) fn find_template<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        params: &Params<'_>,
    ) -> Option<ConnRef<'g>> {
        let hash = self.hash_of_params(params, (params.vaddr, params.vport));
        self.templates
            .find(guard, hash, |_, conn| conn.is_template_for(params))
    }

    /// Adds a conn to `dest`, if that is configured, or a template, by `birth`. It has its state
    /// and its timer when packets find it. `None` if there are too many, no memory, or the dest is
    /// gone.
    ///
    /// The conn that controls it must [count](Conn::take_control) it already.
    pub(crate) fn add<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        params: &Params<'_>,
        dest: Option<RcuRef<'_, Dest>>,
        control: Option<ConnRef<'_>>,
        birth: Birth<'_>,
    ) -> Option<ConnRef<'g>> {
        if self.is_full() {
            return None;
        }
        let mut flags = params.flags;
        if let Some(dest) = dest {
            flags |= dest.conn_flags() & !IP_VS_CONN_F_ONE_PACKET;
        }
        let (held, control) = (upgrade(dest)?, upgrade(control)?);
        let ext = Ext::of(params).ok()?;
        let conn = Conn::init(params, held, flags, control, ext);
        let entry = RcuArc::new_in(&self.cache, conn).ok()?;
        match birth {
            Birth::Packet(data, signal) => entry.begin(data, signal),
            Birth::Template(lifetime) => entry.life.set_lifetime(lifetime),
        }

        if let Some(dest) = dest {
            dest.conn_bound(guard, entry.flags_with(entry.life.is_inactive()));
        }
        let first = self.hash_of_params(params, (params.vaddr, params.vport));
        if entry.is_template() {
            return self.insert(&self.templates, guard, entry, first, None);
        }
        let second = entry.has_other_reply().then(|| {
            let (source, destination) = entry.reply(guard);
            self.hash_of(params.family, params.proto as u8, source, destination)
        });
        self.insert(&self.hash, guard, entry, first, second)
    }

    fn insert<'g>(
        &'g self,
        table: &'g RcuHash<Conn>,
        guard: &'g rcu::Guard,
        entry: RcuArc<Conn>,
        first: u32,
        second: Option<u32>,
    ) -> Option<ConnRef<'g>> {
        // A timer that fires before the entry is in the table fires again.
        Timer::start(entry.as_rcu(), entry.timeout() as usize);
        table.insert(guard, entry, first, second)
    }

    /// The most conns that there may be.
    pub(crate) fn max(&self) -> i32 {
        let [max] = &self.max;
        max.read_once()
    }

    /// Whether there are as many as may be.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.max().max(0) as usize
    }

    /// How many conns and templates there are.
    pub(crate) fn len(&self) -> usize {
        self.hash.len().wrapping_add(self.templates.len())
    }

    /// The number of buckets.
    pub(crate) fn size(&self) -> usize {
        self.hash.size()
    }

    /// How many chains of conns, templates aside, there are of each length; `None` if the table is
    /// resized again and again meanwhile. Sleeps.
    pub(crate) fn chain_lengths(&self) -> Option<ChainLengths> {
        self.hash.chain_lengths()
    }

    /// Makes it hold `2^load` conns to a bucket before it grows.
    pub(crate) fn set_load(&self, load: i32) {
        self.hash.set_load(load);
        self.templates.set_load(load);
    }

    /// The next conn or template of a walk over all, and where the walk stands after it.
    pub(crate) fn next<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        walk: Walk,
    ) -> Option<(ConnRef<'g>, Walk)> {
        if let Walk::Conns(cursor) = walk {
            if let Some((conn, after)) = self.hash.next(guard, cursor) {
                return Some((conn, Walk::Conns(after)));
            }
        }
        let cursor = match walk {
            Walk::Conns(_) => HashCursor::default(),
            Walk::Templates(cursor) => cursor,
        };
        let (template, after) = self.templates.next(guard, cursor)?;
        Some((template, Walk::Templates(after)))
    }

    /// Kills all conns and templates.
    pub(crate) fn flush(&self) {
        self.for_each(|conn, guard| {
            Conn::kill(conn, guard);
        });
    }

    /// Does something with each conn, then with each template.
    fn for_each(&self, act: impl Fn(ConnRef<'_>, &rcu::Guard)) {
        self.hash.for_each(|guard, conn| act(conn, guard));
        self.templates
            .for_each(|guard, template| act(template, guard));
    }

    #[inline(always)]
    fn hash_of_packet(&self, packet: &Packet) -> u32 {
        let source = (&packet.saddr, packet.sport);
        let destination = (&packet.daddr, packet.dport);
        self.hash_of(packet.family, packet.protocol, source, destination)
    }

    /// The hash of a conn with `params` between its client and another end.
    #[inline]
    fn hash_of_params(&self, params: &Params<'_>, end: End<'_>) -> u32 {
        let client = (params.caddr, params.cport);
        self.hash_of(params.family, params.proto as u8, client, end)
    }

    /// The hash of a conversation between two ends, the same in both directions.
    #[inline(always)]
    fn hash_of(&self, family: Family, protocol: u8, one: End<'_>, other: End<'_>) -> u32 {
        match family {
            Family::Inet => {
                let end =
                    |(addr, port): End<'_>| u64::from(addr.be32()) << 16 | u64::from(port.be16());
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
    fn hash6(&self, protocol: u8, one: End<'_>, other: End<'_>) -> u32 {
        let end = |(addr, port): End<'_>| {
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

/// References to what there is; `None` if it is about to be freed.
fn upgrade<T: Object>(found: Option<RcuRef<'_, T>>) -> Option<Option<RcuArc<T>>> {
    match found {
        Some(found) => Some(Some(found.upgrade()?)),
        None => Some(None),
    }
}
