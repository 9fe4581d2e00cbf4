// SPDX-License-Identifier: GPL-2.0

//! The real servers of a network namespace that are found by their own address: dests with NAT, by
//! their port, and dests with a GUE tunnel, by the port of the tunnel.
//!
//! The table determines whether a packet that belongs to no conn is from a real server, and whether
//! an ICMP error is about a packet in such a tunnel.
//!
//! C version: `ip_vs_rs_hash()`, `ip_vs_find_real_service()`, `ip_vs_find_tunnel()`
//! [net/netfilter/ipvs/ip_vs_ctl.c].

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
    uapi::IP_VS_CONN_F_TUNNEL_TYPE_GUE,
};
use kernel::{
    prelude::*,
    sync::rcu, //
};

/// The port by which a dest is found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// The port to which packets are translated.
    Nat(Port),
    /// The port of the GUE tunnel.
    Tunnel(Port),
}

impl By {
    /// `None` if the dest is not in the table.
    fn of(dest: &Dest) -> Option<Self> {
        let tunnel = dest.tunnel();
        match Forward::of(dest.conn_flags()) {
            Forward::Masq => Some(Self::Nat(dest.port)),
            Forward::Tunnel if tunnel.kind == IP_VS_CONN_F_TUNNEL_TYPE_GUE => {
                Some(Self::Tunnel(tunnel.port))
            }
            _ => None,
        }
    }

    fn port(self) -> Port {
        match self {
            Self::Nat(port) | Self::Tunnel(port) => port,
        }
    }
}

/// The entry of a dest in the table. An entry is added once; if the dest comes back or changes, it
/// gets another.
pub(super) struct Real {
    links: HashLinks<Self>,
    by: By,
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
        self.find_by(guard, family, addr, By::Nat(port), |dest| {
            dest.vip.protocol == protocol.into() || dest.vip.fwmark != 0
        })
    }

    /// Whether a dest has this address and a GUE tunnel to this port.
    pub(crate) fn has_gue(
        &self,
        guard: &rcu::Guard,
        family: Family,
        (addr, port): (&Addr, Port),
    ) -> bool {
        self.find_by(guard, family, addr, By::Tunnel(port), |_| true)
            .is_some()
    }

    fn find_by<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        family: Family,
        addr: &Addr,
        by: By,
        is_wanted: impl Fn(&Dest) -> bool,
    ) -> Option<RcuRef<'g, Dest>> {
        let is_it = |dest: &Dest| dest.family == family && dest.addr == *addr && is_wanted(dest);
        let hash = self.hash_of(family, addr, by.port());
        let found = self.hash.find(guard, hash, |_, real| {
            real.by == by && real.dest.get(guard).is_some_and(|dest| is_it(dest.get()))
        })?;
        found.get().dest.get(guard)
    }

    /// Adds or removes a dest, as required by its forwarding method.
    ///
    /// # Errors
    ///
    /// `ENOMEM`. The table is unchanged then.
    pub(crate) fn update(&self, dest: &RcuArc<Dest>) -> Result {
        let Some(by) = By::of(dest) else {
            Self::remove(dest);
            return Ok(());
        };
        let guard = rcu::read_lock();
        if dest
            .real
            .get(&guard)
            .is_some_and(|real| real.get().by == by)
        {
            return Ok(());
        }
        drop(guard);
        let real = RcuArc::new(
            pin_init::init!(Real {
                links: HashLinks::new(),
                by,
                dest: RcuArcCell::new(Some(dest.clone())),
            }),
            GFP_KERNEL,
        )?;
        let hash = self.hash_of(dest.family, &dest.addr, by.port());
        self.hash
            .insert(&rcu::read_lock(), real.clone(), hash, None);
        Self::forget(dest.real.replace(Some(real)));
        Ok(())
    }

    /// Removes a dest, if it is in the table.
    pub(crate) fn remove(dest: &Dest) {
        Self::forget(dest.real.replace(None));
    }

    /// Removes an entry.
    fn forget(real: Option<RcuArc<Real>>) {
        if let Some(real) = real {
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
