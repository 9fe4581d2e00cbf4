// SPDX-License-Identifier: GPL-2.0

//! The conn table of a network namespace.
//!
//! C version: `ip_vs_conn_in_get()`, `ip_vs_conn_out_get()`, `ip_vs_conn_new()`
//! [net/netfilter/ipvs/ip_vs_conn.c].
//!
//! The hash of a packet does not depend on its direction, so the search of one hash chain
//! determines whether the packet goes to a service or comes from a dest. A conn with NAT or a local
//! end has two links, one hashed by client and service, the other by the ends of its replies. Other
//! conns have only the first. Templates are in a separate table, so that packets do not traverse
//! them.

use super::{
    app::{
        App,
        Counts, //
    },
    ext::Ext,
    local::Locals,
    todrop::IdleDrops,
    Conn,
    ConnRef,
    Params,
    HAS_APP, //
};
use crate::{
    dest::Dest,
    oot::{
        hash::HashKey,
        net::namespace::Net,
        sync::{
            ChainLengths,
            HashCursor,
            Object,
            Once,
            RcuArc,
            RcuArcCache,
            RcuBox,
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
    uapi::*,
    wire::seq::Seq, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::Atomic,
        rcu,
        Arc, //
    },
};

/// The network namespace of a table of conns.
pub(crate) trait Owner: Send + Sync + 'static {
    /// The namespace.
    fn net(&self) -> &Net;

    /// The data that conns with local ends share.
    fn locals(&self) -> &Locals;

    /// Called when the timer keeps a conn only because it controls others.
    fn expire_later(&self, conn: &Conn, guard: &rcu::Guard);
}

/// The slab cache of conns, one for all network namespaces.
pub(crate) type ConnCache = RcuArcCache<Conn>;

/// The position of an iteration over all conns and then all templates.
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
    /// The position as three words, which are all 0 at the start.
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

/// The origin of a new conn.
#[derive(Clone, Copy)]
pub(crate) enum Birth<'a> {
    /// The client's first packet, with this signal to the protocol's state machine.
    Packet(&'a ProtoData, Signal),
    /// A packet that does not set the state: an ICMP error about a packet from the service to the
    /// client, or a packet from the dest. The conn expires soon, unless other packets follow.
    Stateless,
    /// A template that expires this many jiffies after its last use.
    Template(u32),
    /// A sync message.
    Received(Received),
    /// A conn that reserves a local end for this many jiffies.
    Reserved(u32),
    /// The announcement of a connection that client or dest will open.
    Listen(&'a ProtoData),
}

/// The fields of a received conn that change with each message.
#[derive(Clone, Copy)]
pub(crate) struct Received {
    pub(crate) state: u8,
    pub(crate) is_inactive: bool,
    /// In jiffies.
    pub(crate) timeout: u32,
    /// The number of packets from the client that are counted already.
    pub(crate) packets: i32,
    /// The flags of `IP_VS_CONN_F_SEQ_MASK`.
    pub(crate) seq_flags: u32,
    /// The adjustments of sequence numbers from the client and to it.
    pub(crate) seq: Option<[Seq; 2]>,
    /// The time since the last packet, in jiffies.
    pub(crate) idle: u32,
}

/// The conns and templates of a network namespace.
#[pin_data]
pub(crate) struct ConnTable {
    #[pin]
    hash: RcuHash<Conn>,
    /// The templates, and the conns without client port.
    #[pin]
    pub(super) templates: RcuHash<Conn>,
    pub(super) key: HashKey,
    cache: Arc<ConnCache>,
    /// Which idle conns `drop_entry` drops.
    pub(super) idle_drops: IdleDrops,
    pub(crate) counts: Arc<Counts>,
    pub(crate) locals: Locals,
    /// The maximum number of conns and templates (sysctl `net.ipv4.vs.conn_max`).
    pub(crate) max: [Atomic<i32>; 1],
}

/// Kills the conns of removed dests (C: `expire_nodest_conn_handler()`).
impl Work for ConnTable {
    fn run(&self) -> Option<usize> {
        self.for_each(Conn::expire_nodest);
        None
    }
}

impl ConnTable {
    /// The slab cache of conns.
    pub(crate) fn cache(&self) -> &Arc<ConnCache> {
        &self.cache
    }

    /// Sets the namespace of the conns, through which they access conntrack entries and the master
    /// daemon.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn set_owner(&self, owner: KBox<dyn Owner>) -> Result {
        self.hash.set_owner(Some(RcuBox::new(owner, GFP_KERNEL)?));
        Ok(())
    }

    /// Drops the reference to the namespace. Conntrack entries are not changed from then on.
    pub(crate) fn drop_owner(&self) {
        self.hash.set_owner(None);
    }

    /// An empty table for at most `max` conns, allocated from `cache`. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if memory is short.
    pub(crate) fn new(cache: Arc<ConnCache>, max: i32) -> impl PinInit<Self, Error> {
        kernel::try_pin_init!(Self {
            hash <- RcuHash::new(),
            templates <- RcuHash::new(),
            key: HashKey::random(),
            cache,
            idle_drops: IdleDrops::new(),
            counts: Arc::new(Counts::new(), GFP_KERNEL)?,
            locals: Locals::new()?,
            max: [Atomic::new(max)],
        }? Error)
    }

    /// Returns the conn that a packet belongs to, and the direction of the packet. A conn that
    /// matches the packet as a reply takes precedence over one that matches it as a request.
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

    /// Returns the conn that a packet to a service belongs to (C: `ip_vs_conn_in_get()`), unless
    /// that has no client port.
    pub(crate) fn find_in<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        packet: &Packet,
    ) -> Option<ConnRef<'g>> {
        let hash = self.hash_of_packet(packet);
        self.hash
            .find(guard, hash, |link, conn| link == 0 && conn.is_in(packet))
    }

    /// Returns the conn that a packet from a dest belongs to (C: `ip_vs_conn_out_get()`).
    pub(crate) fn find_out<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        packet: &Packet,
    ) -> Option<ConnRef<'g>> {
        let hash = self.hash_of_packet(packet);
        self.hash
            .find(guard, hash, |_, conn| conn.is_out(guard, packet))
    }

    /// Returns a conn with this hash, of its requests or its replies, for which `is_it` is true.
    pub(super) fn find_hashed<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        hash: u32,
        is_it: impl Fn(ConnRef<'g>) -> bool,
    ) -> Option<ConnRef<'g>> {
        self.hash.find(guard, hash, |_, conn| is_it(conn))
    }

    /// Returns the template for `params` (C: `ip_vs_ct_in_get()`).
    pub(crate) fn find_template<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        params: &Params<'_>,
    ) -> Option<ConnRef<'g>> {
        let hash = self.hash_of_params(params, (params.vaddr, params.vport));
        self.templates
            .find(guard, hash, |_, conn| conn.is_template_for(guard, params))
    }

    /// Returns the conn from the client to the service in `params` (C: `ip_vs_conn_in_get()`).
    pub(crate) fn find_conn<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        params: &Params<'_>,
    ) -> Option<ConnRef<'g>> {
        let hash = self.hash_of_params(params, (params.vaddr, params.vport));
        self.hash
            .find(guard, hash, |link, conn| link == 0 && conn.is_for(params))
    }

    /// Adds a conn or a template to `dest`, if that is configured (C: `ip_vs_conn_new()`). Its
    /// state is set and its timer started before packets can find it.
    ///
    /// Returns `None` if the table is full, memory is short, or `dest` or `control` is being freed.
    ///
    /// `control` must count the conn already: see [`add_controlled`](Self::add_controlled).
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
            flags = match birth {
                Birth::Received(_) => Conn::flags_when_bound(flags, dest.conn_flags()),
                _ => flags | dest.conn_flags() & !IP_VS_CONN_F_ONE_PACKET,
            };
        }
        let (held, control) = (upgrade(dest)?, upgrade(control)?);
        let entry = self.create(guard, params, flags, held, control)?;
        match birth {
            Birth::Packet(data, signal) => entry.begin(data, signal),
            Birth::Stateless => entry.begin_without_state(),
            Birth::Template(lifetime) => entry.life.begin_template(lifetime),
            Birth::Received(received) => entry.begin_received(received, guard),
            Birth::Reserved(timeout) => entry.begin_reserved(timeout),
            Birth::Listen(data) => entry.begin_listening(data),
        }

        if let Some(dest) = dest {
            dest.conn_bound(guard, entry.flags_with(entry.life.is_inactive()));
        }
        self.enter(guard, entry, params.hash)
    }

    /// Allocates a conn. Binds it to an application, if there is one for it.
    #[inline(always)]
    pub(super) fn create(
        &self,
        guard: &rcu::Guard,
        params: &Params<'_>,
        flags: u32,
        dest: Option<RcuArc<Dest>>,
        control: Option<RcuArc<Conn>>,
    ) -> Option<RcuArc<Conn>> {
        // No application supports two ends that change.
        let app = match params.local {
            Some(_) => None,
            None => App::bind(params, flags, &self.counts, guard),
        };
        let flags = match app {
            // The sequence numbers of the connection may have to be adjusted.
            Some(_) => flags | HAS_APP | IP_VS_CONN_F_NFCT,
            None => flags,
        };
        let ext = Ext::of(params, app, &self.counts).ok()?;
        let conn = Conn::init(params, dest, flags, control, ext);
        RcuArc::new_in(&self.cache, conn).ok()
    }

    /// Adds an entry to its table. `hash` is that of client and service, if it is known.
    #[inline(always)]
    pub(super) fn enter<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        entry: RcuArc<Conn>,
        hash: Option<u32>,
    ) -> Option<ConnRef<'g>> {
        let (family, protocol) = (entry.family, entry.proto as u8);
        let computed = || self.hash_of(family, protocol, entry.client(), entry.service());
        let first = hash.unwrap_or_else(computed);
        debug_assert!(first == computed());
        if entry.is_template() {
            let data = entry.pe(guard).map(|(_, data)| self.hash_of_data(data));
            return self.insert(&self.templates, guard, entry, data.unwrap_or(first), None);
        }
        let second = entry.has_other_reply().then(|| {
            let (source, destination) = entry.reply(guard);
            self.hash_of(family, protocol, source, destination)
        });
        if entry.is_portless() {
            entry.count_portless(guard, 1);
            return self.insert(&self.templates, guard, entry, first, second);
        }
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
        // If the timer fires before the entry is in the table, it fires again.
        Timer::start(entry.as_rcu(), entry.timeout() as usize);
        table.insert(guard, entry, first, second)
    }

    /// The maximum number of conns and templates.
    pub(crate) fn max(&self) -> i32 {
        let [max] = &self.max;
        max.read_once()
    }

    /// Whether the maximum number is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= self.max().max(0) as usize
    }

    /// The number of conns and templates.
    pub(crate) fn len(&self) -> usize {
        self.hash.len().wrapping_add(self.templates.len())
    }

    /// The number of buckets.
    pub(crate) fn size(&self) -> usize {
        self.hash.size()
    }

    /// The number of hash chains of each length, without templates. `None` if the table is resized
    /// too often during the count. May sleep.
    pub(crate) fn chain_lengths(&self) -> Option<ChainLengths> {
        self.hash.chain_lengths()
    }

    /// Sets the load factor: the table grows at more than `2^load` conns per bucket.
    pub(crate) fn set_load(&self, load: i32) {
        self.hash.set_load(load);
        self.templates.set_load(load);
    }

    /// Returns the next conn or template of an iteration, and the position after it.
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

    /// Calls `act` for each conn, then for each template.
    fn for_each(&self, act: impl Fn(ConnRef<'_>, &rcu::Guard)) {
        self.hash.for_each(|guard, conn| act(conn, guard));
        self.templates
            .for_each(|guard, template| act(template, guard));
    }

    /// The same for those with a hash from `first` to `last`. Sleeps.
    pub(super) fn for_each_between(
        &self,
        first: u32,
        last: u32,
        act: impl Fn(ConnRef<'_>, &rcu::Guard),
    ) {
        for table in [&self.hash, &self.templates] {
            table.for_each_between(first, last, |guard, conn| act(conn, guard));
        }
    }
}

/// Takes a reference to `found`, if given. Returns `None` if the object is being freed.
pub(crate) fn upgrade<T: Object>(found: Option<RcuRef<'_, T>>) -> Option<Option<RcuArc<T>>> {
    match found {
        Some(found) => Some(Some(found.upgrade()?)),
        None => Some(None),
    }
}
