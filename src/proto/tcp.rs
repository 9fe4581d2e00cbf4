// SPDX-License-Identifier: GPL-2.0

//! TCP.
//!
//! C version: [net/netfilter/ipvs/ip_vs_proto_tcp.c].

pub(crate) mod states;

use super::{
    direction::Direction,
    timeout_of,
    Dropped,
    Next,
    ProtoData,
    Protocol,
    Signal, //
};
use crate::shim::Word32;
use states::{
    may_start_conn,
    Event,
    Rules,
    State, //
};

/// TCP as a [`Protocol`].
pub(crate) struct Tcp;

/// The data of a network namespace for TCP.
pub(crate) struct Data {
    /// The timeouts by state, each with the flag [`SECURE`].
    timeouts: [Word32; State::COUNT],
}

/// A flag in the word of a timeout: the rules for `secure_tcp` are in force. It makes the word a
/// timeout that no conn has, so the path of an established packet, which compares the two, needs
/// no test of the rules.
const SECURE: u32 = 1 << 31;

impl Data {
    pub(super) fn new() -> Self {
        Self {
            timeouts: core::array::from_fn(|state| {
                timeout_of(state_of(state as u8).default_timeout())
            }),
        }
    }

    /// The word of a state.
    #[inline(always)]
    fn word(&self, state: State) -> u32 {
        self.timeouts
            .get(state as usize)
            .map_or(0, |timeout| timeout.get())
    }

    /// The state machine in use for conns in this state.
    fn rules(&self, state: State) -> Rules {
        match self.word(state) & SECURE {
            0 => Rules::Normal,
            _ => Rules::Secure,
        }
    }

    /// Puts the rules for `secure_tcp` into force, or the normal ones (C: `tcp_timeout_change()`).
    pub(crate) fn set_secure(&self, is_secure: bool) {
        let flag = if is_secure { SECURE } else { 0 };
        for timeout in &self.timeouts {
            timeout.update(|old| old & !SECURE | flag);
        }
    }

    /// The timeout of a state, in jiffies.
    pub(crate) fn timeout(&self, state: State) -> u32 {
        self.word(state) & !SECURE
    }

    /// Sets the timeout of a state, in jiffies, less than 2^31.
    pub(crate) fn set_timeout(&self, state: State, jiffies: u32) {
        if let Some(timeout) = self.timeouts.get(state as usize) {
            timeout.update(|old| old & SECURE | jiffies & !SECURE);
        }
    }
}

/// The state with this number, or [`State::None`] if the number is invalid.
#[inline(always)]
fn state_of(state: u8) -> State {
    State::from_number(state.into()).unwrap_or(State::None)
}

/// The state after a packet by these rules; see [`Protocol::next`].
#[inline(always)]
fn next_by(
    rules: Rules,
    state: u8,
    no_output: bool,
    direction: Direction,
    signal: Signal,
) -> Option<Next> {
    let Signal::Segment(flags) = signal else {
        return None;
    };
    let direction_on_conn = direction.on_conn(no_output);
    let next = rules.next(direction_on_conn, Event::of(flags), state_of(state));
    Some(Next {
        state: next as u8,
        has_output: direction == Direction::Output,
    })
}

impl Protocol for Tcp {
    const NAME: &'static str = "TCP";
    const STATES: usize = State::COUNT;
    const IS_ASSURED_BY_OUTPUT: bool = false;

    fn state_name(state: u8) -> &'static str {
        State::from_number(state.into()).map_or("ERR!", State::name)
    }

    #[inline(always)]
    fn is_active(state: u8) -> bool {
        state_of(state).is_active()
    }

    fn next(
        data: &ProtoData,
        state: u8,
        no_output: bool,
        direction: Direction,
        signal: Signal,
    ) -> Option<Next> {
        let rules = data.tcp.rules(state_of(state));
        next_by(rules, state, no_output, direction, signal)
    }

    fn timeout(data: &ProtoData, state: u8) -> u32 {
        data.tcp.timeout(state_of(state))
    }

    #[inline(always)]
    fn quick(
        data: &ProtoData,
        state: u8,
        no_output: bool,
        direction: Direction,
        signal: Signal,
    ) -> (Option<Next>, u32) {
        let next = next_by(Rules::Normal, state, no_output, direction, signal);
        (next, data.tcp.word(state_of(state)))
    }

    fn dropped(state: u8) -> Dropped {
        match state_of(state) {
            State::SynRecv | State::SynAck => Dropped::Always,
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
            State::Established | State::FinWait | State::Close | State::CloseWait | State::TimeWait
        )
    }

    fn may_start(signal: Signal, sloppy: bool) -> bool {
        match signal {
            Signal::Segment(flags) => may_start_conn(flags, sloppy),
            _ => false,
        }
    }

    #[inline(always)]
    fn is_start(signal: Signal) -> bool {
        matches!(signal, Signal::Segment(flags) if flags.syn())
    }

    fn is_over(state: u8, no_output: bool, reuse_mode: i32) -> bool {
        match state_of(state) {
            State::TimeWait | State::Close => true,
            State::FinWait => reuse_mode & 2 != 0 && no_output,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tcp::Flags;

    const SYN: Signal = Signal::Segment(Flags::SYN);

    #[test]
    fn steps_and_timeouts() {
        let data = ProtoData::new();
        let step = |state: State, direction, signal| {
            Tcp::next(&data, state as u8, true, direction, signal)
        };
        let next = |state: State, has_output| {
            Some(Next {
                state: state as u8,
                has_output,
            })
        };
        let (input, output) = (Direction::Input, Direction::Output);
        assert_eq!(step(State::None, input, SYN), next(State::SynRecv, false));
        assert_eq!(
            step(State::SynRecv, output, SYN),
            next(State::SynRecv, true)
        );
        assert_eq!(step(State::Established, input, Signal::Nothing), None);
        let fin = Signal::Segment(Flags::FIN);
        // Without packets from the dest, as with direct routing.
        assert_eq!(
            step(State::Established, input, fin),
            next(State::FinWait, false)
        );
        assert_eq!(Tcp::timeout(&data, State::Established as u8), 900 * 250);
        data.tcp.set_timeout(State::Established, 7);
        assert_eq!(Tcp::timeout(&data, State::Established as u8), 7);
        assert_eq!(Tcp::state_name(11), "ERR!");
    }

    /// While `secure_tcp` is in force, no conn has the timeout of the quick path, and the next
    /// state is that of the other table. Timeouts that are set meanwhile stay.
    #[test]
    fn secure_rules() {
        let data = ProtoData::new();
        let (recv, syn_ack) = (
            State::SynRecv as u8,
            Signal::Segment(Flags::SYN.with(Flags::ACK)),
        );
        let next =
            || Tcp::next(&data, recv, false, Direction::Output, syn_ack).map(|next| next.state);
        let quick = |state| Tcp::quick(&data, state, false, Direction::Output, syn_ack);
        assert_eq!(next(), Some(recv));
        for number in 0..State::COUNT as u8 {
            assert_eq!(quick(number).1, Tcp::timeout(&data, number));
        }
        data.tcp.set_secure(true);
        assert_eq!(next(), Some(State::SynAck as u8));
        data.tcp.set_timeout(State::Established, i32::MAX as u32);
        for number in 0..State::COUNT as u8 {
            let (_, timeout) = quick(number);
            assert_ne!(timeout & !(i32::MAX as u32), 0);
            assert_eq!(timeout & i32::MAX as u32, Tcp::timeout(&data, number));
        }
        data.tcp.set_secure(false);
        assert_eq!(next(), Some(recv));
        assert_eq!(
            Tcp::timeout(&data, State::Established as u8),
            i32::MAX as u32
        );
        assert_eq!(quick(recv).1, 60 * 250);
    }

    #[test]
    fn conns_that_are_dropped() {
        let dropped: Vec<_> = (0..State::COUNT as u8).map(Tcp::dropped).collect();
        let mut want = [Dropped::Never; State::COUNT];
        want[State::SynRecv as usize] = Dropped::Always;
        want[State::SynAck as usize] = Dropped::Always;
        want[State::Established as usize] = Dropped::IfIdle;
        assert_eq!(dropped, want);
    }

    #[test]
    fn conns_that_are_over() {
        for number in 0..State::COUNT as u8 {
            let state = state_of(number);
            for (no_output, mode) in [(false, 1), (true, 1), (false, 2), (true, 2), (true, 3)] {
                let want = match state {
                    State::TimeWait | State::Close => true,
                    State::FinWait => no_output && mode >= 2,
                    _ => false,
                };
                assert_eq!(Tcp::is_over(number, no_output, mode), want, "{state:?}");
            }
        }
        assert!(Tcp::is_start(SYN) && !Tcp::is_start(Signal::Nothing));
        assert!(Tcp::is_start(Signal::Segment(Flags::SYN.with(Flags::RST))));
    }
}
