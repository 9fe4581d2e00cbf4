// SPDX-License-Identifier: GPL-2.0

//! Sort keys of dests.
//!
//! C compares two fractions overhead / weight by cross multiplication. An
//! [`Order`](super::order::Order) needs one number for each fraction.

use core::num::NonZeroU32;

/// The sort key of a dest. The dest with the least key is chosen first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) high: u64,
    pub(crate) low: u64,
}

impl Key {
    /// Before all others.
    pub(crate) const FIRST: Self = Self { high: 0, low: 0 };
    /// After all others, for a dest that is not available.
    pub(crate) const NEVER: Self = Self {
        high: u64::MAX,
        low: u64::MAX,
    };

    /// The number of unused low bits, which are 0 in all keys except [`NEVER`](Self::NEVER).
    pub(crate) const SPARE_BITS: u32 = 24;

    /// The low word, with a number in the unused bits.
    #[inline]
    pub(crate) const fn low_with(self, number: u64) -> u64 {
        self.low & u64::MAX << Self::SPARE_BITS | number
    }

    /// Orders by `value`, the least first.
    #[inline]
    pub(crate) const fn least(value: u64) -> Self {
        Self {
            high: value,
            low: 0,
        }
    }

    /// Orders by `value`, the greatest first.
    #[inline]
    pub(crate) fn most(value: NonZeroU32) -> Self {
        Self::least(u64::from(u32::MAX.wrapping_sub(value.get())))
    }

    /// Orders by `cost / weight`, the least first. Exact for a cost below 2^40 and a weight below
    /// 2^31.
    ///
    /// The key is the quotient with 64 bits of fraction, 24 of them in the high word. Two different
    /// fractions with such denominators differ by more than 2^-62, so their keys differ as well.
    #[inline]
    pub(crate) fn ratio(cost: u64, weight: NonZeroU32) -> Self {
        let weight = core::num::NonZeroU64::from(weight);
        let (whole, rest) = (cost / weight, (cost % weight) << 32);
        let (high, rest) = (rest / weight, (rest % weight) << 32);
        let low = rest / weight;
        Self {
            high: whole << 24 | high >> 8,
            low: high << 56 | low << Self::SPARE_BITS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sched::tests::Random;

    fn ratio((cost, weight): (u64, u32)) -> Key {
        Key::ratio(cost, NonZeroU32::new(weight).unwrap())
    }

    #[test]
    fn ratios_compare_as_fractions() {
        const COST: u64 = (1 << 40) - 1;
        const WEIGHT: u32 = (1 << 31) - 1;
        let mut random = Random(3);
        // Numbers of any magnitude.
        let any = |random: &mut Random| random.below(1 << 31) >> random.below(31);
        let cost = |random: &mut Random| match random.below(4) {
            0 => COST - random.below(3),
            1 => any(random) << 9,
            _ => any(random),
        };
        let weight = |random: &mut Random| match random.below(4) {
            0 => WEIGHT - random.below(3) as u32,
            _ => any(random).max(1) as u32,
        };
        for _ in 0..200_000 {
            let a = (cost(&mut random), weight(&mut random));
            let b = match random.below(3) {
                // A close neighbour, and the same fraction in other terms.
                0 => (a.0, (a.1 - 1).max(1)),
                1 if a.0 * 2 <= COST && a.1 * 2 <= WEIGHT => (a.0 * 2, a.1 * 2),
                _ => (cost(&mut random), weight(&mut random)),
            };
            let crosswise = |a: u64, b: u32| u128::from(a) * u128::from(b);
            let want = crosswise(a.0, b.1).cmp(&crosswise(b.0, a.1));
            assert_eq!(ratio(a).cmp(&ratio(b)), want, "{a:?} {b:?}");
            assert!(ratio(a) < Key::NEVER);
        }
        // Two fractions with the least possible difference.
        let (a, b) = ((1 << 30, WEIGHT), ((1 << 30) - 1, WEIGHT - 2));
        assert!(ratio(a) != ratio(b));
        assert!(Key::FIRST < ratio((1, WEIGHT)));
        assert_eq!(ratio((0, 1)), ratio((0, WEIGHT)));
    }

    #[test]
    fn least_and_most() {
        let most = |value| Key::most(NonZeroU32::new(value).unwrap());
        assert!(Key::least(1) < Key::least(2));
        assert!(most(2) < most(1));
        assert!(most(i32::MAX as u32) < most(1));
        assert!(most(1) < Key::NEVER);
        assert!(Key::least(u64::MAX) < Key::NEVER);
    }
}
