// SPDX-License-Identifier: GPL-2.0

//! IPv4 header (RFC 791).
//!
//! C version: `struct iphdr` [include/uapi/linux/ip.h].

use super::csum::{
    Csum16,
    Sum, //
};
use crate::addr::Addr;
use zerocopy::{
    byteorder::network_endian::U16,
    FromBytes, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

/// The length of a header without options, in bytes.
pub(crate) const MIN_LEN: usize = 20;

/// `IP_DF`: the packet must not be fragmented.
const DF: u16 = 0x4000;
/// `IP_MF`: more fragments follow.
const MF: u16 = 0x2000;
/// `IP_OFFSET`: the offset of the fragment, in units of eight bytes.
const OFFSET: u16 = 0x1fff;

/// An IPv4 header without its options.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Header {
    version_ihl: u8,
    pub(crate) tos: u8,
    /// The length of the packet in bytes, not checked.
    pub(crate) total_len: U16,
    pub(crate) id: U16,
    frag_off: U16,
    pub(crate) ttl: u8,
    pub(crate) protocol: u8,
    pub(crate) check: Csum16,
    saddr: [u8; 4],
    daddr: [u8; 4],
}

impl Header {
    /// A header without options. Length, identification and checksum are 0.
    #[inline]
    pub(crate) fn new(
        tos: u8,
        dont_fragment: bool,
        ttl: u8,
        protocol: u8,
        saddr: &Addr,
        daddr: &Addr,
    ) -> Self {
        Self {
            version_ihl: 0x45,
            tos,
            total_len: U16::new(0),
            id: U16::new(0),
            frag_off: U16::new(if dont_fragment { DF } else { 0 }),
            ttl,
            protocol,
            check: Csum16::ZERO,
            saddr: saddr.v4(),
            daddr: daddr.v4(),
        }
    }

    /// The IP version; 4 in a valid header.
    #[inline]
    pub(crate) const fn version(&self) -> u8 {
        self.version_ihl >> 4
    }

    /// The length of the header with options in bytes, 0 to 60 (C: `ihl`, in 32-bit words). Not
    /// checked: less than 20 is malformed.
    #[inline]
    pub(crate) const fn len(&self) -> usize {
        ((self.version_ihl & 0xf) as usize) << 2
    }

    #[inline]
    pub(crate) const fn saddr(&self) -> Addr {
        Addr::from_v4(self.saddr)
    }

    #[inline]
    pub(crate) const fn daddr(&self) -> Addr {
        Addr::from_v4(self.daddr)
    }

    /// Sets the source address. Does not update the checksum.
    #[inline]
    pub(crate) fn set_saddr(&mut self, addr: &Addr) {
        self.saddr = addr.v4();
    }

    /// Sets the destination address. Does not update the checksum.
    #[inline]
    pub(crate) fn set_daddr(&mut self, addr: &Addr) {
        self.daddr = addr.v4();
    }

    /// The offset of the fragment in its datagram, in bytes; 0 in the first fragment, and in a
    /// packet that is not fragmented.
    #[inline]
    pub(crate) fn fragment_offset(&self) -> usize {
        usize::from(self.frag_off.get() & OFFSET) << 3
    }

    /// Whether more fragments follow.
    #[inline]
    pub(crate) fn has_more_fragments(&self) -> bool {
        self.frag_off.get() & MF != 0
    }

    /// Whether the packet is a fragment, first or later (C: `ip_is_fragment()`).
    #[inline]
    pub(crate) fn is_fragment(&self) -> bool {
        self.frag_off.get() & (MF | OFFSET) != 0
    }

    /// Whether the packet must not be fragmented (C: `IP_DF`).
    #[inline]
    pub(crate) fn is_dont_fragment(&self) -> bool {
        self.frag_off.get() & DF != 0
    }

    /// Decrements the TTL and updates the checksum (C: `ip_decrease_ttl()`).
    ///
    /// A TTL of 0 becomes 255. The caller must not forward such a packet.
    #[inline]
    pub(crate) fn decrease_ttl(&mut self) {
        self.check = self.check.after_ttl_decrease();
        self.ttl = self.ttl.wrapping_sub(1);
    }
}

/// Sets the checksum of a header with its options (C: `ip_send_check()`). Returns `None` if the
/// header is too short.
#[inline]
pub(crate) fn set_checksum(header: &mut [u8]) -> Option<()> {
    let (fields, options) = Header::mut_from_prefix(header).ok()?;
    fields.check = Csum16::ZERO;
    // The number of words is constant, so that no loop remains without options.
    let words: [[u8; 4]; MIN_LEN / 4] = zerocopy::transmute!(*fields);
    let sum = words.into_iter().fold(Sum::ZERO, Sum::add_u32);
    fields.check = sum.add_bytes(options).checksum();
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::{FromBytes, IntoBytes};

    // The first fragment of a UDP datagram, with the router alert option.
    const PACKET: [u8; 28] = [
        0x46, 0x10, 0x00, 0x1c, 0x1c, 0x46, 0x20, 0x00, 0x40, 0x11, 0xf2, 0x6f, 0xac, 0x10, 0x0a,
        0x63, 0xac, 0x10, 0x0a, 0x0c, 0x94, 0x04, 0x00, 0x00, 0x01, 0x02, 0x03, 0x04,
    ];

    fn parse(bytes: &[u8]) -> Header {
        *Header::ref_from_prefix(bytes).unwrap().0
    }

    #[test]
    fn deconstruct() {
        let ip = parse(&PACKET);
        assert_eq!(ip.version(), 4);
        assert_eq!(ip.len(), 24);
        assert_eq!(ip.tos, 0x10);
        assert_eq!(ip.total_len.get(), 28);
        assert_eq!(ip.id.get(), 0x1c46);
        assert_eq!(ip.ttl, 64);
        assert_eq!(ip.protocol, 17);
        assert_eq!(ip.saddr(), Addr::from_v4([172, 16, 10, 99]));
        assert_eq!(ip.daddr(), Addr::from_v4([172, 16, 10, 12]));
        assert_eq!(ip.as_bytes(), &PACKET[..20]);
    }

    #[test]
    fn fragments() {
        // The field, more fragments, offset in bytes, DF, is a fragment.
        let cases = [
            (0x0000, false, 0, false, false),
            (0x4000, false, 0, true, false),
            (0x2000, true, 0, false, true),
            (0x20b9, true, 1480, false, true),
            (0x0172, false, 2960, false, true),
            (0x9fff, false, 65528, false, true),
        ];
        let mut bytes = PACKET;
        for (frag_off, more, offset, df, fragment) in cases {
            bytes[6..8].copy_from_slice(&u16::to_be_bytes(frag_off));
            let ip = parse(&bytes);
            assert_eq!(ip.has_more_fragments(), more, "{frag_off:x}");
            assert_eq!(ip.fragment_offset(), offset, "{frag_off:x}");
            assert_eq!(ip.is_dont_fragment(), df, "{frag_off:x}");
            assert_eq!(ip.is_fragment(), fragment, "{frag_off:x}");
        }
    }

    #[test]
    fn any_ihl_is_in_range() {
        let mut bytes = PACKET;
        for byte in 0..=u8::MAX {
            bytes[0] = byte;
            assert_eq!(parse(&bytes).len(), usize::from(byte % 16) * 4);
            assert_eq!(parse(&bytes).version(), byte / 16);
        }
    }

    #[test]
    fn checksums() {
        let mut bytes = PACKET;
        set_checksum(&mut bytes[..24]).unwrap();
        assert!(Sum::ZERO.add_bytes(&bytes[..24]).is_valid());

        let (ip, _) = Header::mut_from_prefix(&mut bytes).unwrap();
        ip.decrease_ttl();
        assert_eq!((ip.ttl, ip.protocol), (63, 17));
        let check = ip.check;
        set_checksum(&mut bytes[..24]).unwrap();
        assert_eq!(parse(&bytes).check, check);
        for len in 0..MIN_LEN {
            assert_eq!(set_checksum(&mut bytes[..len]), None);
        }
    }

    #[test]
    fn new_addresses() {
        let mut ip = parse(&PACKET);
        ip.set_saddr(&Addr::from_v4([1, 2, 3, 4]));
        ip.set_daddr(&Addr::from_v4([5, 6, 7, 8]));
        assert_eq!(ip.as_bytes()[12..], [1, 2, 3, 4, 5, 6, 7, 8]);
    }

    #[test]
    fn truncated() {
        assert!(Header::ref_from_prefix(&PACKET[..19]).is_err());
    }
}
