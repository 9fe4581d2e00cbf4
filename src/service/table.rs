// SPDX-License-Identifier: GPL-2.0

//! The service table of a network namespace, by address, port and protocol, or by fwmark.
//!
//! C version: `ip_vs_service_find()` [net/netfilter/ipvs/ip_vs_ctl.c].

use super::{
    Service, //
    ServiceRef,
};
use crate::{
    addr::{
        Family,
        Port, //
    },
    dest::Dest,
    oot::{
        hash::HashKey,
        net::{
            ip,
            namespace::Net, //
        },
        sync::{
            ChainLengths,
            HashCursor,
            Once,
            RcuHash,
            RcuRef, //
        }, //
    },
    pe::Engine,
    spec::{
        ServiceId,
        FTPDATA,
        FTPPORT, //
    },
    uapi::IPPROTO_TCP, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        rcu, //
    },
};

/// The numbers of services of a family, by kind. Lookups of a kind without services are skipped.
struct Numbers {
    all: Atomic<u32>,
    by_fwmark: Atomic<u32>,
    by_address: Atomic<u32>,
    ftp: Atomic<u32>,
    any_port: Atomic<u32>,
    /// Services whose persistence engine starts conns for packets from dests.
    by_dest: Atomic<u32>,
}

impl Numbers {
    fn new() -> Self {
        Self {
            all: Atomic::new(0),
            by_fwmark: Atomic::new(0),
            by_address: Atomic::new(0),
            ftp: Atomic::new(0),
            any_port: Atomic::new(0),
            by_dest: Atomic::new(0),
        }
    }

    /// Adds `step`, which is 1 or `u32::MAX` for -1, to the numbers that include a service named
    /// `id`.
    fn count(&self, id: &ServiceId, step: u32) {
        let add = |number: &Atomic<u32>| {
            number.fetch_add(step, Relaxed);
        };
        add(&self.all);
        add(if id.fwmark != 0 {
            &self.by_fwmark
        } else {
            &self.by_address
        });
        if id.port == FTPPORT {
            add(&self.ftp);
        } else if id.port.is_zero() && id.fwmark == 0 {
            add(&self.any_port);
        }
    }
}

/// The services of a namespace.
#[pin_data]
pub(crate) struct ServiceTable {
    #[pin]
    hash: RcuHash<Service>,
    key: HashKey,
    inet: Numbers,
    inet6: Numbers,
    /// 1 once there has been a service or a daemon.
    used: Atomic<u32>,
}

impl ServiceTable {
    /// An empty table. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        pin_init::pin_init!(Self {
            hash <- RcuHash::new(),
            key: HashKey::random(),
            inet: Numbers::new(),
            inet6: Numbers::new(),
            used: Atomic::new(0),
        }? Error)
    }

    /// Returns the service for a packet (C: `ip_vs_service_find()`).
    ///
    /// `id` contains protocol, destination and fwmark of the packet. A TCP packet to port 20 or to
    /// an unprivileged port may belong to a data connection of an FTP service.
    #[inline]
    pub(crate) fn find<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        net: &Net,
        mut id: ServiceId,
    ) -> Option<&'g Service> {
        let numbers = self.numbers(id.family);
        if id.fwmark != 0 {
            if numbers.by_fwmark.read_once() != 0 {
                if let Some(service) = self.get(guard, &id) {
                    return Some(service);
                }
            }
            id.fwmark = 0;
        }
        if numbers.by_address.read_once() == 0 {
            return None;
        }
        if let Some(service) = self.get(guard, &id) {
            return Some(service);
        }
        if id.protocol == IPPROTO_TCP.into()
            && numbers.ftp.read_once() != 0
            && (id.port == FTPDATA || !ip::requires_privilege(net, id.port.host()))
        {
            id.port = FTPPORT;
            if let Some(service) = self.get(guard, &id) {
                return Some(service);
            }
        }
        if numbers.any_port.read_once() != 0 {
            id.port = Port::ZERO;
            return self.get(guard, &id);
        }
        None
    }

    /// Returns the service named `id`.
    #[inline]
    pub(crate) fn get<'g>(&'g self, guard: &'g rcu::Guard, id: &ServiceId) -> Option<&'g Service> {
        self.get_ref(guard, id).map(RcuRef::get)
    }

    #[inline]
    fn get_ref<'g>(&'g self, guard: &'g rcu::Guard, id: &ServiceId) -> Option<RcuRef<'g, Service>> {
        self.hash
            .find(guard, self.hash_of(id), |_, service| service.id.names(id))
    }

    #[inline]
    fn hash_of(&self, id: &ServiceId) -> u32 {
        let af = u32::from(id.family.af());
        if id.fwmark != 0 {
            return self.key.hash4([id.fwmark, af, 0, 0]);
        }
        let transport = u32::from(id.protocol) << 16 | u32::from(id.port.be16());
        match id.family {
            Family::Inet => self.key.hash4([id.addr.be32(), af, transport, 1]),
            Family::Inet6 => {
                let [a, b, c, d] = id.addr.words();
                self.key.hash4([a, b, c ^ transport, d])
            }
        }
    }

    /// Whether the persistence engine of a service starts conns for packets from dests
    /// (C: `conn_out_counter`).
    #[inline]
    pub(crate) fn starts_from_dest(&self, family: Family) -> bool {
        self.numbers(family).by_dest.read_once() != 0
    }

    fn numbers(&self, family: Family) -> &Numbers {
        match family {
            Family::Inet => &self.inet,
            Family::Inet6 => &self.inet6,
        }
    }

    /// The number of services of a family.
    pub(crate) fn len(&self, family: Family) -> u32 {
        self.numbers(family).all.read_once()
    }

    /// The number of buckets.
    pub(crate) fn size(&self) -> usize {
        self.hash.size()
    }

    /// Returns the number of chains of each length; `None` if resizes of the table interrupted the
    /// count too often. Sleeps.
    pub(crate) fn chain_lengths(&self) -> Option<ChainLengths> {
        self.hash.chain_lengths()
    }

    /// Sets the load factor: the table grows when it has more than `2^load` services per bucket.
    pub(crate) fn set_load(&self, load: i32) {
        self.hash.set_load(load);
    }

    /// Whether there is or has been a service or a daemon.
    pub(crate) fn is_used(&self) -> bool {
        self.used.read_once() != 0
    }

    /// Returns the first service after `cursor`, and the cursor after that service.
    pub(crate) fn next<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        cursor: HashCursor,
    ) -> Option<(&'g Service, HashCursor)> {
        let (service, cursor) = self.hash.next(guard, cursor)?;
        Some((service.get(), cursor))
    }

    /// Calls `each` with every dest of every service.
    pub(crate) fn for_each_dest(&self, mut each: impl FnMut(&Dest)) {
        self.hash.for_each(|guard, service| {
            for dest in service
                .get()
                .pool(guard)
                .map_or(&[][..], |pool| pool.dests())
            {
                each(dest);
            }
        });
    }
}

/// The control plane, under its mutex.
impl ServiceTable {
    /// Returns a reference to the service named `id`.
    pub(crate) fn load(&self, id: &ServiceId) -> Option<ServiceRef> {
        self.get_ref(&rcu::read_lock(), id)?.upgrade()
    }

    /// Returns a reference to the first service after `cursor`, and moves `cursor` past it.
    pub(crate) fn load_next(&self, cursor: &mut HashCursor) -> Option<ServiceRef> {
        let guard = rcu::read_lock();
        let (service, after) = self.hash.next(&guard, *cursor)?;
        *cursor = after;
        service.upgrade()
    }

    /// Marks the table as used.
    pub(crate) fn set_used(&self) {
        self.used.write_once(1);
    }

    /// Sets the persistence engine of a service.
    pub(crate) fn set_engine(&self, service: &Service, engine: Option<Engine>) {
        let counts =
            |engine: Option<Engine>| u32::from(engine.is_some_and(Engine::starts_from_dest));
        let step = counts(engine).wrapping_sub(counts(service.engine()));
        self.numbers(service.id.family)
            .by_dest
            .fetch_add(step, Relaxed);
        let number = engine.map_or(0, |engine| engine as u32);
        service.engine.write_once(number);
    }

    /// Adds a service (C: `ip_vs_svc_hash()`).
    pub(crate) fn insert(&self, service: ServiceRef) {
        self.set_used();
        self.numbers(service.id.family).count(&service.id, 1);
        let hash = self.hash_of(&service.id);
        self.hash.insert(&rcu::read_lock(), service, hash, None);
    }

    /// Removes a service (C: `ip_vs_svc_unhash()`).
    pub(crate) fn remove(&self, service: &ServiceRef) {
        if let Some(service) = RcuHash::unlink(service.as_rcu(), &rcu::read_lock()) {
            self.numbers(service.id.family).count(&service.id, u32::MAX);
            self.set_engine(&service, None);
        }
    }
}
