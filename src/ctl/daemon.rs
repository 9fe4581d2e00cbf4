// SPDX-License-Identifier: GPL-2.0

//! Starts and stops the sync daemons. Each running daemon holds a reference to the module.
//!
//! C version: `start_sync_thread()`, `stop_sync_thread()` [net/netfilter/ipvs/ip_vs_sync.c].

use crate::{
    oot::net::device::Device,
    sync::config::{
        Config,
        DaemonSpec,
        Role, //
    }, //
};
use kernel::{
    prelude::*,
    str::BStr,
    sync::rcu, //
};

use super::Ctl;

impl Ctl<'_> {
    /// Starts a sync daemon (C: `start_sync_thread()`). `state` is `IP_VS_STATE_MASTER` or
    /// `IP_VS_STATE_BACKUP`.
    ///
    /// # Errors
    ///
    /// In this order:
    ///
    /// - `ENOPROTOOPT` if the module is being unloaded.
    /// - `ENODEV` if the namespace has no device with the name in `spec`.
    /// - `EINVAL` if `state` has another value.
    /// - Whatever [`Daemons::start`](crate::sync::Daemons::start) returns.
    pub(super) fn start_daemon(&mut self, spec: &DaemonSpec, state: u32) -> Result {
        self.with_module_ref(|ctl| ctl.try_start_daemon(spec, state))
    }

    fn try_start_daemon(&mut self, spec: &DaemonSpec, state: u32) -> Result {
        let role = Role::from_state(state);
        if role == Some(Role::Backup) {
            // As in C, the backup daemon creates the conn table, even without services.
            self.netns.services.set_used();
        }
        let guard = rcu::read_lock();
        let netns = self.netns;
        let net = netns.net();
        let name = spec.ifn.bytes();
        let Some(device) = Device::by_name(net, name, &guard) else {
            pr_err!("Unknown mcast interface: {}\n", BStr::from_bytes(name));
            return Err(ENODEV);
        };
        let role = role.ok_or(EINVAL)?;
        let sync_ports = netns.sysctl.sync_ports();
        let daemons = &mut self.state.daemons;
        daemons.start(role, spec, net, device, sync_ports, &guard)
    }

    /// Stops a sync daemon (C: `stop_sync_thread()`). `state` is as for
    /// [`start_daemon`](Self::start_daemon).
    ///
    /// # Errors
    ///
    /// `EINVAL` if `state` has another value; `ESRCH` if the daemon does not run.
    pub(super) fn stop_daemon(&mut self, state: u32) -> Result {
        let role = Role::from_state(state).ok_or(EINVAL)?;
        self.state.daemons.stop(role)?;
        self.state.uses.dec();
        Ok(())
    }

    /// Stops each daemon that runs (C: `ip_vs_sync_net_cleanup()`).
    pub(super) fn stop_daemons(&mut self) {
        for role in Role::ALL {
            let _ = self.stop_daemon(role.state());
        }
    }

    /// Returns the configuration of the daemon in `role`, if it runs.
    pub(super) fn daemon(&self, role: Role) -> Option<&Config> {
        self.state.daemons.get(role)
    }

    /// Whether any daemon runs. Then no dest of another family than its service may be added.
    pub(super) fn has_daemons(&self) -> bool {
        self.state.daemons.any()
    }
}
