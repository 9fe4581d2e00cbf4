// SPDX-License-Identifier: GPL-2.0

//! The defenses against floods: their modes, and the packets that `drop_packet` drops.
//!
//! C version: `update_defense_level()` [net/netfilter/ipvs/ip_vs_ctl.c], `ip_vs_todrop()`
//! [include/net/ip_vs.h].
//!
//! # Modes
//!
//! | mode | the defense is |
//! |---|---|
//! | 0 | off |
//! | 1 | automatic: off, while enough memory is available |
//! | 2 | automatic: on, while less memory is available |
//! | 3 | on |

use crate::shim::Word32;

/// The available memory, compared with the threshold `amemthresh`. Both are in pages.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    available: u64,
    threshold: u64,
}

impl Memory {
    /// A negative `threshold` is 0.
    pub(crate) fn new(available: u64, threshold: i32) -> Self {
        Self {
            available,
            threshold: threshold.max(0) as u64,
        }
    }

    /// The number of pages that are missing to the threshold, if any.
    fn missing(self) -> Option<u64> {
        let missing = self.threshold.checked_sub(self.available)?;
        (missing != 0).then_some(missing)
    }

    /// The mode that follows `mode`.
    pub(crate) fn mode(self, mode: i32) -> i32 {
        match mode {
            1 | 2 if self.missing().is_some() => 2,
            1 | 2 => 1,
            mode => mode,
        }
    }
}

/// Whether a defense with this mode is on.
pub(crate) fn is_on(mode: i32) -> bool {
    mode > 1
}

/// Which packets that start a conn are dropped: one in `rate`.
pub(crate) struct PacketDrops {
    /// 0 if none are dropped. With a negative rate all are.
    rate: Word32,
    /// Counts down to the next one, from the rate. Changes only while there is a rate.
    left: Word32,
}

impl PacketDrops {
    /// No packet is dropped.
    pub(crate) const fn new() -> Self {
        Self {
            rate: Word32::new(0),
            left: Word32::new(0),
        }
    }

    /// Sets the rate for a `mode`, which is one that [`Memory::mode`] returns. `fixed` is the rate
    /// in mode 3 (`am_droprate`).
    ///
    /// As in C, the count starts over at each call in mode 2, but goes on in mode 3.
    pub(crate) fn set(&self, mode: i32, memory: Memory, fixed: i32) {
        let rate = match (mode, memory.missing()) {
            (2, Some(missing)) => {
                let rate = memory.threshold.checked_div(missing).unwrap_or(0) as u32;
                self.left.set(rate);
                rate
            }
            (3, _) => fixed as u32,
            _ => 0,
        };
        self.rate.set(rate);
    }

    /// Whether to drop a packet that starts a conn.
    #[inline(always)]
    pub(crate) fn take(&self) -> bool {
        match self.rate.get() {
            0 => false,
            rate => self.count(rate),
        }
    }

    /// Counts a packet. Of any `rate` packets, on whatever CPUs, exactly one is dropped.
    #[cold]
    #[inline(never)]
    fn count(&self, rate: u32) -> bool {
        let less = |left: u32| (left as i32).wrapping_sub(1);
        let left = self.left.update(|left| match less(left) {
            left if left > 0 => left as u32,
            _ => rate,
        });
        less(left) <= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modes(memory: Memory) -> [i32; 4] {
        [0, 1, 2, 3].map(|mode| memory.mode(mode))
    }

    #[test]
    fn modes_follow_the_memory() {
        let (enough, short) = ([0, 1, 1, 3], [0, 2, 2, 3]);
        assert_eq!(modes(Memory::new(1024, 1024)), enough);
        assert_eq!(modes(Memory::new(1023, 1024)), short);
        assert_eq!(modes(Memory::new(0, 1)), short);
        for threshold in [0, -1, i32::MIN] {
            assert_eq!(modes(Memory::new(0, threshold)), enough);
        }
        assert_eq!(modes(Memory::new(u64::MAX, i32::MAX)), enough);
        assert_eq!([0, 1, 2, 3].map(is_on), [false, false, true, true]);
    }

    /// How many of this many packets are dropped, and the first.
    fn dropped(drops: &PacketDrops, packets: usize) -> (usize, Option<usize>) {
        let all: Vec<_> = (0..packets).filter(|_| drops.take()).collect();
        (all.len(), all.first().copied())
    }

    #[test]
    fn a_fixed_rate() {
        let enough = Memory::new(1, 0);
        let drops = PacketDrops::new();
        for (mode, rate, want) in [
            (0, 10, (0, None)),
            (1, 10, (0, None)),
            // At first the count is 0.
            (3, 10, (10, Some(0))),
            // Then it goes on: one was left.
            (3, 4, (25, Some(0))),
            (3, 1, (100, Some(0))),
            (3, -1, (100, Some(0))),
            (3, 0, (0, None)),
        ] {
            drops.set(mode, enough, rate);
            assert_eq!(dropped(&drops, 100), want, "{mode} {rate}");
        }
    }

    #[test]
    fn a_rate_by_missing_memory() {
        let drops = PacketDrops::new();
        // All memory is missing, half of it, a fifth, and one page.
        for (available, rate) in [(0, 1), (500, 2), (800, 5), (999, 1000)] {
            drops.set(2, Memory::new(available, 1000), 7);
            assert_eq!(dropped(&drops, 10 * rate), (10, Some(rate - 1)));
            // The count starts over.
            drops.take();
            drops.set(2, Memory::new(available, 1000), 7);
            assert_eq!(dropped(&drops, rate), (1, Some(rate - 1)));
        }
        drops.set(1, Memory::new(1000, 1000), 7);
        assert_eq!(dropped(&drops, 100), (0, None));
    }

    #[test]
    fn several_cpus() {
        let drops = PacketDrops::new();
        drops.set(2, Memory::new(900, 1000), 0);
        let count = || dropped(&drops, 1000).0;
        let all = std::thread::scope(|scope| {
            let other = scope.spawn(count);
            count() + other.join().unwrap()
        });
        assert_eq!(all, 200);
    }
}
