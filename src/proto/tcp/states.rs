// SPDX-License-Identifier: GPL-2.0

//! The TCP state machine, for a host between the client and the server.
//!
//! C version: [net/netfilter/ipvs/ip_vs_proto_tcp.c].

use crate::proto::direction::Direction;
use crate::wire::tcp::Flags;

/// The state of a TCP conn (C: `IP_VS_TCP_S_*`, with the same numbers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    None = 0,
    Established = 1,
    SynSent = 2,
    SynRecv = 3,
    FinWait = 4,
    TimeWait = 5,
    Close = 6,
    CloseWait = 7,
    LastAck = 8,
    Listen = 9,
    SynAck = 10,
}

impl State {
    /// The number of states (C: `IP_VS_TCP_S_LAST`).
    pub(crate) const COUNT: usize = 11;

    /// The state with this number, as in sync messages; `None` if the number is invalid.
    pub(crate) const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::None,
            1 => Self::Established,
            2 => Self::SynSent,
            3 => Self::SynRecv,
            4 => Self::FinWait,
            5 => Self::TimeWait,
            6 => Self::Close,
            7 => Self::CloseWait,
            8 => Self::LastAck,
            9 => Self::Listen,
            10 => Self::SynAck,
            _ => return None,
        })
    }

    /// The name in /proc/net/ip_vs_conn and `ipvsadm -Lc` (C: `tcp_state_name()`).
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Established => "ESTABLISHED",
            Self::SynSent => "SYN_SENT",
            Self::SynRecv => "SYN_RECV",
            Self::FinWait => "FIN_WAIT",
            Self::TimeWait => "TIME_WAIT",
            Self::Close => "CLOSE",
            Self::CloseWait => "CLOSE_WAIT",
            Self::LastAck => "LAST_ACK",
            Self::Listen => "LISTEN",
            Self::SynAck => "SYNACK",
        }
    }

    /// Whether a conn in this state counts as active (C: `tcp_state_active()`).
    #[inline]
    pub(crate) const fn is_active(self) -> bool {
        matches!(
            self,
            Self::Established | Self::SynSent | Self::SynRecv | Self::SynAck
        )
    }

    /// The default idle timeout of the state in seconds (C: `tcp_timeouts`).
    pub(crate) const fn default_timeout(self) -> u32 {
        match self {
            Self::None => 2,
            Self::Established => 15 * 60,
            Self::SynSent => 2 * 60,
            Self::SynRecv => 60,
            Self::FinWait => 2 * 60,
            Self::TimeWait => 2 * 60,
            Self::Close => 10,
            Self::CloseWait => 60,
            Self::LastAck => 30,
            Self::Listen => 2 * 60,
            Self::SynAck => 120,
        }
    }
}

/// The input of a segment to the state machine (C: `tcp_state_idx()`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Event {
    Syn = 0,
    Fin = 1,
    Ack = 2,
    Rst = 3,
    /// A segment with none of these flags.
    Other = 4,
}

impl Event {
    /// The event of a segment with these flags. The precedence is RST, SYN, FIN, ACK.
    #[inline]
    pub(crate) const fn of(flags: Flags) -> Self {
        if flags.rst() {
            Self::Rst
        } else if flags.syn() {
            Self::Syn
        } else if flags.fin() {
            Self::Fin
        } else if flags.ack() {
            Self::Ack
        } else {
            Self::Other
        }
    }
}

/// The state machines. A network namespace uses one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    /// The default (C: `tcp_states`).
    Normal,
    /// For `secure_tcp`: a conn is established only after a packet from the dest
    /// (C: `tcp_states_dos`).
    Secure,
}

impl Rules {
    /// The state that follows `state` when `event` passes in `direction` (C: `set_tcp_state()`).
    #[inline]
    pub(crate) fn next(self, direction: Direction, event: Event, state: State) -> State {
        let table = match self {
            Self::Normal => &NORMAL,
            Self::Secure => &SECURE,
        };
        table
            .get(direction as usize)
            .and_then(|events| events.get(event as usize))
            .and_then(|states| states.get(state as usize))
            .copied()
            // The event is `Other`.
            .unwrap_or(State::Close)
    }
}

/// Whether a segment that belongs to no conn may start one: a SYN, with or without ACK, or with
/// the sysctl `sloppy_tcp` any segment without RST (C: `tcp_conn_schedule()`).
#[inline]
pub(crate) const fn may_start_conn(flags: Flags, sloppy: bool) -> bool {
    !flags.rst() && (sloppy || flags.syn())
}

/// The next state by direction, event and state, each in numerical order.
type Table = [[[State; State::COUNT]; 4]; 3];

#[cfg(test)]
const NO: State = State::None;
const ES: State = State::Established;
const SS: State = State::SynSent;
const SR: State = State::SynRecv;
const FW: State = State::FinWait;
const TW: State = State::TimeWait;
const CL: State = State::Close;
const CW: State = State::CloseWait;
const LA: State = State::LastAck;
const LI: State = State::Listen;
const SA: State = State::SynAck;

#[rustfmt::skip]
static NORMAL: Table = [
    [ // Input
        //        NO, ES, SS, SR, FW, TW, CL, CW, LA, LI, SA
        /* syn */ [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
        /* fin */ [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, TW],
        /* ack */ [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
        /* rst */ [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, SR],
    ],
    [ // Output
        //        NO, ES, SS, SR, FW, TW, CL, CW, LA, LI, SA
        /* syn */ [SS, ES, SS, SR, SS, SS, SS, SS, SS, LI, SR],
        /* fin */ [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
        /* ack */ [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
        /* rst */ [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
    ],
    [ // InputOnly
        //        NO, ES, SS, SR, FW, TW, CL, CW, LA, LI, SA
        /* syn */ [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SR],
        /* fin */ [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
        /* ack */ [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
        /* rst */ [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
    ],
];

#[rustfmt::skip]
static SECURE: Table = [
    [ // Input
        //        NO, ES, SS, SR, FW, TW, CL, CW, LA, LI, SA
        /* syn */ [SR, ES, ES, SR, SR, SR, SR, SR, SR, SR, SA],
        /* fin */ [CL, CW, SS, TW, TW, TW, CL, CW, LA, LI, SA],
        /* ack */ [ES, ES, SS, SR, FW, TW, CL, CW, CL, LI, SA],
        /* rst */ [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
    ],
    [ // Output
        //        NO, ES, SS, SR, FW, TW, CL, CW, LA, LI, SA
        /* syn */ [SS, ES, SS, SA, SS, SS, SS, SS, SS, LI, SA],
        /* fin */ [TW, FW, SS, TW, FW, TW, CL, TW, LA, LI, TW],
        /* ack */ [ES, ES, SS, ES, FW, TW, CL, CW, LA, ES, ES],
        /* rst */ [CL, CL, SS, CL, CL, TW, CL, CL, CL, CL, CL],
    ],
    [ // InputOnly
        //        NO, ES, SS, SR, FW, TW, CL, CW, LA, LI, SA
        /* syn */ [SA, ES, ES, SR, SA, SA, SA, SA, SA, SA, SA],
        /* fin */ [CL, FW, SS, TW, FW, TW, CL, CW, LA, LI, TW],
        /* ack */ [ES, ES, SS, ES, FW, TW, CL, CW, CL, LI, ES],
        /* rst */ [CL, CL, CL, SR, CL, CL, CL, CL, LA, LI, CL],
    ],
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::c_source;
    use Direction::{Input, InputOnly, Output};
    use Event::{Ack, Fin, Other, Rst, Syn};

    const DIRECTIONS: [Direction; 3] = [Input, Output, InputOnly];

    fn states() -> impl Iterator<Item = State> {
        (0..State::COUNT as u16).map(|number| State::from_number(number).unwrap())
    }

    /// Applies the events, starting in [`State::None`], and checks the state after each.
    fn walk(rules: Rules, steps: &[(Direction, Event, State)]) {
        let mut state = NO;
        for (direction, event, next) in steps {
            let from = state;
            state = rules.next(*direction, *event, state);
            assert_eq!(state, *next, "{from:?} {direction:?} {event:?}");
        }
    }

    #[test]
    fn numbers_round_trip() {
        for (number, state) in states().enumerate() {
            assert_eq!(state as usize, number);
        }
        assert_eq!(State::from_number(State::COUNT as u16), None);
        assert_eq!(State::from_number(u16::MAX), None);
    }

    #[test]
    fn names_timeouts_and_activity() {
        let listing: Vec<_> = states()
            .map(|s| format!("{} {} {}", s.name(), s.default_timeout(), s.is_active()))
            .collect();
        let want = [
            "NONE 2 false",
            "ESTABLISHED 900 true",
            "SYN_SENT 120 true",
            "SYN_RECV 60 true",
            "FIN_WAIT 120 false",
            "TIME_WAIT 120 false",
            "CLOSE 10 false",
            "CLOSE_WAIT 60 false",
            "LAST_ACK 30 false",
            "LISTEN 120 false",
            "SYNACK 120 true",
        ];
        assert_eq!(listing, want);
    }

    #[test]
    fn events_of_flags() {
        let cases = [
            (Flags::SYN, Syn),
            (Flags::SYN.with(Flags::ACK), Syn),
            (Flags::FIN.with(Flags::ACK), Fin),
            (Flags::SYN.with(Flags::FIN), Syn),
            (Flags::ACK, Ack),
            (Flags::RST, Rst),
            (
                Flags::RST
                    .with(Flags::SYN)
                    .with(Flags::FIN)
                    .with(Flags::ACK),
                Rst,
            ),
        ];
        for (flags, event) in cases {
            assert_eq!(Event::of(flags), event, "{flags:?}");
        }
    }

    #[test]
    fn a_segment_without_flags_closes() {
        for rules in [Rules::Normal, Rules::Secure] {
            for direction in DIRECTIONS {
                for state in states() {
                    assert_eq!(rules.next(direction, Other, state), CL);
                }
            }
        }
    }

    #[test]
    fn a_connection_both_ways() {
        walk(
            Rules::Normal,
            &[
                (Input, Syn, SR),
                (Output, Syn, SR),
                (Input, Ack, ES),
                (Output, Ack, ES),
                (Input, Fin, CW),
                (Output, Fin, TW),
                (Input, Ack, TW),
                (Input, Syn, SR),
            ],
        );
    }

    #[test]
    fn a_connection_whose_replies_go_past() {
        walk(
            Rules::Normal,
            &[
                (InputOnly, Syn, SR),
                (InputOnly, Ack, ES),
                (InputOnly, Fin, FW),
                (InputOnly, Ack, FW),
                (InputOnly, Rst, CL),
            ],
        );
    }

    #[test]
    fn secure_waits_for_the_dest() {
        walk(
            Rules::Secure,
            &[
                (Input, Syn, SR),
                (Input, Ack, SR),
                (Output, Syn, SA),
                (Input, Ack, SA),
                (Output, Ack, ES),
            ],
        );
        walk(Rules::Secure, &[(InputOnly, Syn, SA), (InputOnly, Ack, ES)]);
    }

    #[test]
    fn tables_are_those_of_c() {
        let Some(source) = c_source("ip_vs_proto_tcp.c") else {
            return;
        };
        let names = "sNO sES sSS sSR sFW sTW sCL sCW sLA sLI sSA";
        let names: Vec<_> = names.split(' ').zip(states()).collect();
        let state = |word| {
            names
                .iter()
                .find(|(name, _)| *name == word)
                .map(|(_, state)| *state)
        };
        let is_row = |line: &&str| ["/*syn", "/*fin", "/*ack", "/*rst"].contains(&&line[..5]);
        let words = |line: &'static str| line.split(|c: char| !c.is_alphabetic());
        let mut rows = source.leak().lines().filter(|l| l.len() > 5).filter(is_row);
        for rules in [Rules::Normal, Rules::Secure] {
            for direction in DIRECTIONS {
                for event in [Syn, Fin, Ack, Rst] {
                    let row: Vec<_> = words(rows.next().unwrap()).filter_map(state).collect();
                    let ours: Vec<_> = states().map(|s| rules.next(direction, event, s)).collect();
                    assert_eq!(row, ours, "{rules:?} {direction:?} {event:?}");
                }
            }
        }
        assert_eq!(rows.next(), None);
    }

    /// Exactly these entries differ between the two machines.
    #[test]
    fn differences_of_the_machines() {
        let mut differences = Vec::new();
        for direction in DIRECTIONS {
            for event in [Syn, Fin, Ack, Rst] {
                for state in states() {
                    let secure = Rules::Secure.next(direction, event, state);
                    if secure != Rules::Normal.next(direction, event, state) {
                        differences.push((direction, event, state, secure));
                    }
                }
            }
        }
        let mut want = vec![
            (Input, Syn, SA, SA),
            (Input, Fin, SA, SA),
            (Input, Ack, SR, SR),
            (Input, Ack, SA, SA),
            (Input, Rst, SA, CL),
            (Output, Syn, SR, SA),
            (Output, Syn, SA, SA),
        ];
        want.extend([NO, FW, TW, CL, CW, LA, LI, SA].map(|s| (InputOnly, Syn, s, SA)));
        assert_eq!(differences, want);
    }

    #[test]
    fn what_starts_a_conn() {
        let syn_ack = Flags::SYN.with(Flags::ACK);
        let syn_rst = Flags::SYN.with(Flags::RST);
        let cases = [
            (Flags::SYN, true, true),
            (syn_ack, true, true),
            (Flags::ACK, false, true),
            (Flags::FIN, false, true),
            (Flags::RST, false, false),
            (syn_rst, false, false),
        ];
        for (flags, strict, sloppy) in cases {
            assert_eq!(may_start_conn(flags, false), strict, "{flags:?}");
            assert_eq!(may_start_conn(flags, true), sloppy, "{flags:?}");
        }
    }
}
