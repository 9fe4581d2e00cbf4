// SPDX-License-Identifier: GPL-2.0

//! The only state of UDP conns.
//!
//! C version: [net/netfilter/ipvs/ip_vs_proto_udp.c].

/// The state of a UDP conn (C: `IP_VS_UDP_S_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    Normal = 0,
}

impl State {
    /// The number of states (C: `IP_VS_UDP_S_LAST`).
    pub(crate) const COUNT: usize = 1;

    /// The name in /proc/net/ip_vs_conn and `ipvsadm -Lc`.
    #[inline]
    pub(crate) const fn name(self) -> &'static str {
        "UDP"
    }

    /// The default idle timeout in seconds. `ipvsadm --set` changes the timeout.
    #[inline]
    pub(crate) const fn default_timeout(self) -> u32 {
        5 * 60
    }
}
