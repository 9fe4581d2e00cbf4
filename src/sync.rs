// SPDX-License-Identifier: GPL-2.0

//! The sync daemons of directors: a master sends its conns, a backup receives them.
//!
//! C version: [net/netfilter/ipvs/ip_vs_sync.c].
//!
//! # Not supported
//!
//! - Sending and receiving: a daemon is configured and listed, but does nothing.
//! - The check whether a port of the daemon is in use.

pub(crate) mod config;

use crate::oot::net::{
    addrconf,
    device::Device,
    ip,
    namespace::Net, //
};
use config::{
    Config,
    DaemonSpec,
    Group,
    Role, //
};
use kernel::{
    prelude::*,
    sync::rcu, //
};

/// C: `IP_VS_SYNC_PORTS_MAX`
const MAX_PORTS: u16 = 64;

/// The running daemons of a network namespace.
#[derive(Default)]
pub(crate) struct Daemons {
    master: Option<Config>,
    backup: Option<Config>,
    /// The number of consecutive ports of each daemon: `sync_ports` when the first daemon started.
    ports: u16,
}

impl Daemons {
    /// Returns the configuration of the daemon in `role`, if it runs.
    pub(crate) fn get(&self, role: Role) -> Option<&Config> {
        match role {
            Role::Master => self.master.as_ref(),
            Role::Backup => self.backup.as_ref(),
        }
    }

    /// Whether any daemon runs.
    pub(crate) fn any(&self) -> bool {
        self.master.is_some() || self.backup.is_some()
    }

    fn slot(&mut self, role: Role) -> &mut Option<Config> {
        match role {
            Role::Master => &mut self.master,
            Role::Backup => &mut self.backup,
        }
    }

    /// Starts a daemon on `device` (C: `start_sync_thread()`). `sync_ports` is the sysctl of that
    /// name.
    ///
    /// # Errors
    ///
    /// In this order:
    ///
    /// - `EEXIST` if a daemon runs in `role`.
    /// - `EAFNOSUPPORT` if the group is IPv6 and IPv6 is disabled.
    /// - Whatever [`check_sending`] returns for a master, or [`check_listening`] for a backup.
    pub(crate) fn start(
        &mut self,
        role: Role,
        spec: &DaemonSpec,
        net: &Net,
        device: &Device,
        sync_ports: i32,
        guard: &rcu::Guard,
    ) -> Result {
        if !self.any() {
            self.ports = sync_ports.clamp(1, MAX_PORTS.into()) as u16;
        }
        if self.get(role).is_some() {
            return Err(EEXIST);
        }
        let config = spec.settle(role, device.mtu());
        if matches!(config.group, Group::V6(_)) && !addrconf::is_ipv6_enabled() {
            pr_err!("Error during creation of socket; terminating\n");
            return Err(EAFNOSUPPORT);
        }
        match role {
            Role::Master => check_sending(net, device, &config.group)?,
            Role::Backup => check_listening(net, device, guard, &config, self.ports)?,
        }
        kernel::pr_warn_once!("sync daemons do not send or receive yet\n");
        *self.slot(role) = Some(config);
        Ok(())
    }

    /// Stops a daemon (C: `stop_sync_thread()`).
    ///
    /// # Errors
    ///
    /// `ESRCH` if no daemon runs in `role`.
    pub(crate) fn stop(&mut self, role: Role) -> Result {
        self.slot(role).take().map(drop).ok_or(ESRCH)
    }
}

/// Checks whether a socket could send to the group through the device (C: `make_send_sock()`).
///
/// # Errors
///
/// `EADDRNOTAVAIL` if the IPv4 address of the device is not local; whatever
/// [`ip::route_to_group4`] or [`ip::route_to_group6`] returns.
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

/// Checks whether sockets could receive from the group through the device
/// (C: `make_receive_sock()`). There is one socket for each of `ports` ports.
///
/// # Errors
///
/// For the first port that fails, in this order:
///
/// - `EACCES` if the caller may not bind the port.
/// - `ENODEV` if the group is IPv4 and the device has no IPv4.
/// - `ENOBUFS` if the group is IPv4 and `igmp_max_memberships` is 0.
/// - `EINVAL` if the group is IPv6 and the device has no IPv6.
fn check_listening(
    net: &Net,
    device: &Device,
    guard: &rcu::Guard,
    config: &Config,
    ports: u16,
) -> Result {
    for id in 0..ports {
        // As in C, port numbers wrap.
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
