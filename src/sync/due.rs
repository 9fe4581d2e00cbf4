// SPDX-License-Identifier: GPL-2.0

//! The decision, made with each packet, whether a master sends the conn.
//!
//! C version: `ip_vs_sync_conn_needed()` [net/netfilter/ipvs/ip_vs_sync.c].

use crate::shim::{
    Word32,
    HZ, //
};

/// The sysctls that control when a conn is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Policy {
    /// `sync_threshold`: a conn is sent with this packet of each period.
    pub(crate) threshold: i32,
    /// `sync_period`, the second value of `sync_threshold`: the length of a period in packets, 0
    /// for no periods.
    pub(crate) period: i32,
    /// `sync_refresh_period` in jiffies: a conn is not sent again earlier, unless its timeout
    /// changes. 0 for no limit.
    pub(crate) refresh_period: u32,
    /// `sync_retries`: the number of times that a conn is sent again within a refresh period.
    pub(crate) retries: i32,
}

/// A conn at the time of a packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) kind: Kind,
    /// The number of the packet, from 1 on.
    pub(crate) packets: i32,
    /// The timeout in jiffies.
    pub(crate) timeout: u32,
    /// The low 32 bits of jiffies.
    pub(crate) now: u32,
}

/// The input of the decision in addition to the number of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Template,
    Conn {
        state: u8,
        is_established: bool,
        /// It is sent with this packet, whatever its state.
        is_first: bool,
    },
}

/// The state of a conn that is kept from packet to packet.
pub(crate) struct Sent {
    /// The number of packets, in units of [`PACKET`], and the state in which the conn was last
    /// sent (C: `in_pkts`, `old_state`).
    packets_state: Word32,
    /// When the conn would have expired as it was last sent, in jiffies, with the number of retries
    /// in the two lowest bits (C: `sync_endtime`).
    end: Word32,
}

/// One packet in [`Sent::packets_state`], which wraps after 2^24 packets.
const PACKET: u32 = 1 << 8;
/// The state in [`Sent::packets_state`].
const STATE: u32 = PACKET - 1;
/// The number of retries in [`Sent::end`].
const RETRIES: u32 = 3;

impl Sent {
    /// For a conn that is created at the time `now`.
    pub(crate) const fn new(now: u32) -> Self {
        Self {
            packets_state: Word32::new(0),
            end: Word32::new(now & !RETRIES),
        }
    }

    /// Counts a packet. Returns its number, and the state in which the conn was last sent.
    #[inline(always)]
    pub(crate) fn count(&self) -> (i32, u8) {
        let old = self.packets_state.fetch_add(PACKET);
        (packets_in(old.wrapping_add(PACKET)), (old & STATE) as u8)
    }

    /// Sets the number of packets and the state in which the conn was last sent, for a conn that
    /// was received.
    pub(crate) fn received(&self, packets: i32, state: u8) {
        let packets = (packets as u32).wrapping_mul(PACKET);
        self.packets_state.set(packets | u32::from(state));
    }

    /// Whether the conn must be sent now. The caller has checked that a conn in this state is sent
    /// at all.
    #[inline]
    pub(crate) fn is_due(&self, policy: &Policy, moment: Moment) -> bool {
        let Moment {
            kind,
            packets,
            timeout,
            now,
        } = moment;
        let orig = self.end.get();
        let end = now.wrapping_add(timeout) & !RETRIES;
        let Kind::Conn {
            state,
            is_established,
            is_first,
        } = kind
        else {
            return match refreshed(policy, orig, end, timeout, now) {
                Some(_) if policy.is_once() && packets != policy.threshold => false,
                Some(end) => self.end.compare_exchange(orig, end).is_ok(),
                None => false,
            };
        };
        let is_new_state = is_first || self.packets_state.get() & STATE != u32::from(state);
        let mut end = end;
        if !is_new_state || is_established {
            if policy.excludes(packets) {
                return false;
            }
            match refreshed(policy, orig, end, timeout, now) {
                Some(_) if policy.is_other_packet(packets) => return false,
                Some(later) => end = later,
                None => return false,
            }
        }
        if is_new_state {
            self.set_state(state);
        }
        self.end.compare_exchange(orig, end).is_ok() || is_new_state
    }

    #[cold]
    fn set_state(&self, state: u8) {
        let mut old = self.packets_state.get();
        while let Err(now) = self
            .packets_state
            .compare_exchange(old, old & !STATE | u32::from(state))
        {
            old = now;
        }
    }
}

impl Policy {
    /// Whether a conn is sent once, with one packet, and at changes of the state only.
    fn is_once(&self) -> bool {
        self.period <= 0 && self.refresh_period == 0
    }

    /// Whether no conn is sent with this packet, unless its state is new.
    #[inline(always)]
    pub(crate) fn excludes(&self, packets: i32) -> bool {
        self.refresh_period == 0 && self.is_other_packet(packets)
    }

    /// Whether a conn is not sent with this packet.
    #[inline(always)]
    fn is_other_packet(&self, packets: i32) -> bool {
        if self.period > 0 {
            return packets.checked_rem(self.period) != Some(self.threshold);
        }
        self.refresh_period == 0 && packets != self.threshold
    }
}

/// The new value of [`Sent::end`]. `None` if the conn was sent within the refresh period.
#[inline(always)]
fn refreshed(policy: &Policy, orig: u32, end: u32, timeout: u32, now: u32) -> Option<u32> {
    match policy.refresh_period {
        0 => Some(end),
        _ => refreshed_within(policy, orig, end, timeout, now),
    }
}

#[cold]
fn refreshed_within(policy: &Policy, orig: u32, end: u32, timeout: u32, now: u32) -> Option<u32> {
    let apart = (end.wrapping_sub(orig) as i32).unsigned_abs();
    let enough = (timeout >> 1).max((HZ as u32).wrapping_mul(10));
    if apart >= policy.refresh_period.min(enough) {
        return Some(end);
    }
    let retries = orig & RETRIES;
    if retries as i32 >= policy.retries {
        return None;
    }
    let again = orig
        .wrapping_sub(timeout)
        .wrapping_add(policy.refresh_period >> 3);
    let is_early = (now.wrapping_sub(again) as i32) < 0;
    (!is_early).then_some(end | retries.wrapping_add(1))
}

/// The number of packets in a word.
#[inline(always)]
const fn packets_in(word: u32) -> i32 {
    (word >> PACKET.trailing_zeros()) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u32 = HZ as u32;
    const DEFAULT: Policy = Policy {
        threshold: 3,
        period: 50,
        refresh_period: 0,
        retries: 0,
    };

    fn conn(state: u8) -> Kind {
        Kind::Conn {
            state,
            is_established: state == 1,
            is_first: false,
        }
    }

    fn at(kind: Kind, packets: i32, now: u32) -> Moment {
        Moment {
            kind,
            packets,
            timeout: 900 * SECOND,
            now,
        }
    }

    /// The numbers of the packets with which a conn in this state is sent.
    fn sent(policy: Policy, kind: Kind, number: i32) -> Vec<i32> {
        let sent = Sent::new(0);
        (1..=number)
            .filter(|_| {
                let (packets, _) = sent.count();
                sent.is_due(&policy, at(kind, packets, 1000))
            })
            .collect()
    }

    #[test]
    fn packets_of_a_period() {
        assert_eq!(sent(DEFAULT, conn(1), 160), [3, 53, 103, 153]);
        // UDP has one state.
        assert_eq!(sent(DEFAULT, conn(0), 60), [3, 53]);
        // A new state other than that of an established conn is sent at once.
        assert_eq!(sent(DEFAULT, conn(4), 60), [1, 3, 53]);
        let policy = Policy {
            threshold: 0,
            period: 1,
            ..DEFAULT
        };
        assert_eq!(sent(policy, conn(1), 3), [1, 2, 3]);
        let once = Policy {
            period: 0,
            ..DEFAULT
        };
        assert_eq!(sent(once, conn(1), 100), [3]);
        // Templates do not depend on the number of packets in a period.
        assert_eq!(sent(DEFAULT, Kind::Template, 3), [1, 2, 3]);
        assert_eq!(sent(once, Kind::Template, 9), [3]);
    }

    #[test]
    fn states() {
        let sent = Sent::new(0);
        let due = |state, packets| sent.is_due(&DEFAULT, at(conn(state), packets, 500));
        assert!(!due(1, 2) && due(1, 3));
        assert!(due(4, 4) && !due(4, 5));
        assert!(due(5, 5) && !due(5, 6));
        // Established again: only with the packet of the period.
        assert!(!due(1, 7) && !due(1, 8) && due(1, 53));
    }

    #[test]
    fn the_first_packet() {
        let sent = Sent::new(0);
        let due = |is_first, packets| {
            let kind = Kind::Conn {
                state: 0,
                is_established: false,
                is_first,
            };
            sent.is_due(&DEFAULT, at(kind, packets, 500))
        };
        assert!(due(true, 1) && !due(false, 2) && due(false, 3));
    }

    #[test]
    fn a_refresh_period() {
        let policy = Policy {
            period: 0,
            refresh_period: 10 * SECOND,
            ..DEFAULT
        };
        let sent = Sent::new(0);
        let due = |now| sent.is_due(&policy, at(conn(1), 1, now));
        assert!(due(400) && !due(404) && !due(400 + 10 * SECOND - 4));
        assert!(due(400 + 10 * SECOND) && !due(401 + 10 * SECOND));
        // A change of the state is sent at once, and starts a period.
        assert!(sent.is_due(&policy, at(conn(4), 1, 404 + 10 * SECOND)));
        assert!(!sent.is_due(&policy, at(conn(4), 1, 408 + 10 * SECOND)));
        // Another timeout.
        let shorter = Moment {
            timeout: 120 * SECOND,
            ..at(conn(4), 1, 412 + 10 * SECOND)
        };
        assert!(sent.is_due(&policy, shorter));
    }

    #[test]
    fn retries_within_a_refresh_period() {
        let policy = Policy {
            period: 0,
            refresh_period: 80 * SECOND,
            retries: 2,
            ..DEFAULT
        };
        for start in [400, 0_u32.wrapping_sub(20 * SECOND)] {
            let sent = Sent::new(start);
            let due = |seconds: u32| {
                let now = start.wrapping_add(seconds * SECOND);
                sent.is_due(&policy, at(conn(1), 1, now))
            };
            assert!(due(0) && !due(9) && due(11) && !due(19) && due(22) && !due(40));
            assert!(due(103));
        }
    }

    #[test]
    fn periods_count_with_a_refresh_period_too() {
        let policy = Policy {
            refresh_period: 10 * SECOND,
            ..DEFAULT
        };
        assert_eq!(sent(policy, conn(1), 160), [3]);
        assert_eq!(sent(policy, Kind::Template, 160), [1]);
    }

    #[test]
    fn received_conns() {
        let sent = Sent::new(0);
        sent.received(3, 4);
        assert!(!sent.is_due(&DEFAULT, at(conn(4), 4, 0)));
        assert_eq!(sent.count(), (4, 4));
        assert!(sent.is_due(&DEFAULT, at(conn(5), 4, 0)));
        let sent = Sent::new(0);
        sent.received((1 << 24) - 1, 4);
        assert_eq!((sent.count().0, sent.count().0), (0, 1));
    }
}
