// SPDX-License-Identifier: GPL-2.0

//! ICMP header (RFC 792).
//!
//! C version: `struct icmphdr` [include/uapi/linux/icmp.h].

use super::csum::Csum16;
use zerocopy::byteorder::network_endian::U16;
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

/// `ICMP_DEST_UNREACH`.
pub(crate) const DEST_UNREACH: u8 = 3;
/// `ICMP_SOURCE_QUENCH`.
pub(crate) const SOURCE_QUENCH: u8 = 4;
/// `ICMP_TIME_EXCEEDED`.
pub(crate) const TIME_EXCEEDED: u8 = 11;

/// `ICMP_PORT_UNREACH`, a code of [`DEST_UNREACH`].
pub(crate) const PORT_UNREACH: u8 = 3;
/// `ICMP_FRAG_NEEDED`, a code of [`DEST_UNREACH`].
pub(crate) const FRAG_NEEDED: u8 = 4;

/// An ICMP header. In an error, the start of the packet that caused it follows.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) check: Csum16,
    /// In echo messages the identifier; unused in [`FRAG_NEEDED`].
    pub(crate) id: U16,
    /// In [`FRAG_NEEDED`] the next hop's MTU in bytes (RFC 1191), in echo messages the sequence
    /// number.
    pub(crate) mtu: U16,
}

impl Header {
    /// Whether this is an error that may concern a conn (C: the test in `ip_vs_in_icmp()`).
    ///
    /// Redirects and parameter problems do not: they concern this host or the client.
    #[inline]
    pub(crate) const fn is_error(&self) -> bool {
        matches!(self.kind, DEST_UNREACH | SOURCE_QUENCH | TIME_EXCEEDED)
    }

    /// Whether a packet was too big for a link on its path.
    #[inline]
    pub(crate) const fn is_frag_needed(&self) -> bool {
        self.kind == DEST_UNREACH && self.code == FRAG_NEEDED
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::{FromBytes, IntoBytes};

    const FRAG: [u8; 8] = [3, 4, 0xab, 0xcd, 0, 0, 0x05, 0x78];

    #[test]
    fn deconstruct() {
        let (icmp, inner) = Header::ref_from_prefix(&FRAG).unwrap();
        assert_eq!((icmp.kind, icmp.code), (DEST_UNREACH, FRAG_NEEDED));
        assert_eq!(icmp.check.bytes(), [0xab, 0xcd]);
        assert_eq!(icmp.mtu.get(), 1400);
        assert!(icmp.is_frag_needed());
        assert!(inner.is_empty());
        assert_eq!(icmp.as_bytes(), FRAG);
    }

    #[test]
    fn errors() {
        let mut bytes = FRAG;
        for kind in 0..=u8::MAX {
            bytes[0] = kind;
            let (icmp, _) = Header::ref_from_prefix(&bytes).unwrap();
            assert_eq!(icmp.is_error(), [3, 4, 11].contains(&kind), "{kind}");
            assert_eq!(icmp.is_frag_needed(), kind == 3);
        }
    }

    #[test]
    fn truncated() {
        assert!(Header::ref_from_prefix(&FRAG[..7]).is_err());
    }
}
