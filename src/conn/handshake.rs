// SPDX-License-Identifier: GPL-2.0

//! The segments of a TCP connection that have the option with the client's address.

use crate::{
    shim::Word32,
    wire::tcp::Header, //
};

/// The numbers of the first segments of a TCP connection, as far as they are known.
pub(crate) struct Handshake {
    /// The sequence number of the client's first data.
    first_seq: Word32,
    /// The acknowledgement of the real server's SYN.
    first_ack: Word32,
}

impl Handshake {
    pub(super) const fn new() -> Self {
        Self {
            first_seq: Word32::new(0),
            first_ack: Word32::new(0),
        }
    }

    /// Handles a segment from the client. Returns whether it has the option: a SYN,
    /// the acknowledgement that ends the handshake, or the first data. `has_data`: it has data.
    pub(crate) fn takes_option(&self, header: &Header, has_data: bool) -> bool {
        let (flags, seq) = (header.flags, header.seq.get());
        if flags.rst() {
            return false;
        }
        if flags.syn() {
            self.first_seq.set(seq.wrapping_add(1));
            return true;
        }
        seq == self.first_seq.get() && (has_data || header.ack_seq.get() == self.first_ack.get())
    }

    /// Handles a segment from the real server. Returns whether it is a SYN.
    pub(crate) fn answers(&self, header: &Header) -> bool {
        if header.flags.syn() {
            self.first_ack.set(header.seq.get().wrapping_add(1));
        }
        header.flags.syn()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::tcp::Flags;
    use zerocopy::FromBytes;

    fn segment(flags: Flags, seq: u32, ack: u32) -> Header {
        let mut header = Header::read_from_bytes(&[0; 20]).unwrap();
        header.flags = flags;
        header.seq.set(seq);
        header.ack_seq.set(ack);
        header
    }

    #[test]
    fn the_first_segments_tell() {
        let handshake = Handshake::new();
        let (syn, ack) = (Flags::SYN, Flags::ACK);
        assert!(handshake.takes_option(&segment(syn, u32::MAX, 0), false));
        assert!(handshake.answers(&segment(syn.with(ack), 99, 0)));
        assert!(!handshake.answers(&segment(ack, 100, 0)));
        for (flags, seq, number, has_data, want) in [
            // The end of the handshake, the first data, both again.
            (ack, 0, 100, false, true),
            (ack, 0, 100, true, true),
            (ack.with(Flags::FIN), 0, 100, false, true),
            // The first data after a greeting of the server.
            (ack, 0, 120, true, true),
            (ack, 0, 120, false, false),
            // More data, and a reset.
            (ack, 1, 100, true, false),
            (ack, 1, 100, false, false),
            (Flags::RST, 0, 100, false, false),
        ] {
            assert_eq!(
                handshake.takes_option(&segment(flags, seq, number), has_data),
                want
            );
        }
    }
}
