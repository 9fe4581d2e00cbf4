// SPDX-License-Identifier: GPL-2.0

//! Conns that others depend on, as those of a client on its template.
//!
//! A conn's word counts those that it controls, so that it is not made dead while there are any. A
//! conn that is controlled holds a reference, and is counted until it is dead itself.
//!
//! C version: `ip_vs_control_add()`, `ip_vs_control_del()` [include/net/ip_vs.h].

use super::{
    Conn,
    ConnRef,
    CONTROLLED,
    DEAD, //
};
use crate::oot::sync::Once;
use kernel::sync::{
    atomic::Relaxed,
    rcu, //
};

impl Conn {
    /// Counts a conn that it is to control. False if it is dead.
    pub(crate) fn take_control(&self) -> bool {
        let mut old = self.word.read_once();
        loop {
            if old & DEAD != 0 {
                return false;
            }
            match self
                .word
                .cmpxchg(old, old.wrapping_add(CONTROLLED), Relaxed)
            {
                Ok(_) => return true,
                Err(now) => old = now,
            }
        }
    }

    /// Whether it controls a conn.
    pub(super) fn is_in_control(&self) -> bool {
        self.word.read_once() >= CONTROLLED
    }

    /// Ends it if its dest was removed and it controls none; if it was the last that its template
    /// controlled, that too (C: in `ip_vs_expire_nodest_conn_flush()`).
    pub(super) fn expire_nodest(this: ConnRef<'_>, guard: &rcu::Guard) {
        if this.dest.is_available() || this.is_in_control() {
            return;
        }
        Self::kill(this, guard);
        let control = this.get().control.as_ref();
        if let Some(control) = control.filter(|control| !control.is_in_control()) {
            Self::kill(control.as_rcu(), guard);
        }
    }

    /// Counts one less.
    pub(crate) fn uncontrol(&self) {
        self.word.fetch_sub(CONTROLLED, Relaxed);
    }

    /// Has the template that controls it know that client and dest do talk
    /// (C: `ip_vs_control_assure_ct()`).
    pub(super) fn assure(&self) {
        if let Some(control) = &self.control {
            control.assured();
        }
    }
}
