// SPDX-License-Identifier: GPL-2.0

//! Conns that control others, such as templates.
//!
//! A conn counts the conns that it controls and does not expire while there are any. A controlled
//! conn holds a reference to the controlling one, and is counted until it is dead.
//!
//! C version: `ip_vs_control_add()`, `ip_vs_control_del()` [include/net/ip_vs.h].

use super::{
    Conn,
    ConnRef, //
};
use kernel::sync::rcu;

impl Conn {
    /// Counts a conn that this one is to control. Returns false if this one is dead.
    pub(crate) fn take_control(&self) -> bool {
        self.life.take_control()
    }

    /// Subtracts a controlled conn from the count.
    pub(crate) fn uncontrol(&self) {
        self.life.uncontrol();
    }

    /// Whether this conn controls others.
    pub(crate) fn is_in_control(&self) -> bool {
        self.life.is_in_control()
    }

    /// Kills a conn whose dest was removed, unless it controls others. If it was the last conn that
    /// its template controlled, kills the template, too (C: in `ip_vs_expire_nodest_conn_flush()`).
    pub(super) fn expire_nodest(this: ConnRef<'_>, guard: &rcu::Guard) {
        let dest = this.dest.get(guard);
        if dest.is_none_or(|dest| dest.is_available()) || this.life.is_in_control() {
            return;
        }
        Self::kill(this, guard);
        let control = this.get().control.as_ref();
        if let Some(control) = control.filter(|control| !control.life.is_in_control()) {
            Self::kill(control.as_rcu(), guard);
        }
    }

    /// Marks the controlling template as assured: client and dest have communicated
    /// (C: `ip_vs_control_assure_ct()`).
    pub(super) fn assure(&self) {
        if let Some(control) = &self.control {
            control.assured();
        }
    }
}
