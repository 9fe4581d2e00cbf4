// SPDX-License-Identifier: GPL-2.0

//! Internet checksums (RFC 1071) and their incremental update (RFC 1624).
//!
//! One's complement sums do not depend on byte order: words are added as the CPU loads them, and
//! the bytes of the result need no conversion. They do not depend on the order of the addends, and
//! they are 0 only if all addends are 0. So each result has the same bytes as that of the kernel's
//! `csum_partial()` and `csum_fold()`.
//!
//! C version: `ip_vs_check_diff*()` [include/net/ip_vs.h], [include/net/checksum.h].

use crate::addr::{Addr, Family};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

/// A one's complement sum that is not folded yet (C: `__wsum`).
///
/// # Invariants
///
/// It has fewer than 2^32 addends of 32 bits, since no packet is longer than that. So it cannot
/// wrap.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sum(u64);

impl Sum {
    /// The empty sum.
    pub(crate) const ZERO: Self = Self(0);

    /// Adds a word as it was loaded, without conversion of the byte order.
    #[inline]
    const fn add(self, word: u32) -> Self {
        Self(self.0.wrapping_add(word as u64))
    }

    /// Adds two bytes at an even offset in the data.
    #[inline]
    pub(crate) const fn add_u16(self, bytes: [u8; 2]) -> Self {
        self.add(u16::from_ne_bytes(bytes) as u32)
    }

    /// Adds four bytes at an even offset in the data.
    #[inline]
    pub(crate) const fn add_u32(self, bytes: [u8; 4]) -> Self {
        self.add(u32::from_ne_bytes(bytes))
    }

    /// Adds an address.
    #[inline]
    pub(crate) fn add_addr(self, family: Family, addr: &Addr) -> Self {
        match family {
            Family::Inet => self.add(addr.be32()),
            Family::Inet6 => addr.words().into_iter().fold(self, Self::add),
        }
    }

    /// Adds bytes at an even offset in the data (C: `csum_partial()`). A last odd byte is padded
    /// with a 0, so nothing may be added after it.
    pub(crate) fn add_bytes(self, bytes: &[u8]) -> Self {
        let mut sum = self;
        let mut rest = bytes;
        while let Some((word, tail)) = rest.split_first_chunk::<4>() {
            sum = sum.add_u32(*word);
            rest = tail;
        }
        match *rest {
            [a, b, c] => sum.add_u32([a, b, c, 0]),
            [a, b] => sum.add_u16([a, b]),
            [a] => sum.add_u16([a, 0]),
            _ => sum,
        }
    }

    /// Adds the pseudo-header of TCP, UDP and ICMPv6: RFC 9293, section 3.1, and RFC 8200, section
    /// 8.1 (C: `csum_tcpudp_nofold()`, `csum_ipv6_magic()`).
    ///
    /// `len` is the length of the transport header and its payload, in bytes.
    #[inline]
    pub(crate) fn add_pseudo(
        self,
        family: Family,
        saddr: &Addr,
        daddr: &Addr,
        protocol: u8,
        len: u32,
    ) -> Self {
        self.add_addr(family, saddr)
            .add_addr(family, daddr)
            .add_u32(len.to_be_bytes())
            .add_u16([0, protocol])
    }

    /// The sum folded to 16 bits with end-around carry, not complemented.
    #[inline]
    const fn fold(self) -> u16 {
        // When a number is added to itself with its halves exchanged, the upper half becomes the
        // sum of both halves, with the carry of the lower one.
        let sum = (self.0.wrapping_add(self.0.rotate_left(32)) >> 32) as u32;
        (sum.wrapping_add(sum.rotate_left(16)) >> 16) as u16
    }

    /// The checksum of the data (C: `csum_fold()`).
    #[inline]
    pub(crate) const fn checksum(self) -> Csum16 {
        Csum16((!self.fold()).to_ne_bytes())
    }

    /// The sum itself, as a checksum field holds it with `CHECKSUM_PARTIAL`.
    #[inline]
    pub(crate) const fn partial(self) -> Csum16 {
        Csum16(self.fold().to_ne_bytes())
    }

    /// Adds the sum of data that end in a checksum which the device completes: the complement of
    /// the field's current value (C: `lco_csum()`).
    #[inline]
    pub(crate) const fn add_completed(self, field: Csum16) -> Self {
        let [a, b] = field.0;
        self.add_u16([!a, !b])
    }

    /// Whether the data, which include their checksum, are intact.
    #[inline]
    pub(crate) const fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }
}

/// The effect of replaced fields on the checksums that cover them. It may be applied to several
/// checksums.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delta(Sum);

impl Delta {
    /// Nothing is replaced.
    pub(crate) const NONE: Self = Self(Sum::ZERO);

    /// Adds the replacement of two bytes at an even offset (C: `ip_vs_check_diff2()`).
    #[inline]
    pub(crate) const fn replace_u16(self, old: [u8; 2], new: [u8; 2]) -> Self {
        let [a, b] = old;
        Self(self.0.add_u16([!a, !b]).add_u16(new))
    }

    /// Adds the replacement of four bytes at an even offset (C: `ip_vs_check_diff4()`).
    #[inline]
    pub(crate) const fn replace_u32(self, old: [u8; 4], new: [u8; 4]) -> Self {
        Self(
            self.0
                .add(!u32::from_ne_bytes(old))
                .add(u32::from_ne_bytes(new)),
        )
    }

    /// Adds the replacement of an address (C: `ip_vs_check_diff4()`, `ip_vs_check_diff16()`).
    #[inline]
    pub(crate) fn replace_addr(self, family: Family, old: &Addr, new: &Addr) -> Self {
        match family {
            Family::Inet => self.replace_u32(old.v4(), new.v4()),
            Family::Inet6 => {
                let sum = old.words().into_iter().fold(self.0, |sum, w| sum.add(!w));
                Self(new.words().into_iter().fold(sum, Sum::add))
            }
        }
    }
}

/// A checksum field, in network byte order (C: `__sum16`).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub(crate) struct Csum16([u8; 2]);

impl Csum16 {
    /// The field while its checksum is computed; in UDP over IPv4, no checksum.
    pub(crate) const ZERO: Self = Self([0; 2]);

    /// The value that UDP sends for a checksum of 0 (C: `CSUM_MANGLED_0`).
    pub(crate) const MANGLED_0: Self = Self([0xff; 2]);

    /// The field with these bytes, in network byte order.
    #[inline]
    pub(crate) const fn from_bytes(bytes: [u8; 2]) -> Self {
        Self(bytes)
    }

    /// Whether the field is 0.
    #[inline]
    pub(crate) const fn is_zero(self) -> bool {
        u16::from_ne_bytes(self.0) == 0
    }

    /// The bytes of the field, in network byte order.
    #[inline]
    pub(crate) const fn bytes(self) -> [u8; 2] {
        self.0
    }

    /// The field after `delta`, if it holds a complete checksum (C: `tcp_fast_csum_update()`; RFC
    /// 1624, equation 3).
    #[inline]
    pub(crate) const fn update(self, delta: Delta) -> Self {
        // The complement of the widened field, as in C: then the sum is never 0.
        delta.0.add(!(u16::from_ne_bytes(self.0) as u32)).checksum()
    }

    /// The field after `delta`, with `CHECKSUM_PARTIAL`: it holds the sum of only the
    /// pseudo-header, not complemented, and the device adds the rest
    /// (C: `tcp_partial_csum_update()`).
    ///
    /// The pseudo-header has no ports, so `delta` must not have any. It may have the length.
    #[inline]
    pub(crate) const fn update_partial(self, delta: Delta) -> Self {
        Self(delta.0.add_u16(self.0).fold().to_ne_bytes())
    }

    /// The field as UDP sends it, where 0 means that there is no checksum.
    #[inline]
    pub(crate) const fn mangled(self) -> Self {
        if self.is_zero() {
            Self::MANGLED_0
        } else {
            self
        }
    }

    /// The checksum of an IPv4 header after its TTL is decremented (C: `ip_decrease_ttl()`).
    #[inline]
    pub(crate) const fn after_ttl_decrease(self) -> Self {
        // The TTL is the high byte of its word: the sum decreases by 0x100, its complement
        // increases.
        let check = (u16::from_be_bytes(self.0) as u32).wrapping_add(0x100);
        let carry = (check >= 0xffff) as u32;
        Self((check.wrapping_add(carry) as u16).to_be_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::Port;

    /// RFC 1071 taken literally: 16-bit words in network byte order, each carry added at once.
    fn rfc1071(bytes: &[u8]) -> u16 {
        let mut sum = 0u16;
        for pair in bytes.chunks(2) {
            let word = u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]);
            let (wrapped, carry) = sum.overflowing_add(word);
            sum = wrapped + u16::from(carry);
        }
        !sum
    }

    fn of(bytes: &[u8]) -> u16 {
        u16::from_be_bytes(Sum::ZERO.add_bytes(bytes).checksum().bytes())
    }

    /// A generator of pseudo-random bytes, the same in each run.
    struct Bytes(u64);

    impl Iterator for Bytes {
        type Item = u8;

        fn next(&mut self) -> Option<u8> {
            self.0 = self
                .0
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            Some((self.0 >> 56) as u8)
        }
    }

    #[test]
    fn known_checksums() {
        // The example of RFC 1071, section 3, and an IPv4 header.
        let cases: [(&[u8], u16); 6] = [
            (&[], 0xffff),
            (&[0, 0], 0xffff),
            (&[0xff, 0xff], 0x0000),
            (&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7], !0xddf2),
            (&[0x01], 0xfeff),
            (
                &[
                    0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0x00, 0x00, 0xc0,
                    0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7,
                ],
                0xb861,
            ),
        ];
        for (bytes, checksum) in cases {
            assert_eq!(of(bytes), checksum, "{bytes:x?}");
        }
    }

    #[test]
    fn any_length_as_rfc1071() {
        let bytes: Vec<u8> = Bytes(1).take(300).collect();
        for len in 0..bytes.len() {
            assert_eq!(of(&bytes[..len]), rfc1071(&bytes[..len]), "{len} bytes");
        }
        assert_eq!(of(&[0xff; 65535]), rfc1071(&[0xff; 65535]));
    }

    #[test]
    fn a_packet_with_its_checksum_is_valid() {
        let mut bytes: Vec<u8> = Bytes(2).take(60).collect();
        bytes[16..18].fill(0);
        let check = Sum::ZERO.add_bytes(&bytes).checksum().bytes();
        bytes[16..18].copy_from_slice(&check);
        assert!(Sum::ZERO.add_bytes(&bytes).is_valid());
        bytes[3] ^= 0x10;
        assert!(!Sum::ZERO.add_bytes(&bytes).is_valid());
    }

    #[test]
    fn pseudo_headers() {
        let v4 = |last| Addr::from_v4([10, 0, 0, last]);
        let sum = Sum::ZERO.add_pseudo(Family::Inet, &v4(1), &v4(2), 6, 40);
        assert_eq!(
            u16::from_be_bytes(sum.checksum().bytes()),
            rfc1071(&[10, 0, 0, 1, 10, 0, 0, 2, 0, 6, 0, 40])
        );
        let v6: Vec<u8> = Bytes(3).take(32).collect();
        let [saddr, daddr] =
            [&v6[..16], &v6[16..]].map(|b| Addr::from_prefix(Family::Inet6, b).unwrap());
        let sum = Sum::ZERO.add_pseudo(Family::Inet6, &saddr, &daddr, 17, 0x12345);
        let flat = [&v6[..], &[0, 1, 0x23, 0x45, 0, 0, 0, 17]].concat();
        assert_eq!(u16::from_be_bytes(sum.checksum().bytes()), rfc1071(&flat));
    }

    /// Replaces an address and a port in random bytes: the updated checksum must be that of the
    /// changed bytes. The first word is not replaced, so that the sum is never 0.
    #[test]
    fn update_is_the_checksum_of_what_was_changed() {
        let mut random = Bytes(4);
        for family in [Family::Inet, Family::Inet6] {
            let len = family.addr_len();
            for _ in 0..2000 {
                let old: Vec<u8> = random.by_ref().take(len + 8).collect();
                let mut new = old.clone();
                new[4..6 + len]
                    .iter_mut()
                    .for_each(|b| *b = random.next().unwrap());
                let addr = |bytes: &[u8]| Addr::from_prefix(family, &bytes[6..6 + len]).unwrap();
                let port = |bytes: &[u8]| [bytes[4], bytes[5]];
                let delta = Delta::NONE
                    .replace_addr(family, &addr(&old), &addr(&new))
                    .replace_u16(port(&old), port(&new));
                let check = Sum::ZERO.add_bytes(&old).checksum();
                let want = Sum::ZERO.add_bytes(&new).checksum();
                assert_eq!(check.update(delta), want, "{old:x?} -> {new:x?}");
                // The field with `CHECKSUM_PARTIAL` is not complemented.
                let [partial, want] = [check, want].map(|Csum16([a, b])| Csum16([!a, !b]));
                assert_eq!(partial.update_partial(delta), want);
            }
        }
    }

    #[test]
    fn update_of_nothing_keeps_the_field() {
        let port = Port::new(80).bytes();
        for check in 0..=u16::MAX {
            let check = Csum16(check.to_be_bytes());
            // A field of 0xffff means that all data are 0, or is wrong. C returns 0.
            let want = match check {
                Csum16::MANGLED_0 => Csum16::ZERO,
                _ => check,
            };
            assert_eq!(check.update(Delta::NONE), want);
            assert_eq!(check.update(Delta::NONE.replace_u16(port, port)), want);
        }
    }

    #[test]
    fn sums_for_the_device() {
        let mut random = Bytes(5);
        for inner in (0..40).step_by(2) {
            // An outer header and its checksum, then data with a checksum that the device
            // completes.
            let mut data: Vec<u8> = random.by_ref().take(60).collect();
            let field = inner + 16;
            let addrs: Vec<u8> = random.by_ref().take(12).collect();
            let pseudo = Sum::ZERO.add_bytes(&addrs);
            let partial = pseudo.partial();
            let Csum16([a, b]) = pseudo.checksum();
            assert_eq!(partial.bytes(), [!a, !b]);
            data[field..field + 2].copy_from_slice(&partial.bytes());
            let before = Sum::ZERO.add_bytes(&data[..inner]).add_completed(partial);
            let check = Sum::ZERO.add_bytes(&data[inner..]).checksum();
            data[field..field + 2].copy_from_slice(&check.bytes());
            assert_eq!(before.checksum(), Sum::ZERO.add_bytes(&data).checksum());
        }
    }

    #[test]
    fn udp_never_sends_0() {
        assert_eq!(Csum16::ZERO.mangled(), Csum16::MANGLED_0);
        for check in 1..=u16::MAX {
            let check = Csum16(check.to_be_bytes());
            assert_eq!(check.mangled(), check);
        }
    }

    #[test]
    fn lower_ttl() {
        let header = |ttl| {
            let mut bytes = [
                0x45, 0, 0, 84, 1, 2, 0x40, 0, ttl, 1, 0, 0, 10, 0, 0, 1, 10, 0, 0, 9,
            ];
            let check = Sum::ZERO.add_bytes(&bytes).checksum();
            bytes[10..12].copy_from_slice(&check.bytes());
            (bytes, check)
        };
        for ttl in 1..=u8::MAX {
            assert_eq!(header(ttl).1.after_ttl_decrease(), header(ttl - 1).1);
        }
        // The edge cases of the carry.
        let cases = [
            (0xfeff, 0),
            (0xfefe, 0xfffe),
            (0xff00, 1),
            (0xffff, 0x100),
            (0, 0x100),
        ];
        for (old, new) in cases {
            let old = Csum16(u16::to_be_bytes(old));
            assert_eq!(old.after_ttl_decrease(), Csum16(u16::to_be_bytes(new)));
        }
    }
}
