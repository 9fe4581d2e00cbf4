// SPDX-License-Identifier: GPL-2.0

//! The daemons by which directors tell each other of their conns: one that sends, one that listens.
//!
//! C version: `start_sync_thread()`, `stop_sync_thread()` [net/netfilter/ipvs/ip_vs_sync.c].
//!
//! # Not supported
//!
//! What they are there for: a daemon is started, listed and stopped, and counts as a use of the
//! module, but nothing is sent or heard. Whether the port is free is not looked at.

pub(super) mod config;

use crate::oot::net::{
    addrconf,
    device::Device,
    ip,
    namespace::Net, //
};
use kernel::{
    prelude::*,
    str::BStr,
    sync::rcu, //
};

use super::Ctl;
use config::{
    Config,
    DaemonSpec,
    Group,
    Role, //
};

/// C: `IPVS_SYNC_PORTS_MAX`
const MAX_PORTS: u16 = 64;

/// The daemons that run in a namespace.
#[derive(Default)]
pub(super) struct Daemons {
    master: Option<Config>,
    backup: Option<Config>,
    /// How many ports each uses, from its own on: what the settings said when the first started.
    ports: u16,
}

impl Daemons {
    fn slot(&mut self, role: Role) -> &mut Option<Config> {
        match role {
            Role::Master => &mut self.master,
            Role::Backup => &mut self.backup,
        }
    }
}

impl Ctl<'_> {
    /// C: `start_sync_thread()`, with `state` the number of a role.
    pub(super) fn start_daemon(&mut self, spec: &DaemonSpec, state: u32) -> Result {
        self.with_use(|ctl| ctl.try_start_daemon(spec, state))
    }

    fn try_start_daemon(&mut self, spec: &DaemonSpec, state: u32) -> Result {
        let role = Role::from_state(state);
        if role == Some(Role::Backup) {
            // It needs a conn table, be there services or not.
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
        if !self.has_daemons() {
            let ports = netns.sysctl.sync_ports().clamp(1, MAX_PORTS.into());
            self.state.daemons.ports = ports as u16;
        }
        let ports = self.state.daemons.ports;
        let slot = self.state.daemons.slot(role);
        if slot.is_some() {
            return Err(EEXIST);
        }
        let config = spec.settle(role, device.mtu());
        if matches!(config.group, Group::V6(_)) && !addrconf::is_ipv6_enabled() {
            pr_err!("Error during creation of socket; terminating\n");
            return Err(EAFNOSUPPORT);
        }
        match role {
            Role::Master => check_sending(net, device, &config.group)?,
            Role::Backup => check_listening(net, device, &guard, &config, ports)?,
        }
        kernel::pr_warn_once!("sync daemons neither send nor hear anything yet\n");
        *slot = Some(config);
        Ok(())
    }

    /// C: `stop_sync_thread()`, with `state` the number of a role.
    pub(super) fn stop_daemon(&mut self, state: u32) -> Result {
        let role = Role::from_state(state).ok_or(EINVAL)?;
        self.state.daemons.slot(role).take().ok_or(ESRCH)?;
        self.state.uses.dec();
        Ok(())
    }

    /// C: `ip_vs_sync_net_cleanup()`.
    pub(super) fn stop_daemons(&mut self) {
        for role in Role::ALL {
            // It need not run.
            let _ = self.stop_daemon(role.state());
        }
    }

    /// The daemon in that role, if it runs.
    pub(super) fn daemon(&self, role: Role) -> Option<&Config> {
        match role {
            Role::Master => self.state.daemons.master.as_ref(),
            Role::Backup => self.state.daemons.backup.as_ref(),
        }
    }

    /// Whether any daemon runs: then no dest may be of another family than its service.
    pub(super) fn has_daemons(&self) -> bool {
        Role::ALL.iter().any(|role| self.daemon(*role).is_some())
    }
}

/// Whether a socket could send to the group by the device (C: `make_send_sock()`).
fn check_sending(net: &Net, device: &Device, group: &Group) -> Result {
    let route = match group {
        Group::V4(group) => {
            let saddr = device.select_addr4();
            if saddr == [0; 4] {
                pr_err!("You probably need to specify IP address on multicast interface.\n");
            } else if !ip::may_bind4(net, saddr) {
                pr_err!("Error binding address of the mcast interface\n");
                return Err(EADDRNOTAVAIL);
            }
            ip::route_to_group4(net, *group, saddr, device)
        }
        Group::V6(group) => ip::route_to_group6(net, *group, device),
    };
    if let Err(error) = route {
        pr_err!("Error connecting to the multicast addr\n");
        return Err(error);
    }
    Ok(())
}

/// Whether a socket could hear what comes to the group by the device (C: `make_receive_sock()`).
///
/// There is a socket for each of so many ports: each is bound, and joins, before the next is.
fn check_listening(
    net: &Net,
    device: &Device,
    guard: &rcu::Guard,
    config: &Config,
    ports: u16,
) -> Result {
    for id in 0..ports {
        // As in C, port 0 follows after the last.
        if !ip::may_bind_port(net, config.port.wrapping_add(id)) {
            pr_err!("Error binding to the multicast addr\n");
            return Err(EACCES);
        }
        let joined = match config.group {
            Group::V4(_) if !device.has_inet(guard) => Err(ENODEV),
            Group::V4(_) if !ip::may_join4(net) => Err(ENOBUFS),
            Group::V6(_) if !device.has_inet6(guard) => Err(EINVAL),
            Group::V4(_) | Group::V6(_) => Ok(()),
        };
        if let Err(error) = joined {
            pr_err!("Error joining to the multicast group\n");
            return Err(error);
        }
    }
    Ok(())
}
