// SPDX-License-Identifier: GPL-2.0
// Error: E0505

// An object found under RCU must not be used after the critical section without a reference.

use crate::oot::sync::{
    Object,
    RcuArc,
    RcuArcCell, //
};
use kernel::{
    prelude::*,
    sync::rcu, //
};

struct Number(u32);

impl Object for Number {}

fn number(cell: &RcuArcCell<Number>) -> Option<u32> {
    let guard = rcu::read_lock();
    let found = cell.get(&guard)?;
    #[cfg(not(misuse))]
    let found: RcuArc<Number> = found.upgrade()?;
    drop(guard);
    Some(found.0)
}
