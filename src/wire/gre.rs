// SPDX-License-Identifier: GPL-2.0

//! GRE header (RFC 2784), with or without checksum.
//!
//! C version: `struct gre_base_hdr`, `gre_build_header()` [include/net/gre.h].

use super::csum::Csum16;
use crate::addr::Family;
use zerocopy::{
    byteorder::network_endian::U16,
    IntoBytes, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

/// `GRE_CSUM`: a checksum and two reserved bytes follow the header.
const CSUM: u16 = 0x8000;

/// `ETH_P_IP`
const ETH_P_IP: u16 = 0x0800;
/// `ETH_P_IPV6`
const ETH_P_IPV6: u16 = 0x86dd;

/// The offset of the checksum in bytes.
pub(crate) const CHECK: u16 = size_of::<Header>() as u16;

/// A GRE header without checksum.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    /// Flags and version.
    flags: U16,
    protocol: U16,
}

impl Header {
    /// The length of the header in bytes, with the checksum if it has one. `None` if it has another
    /// option or its version is not 0.
    #[inline]
    pub(crate) fn len(&self) -> Option<usize> {
        match self.flags.get() {
            0 => Some(Headers::<false>::LEN),
            CSUM => Some(Headers::<true>::LEN),
            _ => None,
        }
    }

    /// Whether the payload is an IPv4 packet.
    #[inline]
    pub(crate) fn is_ipv4(&self) -> bool {
        self.protocol.get() == ETH_P_IP
    }
}

/// A GRE header and, if it has one, its checksum.
#[derive(Clone, Copy, Debug, IntoBytes, Immutable, Unaligned)]
#[repr(C)]
pub(crate) struct Headers<const HAS_CHECKSUM: bool> {
    gre: Header,
    check: Csum16,
    reserved: U16,
}

impl<const HAS_CHECKSUM: bool> Headers<HAS_CHECKSUM> {
    /// The length in bytes.
    pub(crate) const LEN: usize = match HAS_CHECKSUM {
        false => size_of::<Header>(),
        true => size_of::<Self>(),
    };

    /// The header of a packet of `family`. The checksum is 0.
    #[inline]
    pub(crate) fn new(family: Family) -> Self {
        Self {
            gre: Header {
                flags: U16::new(if HAS_CHECKSUM { CSUM } else { 0 }),
                protocol: U16::new(match family {
                    Family::Inet => ETH_P_IP,
                    Family::Inet6 => ETH_P_IPV6,
                }),
            },
            check: Csum16::ZERO,
            reserved: U16::new(0),
        }
    }
}

impl<const HAS_CHECKSUM: bool> AsRef<[u8]> for Headers<HAS_CHECKSUM> {
    #[inline]
    fn as_ref(&self) -> &[u8] {
        let bytes = self.as_bytes();
        bytes.get(..Self::LEN).unwrap_or(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromBytes;

    #[test]
    fn construct() {
        let cases: [(_, _, &[u8]); 4] = [
            (Family::Inet, false, &[0, 0, 0x08, 0x00]),
            (Family::Inet6, false, &[0, 0, 0x86, 0xdd]),
            (Family::Inet, true, &[0x80, 0, 0x08, 0x00, 0, 0, 0, 0]),
            (Family::Inet6, true, &[0x80, 0, 0x86, 0xdd, 0, 0, 0, 0]),
        ];
        for (family, has_checksum, wanted) in cases {
            match has_checksum {
                false => assert_eq!(Headers::<false>::new(family).as_ref(), wanted),
                true => assert_eq!(Headers::<true>::new(family).as_ref(), wanted),
            }
            let (gre, _) = Header::ref_from_prefix(wanted).unwrap();
            assert_eq!(gre.len(), Some(wanted.len()));
            assert_eq!(gre.is_ipv4(), family == Family::Inet);
        }
    }

    #[test]
    fn other_flags_and_versions() {
        for bit in 0..15 {
            for csum in [0, CSUM] {
                let [a, b] = (csum | 1 << bit).to_be_bytes();
                let (gre, _) = Header::read_from_prefix(&[a, b, 0x08, 0x00]).unwrap();
                assert_eq!(gre.len(), None, "{bit}");
            }
        }
    }

    #[test]
    fn other_payloads() {
        for protocol in [0u16, 0x0806, 0x6558, 0x86dd, 0x0008, 0xffff] {
            let [a, b] = protocol.to_be_bytes();
            let (gre, _) = Header::read_from_prefix(&[0, 0, a, b]).unwrap();
            assert!(!gre.is_ipv4());
        }
    }

    #[test]
    fn truncated() {
        for len in 0..4 {
            assert!(Header::ref_from_prefix(&[0u8; 4][..len]).is_err());
        }
    }
}
