// SPDX-License-Identifier: GPL-2.0

//! The protocols of the IP layer, with netfilter's names.
//!
//! C header: [`include/uapi/linux/netfilter.h`](srctree/include/uapi/linux/netfilter.h)

use crate::oot::bindings;

/// An IP layer protocol (`NFPROTO_*`).
///
/// There is no variant for `NFPROTO_INET`, which stands for both protocols.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum NfProto {
    /// `NFPROTO_IPV4`
    Ipv4,
    /// `NFPROTO_IPV6`
    Ipv6,
}

impl NfProto {
    /// The `NFPROTO_*` number, which equals the address family (`AF_INET`, `AF_INET6`).
    #[inline(always)]
    pub(super) const fn as_raw(self) -> u8 {
        match self {
            Self::Ipv4 => bindings::NFPROTO_IPV4 as u8,
            Self::Ipv6 => bindings::NFPROTO_IPV6 as u8,
        }
    }

    /// The protocol with an `NFPROTO_*` number.
    pub(super) const fn from_raw(number: u8) -> Option<Self> {
        match number as u32 {
            bindings::NFPROTO_IPV4 => Some(Self::Ipv4),
            bindings::NFPROTO_IPV6 => Some(Self::Ipv6),
            _ => None,
        }
    }
}
