// SPDX-License-Identifier: GPL-2.0

//! Which of the idle conns `drop_entry` drops.
//!
//! C version: `todrop_entry()` [net/netfilter/ipvs/ip_vs_conn.c].

use super::life::COUNTED;
use crate::shim::Word32;

/// The number of packets from the client below which a conn may be dropped.
const FEW: usize = COUNTED as usize;

/// Counts idle conns by the number of packets from the client, 1 to 8: of those with `n` packets,
/// one in `n` is dropped.
pub(crate) struct IdleDrops([Word32; FEW - 1]);

impl IdleDrops {
    pub(crate) fn new() -> Self {
        Self(core::array::from_fn(|_| Word32::new(0)))
    }

    /// Whether to drop a conn that has been idle for long, with this number of packets from the
    /// client. Called by one CPU at a time.
    pub(crate) fn take(&self, packets: u8) -> bool {
        let index = usize::from(packets).wrapping_sub(1);
        let Some(counter) = self.0.get(index) else {
            return false;
        };
        let left = (counter.get() as i32).wrapping_sub(1);
        let is_taken = left <= 0;
        counter.set(if is_taken {
            packets.into()
        } else {
            left as u32
        });
        is_taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_as_many_as_there_were_packets() {
        let drops = IdleDrops::new();
        for packets in 1..COUNTED {
            let taken: Vec<_> = (0..3 * packets).filter(|_| drops.take(packets)).collect();
            assert_eq!(taken, [0, packets, 2 * packets]);
        }
        for packets in [0, COUNTED, u8::MAX] {
            assert!(!(0..100).any(|_| drops.take(packets)));
        }
    }
}
