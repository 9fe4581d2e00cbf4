// SPDX-License-Identifier: GPL-2.0

//! The local ends of conns, and the data that all of them in a network namespace share.

use super::End;
use crate::{
    addr::{
        Addr,
        Port, //
    },
    oot::sync::PerCpuCounters,
    ports::{
        Bit,
        Used, //
    },
    shim::Word32, //
};
use kernel::{
    prelude::*,
    sync::SetOnce, //
};

/// The local end of a conn.
#[derive(Clone, Copy)]
pub(crate) struct Local {
    pub(crate) addr: Addr,
    pub(crate) port: Port,
    /// The bit that the conn owns, if any.
    pub(crate) bit: Option<Bit>,
    /// Whether packets to the real server have the client's address as a TCP option.
    pub(crate) has_toa: bool,
}

impl Local {
    /// Address and port.
    #[inline]
    pub(crate) fn end(&self) -> End<'_> {
        (&self.addr, self.port)
    }
}

/// The data that the conns with local ends of a network namespace share.
pub(crate) struct Locals {
    /// The ports in use, once a service or the sysctl needs local ends and memory was not short.
    used: SetOnce<Used>,
    counters: PerCpuCounters<2>,
    /// 1 once all ends that were tried were in use.
    was_exhausted: Word32,
}

// Indices of counters.
const SEARCHES: usize = 0;
const EXHAUSTED: usize = 1;

impl Locals {
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            used: SetOnce::new(),
            counters: PerCpuCounters::new()?,
            was_exhausted: Word32::new(0),
        })
    }

    /// The ports in use.
    pub(super) fn used(&self) -> Option<&Used> {
        self.used.as_ref()
    }

    /// The number of this search, which each CPU counts.
    pub(super) fn next_search(&self) -> u32 {
        self.counters.next(SEARCHES) as u32
    }

    /// Allocates the bits of ports in use. If memory is short, ends are found without these. May
    /// sleep.
    pub(crate) fn prepare(&self) {
        if self.used.as_ref().is_none() {
            if let Ok(used) = Used::new() {
                self.used.populate(used);
            }
        }
    }

    /// Clears the bit of an end, if its conn owns one.
    pub(crate) fn release(&self, local: &Local) {
        if let (Some(used), Some(bit)) = (self.used.as_ref(), local.bit) {
            used.clear(bit);
        }
    }

    /// Counts a packet that was dropped because all ends that were tried were in use. Returns
    /// whether it is the first one.
    #[cold]
    pub(crate) fn count_exhausted(&self) -> bool {
        self.counters.add(EXHAUSTED, 1);
        self.was_exhausted.get() == 0 && self.was_exhausted.compare_exchange(0, 1).is_ok()
    }

    /// The number of such packets.
    pub(crate) fn exhausted(&self) -> u64 {
        let [_, exhausted] = self.counters.sums();
        exhausted
    }
}
