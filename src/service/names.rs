// SPDX-License-Identifier: GPL-2.0

//! A service's dests by name, for the control plane: it finds one of thousands without a walk.
//!
//! C version: `ip_vs_lookup_dest()`, a walk [net/netfilter/ipvs/ip_vs_ctl.c].

use crate::ctl::request::DestId;
use kernel::{
    prelude::*,
    rbtree::{
        RBTree,
        RBTreeNode, //
    }, //
};

/// What orders names, as numbers, which are compared faster than bytes.
type Key = (u64, u64, u32);

fn key(id: &DestId) -> Key {
    let [a, b, c, d] = id.addr.words();
    let pair = |high, low| u64::from(high) << 32 | u64::from(low);
    let rest = u32::from(id.family.af()) << 16 | u32::from(id.port.be16());
    (pair(a, b), pair(c, d), rest)
}

/// The serial numbers of the dests in a service's list, by name. A dest that joins gets a higher
/// one than all before it.
pub(super) struct Names {
    serials: RBTree<Key, u64>,
    next: u64,
}

/// A name that is about to be known.
pub(super) struct NewName(RBTreeNode<Key, u64>);

impl Names {
    pub(super) fn new() -> Self {
        Self {
            serials: RBTree::new(),
            next: 0,
        }
    }

    /// The serial number of the dest called `id`.
    pub(super) fn get(&self, id: &DestId) -> Option<u64> {
        self.serials.get(&key(id)).copied()
    }

    /// A serial number for a dest called `id` that is to join, which is known from when it is
    /// [`add`](Self::add)ed.
    pub(super) fn prepare(&mut self, id: &DestId) -> Result<(u64, NewName)> {
        let serial = self.next;
        self.next = serial.wrapping_add(1);
        Ok((
            serial,
            NewName(RBTreeNode::new(key(id), serial, GFP_KERNEL)?),
        ))
    }

    /// A dest has joined.
    pub(super) fn add(&mut self, name: NewName) {
        self.serials.insert(name.0);
    }

    /// A dest has left.
    pub(super) fn remove(&mut self, id: &DestId) {
        self.serials.remove(&key(id));
    }
}
