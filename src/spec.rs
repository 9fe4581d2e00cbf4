// SPDX-License-Identifier: GPL-2.0

//! Names and specifications of services and dests, as decoded from requests, and the checks that
//! need no other data.
//!
//! The checks run in C's order, since the order determines the errno of a request with several
//! errors.
//!
//! C version: `struct ip_vs_service_user_kern`, `struct ip_vs_dest_user_kern`
//! [include/net/ip_vs.h].

use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    forward::{
        self,
        Forward, //
    },
    uapi::*, //
};

/// The port of FTP control connections (C: `FTPPORT` [include/net/ip_vs.h]).
pub(crate) const FTPPORT: Port = Port::new(21);
/// The server port of active FTP data connections (C: `FTPDATA` [include/net/ip_vs.h]).
pub(crate) const FTPDATA: Port = Port::new(20);

/// The reason for which a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `EINVAL`
    Invalid,
    /// `ERANGE`
    OutOfRange,
}

/// The name of a service. Address and port of a fwmark service are not significant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ServiceId {
    pub(crate) family: Family,
    pub(crate) protocol: u16,
    pub(crate) addr: Addr,
    pub(crate) port: Port,
    /// 0 if the service is named by address, port and protocol.
    pub(crate) fwmark: u32,
}

impl ServiceId {
    /// Whether both are names of the same service.
    pub(crate) fn names(&self, other: &Self) -> bool {
        self.family == other.family
            && self.fwmark == other.fwmark
            && (self.fwmark != 0 || self.has_address_of(other))
    }

    /// Whether removed dests of the service named `self` may be reused for the service named
    /// `other`.
    ///
    /// As in C, the families are not compared. Unlike in C, all 16 bytes of the addresses are
    /// compared, even for IPv4 services: otherwise [`words`](Self::words) could not distinguish
    /// IPv6 services.
    pub(crate) fn may_return_to(&self, other: &Self) -> bool {
        self.fwmark == other.fwmark
            && self.protocol == other.protocol
            && (other.fwmark != 0 || self.has_address_of(other))
    }

    /// Key under which the trash files a service's dests: equal iff
    /// [`may_return_to`](Self::may_return_to) holds.
    pub(crate) fn words(&self) -> [u64; 3] {
        let protocol = u32::from(self.protocol) << 16;
        match self.fwmark {
            0 => words_of(&self.addr, protocol | u32::from(self.port.be16())),
            fwmark => [0, 0, u64::from(fwmark) << 32 | u64::from(protocol)],
        }
    }

    fn has_address_of(&self, other: &Self) -> bool {
        self.protocol == other.protocol && self.addr == other.addr && self.port == other.port
    }
}

/// The specification of a service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ServiceSpec<'a> {
    pub(crate) sched_name: &'a [u8],
    /// The name of the persistence engine; empty for none.
    pub(crate) pe_name: &'a [u8],
    pub(crate) flags: FlagsEdit,
    /// The timeout of templates, in seconds.
    pub(crate) timeout: u32,
    /// The netmask that groups clients for persistence: a C `__be32` for IPv4, a prefix length for
    /// IPv6.
    pub(crate) netmask: u32,
}

impl ServiceSpec<'_> {
    /// Checks the netmask of a service of `family`.
    ///
    /// # Errors
    ///
    /// [`Refusal::Invalid`] if an IPv6 prefix length is not from 1 to 128.
    pub(crate) fn check_netmask(&self, family: Family) -> Result<(), Refusal> {
        match family {
            Family::Inet6 if !(1..=128).contains(&self.netmask) => Err(Refusal::Invalid),
            _ => Ok(()),
        }
    }
}

/// A change of flags (C: `struct ip_vs_flags`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct FlagsEdit {
    /// The new values of the flags in `mask`.
    pub(crate) flags: u32,
    /// The flags that change.
    pub(crate) mask: u32,
}

impl FlagsEdit {
    /// Returns the new flags of a service in the table whose flags were `old`.
    pub(crate) fn apply(self, old: u32) -> u32 {
        (old & !self.mask) | (self.flags & self.mask) | IP_VS_SVC_F_HASHED
    }
}

/// The name of a dest in a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DestId {
    pub(crate) family: Family,
    pub(crate) addr: Addr,
    pub(crate) port: Port,
}

impl DestId {
    /// Key of the dest: equal iff the names are equal.
    pub(crate) fn words(&self) -> [u64; 3] {
        let rest = u32::from(self.family.af()) << 16 | u32::from(self.port.be16());
        words_of(&self.addr, rest)
    }
}

fn words_of(addr: &Addr, rest: u32) -> [u64; 3] {
    let [a, b, c, d] = addr.words().map(u64::from);
    [a << 32 | b, c << 32 | d, rest.into()]
}

/// The tunnel to a dest. Only significant if the forwarding method is tunneling.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tunnel {
    /// `IP_VS_CONN_F_TUNNEL_TYPE_*`.
    pub(crate) kind: u8,
    /// The destination port of a GUE tunnel.
    pub(crate) port: Port,
    /// `IP_VS_TUNNEL_ENCAP_FLAG_*`.
    pub(crate) flags: u16,
}

impl Tunnel {
    /// Encodes the tunnel as a word.
    pub(crate) fn to_word(self) -> u64 {
        u64::from(self.kind) | u64::from(self.port.be16()) << 16 | u64::from(self.flags) << 32
    }

    /// Decodes a word of [`Self::to_word`].
    pub(crate) fn from_word(word: u64) -> Self {
        Self {
            kind: word as u8,
            port: Port::from_be16((word >> 16) as u16),
            flags: (word >> 32) as u16,
        }
    }
}

/// The specification of a dest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DestSpec {
    /// `IP_VS_CONN_F_*`: the forwarding method and other flags of the conns.
    pub(crate) conn_flags: u32,
    pub(crate) weight: i32,
    pub(crate) u_threshold: u32,
    pub(crate) l_threshold: u32,
    pub(crate) tunnel: Tunnel,
}

impl DestSpec {
    /// Checks whether a service of the other family may have a dest like this.
    ///
    /// # Errors
    ///
    /// [`Refusal::Invalid`] if the forwarding method is not tunneling.
    pub(crate) fn check_mixed_family(&self) -> Result<(), Refusal> {
        match Forward::of(self.conn_flags) {
            Forward::Tunnel => Ok(()),
            _ => Err(Refusal::Invalid),
        }
    }

    /// The first fault of weight, thresholds and tunnel, with C's message about it: `None` if C
    /// prints none. [`Refusal::OutOfRange`] if the weight is negative, or the lower threshold is
    /// above the upper one; [`Refusal::Invalid`] if the upper threshold is above `i32::MAX`, or a
    /// GUE tunnel has no port.
    pub(crate) fn fault(&self) -> Option<(Refusal, Option<&'static str>)> {
        let is_gue = self.tunnel.kind == IP_VS_CONN_F_TUNNEL_TYPE_GUE;
        let (refusal, message) = if self.weight < 0 {
            (Refusal::OutOfRange, Some("server weight less than zero"))
        } else if self.l_threshold > self.u_threshold {
            let message = "lower threshold is higher than upper threshold";
            (Refusal::OutOfRange, Some(message))
        } else if self.u_threshold > i32::MAX as u32 {
            (Refusal::Invalid, None)
        } else if is_gue && self.tunnel.port.is_zero() {
            (Refusal::Invalid, Some("tunnel port is zero"))
        } else {
            return None;
        };
        Some((refusal, message))
    }

    /// Returns the flags that new conns inherit from the dest.
    pub(crate) fn flags_of_conns(&self) -> u32 {
        let flags = forward::to_internal(self.conn_flags & IP_VS_CONN_F_DEST_MASK);
        let flags = flags | IP_VS_CONN_F_INACTIVE;
        match Forward::of(flags) {
            Forward::Masq => flags,
            _ => flags | IP_VS_CONN_F_NOOUTPUT,
        }
    }

    /// The effective lower threshold: 75 % of the upper one if `l_threshold` is 0.
    pub(crate) fn l_threshold_val(&self) -> u32 {
        match self.l_threshold {
            0 => self.u_threshold.wrapping_sub(self.u_threshold >> 2),
            given => given,
        }
    }
}

/// Timeouts in seconds. In a request, 0 keeps the current value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeouts {
    pub(crate) tcp: u32,
    pub(crate) tcp_fin: u32,
    pub(crate) udp: u32,
}

impl Timeouts {
    /// Checks that the timeouts can be converted to jiffies, of which there are `hz` per second.
    ///
    /// # Errors
    ///
    /// [`Refusal::Invalid`] if a timeout is above `i32::MAX / hz`.
    pub(crate) fn check(&self, hz: u32) -> Result<(), Refusal> {
        let max = (i32::MAX as u32).checked_div(hz).unwrap_or(0);
        match [self.tcp, self.tcp_fin, self.udp]
            .iter()
            .all(|timeout| *timeout <= max)
        {
            true => Ok(()),
            false => Err(Refusal::Invalid),
        }
    }
}

#[cfg(test)]
mod tests;
