// SPDX-License-Identifier: GPL-2.0

//! SCTP.
//!
//! C version: [net/netfilter/ipvs/ip_vs_proto_sctp.c].

pub(crate) mod states;

use super::{
    direction::Direction,
    Dropped,
    Next,
    ProtoData,
    Protocol,
    Signal, //
};
use crate::shim::HZ;
use states::{
    may_start_conn,
    Event,
    State, //
};

/// SCTP as a [`Protocol`].
pub(crate) struct Sctp;

/// The state with this number, or [`State::None`] if the number is invalid.
#[inline(always)]
fn state_of(state: u8) -> State {
    State::from_number(state.into()).unwrap_or(State::None)
}

impl Protocol for Sctp {
    const NAME: &'static str = "SCTP";
    const STATES: usize = State::COUNT;
    const IS_ASSURED_BY_OUTPUT: bool = false;

    fn state_name(state: u8) -> &'static str {
        State::from_number(state.into()).map_or("ERR!", State::name)
    }

    fn is_active(state: u8) -> bool {
        state_of(state) == State::Established
    }

    fn next(
        _data: &ProtoData,
        state: u8,
        no_output: bool,
        direction: Direction,
        signal: Signal,
    ) -> Option<Next> {
        let Signal::Chunks(event) = signal else {
            return None;
        };
        let next = states::next(direction.on_conn(no_output), event, state_of(state));
        Some(Next {
            state: next as u8,
            has_output: direction == Direction::Output,
        })
    }

    fn timeout(_data: &ProtoData, state: u8) -> u32 {
        state_of(state).timeout().wrapping_mul(HZ as u32)
    }

    fn dropped(state: u8) -> Dropped {
        match state_of(state) {
            State::Init1 | State::Init => Dropped::Always,
            State::Established => Dropped::IfIdle,
            _ => Dropped::Never,
        }
    }

    fn assures(state: u8) -> bool {
        state_of(state) == State::Established
    }

    fn is_sent(state: u8) -> bool {
        matches!(
            state_of(state),
            State::Established
                | State::ShutdownSent
                | State::ShutdownReceived
                | State::ShutdownAckSent
                | State::Closed
        )
    }

    fn may_start(signal: Signal, sloppy: bool) -> bool {
        matches!(signal, Signal::Chunks(event) if may_start_conn(event, sloppy))
    }

    fn is_start(signal: Signal) -> bool {
        matches!(signal, Signal::Chunks(Event::Init))
    }

    fn is_over(state: u8, _no_output: bool, _reuse_mode: i32) -> bool {
        state_of(state) == State::Closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INIT: Signal = Signal::Chunks(Event::Init);

    #[test]
    fn steps_and_timeouts() {
        let data = ProtoData::new();
        let step = |state: State, no_output, direction, event| {
            let signal = Signal::Chunks(event);
            Sctp::next(&data, state as u8, no_output, direction, signal)
        };
        let next = |state: State, has_output| {
            Some(Next {
                state: state as u8,
                has_output,
            })
        };
        let (input, output) = (Direction::Input, Direction::Output);
        let echo = Event::CookieEcho;
        assert_eq!(
            step(State::None, true, input, Event::Init),
            next(State::Init1, false)
        );
        // Without packets from the dest, as with direct routing.
        assert_eq!(
            step(State::Init1, true, input, echo),
            next(State::Established, false)
        );
        assert_eq!(
            step(State::CookieSent, false, input, echo),
            next(State::CookieReplied, false)
        );
        assert_eq!(
            step(State::Init1, true, output, Event::InitAck),
            next(State::CookieSent, true)
        );
        // A packet without a chunk, or of another protocol.
        for signal in [Signal::Nothing, Signal::Datagram] {
            assert_eq!(Sctp::next(&data, 8, false, input, signal), None);
            assert!(!Sctp::may_start(signal, true) && !Sctp::is_start(signal));
        }
        assert_eq!(
            Sctp::timeout(&data, State::Established as u8),
            900 * HZ as u32
        );
        assert_eq!(Sctp::timeout(&data, State::Closed as u8), 61 * HZ as u32);
        assert_eq!(Sctp::state_name(13), "CLOSED");
        assert_eq!(Sctp::state_name(14), "ERR!");
    }

    #[test]
    fn what_the_states_mean() {
        for number in 0..State::COUNT as u8 {
            let is_established = number == State::Established as u8;
            assert_eq!(Sctp::is_active(number), is_established);
            assert_eq!(Sctp::assures(number), is_established);
            let dropped = match state_of(number) {
                State::Init1 | State::Init => Dropped::Always,
                State::Established => Dropped::IfIdle,
                _ => Dropped::Never,
            };
            assert_eq!(Sctp::dropped(number), dropped);
            for (no_output, mode) in [(false, 1), (true, 1), (false, 2), (true, 2), (true, 3)] {
                let is_closed = number == State::Closed as u8;
                assert_eq!(Sctp::is_over(number, no_output, mode), is_closed);
            }
        }
        assert!(Sctp::is_start(INIT) && Sctp::may_start(INIT, false));
        assert!(!Sctp::is_start(Signal::Chunks(Event::InitAck)));
    }
}
