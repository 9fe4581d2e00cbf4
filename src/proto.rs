// SPDX-License-Identifier: GPL-2.0

//! The supported transport protocols: one file for each, behind one trait.
//!
//! C version: `struct ip_vs_protocol`, `struct ip_vs_proto_data` [include/net/ip_vs.h],
//! [net/netfilter/ipvs/ip_vs_proto.c].
//!
//! To add a protocol, add a file that implements [`Protocol`], an arm in each `match` of this file,
//! and the header in `packet.rs` and `xmit/edit.rs`. The path of TCP and UDP packets has no
//! test for other protocols: see `Packet::read_rare` and `HookCtx::balance_rare`.

pub(crate) mod direction;
pub(crate) mod sctp;
pub(crate) mod tcp;
pub(crate) mod udp;

use crate::{
    shim::{
        Word32,
        HZ, //
    },
    uapi::{
        IPPROTO_SCTP,
        IPPROTO_TCP,
        IPPROTO_UDP, //
    },
    wire::tcp::Flags, //
};
use direction::Direction;
use sctp::states::Event;

/// A supported protocol, by its `IPPROTO_*` number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Proto {
    /// TCP.
    Tcp = IPPROTO_TCP,
    /// UDP.
    Udp = IPPROTO_UDP,
    /// SCTP.
    Sctp = IPPROTO_SCTP,
}

/// The state of a TCP conn whose connection is announced.
pub(crate) const LISTEN: u8 = tcp::states::State::Listen as u8;

/// The input of a packet to the state machine of its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// No input: the transport header is incomplete or, in SCTP, the header of the first chunk.
    Nothing,
    /// A UDP datagram.
    Datagram,
    /// A TCP segment with these flags.
    Segment(Flags),
    /// An SCTP packet with these chunks.
    Chunks(Event),
}

/// The state of a conn after a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Next {
    /// The number of the state.
    pub(crate) state: u8,
    /// Whether the packet is from the dest (C: `IP_VS_CONN_F_NOOUTPUT` is cleared).
    pub(crate) has_output: bool,
}

impl Next {
    /// Whether nothing changes for a conn in `state`. `no_output`: no packet from the dest has
    /// arrived yet.
    #[inline(always)]
    pub(crate) fn is_same(self, state: u8, no_output: bool) -> bool {
        self.state == state && !(self.has_output && no_output)
    }
}

/// Which conns `drop_entry` drops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    Never,
    /// Some of those that have been idle for long, after few packets (C: `todrop_entry()`).
    IfIdle,
    Always,
}

/// The operations of a protocol. States are numbers, as in sync messages.
pub(crate) trait Protocol {
    /// The name in /proc.
    const NAME: &'static str;

    /// The number of states (C: `num_states`).
    const STATES: usize;

    /// Whether any packet from the dest assures the template of a conn. Otherwise a
    /// [state](Self::assures) does.
    const IS_ASSURED_BY_OUTPUT: bool;

    /// The name of a state (C: `state_name`).
    fn state_name(state: u8) -> &'static str;

    /// Whether a conn in this state counts as active.
    fn is_active(state: u8) -> bool;

    /// The state after a packet; `None` if the packet does not affect it (C: `state_transition`).
    ///
    /// `no_output`: no packet from the dest has arrived before.
    fn next(
        data: &ProtoData,
        state: u8,
        no_output: bool,
        direction: Direction,
        signal: Signal,
    ) -> Option<Next>;

    /// The idle timeout of a state, in jiffies.
    fn timeout(data: &ProtoData, state: u8) -> u32;

    /// [`next`](Self::next) and [`timeout`](Self::timeout) by the default rules, for the path of an
    /// established packet. While other rules are in force, the timeout is one that no conn has.
    #[inline(always)]
    fn quick(
        data: &ProtoData,
        state: u8,
        no_output: bool,
        direction: Direction,
        signal: Signal,
    ) -> (Option<Next>, u32) {
        let next = Self::next(data, state, no_output, direction, signal);
        (next, Self::timeout(data, state))
    }

    /// Which conns in this state `drop_entry` drops (C: in `ip_vs_random_dropentry()`).
    fn dropped(_state: u8) -> Dropped {
        Dropped::IfIdle
    }

    /// Whether a conn that enters this state assures its template.
    fn assures(_state: u8) -> bool {
        false
    }

    /// Whether a conn in this state is sent to backup directors (C: in
    /// `ip_vs_sync_conn_needed()`).
    fn is_sent(_state: u8) -> bool {
        true
    }

    /// Whether a packet that belongs to no conn may start one (C: `conn_schedule`). `sloppy` is
    /// the protocol's sysctl `sloppy_*`.
    fn may_start(_signal: Signal, _sloppy: bool) -> bool {
        true
    }

    /// Whether a packet starts a connection, even if it matches a conn (C: `is_new_conn()`).
    fn is_start(_signal: Signal) -> bool {
        false
    }

    /// Whether such a packet may replace the conn that it matches, which is in this state
    /// (C: `is_new_conn_expected()`). `reuse_mode` is the sysctl `conn_reuse_mode`, which is not 0.
    fn is_over(_state: u8, _no_output: bool, _reuse_mode: i32) -> bool {
        false
    }
}

/// Evaluates an expression with `$protocol` as the implementation for `$proto`.
macro_rules! dispatch {
    ($proto:expr, $protocol:ident => $result:expr) => {
        match $proto {
            $crate::proto::Proto::Tcp => {
                type $protocol = $crate::proto::tcp::Tcp;
                $result
            }
            $crate::proto::Proto::Udp => {
                type $protocol = $crate::proto::udp::Udp;
                $result
            }
            $crate::proto::Proto::Sctp => {
                type $protocol = $crate::proto::sctp::Sctp;
                $result
            }
        }
    };
}
pub(crate) use dispatch;

/// A file of C's source, whose directory `qemu-test/check` passes in `IPVS_C`.
#[cfg(test)]
fn c_source(file: &str) -> Option<String> {
    let dir = std::env::var("IPVS_C").ok()?;
    Some(std::fs::read_to_string(format!("{dir}/{file}")).unwrap())
}

impl Proto {
    /// The protocol with this number, if it is TCP or UDP (C: `ip_vs_proto_get()`).
    #[inline(always)]
    pub(crate) const fn common(protocol: u8) -> Option<Self> {
        match protocol {
            IPPROTO_TCP => Some(Self::Tcp),
            IPPROTO_UDP => Some(Self::Udp),
            _ => None,
        }
    }

    /// The protocol with this number, if it is supported, but neither TCP nor UDP. As in C, SCTP is
    /// supported if the kernel is configured with its checksum function.
    pub(crate) const fn rare(protocol: u8) -> Option<Self> {
        match protocol {
            #[cfg(any(test, CONFIG_IP_VS_PROTO_SCTP))]
            IPPROTO_SCTP => Some(Self::Sctp),
            _ => None,
        }
    }

    /// The protocol with this number, if it is supported (C: `ip_vs_proto_get()`).
    pub(crate) fn of(protocol: u8) -> Option<Self> {
        Self::common(protocol).or_else(|| Self::rare(protocol))
    }

    /// See [`Protocol::STATES`].
    pub(crate) fn states(self) -> u16 {
        dispatch!(self, P => P::STATES) as u16
    }

    /// See [`Protocol::is_sent`].
    pub(crate) fn is_sent(self, state: u8) -> bool {
        dispatch!(self, P => P::is_sent(state))
    }

    /// Whether it is neither TCP nor UDP.
    #[inline(always)]
    pub(crate) const fn is_rare(self) -> bool {
        !matches!(self, Self::Tcp | Self::Udp)
    }

    /// A protocol that is TCP or UDP, in a form from which the compiler derives that it is no
    /// other.
    #[inline(always)]
    pub(crate) const fn tcp_or_udp(self) -> Self {
        match self {
            Self::Tcp => Self::Tcp,
            _ => Self::Udp,
        }
    }

    /// See [`Protocol::NAME`].
    pub(crate) const fn name(self) -> &'static str {
        dispatch!(self, P => P::NAME)
    }

    /// See [`Protocol::IS_ASSURED_BY_OUTPUT`].
    pub(crate) const fn is_assured_by_output(self) -> bool {
        dispatch!(self, P => P::IS_ASSURED_BY_OUTPUT)
    }

    /// See [`Protocol::state_name`].
    pub(crate) fn state_name(self, state: u8) -> &'static str {
        dispatch!(self, P => P::state_name(state))
    }

    /// See [`Protocol::is_active`].
    #[inline(always)]
    pub(crate) fn is_active(self, state: u8) -> bool {
        dispatch!(self, P => P::is_active(state))
    }

    /// See [`Protocol::next`].
    #[inline(always)]
    pub(crate) fn next(
        self,
        data: &ProtoData,
        state: u8,
        no_output: bool,
        direction: Direction,
        signal: Signal,
    ) -> Option<Next> {
        dispatch!(self, P => P::next(data, state, no_output, direction, signal))
    }

    /// See [`Protocol::timeout`].
    #[inline(always)]
    pub(crate) fn timeout(self, data: &ProtoData, state: u8) -> u32 {
        dispatch!(self, P => P::timeout(data, state))
    }

    /// See [`Protocol::dropped`].
    pub(crate) fn dropped(self, state: u8) -> Dropped {
        dispatch!(self, P => P::dropped(state))
    }

    /// See [`Protocol::assures`].
    pub(crate) fn assures(self, state: u8) -> bool {
        dispatch!(self, P => P::assures(state))
    }

    /// See [`Protocol::may_start`].
    pub(crate) fn may_start(self, signal: Signal, sloppy: bool) -> bool {
        dispatch!(self, P => P::may_start(signal, sloppy))
    }

    /// See [`Protocol::is_start`].
    #[inline(always)]
    pub(crate) fn is_start(self, signal: Signal) -> bool {
        dispatch!(self, P => P::is_start(signal))
    }

    /// See [`Protocol::is_over`].
    pub(crate) fn is_over(self, state: u8, no_output: bool, reuse_mode: i32) -> bool {
        dispatch!(self, P => P::is_over(state, no_output, reuse_mode))
    }
}

/// The protocols' data of a network namespace: idle timeouts by state, in jiffies
/// (C: `struct ip_vs_proto_data`). Those of SCTP are constants.
pub(crate) struct ProtoData {
    pub(crate) tcp: tcp::Data,
    pub(crate) udp: udp::Data,
}

impl ProtoData {
    /// The defaults of C.
    pub(crate) fn new() -> Self {
        Self {
            tcp: tcp::Data::new(),
            udp: udp::Data::new(),
        }
    }
}

/// A timeout of this many seconds, in jiffies.
fn timeout_of(seconds: u32) -> Word32 {
    Word32::new(seconds.wrapping_mul(HZ as u32))
}
