// SPDX-License-Identifier: GPL-2.0

//! The sockets of the daemons.
//!
//! C version: `make_send_sock()`, `make_receive_sock()` [net/netfilter/ipvs/ip_vs_sync.c].

use super::config::{
    Config,
    Group, //
};
use crate::oot::net::{
    device::Device,
    namespace::NetRef,
    nf_proto::NfProto,
    socket::{
        IpAddr,
        SocketAddr,
        UdpSocket, //
    },
};
use kernel::prelude::*;

/// The device of a daemon.
#[derive(Clone, Copy)]
pub(crate) struct Via {
    index: i32,
    pub(super) mtu: u32,
    /// The IPv4 address of the device, or another one, in network byte order; 0.0.0.0 if there is
    /// none.
    addr: [u8; 4],
}

impl From<&Device> for Via {
    fn from(device: &Device) -> Self {
        Self {
            index: device.index(),
            mtu: device.mtu(),
            addr: device.select_addr4(),
        }
    }
}

/// The destination of messages of the thread with the number `id`. As in C, port numbers wrap.
fn destination(config: &Config, id: u16) -> SocketAddr {
    SocketAddr {
        addr: match config.group {
            Group::V4(group) => IpAddr::V4(group),
            Group::V6(group) => IpAddr::V6(group),
        },
        port: config.port.wrapping_add(id).to_be_bytes(),
    }
}

/// The least size of the receive buffer of the first thread while there are resyncs, in bytes.
pub(super) const RESYNC_BUFFER: i32 = 1 << 20;

fn family(config: &Config) -> NfProto {
    match config.group {
        Group::V4(_) => NfProto::Ipv4,
        Group::V6(_) => NfProto::Ipv6,
    }
}

fn new<N: NetRef>(netns: N, config: &Config) -> Result<UdpSocket<N>> {
    logged(
        UdpSocket::new(netns, family(config)),
        "Error during creation of socket; terminating",
    )
}

/// Logs `text` if `result` is an error.
fn logged<T>(result: Result<T>, text: &str) -> Result<T> {
    if result.is_err() {
        pr_err!("{text}\n");
    }
    result
}

/// A socket that sends to the group through the device, with a send buffer of `size` bytes, or of
/// the default size if that is 0.
///
/// # Errors
///
/// - `EAFNOSUPPORT` if the group is IPv6 and IPv6 is disabled.
/// - `EADDRNOTAVAIL` if the IPv4 address of the device is not local.
/// - `ENETUNREACH` and others if there is no route to the group.
pub(super) fn sending<N: NetRef>(
    netns: N,
    via: &Via,
    config: &Config,
    id: u16,
    size: i32,
) -> Result<UdpSocket<N>> {
    let socket = new(netns, config)?;
    logged(
        socket.set_multicast_device(via.index),
        "Error setting outbound mcast interface",
    )?;
    socket.set_multicast_loop(false)?;
    socket.set_multicast_ttl(config.ttl)?;
    // The MTU may change.
    socket.allow_fragments()?;
    if size > 0 {
        socket.set_send_buffer(size)?;
    }
    if let Group::V4(_) = config.group {
        if via.addr == [0; 4] {
            pr_err!("You probably need to specify IP address on multicast interface.\n");
        }
        let source = SocketAddr {
            addr: IpAddr::V4(via.addr),
            port: [0; 2],
        };
        logged(
            socket.bind(source),
            "Error binding address of the mcast interface",
        )?;
    }
    logged(
        socket.connect(destination(config, id)),
        "Error connecting to the multicast addr",
    )?;
    Ok(socket)
}

/// A socket for a resync, which sends to the group through the device. Nothing is logged: C has no
/// such socket.
///
/// # Errors
///
/// As for [`sending`].
pub(super) fn resync_sending<N: NetRef>(
    netns: N,
    via: &Via,
    config: &Config,
) -> Result<UdpSocket<N>> {
    let to = destination(config, 0);
    let socket = UdpSocket::new(netns, family(config))?;
    socket.set_multicast_device(via.index)?;
    socket.set_multicast_loop(false)?;
    socket.set_multicast_ttl(config.ttl)?;
    socket.allow_fragments()?;
    socket.connect(to)?;
    Ok(socket)
}

/// A socket for a resync, by which a master receives requests and answers. Nothing is logged: in C
/// a master has no such socket.
///
/// # Errors
///
/// As for [`receiving`].
pub(super) fn resync_receiving<N: NetRef>(
    netns: N,
    via: &Via,
    config: &Config,
) -> Result<UdpSocket<N>> {
    let at = destination(config, 0);
    let socket = UdpSocket::new(netns, family(config))?;
    socket.allow_reuse()?;
    socket.force_receive_buffer(RESYNC_BUFFER)?;
    socket.bind_to_device(via.index)?;
    socket.bind(at)?;
    socket.join(at.addr, via.index)?;
    Ok(socket)
}

/// A socket that receives what is sent to the group and the port through the device, with a receive
/// buffer of `size` bytes, or of the default size if that is 0.
///
/// # Errors
///
/// - `EAFNOSUPPORT` if the group is IPv6 and IPv6 is disabled.
/// - `EADDRINUSE` if the port is in use; `EACCES` if the caller may not bind it.
/// - `ENODEV` or `EINVAL` if the device has no IPv4 or IPv6.
/// - `ENOBUFS` if the sysctl `igmp_max_memberships` is 0.
pub(super) fn receiving<N: NetRef>(
    netns: N,
    via: &Via,
    config: &Config,
    id: u16,
    size: i32,
) -> Result<UdpSocket<N>> {
    let socket = new(netns, config)?;
    socket.allow_reuse()?;
    if size > 0 {
        socket.set_receive_buffer(size)?;
    }
    socket.bind_to_device(via.index)?;
    let at = destination(config, id);
    logged(socket.bind(at), "Error binding to the multicast addr")?;
    logged(
        socket.join(at.addr, via.index),
        "Error joining to the multicast group",
    )?;
    Ok(socket)
}
