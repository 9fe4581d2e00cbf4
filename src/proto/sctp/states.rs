// SPDX-License-Identifier: GPL-2.0

//! The SCTP state machine, for a host between the client and the server.
//!
//! The states are those of the server (RFC 9260, section 4), with more of them while an association
//! is being set up. A server may set up an association, too.
//!
//! C version: [net/netfilter/ipvs/ip_vs_proto_sctp.c].

use crate::proto::direction::Direction;
use crate::wire::sctp;

/// The state of an SCTP conn (C: `IP_VS_SCTP_S_*`, with the same numbers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum State {
    None = 0,
    /// The client has sent its first INIT.
    Init1 = 1,
    /// The client has sent another INIT.
    Init = 2,
    /// The server has sent an INIT ACK.
    CookieSent = 3,
    /// The client has sent a COOKIE ECHO.
    CookieReplied = 4,
    /// The server has sent an INIT.
    CookieWait = 5,
    /// The client has sent an INIT ACK.
    Cookie = 6,
    /// The server has sent a COOKIE ECHO.
    CookieEchoed = 7,
    Established = 8,
    ShutdownSent = 9,
    ShutdownReceived = 10,
    ShutdownAckSent = 11,
    /// The server has answered the INIT with an ABORT.
    Rejected = 12,
    Closed = 13,
}

/// The idle timeout of most states in seconds: the default of the greatest retransmission timeout
/// (RTO.Max), and one more (C: `IP_VS_SCTP_MAX_RTO`).
const MAX_RTO: u32 = 60 + 1;

impl State {
    /// The number of states (C: `IP_VS_SCTP_S_LAST`).
    pub(crate) const COUNT: usize = 14;

    /// The state with this number, as in sync messages; `None` if the number is invalid.
    pub(crate) const fn from_number(number: u16) -> Option<Self> {
        Some(match number {
            0 => Self::None,
            1 => Self::Init1,
            2 => Self::Init,
            3 => Self::CookieSent,
            4 => Self::CookieReplied,
            5 => Self::CookieWait,
            6 => Self::Cookie,
            7 => Self::CookieEchoed,
            8 => Self::Established,
            9 => Self::ShutdownSent,
            10 => Self::ShutdownReceived,
            11 => Self::ShutdownAckSent,
            12 => Self::Rejected,
            13 => Self::Closed,
            _ => return None,
        })
    }

    /// The name in /proc/net/ip_vs_conn and `ipvsadm -Lc` (C: `sctp_state_name()`).
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::Init1 => "INIT1",
            Self::Init => "INIT",
            Self::CookieSent => "C-SENT",
            Self::CookieReplied => "C-REPLIED",
            Self::CookieWait => "C-WAIT",
            Self::Cookie => "COOKIE",
            Self::CookieEchoed => "C-ECHOED",
            Self::Established => "ESTABLISHED",
            Self::ShutdownSent => "S-SENT",
            Self::ShutdownReceived => "S-RECEIVED",
            Self::ShutdownAckSent => "S-ACK-SENT",
            Self::Rejected => "REJECTED",
            Self::Closed => "CLOSED",
        }
    }

    /// The idle timeout of the state in seconds (C: `sctp_timeouts`). No setting changes it.
    pub(crate) const fn timeout(self) -> u32 {
        match self {
            Self::None => 2,
            // The client sends the INIT again after 3 seconds.
            Self::Init1 | Self::Rejected => 3 + 1,
            Self::Established => 15 * 60,
            _ => MAX_RTO,
        }
    }
}

/// The input of a packet to the state machine: the type of its first chunk (C: `sctp_events`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Event {
    /// DATA, SACK, HEARTBEAT and all others without an event of their own.
    Data = 0,
    Init = 1,
    InitAck = 2,
    CookieEcho = 3,
    CookieAck = 4,
    Shutdown = 5,
    ShutdownAck = 6,
    ShutdownComplete = 7,
    Error = 8,
    Abort = 9,
    /// A COOKIE ECHO or COOKIE ACK that an ABORT follows. It changes the state as an ABORT.
    CookieThenAbort = 10,
}

impl Event {
    /// The number of events with a row in the table.
    const ROWS: usize = 10;

    /// The event of a packet whose first chunk is of this type.
    const fn of(kind: u8) -> Self {
        match kind {
            sctp::INIT => Self::Init,
            sctp::INIT_ACK => Self::InitAck,
            sctp::COOKIE_ECHO => Self::CookieEcho,
            sctp::COOKIE_ACK => Self::CookieAck,
            sctp::SHUTDOWN => Self::Shutdown,
            sctp::SHUTDOWN_ACK => Self::ShutdownAck,
            sctp::SHUTDOWN_COMPLETE => Self::ShutdownComplete,
            sctp::ERROR => Self::Error,
            sctp::ABORT => Self::Abort,
            _ => Self::Data,
        }
    }

    /// The event of a packet. `chunk_at` reads the header of the chunk at an offset in bytes from
    /// the first chunk. `None` if the first chunk is incomplete.
    ///
    /// Chunks after the first one do not count, except for an ABORT after a COOKIE ECHO or
    /// COOKIE ACK (C: in `set_sctp_state()`).
    pub(crate) fn of_chunks(chunk_at: impl Fn(u32) -> Option<sctp::Chunk>) -> Option<Self> {
        let first = chunk_at(0)?;
        let event = Self::of(first.kind);
        if !matches!(event, Self::CookieEcho | Self::CookieAck) {
            return Some(event);
        }
        let second = first.distance_to_next().and_then(chunk_at);
        match second.map(|chunk| chunk.kind) {
            Some(sctp::ABORT) => Some(Self::CookieThenAbort),
            _ => Some(event),
        }
    }

    /// The event's row in the table.
    #[inline]
    const fn row(self) -> usize {
        match self {
            Self::CookieThenAbort => Self::Abort as usize,
            event => event as usize,
        }
    }
}

/// The state that follows `state` when `event` passes in `direction` (C: `set_sctp_state()`).
#[inline]
pub(crate) fn next(direction: Direction, event: Event, state: State) -> State {
    STATES
        .get(direction as usize)
        .and_then(|events| events.get(event.row()))
        .and_then(|states| states.get(state as usize))
        .copied()
        .unwrap_or(state)
}

/// Whether a packet that belongs to no conn may start one: an INIT or, with the sysctl
/// `sloppy_sctp`, any packet that does not start with an ABORT (C: `sctp_conn_schedule()`).
pub(crate) const fn may_start_conn(event: Event, sloppy: bool) -> bool {
    match event {
        Event::Init => true,
        Event::Abort => false,
        _ => sloppy,
    }
}

#[cfg(test)]
const NO: State = State::None;
const I1: State = State::Init1;
const IN: State = State::Init;
const CS: State = State::CookieSent;
const CR: State = State::CookieReplied;
const CW: State = State::CookieWait;
const CO: State = State::Cookie;
const CE: State = State::CookieEchoed;
const ES: State = State::Established;
const SS: State = State::ShutdownSent;
const SR: State = State::ShutdownReceived;
const SA: State = State::ShutdownAckSent;
const RJ: State = State::Rejected;
const CL: State = State::Closed;

/// The next state by direction, event and state, each in numerical order (C: `sctp_states`).
#[rustfmt::skip]
static STATES: [[[State; State::COUNT]; Event::ROWS]; 3] = [
    [ // Input
        //                       NO, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL
        /* data              */ [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
        /* init              */ [I1, IN, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, IN, IN],
        /* init_ack          */ [CW, CW, CW, CS, CR, CO, CO, CE, ES, SS, SR, SA, RJ, CL],
        /* cookie_echo       */ [CR, IN, IN, CR, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
        /* cookie_ack        */ [ES, I1, IN, CS, CR, CW, CO, ES, ES, SS, SR, SA, RJ, CL],
        /* shutdown          */ [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
        /* shutdown_ack      */ [CL, IN, IN, CS, CR, CW, CO, CE, ES, CL, SR, CL, RJ, CL],
        /* shutdown_complete */ [CL, CL, CL, CS, CR, CW, CO, CE, ES, SS, SR, CL, RJ, CL],
        /* error             */ [CL, I1, IN, CS, CR, CW, CO, CL, ES, SS, SR, SA, RJ, CL],
        /* abort             */ [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL],
    ],
    [ // Output
        //                       NO, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL
        /* data              */ [ES, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
        /* init              */ [CW, CW, CW, CW, CW, CW, CW, CW, ES, CW, CW, CW, CW, CW],
        /* init_ack          */ [CS, CS, CS, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
        /* cookie_echo       */ [CE, CE, CE, CE, CE, CE, CE, CE, ES, SS, SR, SA, RJ, CL],
        /* cookie_ack        */ [ES, ES, ES, ES, ES, ES, ES, ES, ES, SS, SR, SA, RJ, CL],
        /* shutdown          */ [SS, SS, SS, SS, SS, SS, SS, SS, SS, SS, SR, SA, RJ, CL],
        /* shutdown_ack      */ [SA, SA, SA, SA, SA, CW, CO, CE, ES, SA, SA, SA, RJ, CL],
        /* shutdown_complete */ [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
        /* error             */ [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
        /* abort             */ [CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL, CL],
    ],
    [ // InputOnly
        //                       NO, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL
        /* data              */ [ES, I1, IN, CS, CR, ES, CO, CE, ES, SS, SR, SA, RJ, CL],
        /* init              */ [I1, IN, IN, IN, IN, IN, CO, CE, ES, SS, SR, SA, IN, IN],
        /* init_ack          */ [CE, CE, CE, CE, CE, CE, CO, CE, ES, SS, SR, SA, RJ, CL],
        /* cookie_echo       */ [ES, ES, ES, ES, ES, ES, CO, CE, ES, SS, SR, SA, RJ, CL],
        /* cookie_ack        */ [ES, I1, IN, ES, ES, CW, ES, ES, ES, SS, SR, SA, RJ, CL],
        /* shutdown          */ [SR, I1, IN, CS, CR, CW, CO, CE, SR, SS, SR, SA, RJ, CL],
        /* shutdown_ack      */ [CL, IN, IN, CS, CR, CW, CO, CE, CL, CL, SR, CL, RJ, CL],
        /* shutdown_complete */ [CL, CL, CL, CL, CL, CW, CO, CE, ES, SS, CL, CL, RJ, CL],
        /* error             */ [CL, I1, IN, CS, CR, CW, CO, CE, ES, SS, SR, SA, RJ, CL],
        /* abort             */ [CL, CL, CL, CL, CL, RJ, CL, CL, CL, CL, CL, CL, CL, CL],
    ],];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::c_source;
    use zerocopy::FromBytes;
    use Direction::*;
    use Event::*;

    const DIRECTIONS: [Direction; 3] = [Input, Output, InputOnly];
    const EVENTS: [Event; Event::ROWS] = [
        Data,
        Event::Init,
        InitAck,
        CookieEcho,
        CookieAck,
        Shutdown,
        ShutdownAck,
        ShutdownComplete,
        Error,
        Abort,
    ];

    fn states() -> impl Iterator<Item = State> {
        (0..State::COUNT as u16).map(|n| State::from_number(n).unwrap())
    }

    fn c() -> Option<String> {
        c_source("ip_vs_proto_sctp.c")
    }

    /// The lines of an array of C with designators, `[NAME] = VALUE`.
    fn entries<'a>(source: &'a str, array: &str) -> Vec<(&'a str, &'a str)> {
        let (_, rest) = source.split_once(array).unwrap();
        let (body, _) = rest.split_once("};").unwrap();
        let entry = |line: &'a str| {
            let (name, value) = line.split_once('=')?;
            let name = name.trim().strip_prefix('[')?.strip_suffix(']')?;
            Some((name, value.trim().trim_end_matches(',')))
        };
        body.lines().filter_map(entry).collect()
    }

    #[test]
    fn numbers() {
        for (number, state) in states().enumerate() {
            assert_eq!(state as usize, number);
        }
        assert_eq!(State::from_number(State::COUNT as u16), None);
        assert_eq!(State::from_number(u16::MAX), None);
    }

    #[test]
    fn names_are_those_of_c() {
        let Some(source) = c() else { return };
        let names = entries(&source, "sctp_state_name_table[");
        // The last one stands for no state.
        assert_eq!(names.len(), State::COUNT + 1);
        for ((_, name), state) in names.iter().zip(states()) {
            assert_eq!(name.trim_matches('"'), state.name());
        }
    }

    #[test]
    fn timeouts_are_those_of_c() {
        let Some(source) = c() else { return };
        let timeouts = entries(&source, "sctp_timeouts[");
        assert_eq!(timeouts.len(), State::COUNT + 1);
        for ((_, text), state) in timeouts.iter().zip(states()) {
            let seconds = match *text {
                "2 * HZ" => 2,
                "(0 + 3 + 1) * HZ" => 4,
                "15 * 60 * HZ" => 900,
                "IP_VS_SCTP_MAX_RTO" => 61,
                _ => panic!("{text}"),
            };
            assert_eq!(state.timeout(), seconds, "{state:?}");
        }
        assert!(source.contains("#define IP_VS_SCTP_MAX_RTO	((60 + 1) * HZ)"));
    }

    #[test]
    fn events_are_those_of_c() {
        let Some(source) = c() else { return };
        let events = entries(&source, "sctp_events[] =");
        let kinds = [
            ("DATA", sctp::DATA),
            ("INIT", sctp::INIT),
            ("INIT_ACK", sctp::INIT_ACK),
            ("SACK", sctp::SACK),
            ("HEARTBEAT", sctp::HEARTBEAT),
            ("HEARTBEAT_ACK", sctp::HEARTBEAT_ACK),
            ("ABORT", sctp::ABORT),
            ("SHUTDOWN", sctp::SHUTDOWN),
            ("SHUTDOWN_ACK", sctp::SHUTDOWN_ACK),
            ("ERROR", sctp::ERROR),
            ("COOKIE_ECHO", sctp::COOKIE_ECHO),
            ("COOKIE_ACK", sctp::COOKIE_ACK),
            ("ECN_ECNE", sctp::ECN_ECNE),
            ("ECN_CWR", sctp::ECN_CWR),
            ("SHUTDOWN_COMPLETE", sctp::SHUTDOWN_COMPLETE),
        ];
        assert_eq!(events.len(), kinds.len());
        for ((name, event), (ours, kind)) in events.iter().zip(kinds) {
            assert_eq!(*name, format!("SCTP_CID_{ours}"));
            let want = format!("{:?}", Event::of(kind)).to_uppercase();
            let event = event.strip_prefix("IP_VS_SCTP_").unwrap().replace('_', "");
            assert_eq!(event, want, "{name}");
        }
        for kind in sctp::SHUTDOWN_COMPLETE + 1..=u8::MAX {
            assert_eq!(Event::of(kind), Data, "{kind}");
        }
    }

    #[test]
    fn table_is_that_of_c() {
        let Some(source) = c() else { return };
        let names = "sNO sI1 sIN sCS sCR sCW sCO sCE sES sSS sSR sSA sRJ sCL";
        let names: Vec<_> = names.split(' ').zip(states()).collect();
        let state = |word: &str| names.iter().find(|(name, _)| *name == word).unwrap().1;
        let rows = source.lines().filter_map(|line| {
            let (_, row) = line.split_once("*/{")?;
            let (row, _) = row.split_once('}')?;
            Some(row.split(',').map(|word| state(word.trim())).collect())
        });
        let rows: Vec<Vec<_>> = rows.collect();
        let mut ours: Vec<Vec<_>> = Vec::new();
        for direction in DIRECTIONS {
            for event in EVENTS {
                ours.push(states().map(|s| next(direction, event, s)).collect());
            }
        }
        assert_eq!(rows, ours);
    }

    fn walk(steps: &[(Direction, Event, State)]) {
        let mut state = NO;
        for (direction, event, want) in steps {
            state = next(*direction, *event, state);
            assert_eq!(state, *want, "{direction:?} {event:?}");
        }
    }

    #[test]
    fn an_association_both_ways() {
        walk(&[
            (Input, Event::Init, I1),
            (Input, Event::Init, IN),
            (Output, InitAck, CS),
            (Input, CookieEcho, CR),
            (Output, CookieAck, ES),
            (Input, Data, ES),
            (Input, Shutdown, SR),
            (Output, ShutdownAck, SA),
            (Input, ShutdownComplete, CL),
            (Input, Event::Init, IN),
        ]);
        walk(&[(Input, Event::Init, I1), (Output, Abort, RJ)]);
    }

    #[test]
    fn an_association_whose_replies_go_past() {
        walk(&[
            (InputOnly, Event::Init, I1),
            (InputOnly, CookieEcho, ES),
            (InputOnly, Data, ES),
            (InputOnly, Shutdown, SR),
            (InputOnly, ShutdownComplete, CL),
        ]);
    }

    /// The chunks of a packet, as bytes.
    fn event(bytes: &[u8]) -> Option<Event> {
        Event::of_chunks(|at| {
            let (chunk, _) = sctp::Chunk::ref_from_prefix(bytes.get(at as usize..)?).ok()?;
            Some(*chunk)
        })
    }

    #[test]
    fn the_first_chunk_counts() {
        const SACK: [u8; 4] = [3, 0, 0, 4];
        const ABORT: [u8; 4] = [6, 0, 0, 4];
        assert_eq!(event(&SACK), Some(Data));
        assert_eq!(event(&ABORT), Some(Abort));
        assert_eq!(event(&[SACK, ABORT].concat()), Some(Data));
        assert_eq!(event(&[7, 0, 0, 4, 6, 0, 0, 4]), Some(Shutdown));
        // Unknown types, with any length.
        assert_eq!(event(&[0xc1, 0, 0, 0]), Some(Data));
        assert_eq!(event(&[0xff; 4]), Some(Data));
        for len in 0..4 {
            assert_eq!(event(&ABORT[..len]), None);
        }
    }

    #[test]
    fn an_abort_after_a_cookie() {
        for (kind, alone) in [(10, CookieEcho), (11, CookieAck)] {
            // A chunk of 5 bytes, padded.
            let bytes = [kind, 0, 0, 5, 9, 0, 0, 0, 6, 0, 0, 4];
            assert_eq!(event(&bytes), Some(CookieThenAbort));
            for len in 4..bytes.len() {
                assert_eq!(event(&bytes[..len]), Some(alone), "{len} bytes");
            }
            // After a chunk with a length that is too short, or beyond the packet, no chunk is
            // read.
            for (high, low) in [(0, 0), (0, 3), (0, 9), (0xff, 0xff)] {
                let mut bytes = bytes;
                [bytes[2], bytes[3]] = [high, low];
                assert_eq!(event(&bytes), Some(alone), "{high} {low}");
            }
            // Only the second chunk counts.
            assert_eq!(event(&[kind, 0, 0, 4, 3, 0, 0, 4, 6, 0, 0, 4]), Some(alone));
        }
        for direction in DIRECTIONS {
            for state in states() {
                let seen = next(direction, CookieThenAbort, state);
                assert_eq!(seen, next(direction, Abort, state));
            }
        }
    }

    #[test]
    fn what_starts_a_conn() {
        for event in EVENTS.into_iter().chain([CookieThenAbort]) {
            assert_eq!(may_start_conn(event, false), event == Event::Init);
            assert_eq!(may_start_conn(event, true), event != Abort);
        }
    }
}
