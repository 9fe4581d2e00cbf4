// SPDX-License-Identifier: GPL-2.0

//! SCTP headers (RFC 9260, section 3): the common header and the header of a chunk.
//!
//! C version: `struct sctphdr`, `struct sctp_chunkhdr` [include/linux/sctp.h].

use crate::addr::Port;
use zerocopy::byteorder::{
    little_endian,
    network_endian::{U16, U32}, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

// Types of chunks (C: `SCTP_CID_*`).

pub(crate) const DATA: u8 = 0;
pub(crate) const INIT: u8 = 1;
pub(crate) const INIT_ACK: u8 = 2;
pub(crate) const SACK: u8 = 3;
pub(crate) const HEARTBEAT: u8 = 4;
pub(crate) const HEARTBEAT_ACK: u8 = 5;
pub(crate) const ABORT: u8 = 6;
pub(crate) const SHUTDOWN: u8 = 7;
pub(crate) const SHUTDOWN_ACK: u8 = 8;
pub(crate) const ERROR: u8 = 9;
pub(crate) const COOKIE_ECHO: u8 = 10;
pub(crate) const COOKIE_ACK: u8 = 11;
pub(crate) const ECN_ECNE: u8 = 12;
pub(crate) const ECN_CWR: u8 = 13;
pub(crate) const SHUTDOWN_COMPLETE: u8 = 14;

/// The common header. Chunks follow.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) source: Port,
    pub(crate) dest: Port,
    pub(crate) tag: U32,
    /// The CRC32c of the whole packet, computed while this field is 0. Little-endian.
    pub(crate) checksum: little_endian::U32,
}

/// The header of a chunk.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Chunk {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    len: U16,
}

impl Chunk {
    /// The distance in bytes from this chunk to the next one: the length of this chunk with its
    /// header, rounded up to a multiple of 4. `None` if the length is less than that of the header.
    #[inline]
    pub(crate) fn distance_to_next(&self) -> Option<u32> {
        let len = u32::from(self.len.get());
        (len >= size_of::<Self>() as u32).then(|| len.next_multiple_of(4))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::{FromBytes, IntoBytes};

    // An ABORT.
    const PACKET: [u8; 16] = [
        0x00, 0x50, 0xc3, 0x50, 0x01, 0x02, 0x03, 0x04, 0x0a, 0x0b, 0x0c, 0x0d, 0x06, 0x01, 0x00,
        0x04,
    ];

    #[test]
    fn deconstruct() {
        let (sctp, chunks) = Header::ref_from_prefix(&PACKET).unwrap();
        assert_eq!(sctp.source.host(), 80);
        assert_eq!(sctp.dest.host(), 50000);
        assert_eq!(sctp.tag.get(), 0x01020304);
        assert_eq!(sctp.checksum.get(), 0x0d0c0b0a);
        assert_eq!(sctp.as_bytes(), &PACKET[..12]);
        let (chunk, rest) = Chunk::ref_from_prefix(chunks).unwrap();
        assert_eq!((chunk.kind, chunk.flags), (ABORT, 1));
        assert_eq!(chunk.distance_to_next(), Some(4));
        assert!(rest.is_empty());
    }

    #[test]
    fn truncated() {
        assert!(Header::ref_from_prefix(&PACKET[..11]).is_err());
        assert!(Chunk::ref_from_prefix(&PACKET[12..15]).is_err());
    }

    #[test]
    fn any_length() {
        for len in 0..=u16::MAX {
            let [a, b] = len.to_be_bytes();
            let bytes = [0, 0, a, b];
            let (chunk, _) = Chunk::ref_from_prefix(&bytes).unwrap();
            let want = (len >= 4).then(|| (u32::from(len) + 3) / 4 * 4);
            assert_eq!(chunk.distance_to_next(), want);
        }
    }
}
