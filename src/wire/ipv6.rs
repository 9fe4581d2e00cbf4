// SPDX-License-Identifier: GPL-2.0

//! IPv6 header, extension headers and fragment header (RFC 8200).
//!
//! C version: `struct ipv6hdr` [include/uapi/linux/ipv6.h], `struct frag_hdr` [include/net/ipv6.h].

use crate::addr::Addr;
use zerocopy::byteorder::network_endian::{
    U16,
    U32, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

/// The length of the fixed header in bytes.
pub(crate) const LEN: usize = 40;

/// `NEXTHDR_HOP`: hop-by-hop options.
pub(crate) const HOP: u8 = 0;
/// `NEXTHDR_ROUTING`: a routing header.
pub(crate) const ROUTING: u8 = 43;
/// `NEXTHDR_FRAGMENT`: a [`Fragment`].
pub(crate) const FRAGMENT: u8 = 44;
/// `NEXTHDR_AUTH`: an authentication header, whose length is in units of four bytes.
pub(crate) const AUTH: u8 = 51;
/// `NEXTHDR_NONE`: no next header.
pub(crate) const NONE: u8 = 59;
/// `NEXTHDR_DEST`: destination options.
pub(crate) const DEST: u8 = 60;

/// The fixed IPv6 header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    version_class_label: U32,
    /// The length in bytes of the data after this header, not checked; 0 in a jumbogram.
    pub(crate) payload_len: U16,
    /// The type of the next header: an extension header or a protocol (C: `nexthdr`).
    pub(crate) next: u8,
    pub(crate) hop_limit: u8,
    pub(crate) saddr: Addr,
    pub(crate) daddr: Addr,
}

impl Header {
    /// A header without flow label.
    #[inline]
    pub(crate) fn new(
        traffic_class: u8,
        payload_len: u16,
        next: u8,
        hop_limit: u8,
        saddr: &Addr,
        daddr: &Addr,
    ) -> Self {
        Self {
            version_class_label: U32::new(6 << 28 | u32::from(traffic_class) << 20),
            payload_len: U16::new(payload_len),
            next,
            hop_limit,
            saddr: *saddr,
            daddr: *daddr,
        }
    }

    /// The IP version; 6 in a valid header.
    #[inline]
    pub(crate) fn version(&self) -> u8 {
        (self.version_class_label.get() >> 28) as u8
    }

    /// The traffic class (C: `ipv6_get_dsfield()`).
    #[inline]
    pub(crate) fn traffic_class(&self) -> u8 {
        (self.version_class_label.get() >> 20) as u8
    }

    /// The flow label, 20 bits.
    #[inline]
    pub(crate) fn flow_label(&self) -> u32 {
        self.version_class_label.get() & 0xf_ffff
    }
}

/// The start of an extension header (C: `struct ipv6_opt_hdr`).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Extension {
    /// The type of the next header: another extension header or a protocol.
    pub(crate) next: u8,
    hdrlen: u8,
}

impl Extension {
    /// The length of the extension header in bytes, if its type is `header`: [`HOP`], [`ROUTING`]
    /// and so on.
    #[inline]
    pub(crate) const fn len(&self, header: u8) -> usize {
        let hdrlen = self.hdrlen as usize;
        match header {
            FRAGMENT => size_of::<Fragment>(),
            AUTH => hdrlen.wrapping_add(2) << 2,
            _ => hdrlen.wrapping_add(1) << 3,
        }
    }
}

/// A fragment header.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Fragment {
    /// The type of the next header in the first fragment.
    pub(crate) next: u8,
    reserved: u8,
    frag_off: U16,
    pub(crate) identification: U32,
}

impl Fragment {
    /// The offset of the fragment in its datagram, in bytes.
    #[inline]
    pub(crate) fn offset(&self) -> usize {
        usize::from(self.frag_off.get() & !0x7)
    }

    /// Whether more fragments follow (C: `IP6_MF`).
    #[inline]
    pub(crate) fn has_more(&self) -> bool {
        self.frag_off.get() & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::{FromBytes, IntoBytes};

    // The first fragment of a UDP datagram, from 2001:db8::1 to 2001:db8::2.
    const PACKET: [u8; 48] = [
        0x6a, 0xb1, 0x23, 0x45, 0x00, 0x08, 0x2c, 0x40, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 1, 0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x11, 0x00,
        0x05, 0xa9, 0xde, 0xad, 0xbe, 0xef,
    ];

    #[test]
    fn deconstruct() {
        let (ip, rest) = Header::ref_from_prefix(&PACKET).unwrap();
        assert_eq!(ip.version(), 6);
        assert_eq!(ip.traffic_class(), 0xab);
        assert_eq!(ip.flow_label(), 0x12345);
        assert_eq!(ip.payload_len.get(), 8);
        assert_eq!(ip.next, FRAGMENT);
        assert_eq!(ip.hop_limit, 64);
        assert_eq!(ip.saddr.bytes(), &PACKET[8..24]);
        assert_eq!(ip.daddr.bytes(), &PACKET[24..40]);
        assert_eq!(ip.as_bytes(), &PACKET[..LEN]);

        let (fragment, rest) = Fragment::ref_from_prefix(rest).unwrap();
        assert_eq!(fragment.next, 17);
        assert_eq!(fragment.offset(), 1448);
        assert!(fragment.has_more());
        assert_eq!(fragment.identification.get(), 0xdeadbeef);
        assert!(rest.is_empty());
    }

    #[test]
    fn lengths_of_extensions() {
        let cases = [
            (HOP, 0, 8),
            (ROUTING, 2, 24),
            (DEST, 255, 2048),
            (FRAGMENT, 0, 8),
            (FRAGMENT, 255, 8),
            (AUTH, 4, 24),
            (AUTH, 255, 1028),
        ];
        for (header, hdrlen, len) in cases {
            let extension = Extension { next: 6, hdrlen };
            assert_eq!(extension.len(header), len, "{header} {hdrlen}");
            assert_eq!(extension.next, 6);
        }
    }

    #[test]
    fn truncated() {
        assert!(Header::ref_from_prefix(&PACKET[..39]).is_err());
        assert!(Fragment::ref_from_prefix(&PACKET[41..]).is_err());
        assert!(Extension::ref_from_prefix(&[0]).is_err());
    }
}
