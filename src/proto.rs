// SPDX-License-Identifier: GPL-2.0

//! The transport protocols: which there are, their timeouts, the state of a conn.
//!
//! C version: [net/netfilter/ipvs/ip_vs_proto.c].

pub(crate) mod direction;
pub(crate) mod tcp;
pub(crate) mod udp;

use crate::{
    oot::{
        sync::Once,
        time::HZ, //
    },
    uapi::{
        IPPROTO_TCP,
        IPPROTO_UDP, //
    },
};
use kernel::sync::atomic::Atomic;

/// A protocol whose packets are balanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Proto {
    /// TCP.
    Tcp = IPPROTO_TCP,
    /// UDP.
    Udp = IPPROTO_UDP,
}

impl Proto {
    /// The protocol with this number (C: `ip_vs_proto_get()`).
    #[inline(always)]
    pub(crate) const fn of(protocol: u8) -> Option<Self> {
        match protocol {
            IPPROTO_TCP => Some(Self::Tcp),
            IPPROTO_UDP => Some(Self::Udp),
            _ => None,
        }
    }

    /// As files and tools name it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }

    /// The name of a conn's state.
    pub(crate) fn state_name(self, state: u8) -> &'static str {
        match self {
            Self::Tcp => tcp::states::State::from_number(state.into()).map_or("ERR!", |s| s.name()),
            Self::Udp => udp::states::State::Normal.name(),
        }
    }
}

/// How long idle conns live, in jiffies, by protocol and state.
pub(crate) struct Timeouts {
    tcp: [Atomic<u32>; tcp::states::State::COUNT],
    udp: Atomic<u32>,
}

impl Timeouts {
    /// C's defaults.
    pub(crate) fn new() -> Self {
        let jiffies = |seconds: u32| Atomic::new(seconds.wrapping_mul(HZ as u32));
        Self {
            tcp: core::array::from_fn(|state| {
                jiffies(
                    tcp::states::State::from_number(state as u16)
                        .map_or(0, |state| state.default_timeout()),
                )
            }),
            udp: jiffies(udp::states::State::Normal.default_timeout()),
        }
    }

    /// The timeout of TCP conns in `state`, in jiffies.
    #[inline(always)]
    pub(crate) fn tcp(&self, state: tcp::states::State) -> u32 {
        self.tcp
            .get(state as usize)
            .map_or(0, |timeout| timeout.read_once())
    }

    /// The timeout of UDP conns, in jiffies.
    #[inline(always)]
    pub(crate) fn udp(&self) -> u32 {
        self.udp.read_once()
    }

    /// Sets the timeout of TCP conns in `state`, in jiffies.
    pub(crate) fn set_tcp(&self, state: tcp::states::State, jiffies: u32) {
        if let Some(timeout) = self.tcp.get(state as usize) {
            timeout.write_once(jiffies);
        }
    }

    /// Sets the timeout of UDP conns, in jiffies.
    pub(crate) fn set_udp(&self, jiffies: u32) {
        self.udp.write_once(jiffies);
    }
}
