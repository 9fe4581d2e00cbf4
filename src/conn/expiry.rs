// SPDX-License-Identifier: GPL-2.0

//! How long a conn may still stay idle. Times are in jiffies, of which 32 bits are kept.

/// No conn stays idle for longer, whatever its timeout: C's timers do not run for longer
/// (`WHEEL_TIMEOUT_MAX`). At 250 ticks a second it is 48 days, a quarter of what 32 bits hold.
const LONGEST: u32 = 62 << 24;

/// By how much a conn may seem to have been seen later than now.
const EARLY: u32 = 1 << 16;

/// What is left of `timeout` at the time `now` for a conn last seen at `last_seen`.
///
/// A packet that came after the clock was read has left a time later than `now`: nothing of the
/// timeout is over then.
pub(crate) fn left(now: u32, last_seen: u32, timeout: u32) -> u32 {
    let idle = now.wrapping_sub(last_seen);
    if idle > EARLY.wrapping_neg() {
        timeout
    } else {
        timeout.saturating_sub(idle)
    }
}

/// When the timer is to fire again, from `now` on: what is left until the conn has been idle for as
/// long as any may be.
pub(crate) fn left_to_timer(now: u32, last_seen: u32, timeout: u32) -> u32 {
    left(now, last_seen, timeout.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn left_of_a_timeout() {
        const MAX: u32 = u32::MAX;
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
            // Long timeouts, and a timer that fires late.
            (i32::MAX as u32, 0, MAX, 1 << 31),
            (1 << 31, 0, i32::MAX as u32, 0),
            (LONGEST + (1 << 24), 0, MAX, MAX - LONGEST - (1 << 24)),
        ];
        for (now, last_seen, timeout, want) in cases {
            assert_eq!(left(now, last_seen, timeout), want, "{now} {last_seen}");
        }
    }

    #[test]
    fn the_timer_ends_what_is_idle_for_too_long() {
        for timeout in [LONGEST, LONGEST + 1, i32::MAX as u32, u32::MAX] {
            assert_eq!(left_to_timer(5, 5, timeout), LONGEST);
            assert_eq!(left_to_timer(LONGEST - 1, 0, timeout), 1);
            // Timers that long fire late, by 2^24 ticks at most.
            for late in [0, 1, 1 << 21, 1 << 24] {
                let last_seen = u32::MAX - 7;
                let now = last_seen.wrapping_add(LONGEST + late);
                assert_eq!(left_to_timer(now, last_seen, timeout), 0);
            }
        }
        assert_eq!(left_to_timer(1000, 999, 100), 99);
    }
}
