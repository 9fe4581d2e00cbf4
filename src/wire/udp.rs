// SPDX-License-Identifier: GPL-2.0

//! UDP header (RFC 768).
//!
//! C version: `struct udphdr` [include/uapi/linux/udp.h].

use super::csum::Csum16;
use crate::addr::Port;
use zerocopy::byteorder::network_endian::U16;
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

/// The offset of the checksum in bytes.
pub(crate) const CHECK: u16 = 6;

/// A UDP header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) source: Port,
    pub(crate) dest: Port,
    /// The length of header and payload in bytes, not checked.
    pub(crate) len: U16,
    /// 0 if there is no checksum.
    pub(crate) check: Csum16,
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::{FromBytes, IntoBytes};

    const PACKET: [u8; 9] = [0xd4, 0x31, 0x00, 0x35, 0x00, 0x09, 0xbe, 0xef, 0x2a];

    #[test]
    fn deconstruct() {
        let (udp, payload) = Header::ref_from_prefix(&PACKET).unwrap();
        assert_eq!(udp.source.host(), 54321);
        assert_eq!(udp.dest.host(), 53);
        assert_eq!(udp.len.get(), 9);
        assert_eq!(udp.check.bytes(), [0xbe, 0xef]);
        assert_eq!(payload, [0x2a]);
    }

    #[test]
    fn construct() {
        let udp = Header {
            source: Port::new(54321),
            dest: Port::new(53),
            len: U16::new(9),
            check: Csum16::ZERO,
        };
        assert_eq!(udp.as_bytes(), [0xd4, 0x31, 0x00, 0x35, 0x00, 0x09, 0, 0]);
    }

    #[test]
    fn truncated() {
        assert!(Header::ref_from_prefix(&PACKET[..7]).is_err());
    }
}
