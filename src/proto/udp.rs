// SPDX-License-Identifier: GPL-2.0

//! UDP.
//!
//! C version: [net/netfilter/ipvs/ip_vs_proto_udp.c].

pub(crate) mod states;

use super::{
    direction::Direction,
    timeout_of,
    Next,
    ProtoData,
    Protocol,
    Signal, //
};
use crate::shim::Word32;
use states::State;

/// UDP as a [`Protocol`].
pub(crate) struct Udp;

/// The data of a network namespace for UDP.
pub(crate) struct Data {
    timeout: Word32,
}

impl Data {
    pub(super) fn new() -> Self {
        Self {
            timeout: timeout_of(State::Normal.default_timeout()),
        }
    }

    /// The timeout, in jiffies.
    #[inline(always)]
    pub(crate) fn timeout(&self) -> u32 {
        self.timeout.get()
    }

    /// Sets the timeout, in jiffies.
    pub(crate) fn set_timeout(&self, jiffies: u32) {
        self.timeout.set(jiffies);
    }
}

impl Protocol for Udp {
    const NAME: &'static str = "UDP";
    const STATES: usize = State::COUNT;
    const IS_ASSURED_BY_OUTPUT: bool = true;

    fn state_name(_state: u8) -> &'static str {
        State::Normal.name()
    }

    #[inline(always)]
    fn is_active(_state: u8) -> bool {
        false
    }

    #[inline(always)]
    fn next(
        _data: &ProtoData,
        _state: u8,
        _no_output: bool,
        _direction: Direction,
        _signal: Signal,
    ) -> Option<Next> {
        Some(Next {
            state: State::Normal as u8,
            has_output: false,
        })
    }

    #[inline(always)]
    fn timeout(data: &ProtoData, _state: u8) -> u32 {
        data.udp.timeout()
    }
}
