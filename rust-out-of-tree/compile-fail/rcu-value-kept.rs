// SPDX-License-Identifier: GPL-2.0
// Error: E0505

// The value of an RCU cell must not be used after the read-side critical section.

use crate::oot::sync::{
    RcuBox,
    RcuCell, //
};
use kernel::{
    prelude::*,
    sync::rcu, //
};

fn value() -> Result<u32> {
    let cell = RcuCell::new(Some(RcuBox::new(1_u32, GFP_KERNEL)?));
    let guard = rcu::read_lock();
    let value = cell.get(&guard).ok_or(ENOENT)?;
    #[cfg(misuse)]
    drop(guard);
    Ok(*value)
}
