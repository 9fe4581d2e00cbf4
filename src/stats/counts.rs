// SPDX-License-Identifier: GPL-2.0

//! Counters of packets, bytes and conns as plain values, and the averages computed from them.
//!
//! C version: `struct ip_vs_kstats` [include/net/ip_vs.h], [net/netfilter/ipvs/ip_vs_est.c].

/// A value per counter: a reading, a difference of two readings, or a rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) conns: u64,
    pub(crate) inpkts: u64,
    pub(crate) outpkts: u64,
    pub(crate) inbytes: u64,
    pub(crate) outbytes: u64,
}

/// The number of fractional bits of an average of bytes per second.
const BYTES_SCALE: u32 = 5;

/// The number of fractional bits of an average of packets or conns per second.
const SCALE: u32 = 10;

impl Counts {
    /// Applies `op` counter by counter.
    fn each(self, other: Self, op: fn(u64, u64) -> u64) -> Self {
        Self {
            conns: op(self.conns, other.conns),
            inpkts: op(self.inpkts, other.inpkts),
            outpkts: op(self.outpkts, other.outpkts),
            inbytes: op(self.inbytes, other.inbytes),
            outbytes: op(self.outbytes, other.outbytes),
        }
    }

    /// Whether all are 0.
    #[inline]
    pub(crate) fn is_zero(self) -> bool {
        self.conns | self.inpkts | self.outpkts | self.inbytes | self.outbytes == 0
    }

    /// The sum; it wraps.
    pub(crate) fn plus(self, other: Self) -> Self {
        self.each(other, u64::wrapping_add)
    }

    /// The increase since `start`; it wraps.
    pub(crate) fn since(self, start: Self) -> Self {
        self.each(start, u64::wrapping_sub)
    }

    /// The rate per second, scaled, if `self` was counted in two seconds.
    fn in_two_seconds(self) -> Self {
        Self {
            conns: self.conns << (SCALE - 1),
            inpkts: self.inpkts << (SCALE - 1),
            outpkts: self.outpkts << (SCALE - 1),
            inbytes: self.inbytes << (BYTES_SCALE - 1),
            outbytes: self.outbytes << (BYTES_SCALE - 1),
        }
    }

    /// Returns the next value of the scaled average `self` after `counted` in two seconds: an
    /// exponentially weighted moving average with weight 1/4.
    pub(crate) fn averaged(self, counted: Self) -> Self {
        self.each(counted.in_two_seconds(), |average, rate| {
            let step = (rate as i64).wrapping_sub(average as i64) >> 2;
            average.wrapping_add_signed(step)
        })
    }

    /// The scaled average `self` as a rate per second, rounded (C: `ip_vs_read_estimator()`).
    pub(crate) fn per_second(self) -> Self {
        let rounded =
            |average: u64, scale: u32| average.wrapping_add((1 << (scale - 1)) - 1) >> scale;
        Self {
            conns: rounded(self.conns, SCALE),
            inpkts: rounded(self.inpkts, SCALE),
            outpkts: rounded(self.outpkts, SCALE),
            inbytes: rounded(self.inbytes, BYTES_SCALE),
            outbytes: rounded(self.outbytes, BYTES_SCALE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(value: u64) -> Counts {
        Counts {
            conns: value,
            inpkts: value,
            outpkts: value,
            inbytes: value,
            outbytes: value,
        }
    }

    fn after(periods: usize, counted: Counts) -> Counts {
        (0..periods).fold(all(0), |average, _| average.averaged(counted))
    }

    #[test]
    fn a_steady_flow_is_its_rate() {
        for counted in [2, 20, 2_000_000] {
            assert_eq!(after(80, all(counted)).per_second(), all(counted / 2));
        }
    }

    #[test]
    fn a_quarter_is_of_the_last_period() {
        let counted = all(8000);
        for (periods, rate) in [(1, 1000), (2, 1750), (3, 2312), (4, 2734)] {
            assert_eq!(after(periods, counted).per_second().conns, rate);
            assert_eq!(after(periods, counted).per_second().inbytes, rate);
        }
        let ends = after(80, counted).averaged(all(0));
        assert_eq!(ends.per_second(), all(3000));
    }

    #[test]
    fn rates_die_away() {
        let mut average = after(80, all(2000));
        for _ in 0..80 {
            average = average.averaged(all(0));
        }
        assert_eq!(average.per_second(), all(0));
    }

    #[test]
    fn rounding_is_down_at_a_half() {
        let rate = |conns, inbytes| {
            let scaled = Counts {
                conns,
                inbytes,
                ..all(0)
            };
            (scaled.per_second().conns, scaled.per_second().inbytes)
        };
        assert_eq!(rate(512, 16), (0, 0));
        assert_eq!(rate(513, 17), (1, 1));
        assert_eq!(rate(1024 + 512, 32 + 16), (1, 1));
    }

    #[test]
    fn figures_wrap() {
        assert_eq!(all(1).since(all(u64::MAX)), all(2));
        assert_eq!(all(u64::MAX).plus(all(2)), all(1));
        let _ = all(u64::MAX).averaged(all(u64::MAX)).per_second();
    }
}
