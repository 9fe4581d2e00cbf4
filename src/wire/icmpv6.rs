// SPDX-License-Identifier: GPL-2.0

//! ICMPv6 header (RFC 4443).
//!
//! C version: `struct icmp6hdr` [include/uapi/linux/icmpv6.h].

use super::csum::Csum16;
use zerocopy::byteorder::network_endian::U32;
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

/// `ICMPV6_DEST_UNREACH`.
pub(crate) const DEST_UNREACH: u8 = 1;
/// `ICMPV6_PKT_TOOBIG`.
pub(crate) const PKT_TOOBIG: u8 = 2;

/// `ICMPV6_TIME_EXCEED`.
pub(crate) const TIME_EXCEED: u8 = 3;

/// `ICMPV6_PORT_UNREACH`, a code of [`DEST_UNREACH`].
pub(crate) const PORT_UNREACH: u8 = 4;

/// An ICMPv6 header. In an error, the start of the packet that caused it follows.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    pub(crate) kind: u8,
    pub(crate) code: u8,
    pub(crate) check: Csum16,
    /// In [`PKT_TOOBIG`] the next hop's MTU in bytes; otherwise the meaning depends on the type.
    pub(crate) mtu: U32,
}

impl Header {
    /// Whether this is an informational message, not an error (C: `ICMPV6_INFOMSG_MASK`).
    #[inline]
    pub(crate) const fn is_info(&self) -> bool {
        self.kind & 0x80 != 0
    }

    /// Whether a packet was too big for a link on its path.
    #[inline]
    pub(crate) const fn is_too_big(&self) -> bool {
        self.kind == PKT_TOOBIG
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::{FromBytes, IntoBytes};

    const TOO_BIG: [u8; 8] = [2, 0, 0x12, 0x34, 0, 0, 0x05, 0x00];

    #[test]
    fn deconstruct() {
        let (icmp, inner) = Header::ref_from_prefix(&TOO_BIG).unwrap();
        assert_eq!((icmp.kind, icmp.code), (PKT_TOOBIG, 0));
        assert_eq!(icmp.check.bytes(), [0x12, 0x34]);
        assert_eq!(icmp.mtu.get(), 1280);
        assert!(icmp.is_too_big());
        assert!(inner.is_empty());
        assert_eq!(icmp.as_bytes(), TOO_BIG);
    }

    #[test]
    fn informational_types_are_the_upper_half() {
        let mut bytes = TOO_BIG;
        for (kind, info) in [
            (0, false),
            (1, false),
            (127, false),
            (128, true),
            (255, true),
        ] {
            bytes[0] = kind;
            let (icmp, _) = Header::ref_from_prefix(&bytes).unwrap();
            assert_eq!(icmp.is_info(), info, "{kind}");
        }
    }

    #[test]
    fn truncated() {
        assert!(Header::ref_from_prefix(&TOO_BIG[..7]).is_err());
    }
}
