// SPDX-License-Identifier: GPL-2.0

//! The real servers: the dests with NAT of a network namespace, by their own address and port.
//!
//! A packet from a real server that belongs to no conn is found to be from one by this table.
//!
//! C version: `ip_vs_rs_hash()`, `ip_vs_find_real_service()` [net/netfilter/ipvs/ip_vs_ctl.c].

use super::Dest;
use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    forward::Forward,
    oot::{
        hash::HashKey,
        sync::{
            impl_has_hash_links,
            HashLinks,
            Object,
            RcuArc,
            RcuArcCell,
            RcuHash,
            RcuRef, //
        },
    },
};
use kernel::{
    prelude::*,
    sync::rcu, //
};

/// The entry of a dest in the table. An entry is added once; if the dest comes back, it gets
/// another.
pub(super) struct Real {
    links: HashLinks<Self>,
    /// Empty once the entry was removed.
    dest: RcuArcCell<Dest>,
}

impl Object for Real {}

impl_has_hash_links! {
    impl HasHashLinks<()> for Real { self.links }
}

/// The table of a network namespace. The control plane changes it under its mutex.
#[pin_data]
pub(crate) struct RealServers {
    #[pin]
    hash: RcuHash<Real>,
    key: HashKey,
}

impl RealServers {
    /// An empty table. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> impl PinInit<Self, Error> {
        pin_init::pin_init!(Self {
            hash <- RcuHash::new(),
            key: HashKey::random(),
        }? Error)
    }

    /// The dest with NAT with this address and port, of a service of this protocol or of a fwmark
    /// service. `protocol` is `IPPROTO_*`.
    pub(crate) fn find<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        family: Family,
        protocol: u8,
        (addr, port): (&Addr, Port),
    ) -> Option<RcuRef<'g, Dest>> {
        let is_it = |dest: &Dest| {
            dest.port == port
                && dest.family == family
                && dest.addr == *addr
                && (dest.vip.protocol == protocol.into() || dest.vip.fwmark != 0)
        };
        let found = self
            .hash
            .find(guard, self.hash_of(family, addr, port), |_, real| {
                real.dest.get(guard).is_some_and(|dest| is_it(dest.get()))
            })?;
        found.get().dest.get(guard)
    }

    /// Adds or removes a dest as its forwarding method demands.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. The table is unchanged then.
    pub(crate) fn update(&self, dest: &RcuArc<Dest>) -> Result {
        if Forward::of(dest.conn_flags()) != Forward::Masq {
            Self::remove(dest);
            return Ok(());
        }
        let guard = rcu::read_lock();
        if dest.real.get(&guard).is_some() {
            return Ok(());
        }
        drop(guard);
        let real = RcuArc::new(
            pin_init::init!(Real {
                links: HashLinks::new(),
                dest: RcuArcCell::new(Some(dest.clone())),
            }),
            GFP_KERNEL,
        )?;
        drop(dest.real.replace(Some(real.clone())));
        let hash = self.hash_of(dest.family, &dest.addr, dest.port);
        self.hash.insert(&rcu::read_lock(), real, hash, None);
        Ok(())
    }

    /// Removes a dest, if it is in the table.
    pub(crate) fn remove(dest: &Dest) {
        if let Some(real) = dest.real.replace(None) {
            drop(RcuHash::unlink(real.as_rcu(), &rcu::read_lock()));
            drop(real.dest.replace(None));
        }
    }

    fn hash_of(&self, family: Family, addr: &Addr, port: Port) -> u32 {
        let [a, b, c, d] = addr.words();
        let rest = u32::from(family.af()) << 16 | u32::from(port.be16());
        self.key.hash4([a ^ rest, b, c, d])
    }
}
