// SPDX-License-Identifier: GPL-2.0

//! The remaining idle time of a conn. Times are the low 32 bits of jiffies.

/// The maximum idle time of a conn, whatever its timeout: kernel timers do not run longer
/// (`WHEEL_TIMEOUT_MAX`). With `HZ` = 250 it is 48 days, a quarter of the range of 32 bits.
const LONGEST: u32 = 62 << 24;

/// The maximum number of jiffies by which the time of the last packet may be later than `now`.
const EARLY: u32 = 1 << 16;

/// The rest of `timeout` at the time `now` for a conn whose last packet arrived at `last_seen`.
///
/// If a packet arrives after the caller has read the clock, `last_seen` is later than `now`. The
/// rest is the whole timeout then.
pub(crate) fn left(now: u32, last_seen: u32, timeout: u32) -> u32 {
    let idle = now.wrapping_sub(last_seen);
    if idle > EARLY.wrapping_neg() {
        timeout
    } else {
        timeout.saturating_sub(idle)
    }
}

/// The delay after which the timer must fire again: as [`left`], with a timeout of at most
/// [`LONGEST`].
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
            // A packet arrived in the tick after the clock was read.
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
            // Timers with such delays fire late, by up to 2^24 jiffies.
            for late in [0, 1, 1 << 21, 1 << 24] {
                let last_seen = u32::MAX - 7;
                let now = last_seen.wrapping_add(LONGEST + late);
                assert_eq!(left_to_timer(now, last_seen, timeout), 0);
            }
        }
        assert_eq!(left_to_timer(1000, 999, 100), 99);
    }
}
