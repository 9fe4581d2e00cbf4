// SPDX-License-Identifier: GPL-2.0

//! IPv4 and IPv6 addresses, and ports.
//!
//! Both are stored in network byte order and have an alignment of one byte. They are used in wire
//! headers as well as in conns, services and dests.
//!
//! C version: `union nf_inet_addr` [include/uapi/linux/netfilter.h], `ip_vs_addr_*()`
//! [include/net/ip_vs.h].

use core::fmt;
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Family {
    /// IPv4, `AF_INET`.
    Inet = 2,
    /// IPv6, `AF_INET6`.
    Inet6 = 10,
}

impl Family {
    /// Returns the family with the number `af` (`AF_*`); `None` if the family is not IP.
    #[inline]
    pub(crate) const fn from_af(af: u16) -> Option<Self> {
        match af {
            2 => Some(Self::Inet),
            10 => Some(Self::Inet6),
            _ => None,
        }
    }

    /// The number of the family (`AF_*`).
    #[inline]
    pub(crate) const fn af(self) -> u16 {
        self as u16
    }

    /// The length of an address of the family, in bytes.
    #[inline]
    pub(crate) const fn addr_len(self) -> usize {
        match self {
            Self::Inet => 4,
            Self::Inet6 => 16,
        }
    }
}

/// An IPv4 or IPv6 address, in network byte order.
///
/// The family is not stored, as in C's `union nf_inet_addr`. By the invariant, two addresses of one
/// family are equal iff all their bytes are equal.
///
/// # Invariants
///
/// The bytes of an IPv4 address after the fourth are 0. (Constructors with a family clear them;
/// 16 bytes without a family are taken as IPv6.)
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub(crate) struct Addr([u8; 16]);

impl Addr {
    /// `0.0.0.0` or `::`.
    pub(crate) const ANY: Self = Self([0; 16]);

    /// The IPv4 address `a.b.c.d` for `[a, b, c, d]`.
    #[inline]
    pub(crate) const fn from_v4(v4: [u8; 4]) -> Self {
        // Widened as a number, so that the compiler does not move single bytes.
        Self((u32::from_le_bytes(v4) as u128).to_le_bytes())
    }

    /// The IPv4 address in a C `__be32`, as in `struct in_addr`.
    #[inline]
    pub(crate) const fn from_be32(be32: u32) -> Self {
        Self::from_v4(be32.to_ne_bytes())
    }

    /// The IPv6 address with these bytes.
    #[inline]
    pub(crate) const fn from_v6(v6: [u8; 16]) -> Self {
        Self(v6)
    }

    /// Returns the address of `family` at the start of `bytes`, the value of a netlink attribute.
    ///
    /// Missing bytes are read as 0. Bytes after the fourth of an IPv4 address are ignored. Returns
    /// `None` if `bytes` is longer than a `union nf_inet_addr`, 16 bytes.
    pub(crate) fn from_prefix(family: Family, bytes: &[u8]) -> Option<Self> {
        let mut addr = [0; 16];
        addr.get_mut(..bytes.len())?;
        for (to, from) in addr.iter_mut().zip(bytes).take(family.addr_len()) {
            *to = *from;
        }
        Some(Self(addr))
    }

    /// All 16 bytes: the IPv6 address, or the IPv4 address and 12 zeros.
    #[inline]
    pub(crate) const fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The IPv4 address.
    #[inline]
    pub(crate) const fn v4(&self) -> [u8; 4] {
        // Narrowed as a number, so that the compiler does not move single bytes.
        (u128::from_le_bytes(self.0) as u32).to_le_bytes()
    }

    /// The IPv4 address as a C `__be32`.
    #[inline]
    pub(crate) const fn be32(&self) -> u32 {
        u32::from_ne_bytes(self.v4())
    }

    /// The four 32-bit words as in C's `ip6[4]`, in network byte order.
    #[inline]
    pub(crate) const fn words(&self) -> [u32; 4] {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = self.0;
        [
            u32::from_ne_bytes([a, b, c, d]),
            u32::from_ne_bytes([e, f, g, h]),
            u32::from_ne_bytes([i, j, k, l]),
            u32::from_ne_bytes([m, n, o, p]),
        ]
    }

    /// The address folded to a number, in host byte order: the IPv4 address, or the exclusive or of
    /// the four words of the IPv6 address (C: `addr_fold`, after `ntohl()`).
    #[inline]
    pub(crate) const fn fold(&self, family: Family) -> u32 {
        let [a, b, c, d] = self.words();
        match family {
            Family::Inet => u32::from_be(a),
            Family::Inet6 => u32::from_be(a ^ b ^ c ^ d),
        }
    }

    /// Whether this is `0.0.0.0` or `::`.
    #[inline]
    pub(crate) fn is_any(&self) -> bool {
        *self == Self::ANY
    }

    /// The IPv4 address masked by `netmask`, a C `__be32`.
    #[inline]
    pub(crate) const fn masked_v4(&self, netmask: u32) -> Self {
        Self::from_be32(self.be32() & netmask)
    }

    /// The first `prefix` bits of the IPv6 address, the rest 0 (C: `ipv6_addr_prefix()`). A
    /// `prefix` above 128 is taken as 128.
    #[inline]
    pub(crate) const fn masked_v6(&self, prefix: u32) -> Self {
        // A `prefix` of 0 shifts by all 128 bits, for which `checked_shl()` returns `None`.
        let mask = match u128::MAX.checked_shl(128u32.saturating_sub(prefix)) {
            Some(mask) => mask,
            None => 0,
        };
        Self((u128::from_be_bytes(self.0) & mask).to_be_bytes())
    }

    /// The address masked by the netmask of a service, which is a `__be32` for IPv4 and a prefix
    /// length for IPv6 (C: `svc->netmask`).
    #[inline]
    pub(crate) const fn masked(&self, family: Family, netmask: u32) -> Self {
        match family {
            Family::Inet => self.masked_v4(netmask),
            Family::Inet6 => self.masked_v6(netmask),
        }
    }
}

impl fmt::Debug for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for group in self.bytes().chunks(2) {
            f.write_str(separator)?;
            for byte in group {
                write!(f, "{byte:02x}")?;
            }
            separator = ":";
        }
        Ok(())
    }
}

/// A TCP, UDP or SCTP port, in network byte order.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub(crate) struct Port([u8; 2]);

impl Port {
    /// Port 0. In a service it matches any port, in the client of a template it is a placeholder.
    pub(crate) const ZERO: Self = Self([0; 2]);

    /// The port with the number `port`, in host byte order.
    #[inline]
    pub(crate) const fn new(port: u16) -> Self {
        Self(port.to_be_bytes())
    }

    /// The port in a C `__be16`.
    #[inline]
    pub(crate) const fn from_be16(be16: u16) -> Self {
        Self(be16.to_ne_bytes())
    }

    /// The port as a C `__be16`.
    #[inline]
    pub(crate) const fn be16(self) -> u16 {
        u16::from_ne_bytes(self.0)
    }

    /// The number of the port, in host byte order (C: `ntohs()`).
    #[inline]
    pub(crate) const fn host(self) -> u16 {
        u16::from_be_bytes(self.0)
    }

    /// The two bytes of the port, in network byte order.
    #[inline]
    pub(crate) const fn bytes(self) -> [u8; 2] {
        self.0
    }

    /// Whether this is port 0.
    #[inline]
    pub(crate) const fn is_zero(self) -> bool {
        self.be16() == 0
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V6: Addr = Addr::from_v6([
        0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xab, 0xcd, 0xef, 0x01,
    ]);

    #[test]
    fn family_numbers_are_those_of_af_inet() {
        for family in [Family::Inet, Family::Inet6] {
            assert_eq!(Family::from_af(family.af()), Some(family));
        }
        assert_eq!(Family::Inet.af(), 2);
        assert_eq!(Family::Inet6.af(), 10);
        for af in [0, 1, 3, 9, 11, u16::MAX] {
            assert_eq!(Family::from_af(af), None);
        }
    }

    #[test]
    fn v4_round_trips() {
        let addr = Addr::from_v4([192, 0, 2, 1]);
        assert_eq!(addr.v4(), [192, 0, 2, 1]);
        assert_eq!(addr.be32(), u32::from_be_bytes([192, 0, 2, 1]).to_be());
        assert_eq!(Addr::from_be32(addr.be32()), addr);
        assert_eq!(addr.words(), [addr.be32(), 0, 0, 0]);
        assert_eq!(addr.bytes().get(4..), Some(&[0; 12][..]));
    }

    #[test]
    fn prefix_of_bytes() {
        let v4 = Addr::from_v4([10, 0, 0, 1]);
        let cases: [(Family, &[u8], Option<Addr>); 7] = [
            (Family::Inet, &[10, 0, 0, 1], Some(v4)),
            (Family::Inet, &[10, 0, 0, 1, 9, 9], Some(v4)),
            (Family::Inet, &[10], Some(Addr::from_v4([10, 0, 0, 0]))),
            (Family::Inet, &[], Some(Addr::ANY)),
            (Family::Inet, &[1; 17], None),
            (Family::Inet6, &V6.0, Some(V6)),
            (Family::Inet6, &[0; 17], None),
        ];
        for (family, bytes, addr) in cases {
            assert_eq!(Addr::from_prefix(family, bytes), addr, "{bytes:?}");
        }
        let short = Addr::from_prefix(Family::Inet6, &[0xfe, 0x80]).unwrap();
        assert_eq!(
            short.bytes().iter().map(|b| u32::from(*b)).sum::<u32>(),
            0xfe + 0x80
        );
    }

    #[test]
    fn equality_takes_every_byte() {
        for i in 0..16 {
            let mut other = V6;
            other.0[i] ^= 1;
            assert_ne!(other, V6);
        }
        assert!(Addr::ANY.is_any());
        assert!(!V6.is_any());
    }

    #[test]
    fn v4_masks() {
        let addr = Addr::from_v4([192, 168, 77, 201]);
        let cases = [
            ([255, 255, 255, 255], [192, 168, 77, 201]),
            ([255, 255, 255, 0], [192, 168, 77, 0]),
            ([255, 255, 240, 0], [192, 168, 64, 0]),
            ([0, 0, 0, 0], [0, 0, 0, 0]),
        ];
        for (mask, masked) in cases {
            let mask = u32::from_ne_bytes(mask);
            assert_eq!(addr.masked(Family::Inet, mask), Addr::from_v4(masked));
        }
    }

    /// `ipv6_addr_prefix()` byte by byte.
    fn prefix_by_bytes(addr: &Addr, prefix: usize) -> Addr {
        let mut bytes = [0; 16];
        bytes[..prefix / 8].copy_from_slice(&addr.0[..prefix / 8]);
        if prefix % 8 != 0 {
            bytes[prefix / 8] = addr.0[prefix / 8] & (0xff00u16 >> (prefix % 8)) as u8;
        }
        Addr(bytes)
    }

    #[test]
    fn v6_masks() {
        for addr in [V6, Addr([0xff; 16]), Addr::ANY] {
            for prefix in 0..=128u32 {
                let want = prefix_by_bytes(&addr, prefix as usize);
                assert_eq!(addr.masked(Family::Inet6, prefix), want, "/{prefix}");
            }
            assert_eq!(addr.masked_v6(129), addr);
            assert_eq!(addr.masked_v6(u32::MAX), addr);
        }
    }

    #[test]
    fn folds() {
        let v4 = Addr::from_v4([192, 0, 2, 1]);
        assert_eq!(v4.fold(Family::Inet), 0xc000_0201);
        assert_eq!(v4.fold(Family::Inet6), 0xc000_0201);
        assert_eq!(V6.fold(Family::Inet), 0x2001_0db8);
        assert_eq!(
            V6.fold(Family::Inet6),
            0x2001_0db8 ^ 0xffff_ffff ^ 0xabcd_ef01
        );
    }

    #[test]
    fn ports() {
        let port = Port::new(8080);
        assert_eq!(port.host(), 8080);
        assert_eq!(port.bytes(), [0x1f, 0x90]);
        assert_eq!(port.be16(), 8080u16.to_be());
        assert_eq!(Port::from_be16(8080u16.to_be()), port);
        assert_eq!(format!("{port:?} {:04X}", port.host()), "8080 1F90");
        assert!(Port::ZERO.is_zero());
        assert!(!port.is_zero());
    }
}
