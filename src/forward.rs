// SPDX-License-Identifier: GPL-2.0

//! The forwarding methods of dests and conns.
//!
//! C version: `IP_VS_CONN_F_FWD_MASK` [include/uapi/linux/ip_vs.h].

use crate::uapi::*;

/// How packets are sent to a dest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forward {
    /// NAT: requests get the dest's address and port, replies get the service's.
    Masq,
    /// Local delivery: packets go to the local stack.
    Local,
    /// Tunnelling: packets get an outer header.
    Tunnel,
    /// Direct routing: packets are sent to the dest unchanged.
    DirectRoute,
    /// Packets go to their own destination address (C: `ip_vs_bypass_xmit()`).
    Bypass,
    /// Any other number. It has no transmitter: packets are accepted, as in C.
    Unknown,
}

impl Forward {
    /// The forwarding method in the flags of a conn or dest.
    #[inline(always)]
    pub(crate) const fn of(flags: u32) -> Self {
        match flags & IP_VS_CONN_F_FWD_MASK {
            IP_VS_CONN_F_MASQ => Self::Masq,
            IP_VS_CONN_F_LOCALNODE => Self::Local,
            IP_VS_CONN_F_TUNNEL => Self::Tunnel,
            IP_VS_CONN_F_DROUTE => Self::DirectRoute,
            IP_VS_CONN_F_BYPASS => Self::Bypass,
            _ => Self::Unknown,
        }
    }

    /// The name in /proc/net/ip_vs (C: `ip_vs_fwd_name()`).
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Local => "Local",
            Self::Tunnel => "Tunnel",
            Self::DirectRoute => "Route",
            Self::Masq | Self::Bypass | Self::Unknown => "Masq",
        }
    }
}

/// The number of the forwarding method in the flags of a conn or dest, as in the uapi.
#[inline(always)]
pub(crate) const fn number(flags: u32) -> u32 {
    flags & IP_VS_CONN_F_FWD_MASK
}

/// The forwarding method of patched tools for FULLNAT. C has no transmitter for it.
const FULLNAT: u32 = 5;

/// Internal flag of a dest, not uapi: all its conns are FULLNAT. The forwarding method is NAT.
const IS_FULLNAT: u32 = 1 << 26;

/// The flags of a dest for those that user space has set: FULLNAT becomes NAT with a flag.
pub(crate) const fn to_internal(flags: u32) -> u32 {
    match number(flags) {
        FULLNAT => flags & !IP_VS_CONN_F_FWD_MASK | IP_VS_CONN_F_MASQ | IS_FULLNAT,
        _ => flags,
    }
}

/// The flags of a dest in user space, which are the same as in C.
pub(crate) const fn to_user(flags: u32) -> u32 {
    match is_fullnat(flags) {
        true => flags & !IS_FULLNAT | FULLNAT | IP_VS_CONN_F_NOOUTPUT,
        false => flags,
    }
}

/// Whether user space has set the forwarding method FULLNAT of a dest with these flags.
pub(crate) const fn is_fullnat(flags: u32) -> bool {
    flags & IS_FULLNAT != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fullnat_is_nat_inside() {
        for other in (0..8).filter(|number| *number != FULLNAT) {
            let flags = other | IP_VS_CONN_F_INACTIVE;
            assert_eq!((to_internal(flags), to_user(flags)), (flags, flags));
            assert!(!is_fullnat(flags));
        }
        let flags = to_internal(FULLNAT | IP_VS_CONN_F_INACTIVE);
        assert_eq!(Forward::of(flags), Forward::Masq);
        assert!(is_fullnat(flags));
        let seen = FULLNAT | IP_VS_CONN_F_INACTIVE | IP_VS_CONN_F_NOOUTPUT;
        assert_eq!(to_user(flags), seen);
        assert_eq!(to_internal(to_user(flags)) & !IP_VS_CONN_F_NOOUTPUT, flags);
    }

    #[test]
    fn methods_of_flags() {
        let cases = [
            (0, Forward::Masq, "Masq"),
            (1, Forward::Local, "Local"),
            (2, Forward::Tunnel, "Tunnel"),
            (3, Forward::DirectRoute, "Route"),
            (4, Forward::Bypass, "Masq"),
            (5, Forward::Unknown, "Masq"),
            (7, Forward::Unknown, "Masq"),
        ];
        for (low, forward, name) in cases {
            for high in [0, IP_VS_CONN_F_INACTIVE, IP_VS_CONN_F_TEMPLATE, 1 << 31] {
                assert_eq!(Forward::of(low | high), forward);
                assert_eq!(number(low | high), low);
            }
            assert_eq!(forward.name(), name);
        }
    }
}
