// SPDX-License-Identifier: GPL-2.0

//! How long a conn may still stay idle. Times are in jiffies, of which 32 bits are kept.

/// What is left of `timeout` at the time `now` for a conn last seen at `last_seen`.
///
/// A packet that came after the clock was read has left a time later than `now`: nothing of the
/// timeout is over then.
pub(crate) fn left(now: u32, last_seen: u32, timeout: u32) -> u32 {
    let idle = now.wrapping_sub(last_seen);
    // No timeout is longer than half the clock's range: a longer idle time is one below 0.
    if idle > i32::MAX as u32 {
        timeout
    } else {
        timeout.saturating_sub(idle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_of_a_timeout() {
        const MAX: u32 = i32::MAX as u32;
        // now, last seen, timeout, left
        let cases = [
            (1000, 1000, 100, 100),
            (1000, 999, 100, 99),
            (1000, 901, 100, 1),
            (1000, 900, 100, 0),
            (1000, 1, 100, 0),
            // The clock has wrapped.
            (5, u32::MAX, 100, 94),
            (99, u32::MAX, 100, 0),
            // A packet came with the tick after the clock was read.
            (1000, 1001, 100, 100),
            (u32::MAX, 0, 100, 100),
            // The longest timeout.
            (MAX, 0, MAX, 0),
            (MAX - 1, 0, MAX, 1),
        ];
        for (now, last_seen, timeout, want) in cases {
            assert_eq!(left(now, last_seen, timeout), want, "{now} {last_seen}");
        }
    }
}
