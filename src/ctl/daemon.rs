// SPDX-License-Identifier: GPL-2.0

//! Commands that start and stop the sync daemons. Each daemon holds a reference to the module.
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
    /// Starts the daemon of the role with the number `state` (C: `start_sync_thread()`).
    ///
    /// # Errors
    ///
    /// `ENODEV` if there is no such device, `EINVAL` for another number, then those of
    /// [`Daemons::start`](crate::sync::Daemons::start).
    pub(super) fn start_daemon(&mut self, spec: &DaemonSpec, state: u32) -> Result {
        self.with_module_ref(|ctl| ctl.try_start_daemon(spec, state))
    }

    fn try_start_daemon(&mut self, spec: &DaemonSpec, state: u32) -> Result {
        let role = Role::from_state(state);
        if role == Some(Role::Backup) {
            // It needs a conn table, even without services.
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

    /// Stops the daemon of the role with the number `state` (C: `stop_sync_thread()`).
    ///
    /// # Errors
    ///
    /// `EINVAL` for another number, `ESRCH` if the daemon does not run.
    pub(super) fn stop_daemon(&mut self, state: u32) -> Result {
        let role = Role::from_state(state).ok_or(EINVAL)?;
        self.state.daemons.stop(role)?;
        self.state.uses.dec();
        Ok(())
    }

    /// Stops both daemons, whether they run or not (C: `ip_vs_sync_net_cleanup()`).
    pub(super) fn stop_daemons(&mut self) {
        for role in Role::ALL {
            let _ = self.stop_daemon(role.state());
        }
    }

    /// The daemon in that role, if it runs.
    pub(super) fn daemon(&self, role: Role) -> Option<&Config> {
        self.state.daemons.get(role)
    }

    /// Whether any daemon runs. No dest may then be of another family than its service.
    pub(super) fn has_daemons(&self) -> bool {
        self.state.daemons.any()
    }
}
