// SPDX-License-Identifier: GPL-2.0

//! The index of a service's dests by name, for the control plane.
//!
//! C version: `ip_vs_lookup_dest()` [net/netfilter/ipvs/ip_vs_ctl.c], which walks the list of
//! dests.

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

/// The number of dests up to which a lookup walks the list, without an index.
const FEW: usize = 16;

/// The serial numbers of the dests in a service's list, by name. A dest gets a higher serial number
/// than all dests added before it.
pub(crate) struct Names {
    /// The index; `None` until there are more than [`FEW`] dests.
    serials: Option<Keyed>,
    /// The serial number of the next dest.
    next: u64,
}

/// An index with a secret hash key, as the names of dests may be attacker-controlled.
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

    /// Adds a serial number. The caller has reserved a slot.
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

    /// Returns the dest of the pool named `id` (C: `ip_vs_lookup_dest()`).
    pub(crate) fn find<'p>(&self, pool: &'p Pool, id: &DestId) -> Option<&'p RcuArc<Dest>> {
        let Some(serials) = &self.serials else {
            return pool.dests().iter().find(|dest| dest.is(id));
        };
        let mut found = None;
        serials.index.find(serials.hash(id), |serial| {
            found = pool
                .by_serial(serial)
                .map(|(_, dest)| dest)
                .filter(|dest| dest.is(id));
            found.is_some()
        })?;
        found
    }

    /// Reserves a slot for a dest to be added to the pool, and returns its serial number. Call
    /// [`add`](Self::add) after the pool was published.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
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

    /// Adds a dest to the index, after [`prepare`](Self::prepare).
    pub(super) fn add(&mut self, id: &DestId, serial: u64) {
        if let Some(serials) = &mut self.serials {
            serials.insert(id, serial);
        }
    }

    /// Removes a dest from the index. `left` is the number of remaining dests.
    pub(super) fn remove(&mut self, id: &DestId, serial: u64, left: usize) {
        if left < FEW / 2 {
            self.serials = None;
        }
        if let Some(serials) = &mut self.serials {
            serials.index.remove(serials.hash(id), serial);
        }
    }
}
