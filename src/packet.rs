// SPDX-License-Identifier: GPL-2.0

//! A packet, parsed once for all that look at it.
//!
//! C version: `struct ip_vs_iphdr`, `ip_vs_fill_iph_skb()` [include/net/ip_vs.h].

use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    oot::net::skbuff::Skb,
    proto::Proto,
    wire::{
        ipv4,
        ipv6,
        tcp,
        udp, //
    }, //
};

/// What the headers of a packet say. Offsets count from the start of the packet's data.
///
/// Of the packet inside an ICMP error, source and destination are swapped: it is described as if
/// it went the way of the error.
pub(crate) struct Packet {
    pub(crate) family: Family,
    /// As in the IP header: `IPPROTO_*`.
    pub(crate) protocol: u8,
    /// Where the IP header starts.
    pub(crate) start: u32,
    /// Where the transport header starts.
    pub(crate) transport: u32,
    pub(crate) saddr: Addr,
    pub(crate) daddr: Addr,
    /// Not the first fragment of a packet: there is no transport header.
    pub(crate) is_later_fragment: bool,
    /// A fragment, first or later.
    pub(crate) is_fragment: bool,
    pub(crate) in_icmp: bool,
    /// Whether IPv4 says not to fragment it.
    pub(crate) is_dont_fragment: bool,
}

/// The part of the transport header that conns are found by.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) source: Port,
    pub(crate) dest: Port,
    /// The flags of a whole TCP header.
    pub(crate) flags: Option<tcp::Flags>,
    /// Whether the transport header is there to its end.
    pub(crate) is_whole: bool,
}

impl Packet {
    /// Reads the IP header at `start`; `None` if there is none, or no transport behind it.
    #[inline(always)]
    pub(crate) fn parse(skb: &Skb, family: Family, start: u32) -> Option<Self> {
        match family {
            Family::Inet => Self::parse4(skb, start),
            Family::Inet6 => Self::parse6(skb, start),
        }
    }

    #[inline(always)]
    fn parse4(skb: &Skb, start: u32) -> Option<Self> {
        let header: ipv4::Header = skb.read(start)?;
        Some(Self {
            family: Family::Inet,
            protocol: header.protocol,
            start,
            transport: start.wrapping_add(header.len() as u32),
            saddr: header.saddr(),
            daddr: header.daddr(),
            is_later_fragment: header.fragment_offset() != 0,
            is_fragment: header.is_fragment(),
            in_icmp: false,
            is_dont_fragment: header.is_dont_fragment(),
        })
    }

    #[inline(always)]
    fn parse6(skb: &Skb, start: u32) -> Option<Self> {
        let header: ipv6::Header = skb.read(start)?;
        let mut packet = Self {
            family: Family::Inet6,
            protocol: header.next,
            start,
            transport: start.wrapping_add(ipv6::LEN as u32),
            saddr: header.saddr,
            daddr: header.daddr,
            is_later_fragment: false,
            is_fragment: false,
            in_icmp: false,
            is_dont_fragment: false,
        };
        // Most packets have no extension header.
        if Proto::of(header.next).is_none() {
            let found = skb.ipv6_find_header(start)?;
            packet.protocol = found.protocol;
            packet.transport = found.offset;
            packet.is_later_fragment = found.fragment_offset != 0;
            packet.is_fragment = found.is_fragment;
        }
        Some(packet)
    }

    /// Reads the ports, which stand first in the header of every protocol that has some.
    #[inline(always)]
    pub(crate) fn ports(&self, skb: &Skb, proto: Proto) -> Option<Ports> {
        let ports = match proto {
            Proto::Tcp => skb.read(self.transport).map(|header: tcp::Header| Ports {
                source: header.source,
                dest: header.dest,
                flags: Some(header.flags),
                is_whole: true,
            }),
            Proto::Udp => skb.read(self.transport).map(|header: udp::Header| Ports {
                source: header.source,
                dest: header.dest,
                flags: None,
                is_whole: true,
            }),
        };
        ports.or_else(|| self.leading_ports(skb))
    }

    /// The ports of a header of which there is no more, or that means nothing to us.
    #[cold]
    pub(crate) fn leading_ports(&self, skb: &Skb) -> Option<Ports> {
        let [a, b, c, d]: [u8; 4] = skb.read(self.transport)?;
        Some(Ports {
            source: Port::from_be16(u16::from_ne_bytes([a, b])),
            dest: Port::from_be16(u16::from_ne_bytes([c, d])),
            flags: None,
            is_whole: false,
        })
    }

    /// As if it went the other way.
    pub(crate) fn swapped(self) -> Self {
        Self {
            saddr: self.daddr,
            daddr: self.saddr,
            ..self
        }
    }

    /// As the packet inside an ICMP error.
    pub(crate) fn inside_icmp(self) -> Self {
        Self {
            in_icmp: true,
            ..self
        }
    }
}

impl Ports {
    /// As if the packet went the other way.
    pub(crate) fn swapped(self) -> Self {
        Self {
            source: self.dest,
            dest: self.source,
            ..self
        }
    }
}
