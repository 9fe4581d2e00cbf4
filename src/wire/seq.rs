// SPDX-License-Identifier: GPL-2.0

//! The adjustment of TCP sequence numbers behind a segment whose length was changed.
//!
//! C version: `struct ip_vs_seq` [include/net/ip_vs.h], `vs_fix_seq()`, `vs_fix_ack_seq()`
//! [net/netfilter/ipvs/ip_vs_app.c].

use super::{
    csum::Delta,
    tcp::Header, //
};

/// The adjustment in one direction, in host byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seq {
    /// The sequence number of the last segment whose length was changed.
    pub(crate) init_seq: u32,
    /// The addend of sequence numbers after that.
    pub(crate) delta: u32,
    /// The addend of that sequence number and of those before it.
    pub(crate) previous_delta: u32,
}

impl Seq {
    /// The sequence number that a segment gets.
    fn of_segment(self, seq: u32) -> u32 {
        match is_after(seq, self.init_seq) {
            true => seq.wrapping_add(self.delta),
            false => seq.wrapping_add(self.previous_delta),
        }
    }

    /// The number that an acknowledgement of adjusted segments gets.
    fn of_ack(self, ack: u32) -> u32 {
        match is_after(ack, self.init_seq.wrapping_add(self.delta)) {
            true => ack.wrapping_sub(self.delta),
            false => ack.wrapping_sub(self.previous_delta),
        }
    }

    /// Adjusts a segment: its sequence number by `seq`, its acknowledgement by `ack`. Returns the
    /// effect on the checksum.
    pub(crate) fn adjust(header: &mut Header, seq: Option<Self>, ack: Option<Self>) -> Delta {
        let (old_seq, old_ack) = (header.seq, header.ack_seq);
        if let Some(seq) = seq {
            header.seq = seq.of_segment(old_seq.get()).into();
        }
        if let Some(ack) = ack {
            header.ack_seq = ack.of_ack(old_ack.get()).into();
        }
        Delta::NONE
            .replace_u32(old_seq.to_bytes(), header.seq.to_bytes())
            .replace_u32(old_ack.to_bytes(), header.ack_seq.to_bytes())
    }
}

/// Whether `a` is after `b`. Sequence numbers wrap (C: `after()`).
fn is_after(a: u32, b: u32) -> bool {
    (b.wrapping_sub(a) as i32) < 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::{
        FromBytes,
        IntoBytes, //
    };

    const SEQ: Seq = Seq {
        init_seq: 1000,
        delta: 5,
        previous_delta: 2,
    };

    #[test]
    fn numbers_before_and_after() {
        let numbers = [999, 1000, 1001].map(|seq| SEQ.of_segment(seq));
        assert_eq!(numbers, [1001, 1002, 1006]);
        let numbers = [1004, 1005, 1006].map(|ack| SEQ.of_ack(ack));
        assert_eq!(numbers, [1002, 1003, 1001]);
    }

    #[test]
    fn numbers_wrap() {
        let seq = Seq {
            init_seq: u32::MAX,
            delta: 3_u32.wrapping_neg(),
            previous_delta: 1,
        };
        assert_eq!([u32::MAX, 0].map(|n| seq.of_segment(n)), [0, u32::MAX - 2]);
        assert_eq!([u32::MAX - 3, 1].map(|n| seq.of_ack(n)), [u32::MAX - 4, 4]);
        assert_eq!(Seq::default().of_segment(7), 7);
    }

    #[test]
    fn a_segment_and_its_checksum() {
        let mut bytes = [0; 20];
        (bytes[4], bytes[11], bytes[12]) = (0x12, 0x34, 0x50);
        let header = Header::mut_from_bytes(&mut bytes).unwrap();
        let sum = |bytes: &[u8]| crate::wire::csum::Sum::ZERO.add_bytes(bytes).checksum();
        header.check = sum(header.as_bytes());
        let delta = Seq::adjust(header, Some(SEQ), Some(SEQ));
        header.check = header.check.update(delta);
        assert_eq!(header.seq.get(), 0x1200_0005);
        assert_eq!(header.ack_seq.get(), 0x32);
        assert!(crate::wire::csum::Sum::ZERO.add_bytes(&bytes).is_valid());
    }
}
