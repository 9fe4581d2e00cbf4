// SPDX-License-Identifier: GPL-2.0

//! TCP header (RFC 9293, section 3.1).
//!
//! C version: `struct tcphdr` [include/uapi/linux/tcp.h].

use super::csum::Csum16;
use crate::addr::Port;
use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

/// A TCP header without its options.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) source: Port,
    pub(crate) dest: Port,
    pub(crate) seq: U32,
    pub(crate) ack_seq: U32,
    data_offset: u8,
    pub(crate) flags: Flags,
    pub(crate) window: U16,
    pub(crate) check: Csum16,
    pub(crate) urg_ptr: U16,
}

impl Header {
    /// The length of the header with options in bytes, 0 to 60 (C: `doff`, in 32-bit words). Not
    /// checked: less than 20 is malformed.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        ((self.data_offset >> 4) as usize) << 2
    }

    /// Sets the length of the header with options in bytes, a multiple of 4 up to 60.
    pub(crate) fn set_len(&mut self, len: usize) {
        self.data_offset = self.data_offset & 0x0f | ((len >> 2) as u8) << 4;
    }

    /// The two bytes with the length of the header and the flags, at an even offset.
    pub(crate) fn offset_and_flags(&self) -> [u8; 2] {
        [self.data_offset, self.flags.0]
    }
}

/// The flags of a segment, the header's fourteenth byte.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub(crate) struct Flags(u8);

impl Flags {
    pub(crate) const FIN: Self = Self(0x01);
    pub(crate) const SYN: Self = Self(0x02);
    pub(crate) const RST: Self = Self(0x04);
    pub(crate) const ACK: Self = Self(0x10);

    #[inline]
    pub(crate) const fn fin(self) -> bool {
        self.has(Self::FIN)
    }

    #[inline]
    pub(crate) const fn syn(self) -> bool {
        self.has(Self::SYN)
    }

    #[inline]
    pub(crate) const fn rst(self) -> bool {
        self.has(Self::RST)
    }

    #[inline]
    pub(crate) const fn ack(self) -> bool {
        self.has(Self::ACK)
    }

    /// Whether any flag of `flags` is set.
    #[inline]
    const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    /// The union of both sets of flags.
    #[inline]
    pub(crate) const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::{FromBytes, IntoBytes};

    // A SYN+ACK with an MSS option.
    const PACKET: [u8; 24] = [
        0x00, 0x50, 0xc3, 0x50, 0x01, 0x02, 0x03, 0x04, 0x0a, 0x0b, 0x0c, 0x0d, 0x60, 0x12, 0xfa,
        0xf0, 0x12, 0x34, 0x00, 0x07, 0x02, 0x04, 0x05, 0xb4,
    ];

    #[test]
    fn deconstruct() {
        let (tcp, options) = Header::ref_from_prefix(&PACKET).unwrap();
        assert_eq!(tcp.source.host(), 80);
        assert_eq!(tcp.dest.host(), 50000);
        assert_eq!(tcp.seq.get(), 0x01020304);
        assert_eq!(tcp.ack_seq.get(), 0x0a0b0c0d);
        assert_eq!(tcp.len(), 24);
        assert_eq!(tcp.window.get(), 64240);
        assert_eq!(tcp.check.bytes(), [0x12, 0x34]);
        assert_eq!(tcp.urg_ptr.get(), 7);
        assert_eq!(options, [2, 4, 5, 0xb4]);
        assert!(tcp.flags.syn() && tcp.flags.ack());
        assert!(!tcp.flags.fin() && !tcp.flags.rst());
    }

    #[test]
    fn construct() {
        let mut bytes = PACKET;
        let (tcp, _) = Header::mut_from_prefix(&mut bytes).unwrap();
        tcp.source = Port::new(8080);
        assert_eq!(bytes[..4], [0x1f, 0x90, 0xc3, 0x50]);
        let (tcp, _) = Header::ref_from_prefix(&PACKET).unwrap();
        assert_eq!(tcp.as_bytes(), &PACKET[..20]);
    }

    #[test]
    fn truncated() {
        assert!(Header::ref_from_prefix(&PACKET[..19]).is_err());
        assert!(Header::ref_from_prefix(&[]).is_err());
    }

    #[test]
    fn any_data_offset_is_in_range() {
        let mut bytes = PACKET;
        for byte in 0..=u8::MAX {
            bytes[12] = byte;
            let (tcp, _) = Header::ref_from_prefix(&bytes).unwrap();
            assert_eq!(tcp.len(), usize::from(byte / 16) * 4);
        }
    }
}
