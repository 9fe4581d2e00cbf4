// SPDX-License-Identifier: GPL-2.0

//! UDP sockets of the kernel.
//!
//! Unlike the sockets of a process, they hold no reference to their network namespace. Options are
//! set by `setsockopt()`, whose errors are those of a process.
//!
//! C header: [`include/linux/net.h`](srctree/include/linux/net.h)

use core::ptr::NonNull;
use kernel::{
    error::to_result,
    ffi::{
        c_int,
        c_long,
        c_uint, //
    },
    prelude::*, //
};

use crate::oot::{
    bindings,
    kthread::Current, //
};

use super::{
    namespace::NetRef,
    nf_proto::NfProto, //
};

/// An IP address and a port, both in network byte order.
#[derive(Clone, Copy)]
pub(crate) struct SocketAddr {
    pub(crate) addr: IpAddr,
    pub(crate) port: [u8; 2],
}

/// An IP address in network byte order.
#[derive(Clone, Copy)]
pub(crate) enum IpAddr {
    V4([u8; 4]),
    V6([u8; 16]),
}

impl IpAddr {
    fn family(self) -> NfProto {
        match self {
            Self::V4(_) => NfProto::Ipv4,
            Self::V6(_) => NfProto::Ipv6,
        }
    }
}

/// `struct sockaddr_in`
#[repr(C)]
struct SockaddrIn {
    family: u16,
    port: [u8; 2],
    addr: [u8; 4],
    zero: [u8; 8],
}

/// `struct sockaddr_in6`
#[repr(C)]
struct SockaddrIn6 {
    family: u16,
    port: [u8; 2],
    flow_info: u32,
    addr: [u8; 16],
    scope_id: u32,
}

/// `struct ip_mreqn`
#[repr(C)]
struct Mreqn {
    group: [u8; 4],
    addr: [u8; 4],
    index: c_int,
}

/// `struct ipv6_mreq`
#[repr(C)]
struct Mreq6 {
    group: [u8; 16],
    index: c_int,
}

/// A UDP socket in the network namespace of an `N`.
///
/// # Invariants
///
/// The pointer is a live UDP socket of this family, which this value owns. `_net` keeps its
/// namespace live.
pub(crate) struct UdpSocket<N: NetRef> {
    sock: NonNull<bindings::socket>,
    family: NfProto,
    _net: N,
}

// SAFETY: Sockets do their own locking.
unsafe impl<N: NetRef> Send for UdpSocket<N> {}

// SAFETY: As above.
unsafe impl<N: NetRef> Sync for UdpSocket<N> {}

impl<N: NetRef> UdpSocket<N> {
    /// Creates a socket (`sock_create_kern()`). May sleep.
    ///
    /// # Errors
    ///
    /// `EAFNOSUPPORT` if IPv6 is disabled; `ENOMEM`, `ENOBUFS`.
    pub(crate) fn new(net: N, family: NfProto) -> Result<Self> {
        let af = match family {
            NfProto::Ipv4 => bindings::AF_INET,
            NfProto::Ipv6 => bindings::AF_INET6,
        };
        let mut sock = core::ptr::null_mut();
        // SAFETY: The namespace is live, and `sock` is a local variable.
        to_result(unsafe { bindings::oot_udp_socket(net.net().as_raw(), af as c_int, &mut sock) })?;
        // INVARIANT: The socket was just created.
        Ok(Self {
            sock: NonNull::new(sock).ok_or(ENOMEM)?,
            family,
            _net: net,
        })
    }

    fn set<T>(&self, level: u32, option: u32, value: T) -> Result {
        let mut value = value;
        let at = (&raw mut value).cast();
        let (level, option, len) = (level as c_int, option as c_int, size_of::<T>() as c_uint);
        // SAFETY: The socket is live by the type invariant, and `value` is a local variable of this
        // length.
        to_result(unsafe { bindings::oot_setsockopt(self.sock.as_ptr(), level, option, at, len) })
    }

    /// Sets an option of both families, for an IPv6 socket only that of IPv6.
    fn set_ip(&self, option4: u32, option6: u32, value: c_int) -> Result {
        match self.family {
            NfProto::Ipv4 => self.set(bindings::SOL_IP, option4, value),
            NfProto::Ipv6 => self.set(bindings::SOL_IPV6, option6, value),
        }
    }

    /// Sets the device by which multicast packets are sent.
    ///
    /// # Errors
    ///
    /// `EADDRNOTAVAIL` or `ENODEV` if there is no device with this index.
    pub(crate) fn set_multicast_device(&self, index: c_int) -> Result {
        let device = Mreqn {
            group: [0; 4],
            addr: [0; 4],
            index,
        };
        match self.family {
            NfProto::Ipv4 => self.set(bindings::SOL_IP, bindings::IP_MULTICAST_IF, device),
            NfProto::Ipv6 => self.set(bindings::SOL_IPV6, bindings::IPV6_MULTICAST_IF, index),
        }
    }

    /// Sets whether this host receives the multicast packets that the socket sends.
    ///
    /// # Errors
    ///
    /// The error of `setsockopt()`; every value of the type is valid.
    pub(crate) fn set_multicast_loop(&self, is_on: bool) -> Result {
        self.set_ip(
            bindings::IP_MULTICAST_LOOP,
            bindings::IPV6_MULTICAST_LOOP,
            is_on.into(),
        )
    }

    /// Sets the TTL or hop limit of multicast packets.
    ///
    /// # Errors
    ///
    /// The error of `setsockopt()`; every value of the type is valid.
    pub(crate) fn set_multicast_ttl(&self, ttl: u8) -> Result {
        self.set_ip(
            bindings::IP_MULTICAST_TTL,
            bindings::IPV6_MULTICAST_HOPS,
            ttl.into(),
        )
    }

    /// Sends packets that are longer than the MTU of the path as fragments.
    ///
    /// # Errors
    ///
    /// The error of `setsockopt()`; the value is valid for both families.
    pub(crate) fn allow_fragments(&self) -> Result {
        self.set_ip(
            bindings::IP_MTU_DISCOVER,
            bindings::IPV6_MTU_DISCOVER,
            bindings::IP_PMTUDISC_DONT as c_int,
        )
    }

    /// Sets the size of the send buffer in bytes (`SO_SNDBUF`).
    ///
    /// # Errors
    ///
    /// The error of `setsockopt()`; every size is valid, and is limited to the range of the
    /// sysctls.
    pub(crate) fn set_send_buffer(&self, size: c_int) -> Result {
        self.set(bindings::SOL_SOCKET, bindings::SO_SNDBUF, size)
    }

    /// Sets the size of the receive buffer in bytes (`SO_RCVBUF`).
    ///
    /// # Errors
    ///
    /// The error of `setsockopt()`; every size is valid, and is limited to the range of the
    /// sysctls.
    pub(crate) fn set_receive_buffer(&self, size: c_int) -> Result {
        self.set(bindings::SOL_SOCKET, bindings::SO_RCVBUF, size)
    }

    /// The same, without regard to the limit `net.core.rmem_max` (`SO_RCVBUFFORCE`).
    ///
    /// # Errors
    ///
    /// `EPERM` if the caller lacks `CAP_NET_ADMIN`.
    pub(crate) fn force_receive_buffer(&self, size: c_int) -> Result {
        self.set(bindings::SOL_SOCKET, bindings::SO_RCVBUFFORCE, size)
    }

    /// Lets other sockets that allow it, too, be bound to the same port (`SO_REUSEADDR`).
    ///
    /// # Errors
    ///
    /// The error of `setsockopt()`; the option is valid for UDP.
    pub(crate) fn allow_reuse(&self) -> Result {
        self.set(bindings::SOL_SOCKET, bindings::SO_REUSEADDR, 1 as c_int)
    }

    /// Sends and receives only through this device (`SO_BINDTOIFINDEX`).
    ///
    /// # Errors
    ///
    /// `EINVAL` if the index is negative; `EPERM` if the socket is bound to a device already and
    /// the caller lacks `CAP_NET_RAW`.
    pub(crate) fn bind_to_device(&self, index: c_int) -> Result {
        self.set(bindings::SOL_SOCKET, bindings::SO_BINDTOIFINDEX, index)
    }

    /// Joins a multicast group on a device. May sleep, and takes the RTNL lock.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the group is of the other family, or not multicast; `ENODEV` if the device does
    /// not exist; `ENOBUFS` if the socket has joined too many groups.
    pub(crate) fn join(&self, group: IpAddr, index: c_int) -> Result {
        if group.family() != self.family {
            return Err(EINVAL);
        }
        match group {
            IpAddr::V4(group) => {
                let mreqn = Mreqn {
                    group,
                    addr: [0; 4],
                    index,
                };
                self.set(bindings::SOL_IP, bindings::IP_ADD_MEMBERSHIP, mreqn)
            }
            IpAddr::V6(group) => {
                let mreq = Mreq6 { group, index };
                self.set(bindings::SOL_IPV6, bindings::IPV6_ADD_MEMBERSHIP, mreq)
            }
        }
    }

    /// Calls `act` with the socket and a `struct sockaddr` for `at`.
    ///
    /// # Safety
    ///
    /// `act` must be safe to call with a live socket, an address and its length.
    unsafe fn with_addr(
        &self,
        at: SocketAddr,
        act: unsafe extern "C" fn(*mut bindings::socket, *mut kernel::ffi::c_void, c_int) -> c_int,
    ) -> Result {
        let SocketAddr { addr, port } = at;
        let sock = self.sock.as_ptr();
        to_result(match addr {
            IpAddr::V4(addr) => {
                let mut sockaddr = SockaddrIn {
                    family: bindings::AF_INET as u16,
                    port,
                    addr,
                    zero: [0; 8],
                };
                let len = size_of::<SockaddrIn>() as c_int;
                // SAFETY: By the safety requirement; the address is a local variable.
                unsafe { act(sock, (&raw mut sockaddr).cast(), len) }
            }
            IpAddr::V6(addr) => {
                let mut sockaddr = SockaddrIn6 {
                    family: bindings::AF_INET6 as u16,
                    port,
                    flow_info: 0,
                    addr,
                    scope_id: 0,
                };
                let len = size_of::<SockaddrIn6>() as c_int;
                // SAFETY: By the safety requirement; the address is a local variable.
                unsafe { act(sock, (&raw mut sockaddr).cast(), len) }
            }
        })
    }

    /// Binds the socket. May sleep.
    ///
    /// # Errors
    ///
    /// `EADDRNOTAVAIL`, `EADDRINUSE`, `EACCES`, as for `bind()`.
    pub(crate) fn bind(&self, at: SocketAddr) -> Result {
        // SAFETY: The function takes a socket, an address and its length.
        unsafe { self.with_addr(at, bindings::oot_bind) }
    }

    /// Sets the destination of packets. May sleep.
    ///
    /// # Errors
    ///
    /// `ENETUNREACH` and others, as for `connect()`.
    pub(crate) fn connect(&self, to: SocketAddr) -> Result {
        // SAFETY: The function takes a socket, an address and its length.
        unsafe { self.with_addr(to, bindings::oot_connect) }
    }

    /// Sends a packet without waiting for room in the send buffer. May sleep.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if there is no room; others as for `send()`.
    pub(crate) fn send(&self, data: &[u8]) -> Result {
        let sock = self.sock.as_ptr();
        // SAFETY: The socket is live, and `data` is a slice. The call may sleep.
        match unsafe { bindings::oot_send_now(sock, data.as_ptr().cast(), data.len()) } {
            sent if sent >= 0 => Ok(()),
            error => Err(Error::from_errno(error)),
        }
    }

    /// Receives a packet, if there is one, and returns its length. The rest of a packet that is
    /// longer than `buffer` is lost. May sleep.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if there is none; others as for `recv()`.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Result<usize> {
        let sock = self.sock.as_ptr();
        let (at, len) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: The socket is live, and `buffer` is a slice. The call may sleep.
        let received = unsafe { bindings::oot_receive_now(sock, at, len) };
        usize::try_from(received).map_err(|_| Error::from_errno(received))
    }

    /// Whether a packet waits to be received.
    pub(crate) fn is_readable(&self) -> bool {
        // SAFETY: The socket is live and one of UDP by the type invariant.
        unsafe { bindings::oot_udp_is_readable(self.sock.as_ptr()) }
    }

    /// Sleeps until a packet waits to be received, or the thread is to end, for `timeout` jiffies
    /// at most; `None` for no limit.
    pub(crate) fn wait_readable(&self, _current: &Current, timeout: Option<usize>) {
        let timeout = timeout.map_or(c_long::MAX, |timeout| timeout as c_long);
        // SAFETY: As above; the current task is a kthread and may sleep.
        unsafe { bindings::oot_udp_wait_readable(self.sock.as_ptr(), timeout) };
    }

    /// Sleeps until the send buffer has room, or the thread is to end.
    pub(crate) fn wait_writable(&self, _current: &Current) {
        // SAFETY: As above.
        unsafe { bindings::oot_udp_wait_writable(self.sock.as_ptr()) };
    }
}

impl<N: NetRef> Drop for UdpSocket<N> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant this value owns the socket. The call may sleep, and takes
        // the RTNL lock to leave a group.
        unsafe { bindings::sock_release(self.sock.as_ptr()) };
    }
}
