// SPDX-License-Identifier: GPL-2.0

//! Conns that control others, such as templates.
//!
//! A conn counts the conns that it controls and does not expire while there are any. A controlled
//! conn holds a reference to the controlling one, and is counted until it is dead.
//!
//! C version: `ip_vs_control_add()`, `ip_vs_control_del()` [include/net/ip_vs.h].

use super::{
    table::{
        Birth,
        ConnTable, //
    },
    Conn,
    ConnRef,
    Params, //
};
use crate::{
    dest::Dest,
    oot::sync::RcuRef, //
};
use kernel::sync::rcu;

impl ConnTable {
    /// Adds a conn that `control` controls, as [`add`](Self::add). A conn that is dead, such as a
    /// template that has just expired, cannot control the new one.
    pub(crate) fn add_controlled<'g>(
        &'g self,
        guard: &'g rcu::Guard,
        params: &Params<'_>,
        dest: Option<RcuRef<'_, Dest>>,
        control: Option<ConnRef<'_>>,
        birth: Birth<'_>,
    ) -> Option<ConnRef<'g>> {
        let control = control.filter(|control| control.take_control());
        let added = self.add(guard, params, dest, control, birth);
        if let (None, Some(control)) = (added, control) {
            control.uncontrol();
        }
        added
    }
}

impl Conn {
    /// Counts a conn that this one is to control. Returns false if this one is dead.
    fn take_control(&self) -> bool {
        self.life.take_control()
    }

    /// Subtracts a controlled conn from the count.
    pub(super) fn uncontrol(&self) {
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
