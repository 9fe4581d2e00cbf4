// SPDX-License-Identifier: GPL-2.0

//! A service's dests by name, for the control plane: it finds one of thousands without a walk.
//!
//! C version: `ip_vs_lookup_dest()`, a walk [net/netfilter/ipvs/ip_vs_ctl.c].

use super::Pool;
use crate::{
    dest::Dest,
    index::Index,
    oot::{
        hash::HashKey,
        sync::RcuArc, //
    },
    spec::DestId,
};
use kernel::prelude::*;

/// Up to so many dests are looked through.
const FEW: usize = 16;

/// The serial numbers of the dests in a service's list, by name. A dest that joins gets a higher
/// one than all before it.
pub(super) struct Names {
    /// If there have been more than few.
    serials: Option<Keyed>,
    next: u64,
}

/// An index whose hashes nobody can foretell: users of a namespace choose their dests' names.
struct Keyed {
    key: HashKey,
    index: Index,
}

impl Keyed {
    fn new() -> Self {
        Self {
            key: HashKey::random(),
            index: Index::new(),
        }
    }

    fn hash(&self, id: &DestId) -> u32 {
        self.key.hash_words(&id.words())
    }

    /// Adds a serial number, which there is room for.
    fn insert(&mut self, id: &DestId, serial: u64) {
        self.index.insert(self.hash(id), serial);
    }
}

impl Names {
    pub(super) const fn new() -> Self {
        Self {
            serials: None,
            next: 0,
        }
    }

    /// The dest of the pool that is called `id`, and its index.
    pub(super) fn find<'p>(
        &self,
        pool: &'p Pool,
        id: &DestId,
    ) -> Option<(usize, &'p RcuArc<Dest>)> {
        let Some(serials) = &self.serials else {
            let mut dests = pool.dests().iter().enumerate();
            return dests.find(|(_, dest)| dest.is(id));
        };
        let mut found = None;
        serials.index.find(serials.hash(id), |serial| {
            found = pool.by_serial(serial).filter(|(_, dest)| dest.is(id));
            found.is_some()
        })?;
        found
    }

    /// A serial number for a dest that is to join those of the pool, which is known from when it is
    /// [`add`](Self::add)ed.
    pub(super) fn prepare(&mut self, pool: &Pool) -> Result<u64> {
        if self.serials.is_none() && pool.dests().len() >= FEW {
            let mut serials = Keyed::new();
            for dest in pool.dests() {
                serials.index.reserve()?;
                serials.insert(&dest.id(), dest.serial());
            }
            self.serials = Some(serials);
        }
        if let Some(serials) = &mut self.serials {
            serials.index.reserve()?;
        }
        let serial = self.next;
        self.next = serial.wrapping_add(1);
        Ok(serial)
    }

    /// A dest has joined.
    pub(super) fn add(&mut self, id: &DestId, serial: u64) {
        if let Some(serials) = &mut self.serials {
            serials.insert(id, serial);
        }
    }

    /// A dest has left, and so many are left.
    pub(super) fn remove(&mut self, id: &DestId, serial: u64, left: usize) {
        if left < FEW / 2 {
            self.serials = None;
        }
        if let Some(serials) = &mut self.serials {
            serials.index.remove(serials.hash(id), serial);
        }
    }
}
