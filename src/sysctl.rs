// SPDX-License-Identifier: GPL-2.0

//! What net.ipv4.vs.* sets, per namespace. The files themselves are still to come.
//!
//! C version: `vs_vars` [net/netfilter/ipvs/ip_vs_ctl.c].

use crate::oot::sync::Once;
use kernel::sync::atomic::Atomic;

/// The settings that the data path asks for, with C's defaults.
pub(crate) struct Sysctl {
    /// Conns of a dest that was removed end with their next packet.
    expire_nodest_conn: Atomic<i32>,
    /// A SYN on a conn that is closing starts a new one.
    conn_reuse_mode: Atomic<i32>,
    /// Any TCP segment may start a conn.
    sloppy_tcp: Atomic<i32>,
    /// Replies are routed anew after translation.
    snat_reroute: Atomic<i32>,
    /// Tunnels obey the path MTU.
    pmtu_disc: Atomic<i32>,
}

impl Sysctl {
    /// C's defaults.
    pub(crate) fn new() -> Self {
        Self {
            expire_nodest_conn: Atomic::new(0),
            conn_reuse_mode: Atomic::new(1),
            sloppy_tcp: Atomic::new(0),
            snat_reroute: Atomic::new(1),
            pmtu_disc: Atomic::new(1),
        }
    }

    #[inline(always)]
    pub(crate) fn expire_nodest_conn(&self) -> bool {
        self.expire_nodest_conn.read_once() != 0
    }

    #[inline(always)]
    pub(crate) fn conn_reuse_mode(&self) -> bool {
        self.conn_reuse_mode.read_once() & 1 != 0
    }

    #[inline(always)]
    pub(crate) fn sloppy_tcp(&self) -> bool {
        self.sloppy_tcp.read_once() != 0
    }

    #[inline(always)]
    pub(crate) fn snat_reroute(&self) -> bool {
        self.snat_reroute.read_once() != 0
    }

    #[inline(always)]
    pub(crate) fn pmtu_disc(&self) -> bool {
        self.pmtu_disc.read_once() != 0
    }
}
