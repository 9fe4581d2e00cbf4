// SPDX-License-Identifier: GPL-2.0

//! Conns that others depend on, as those of a client on its template.
//!
//! A conn counts those that it controls, so that it does not die while there are any. A conn that
//! is controlled holds a reference, and is counted until it is dead itself.
//!
//! C version: `ip_vs_control_add()`, `ip_vs_control_del()` [include/net/ip_vs.h].

use super::{
    Conn,
    ConnRef, //
};
use kernel::sync::rcu;

impl Conn {
    /// Counts a conn that it is to control. False if it is dead.
    pub(crate) fn take_control(&self) -> bool {
        self.life.take_control()
    }

    /// Counts one controlled conn less.
    pub(crate) fn uncontrol(&self) {
        self.life.uncontrol();
    }

    /// Ends it if its dest was removed and it controls none; if it was the last that its template
    /// controlled, that too (C: in `ip_vs_expire_nodest_conn_flush()`).
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

    /// Assures the template that controls it: client and dest do communicate
    /// (C: `ip_vs_control_assure_ct()`).
    pub(super) fn assure(&self) {
        if let Some(control) = &self.control {
            control.assured();
        }
    }
}
