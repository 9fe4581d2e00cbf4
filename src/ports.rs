// SPDX-License-Identifier: GPL-2.0

//! The ports of the local ends of conns, in host byte order, and the order in which they are tried.

use core::ops::RangeInclusive;

/// The maximum number of ports that are tried for a conn.
const TRIES: u32 = 128;

/// A range of ports, of which another range may be excluded.
pub(crate) struct Ports {
    first: u32,
    /// The number of ports below the excluded ones.
    below: u32,
    /// The first port above the excluded ones.
    above: u32,
    /// The number of ports.
    len: u32,
}

impl Ports {
    /// The ports of `range`.
    pub(crate) fn all(range: RangeInclusive<u16>) -> Self {
        Self::new(range, 0..=0)
    }

    /// The ports of `range`, except those of `without`.
    pub(crate) fn new(range: RangeInclusive<u16>, without: RangeInclusive<u16>) -> Self {
        let [first, last] = [*range.start(), *range.end()].map(u32::from);
        let [low, high] = [*without.start(), *without.end()].map(u32::from);
        let end = last.wrapping_add(1).max(first);
        let (low, high) = (
            low.clamp(first, end),
            high.wrapping_add(1).clamp(first, end),
        );
        let below = low.wrapping_sub(first);
        let above = high.max(low);
        Self {
            first,
            below,
            above,
            len: below.wrapping_add(end.wrapping_sub(above)),
        }
    }

    /// The port with this index.
    fn at(&self, index: u32) -> u16 {
        let port = match index.checked_sub(self.below) {
            None => self.first.wrapping_add(index),
            Some(index) => self.above.wrapping_add(index),
        };
        port as u16
    }

    /// Ports in the order in which they are tried for a conn with this hash: different ones, up to
    /// [`TRIES`].
    pub(crate) fn order(&self, hash: u32) -> impl Iterator<Item = u16> + '_ {
        let len = self.len;
        let start = hash.checked_rem(len).unwrap_or(0);
        // If all ports are tried, in sequence. Otherwise, with steps that differ by conn, so that
        // conns do not compete for the ports behind a row of used ones.
        let step = match len.checked_sub(1) {
            Some(rest) if len > TRIES => {
                let step = (hash.rotate_left(16)).checked_rem(rest).unwrap_or(0);
                step.wrapping_add(1)
            }
            _ => 1,
        };
        (0..len.min(TRIES)).map(move |i| {
            let index = u64::from(i)
                .wrapping_mul(step.into())
                .wrapping_add(start.into());
            self.at(index.checked_rem(len.into()).unwrap_or(0) as u32)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(range: RangeInclusive<u16>, without: RangeInclusive<u16>) -> Vec<u16> {
        let ports = Ports::new(range, without);
        (0..ports.len).map(|index| ports.at(index)).collect()
    }

    #[test]
    fn ranges() {
        assert_eq!(all(5..=9, 0..=0), [5, 6, 7, 8, 9]);
        assert_eq!(all(5..=9, 6..=7), [5, 8, 9]);
        assert_eq!(all(5..=9, 1..=6), [7, 8, 9]);
        assert_eq!(all(5..=9, 9..=20), [5, 6, 7, 8]);
        assert_eq!(all(5..=9, 1..=4), [5, 6, 7, 8, 9]);
        assert_eq!(all(5..=9, 10..=12), [5, 6, 7, 8, 9]);
        assert_eq!(all(5..=9, 0..=65535), []);
        assert_eq!(all(65534..=65535, 0..=0), [65534, 65535]);
        let (low, high) = (9, 5);
        assert_eq!(all(low..=high, 0..=0), []);
        assert_eq!(all(5..=7, low..=high), [5, 6, 7]);
        assert_eq!(all(1..=65535, 32768..=60999).len(), 65535 - 28232);
    }

    #[test]
    fn orders() {
        let few = Ports::new(10..=19, 12..=14);
        let mut tried: Vec<_> = few.order(0xdead_beef).collect();
        tried.sort_unstable();
        assert_eq!(tried, [10, 11, 15, 16, 17, 18, 19]);
        let many = Ports::new(1024..=65535, 32768..=60999);
        for hash in [0, 1, 0xffff_ffff, 0x1234_5678] {
            let mut tried: Vec<_> = many.order(hash).collect();
            assert_eq!(tried.len(), TRIES as usize);
            tried.sort_unstable();
            tried.dedup();
            // A step may divide the number of ports, but not often.
            assert!(tried.len() > 64, "{hash:x}");
            assert!(tried.iter().all(|port| !(32768..=60999).contains(port)));
        }
        let none = Ports::new(5..=9, 0..=65535);
        assert_eq!(none.order(7).count(), 0);
    }
}
