// SPDX-License-Identifier: GPL-2.0

//! Starts and stops the sync daemons. Each running daemon holds a reference to the module.
//!
//! C version: `start_sync_thread()`, `stop_sync_thread()` [net/netfilter/ipvs/ip_vs_sync.c].

use crate::{
    oot::net::{
        device::Device,
        namespace::Net, //
    },
    sync::{
        config::{
            Config,
            DaemonSpec,
            Role, //
        },
        Setting,
        Via, //
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
    /// - `ESRCH` if the namespace is being deleted.
    /// - `ENODEV` if the namespace has no device with the name in `spec`.
    /// - `EINVAL` if `state` has another value.
    /// - Whatever [`Daemons::start`](crate::sync::Daemons::start) returns.
    pub(super) fn start_daemon(&mut self, spec: &DaemonSpec, state: u32) -> Result {
        self.with_module_ref(|ctl| ctl.try_start_daemon(spec, state))
    }

    /// Starts a daemon; the caller holds the module reference.
    ///
    /// # Errors
    ///
    /// As for [`start_daemon`](Self::start_daemon), except `ENOPROTOOPT`.
    fn try_start_daemon(&mut self, spec: &DaemonSpec, state: u32) -> Result {
        if self.netns.is_going() {
            return Err(ESRCH);
        }
        let role = Role::from_state(state);
        if role == Some(Role::Backup) {
            // As in C, the backup daemon creates the conn table, even without services.
            self.netns.services.set_used();
        }
        let netns = self.netns;
        let via = device(netns.net(), spec.ifn.bytes())?;
        let setting = Setting {
            netns: &netns.get_ref().ok_or(ESRCH)?,
            state: &netns.sync,
            via,
            ports: netns.sysctl.sync_ports(),
            sock_size: netns.sysctl.sync_sock_size(),
            generation: netns.estimator.generation(),
        };
        let role = role.ok_or(EINVAL)?;
        self.state.daemons.start(role, spec, &setting)
    }

    /// Stops a sync daemon (C: `stop_sync_thread()`). `state` is as for
    /// [`start_daemon`](Self::start_daemon).
    ///
    /// # Errors
    ///
    /// `EINVAL` if `state` has another value; `ESRCH` if the daemon does not run.
    pub(super) fn stop_daemon(&mut self, state: u32) -> Result {
        let role = Role::from_state(state).ok_or(EINVAL)?;
        self.state.daemons.stop(role, &self.netns.sync)?;
        self.state.uses.dec();
        Ok(())
    }

    /// Stops each daemon that runs.
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

/// Returns the index, the MTU and an IPv4 address of the device called `name`.
///
/// # Errors
///
/// `ENODEV` if there is none.
fn device(net: &Net, name: &[u8]) -> Result<Via> {
    match Device::by_name(net, name, &rcu::read_lock()) {
        Some(device) => Ok(Via::from(device)),
        None => {
            pr_err!("Unknown mcast interface: {}\n", BStr::from_bytes(name));
            Err(ENODEV)
        }
    }
}
