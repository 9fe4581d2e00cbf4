// SPDX-License-Identifier: GPL-2.0

//! A packet as its headers describe it, parsed once for all steps.
//!
//! C version: `struct ip_vs_iphdr`, `ip_vs_fill_iph_skb()` [include/net/ip_vs.h].

use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    oot::net::skbuff::Skb,
    proto::{
        Proto,
        Signal, //
    },
    wire::{
        ipv4,
        ipv6,
        tcp,
        udp, //
    }, //
};

/// What the headers of a packet say. Offsets count in bytes from the start of the packet's data.
///
/// The packet inside an ICMP error is described as if it went the way of the error, see
/// [`swapped`](Self::swapped). The error itself is its [`outer`](Self::outer) packet.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    pub(crate) family: Family,
    /// The transport protocol, `IPPROTO_*`.
    pub(crate) protocol: u8,
    /// The same, if it is one whose packets are balanced, and there is a transport header.
    pub(crate) proto: Option<Proto>,
    /// Where the IP header starts.
    pub(crate) start: u32,
    /// Where the transport header starts.
    pub(crate) transport: u32,
    pub(crate) saddr: Addr,
    pub(crate) daddr: Addr,
    /// The ports; 0 if the packet has none.
    pub(crate) sport: Port,
    pub(crate) dport: Port,
    /// How much there is of the transport header.
    pub(crate) header: Extent,
    /// Its input to the state machine of its protocol.
    pub(crate) signal: Signal,
    /// Whether it is a fragment, but not the first: there is no transport header.
    pub(crate) is_later_fragment: bool,
    /// Whether it is a fragment, first or later.
    pub(crate) is_fragment: bool,
    /// Whether its IPv4 header forbids fragmentation.
    pub(crate) is_dont_fragment: bool,
    /// The ICMP error that contains it, if one does.
    pub(crate) outer: Option<Outer>,
}

/// How much of a transport header could be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// No port, or none was looked for.
    Nothing,
    /// The ports, but not all of the header.
    Ports,
    /// All but the options.
    Whole,
}

/// An ICMP error that contains another packet, which starts at offset 0.
#[derive(Clone, Copy)]
pub(crate) struct Outer {
    /// Where the ICMP header starts.
    pub(crate) transport: u32,
    pub(crate) saddr: Addr,
    pub(crate) is_dont_fragment: bool,
}

impl Packet {
    /// A packet of which nothing was read yet.
    #[inline(always)]
    pub(crate) fn new(family: Family) -> Self {
        Self {
            family,
            protocol: 0,
            proto: None,
            start: 0,
            transport: 0,
            saddr: Addr::ANY,
            daddr: Addr::ANY,
            sport: Port::ZERO,
            dport: Port::ZERO,
            header: Extent::Nothing,
            signal: Signal::Nothing,
            is_later_fragment: false,
            is_fragment: false,
            is_dont_fragment: false,
            outer: None,
        }
    }

    /// Reads the headers from the start of the packet's data, the first of which the IP layer has
    /// checked. Reads in place, as a packet is too large to be passed on by value for each packet.
    ///
    /// False if there is no whole IP header, or no transport header behind it.
    #[inline(always)]
    #[must_use]
    pub(crate) fn parse(&mut self, skb: &Skb) -> bool {
        self.parse_from::<false>(skb, 0).is_some()
    }

    /// Reads the headers of a packet that another one contains, from `start` on. `None` also if its
    /// version or the length of its header are wrong.
    pub(crate) fn parse_inside(skb: &Skb, family: Family, start: u32) -> Option<Self> {
        let mut packet = Self::new(family);
        packet.parse_from::<true>(skb, start)?;
        Some(packet)
    }

    #[inline(always)]
    fn parse_from<const INSIDE: bool>(&mut self, skb: &Skb, start: u32) -> Option<()> {
        self.start = start;
        match self.family {
            Family::Inet => self.parse4::<INSIDE>(skb, start),
            Family::Inet6 => self.parse6::<INSIDE>(skb, start),
        }?;
        if let Some(proto) = self.proto {
            self.read_transport(skb, proto);
        }
        Some(())
    }

    #[inline(always)]
    fn parse4<const INSIDE: bool>(&mut self, skb: &Skb, start: u32) -> Option<()> {
        let header: ipv4::Header = skb.read(start)?;
        if INSIDE && (header.version() != 4 || header.len() < ipv4::MIN_LEN) {
            return None;
        }
        self.protocol = header.protocol;
        self.proto = Proto::of(header.protocol);
        self.transport = start.wrapping_add(header.len() as u32);
        self.saddr = header.saddr();
        self.daddr = header.daddr();
        self.is_later_fragment = header.fragment_offset() != 0;
        self.is_fragment = header.is_fragment();
        self.is_dont_fragment = header.is_dont_fragment();
        Some(())
    }

    #[inline(always)]
    fn parse6<const INSIDE: bool>(&mut self, skb: &Skb, start: u32) -> Option<()> {
        let header: ipv6::Header = skb.read(start)?;
        if INSIDE && header.version() != 6 {
            return None;
        }
        self.protocol = header.next;
        self.proto = Proto::of(header.next);
        self.transport = start.wrapping_add(ipv6::LEN as u32);
        self.saddr = header.saddr;
        self.daddr = header.daddr;
        // Most packets have no extension header.
        if self.proto.is_none() {
            let found = skb.ipv6_find_header(start)?;
            self.protocol = found.protocol;
            self.transport = found.offset;
            self.is_later_fragment = found.fragment_offset != 0;
            if !self.is_later_fragment {
                self.proto = Proto::of(found.protocol);
            }
            self.is_fragment = found.is_fragment;
        }
        Some(())
    }

    #[inline(always)]
    fn read_transport(&mut self, skb: &Skb, proto: Proto) {
        let ports = match proto {
            Proto::Tcp => skb.read(self.transport).map(|header: tcp::Header| {
                self.signal = Signal::Segment(header.flags);
                (header.source, header.dest)
            }),
            Proto::Udp => skb.read(self.transport).map(|header: udp::Header| {
                self.signal = Signal::Datagram;
                (header.source, header.dest)
            }),
        };
        match ports {
            Some((sport, dport)) => {
                self.sport = sport;
                self.dport = dport;
                self.header = Extent::Whole;
            }
            None => self.read_ports(skb),
        }
    }

    /// Reads the ports of a header that ends before its end, or of a protocol that is not balanced.
    #[cold]
    pub(crate) fn read_ports(&mut self, skb: &Skb) {
        if let Some([a, b, c, d]) = skb.read::<[u8; 4]>(self.transport) {
            self.sport = Port::from_be16(u16::from_ne_bytes([a, b]));
            self.dport = Port::from_be16(u16::from_ne_bytes([c, d]));
            self.header = Extent::Ports;
        }
    }

    /// The same packet with source and destination exchanged.
    pub(crate) fn swapped(self) -> Self {
        Self {
            saddr: self.daddr,
            daddr: self.saddr,
            sport: self.dport,
            dport: self.sport,
            ..self
        }
    }

    /// The packet inside `outer`, an ICMP error.
    pub(crate) fn inside(self, outer: &Self) -> Self {
        Self {
            outer: Some(Outer {
                transport: outer.transport,
                saddr: outer.saddr,
                is_dont_fragment: outer.is_dont_fragment,
            }),
            ..self
        }
    }

    /// Whether an ICMP error contains it.
    #[inline(always)]
    pub(crate) fn is_in_icmp(&self) -> bool {
        self.outer.is_some()
    }

    /// The source address of the packet as a whole: of the error, if one contains it.
    #[inline(always)]
    pub(crate) fn sender(&self) -> &Addr {
        match &self.outer {
            Some(outer) => &outer.saddr,
            None => &self.saddr,
        }
    }

    /// Whether the IPv4 header of the packet as a whole forbids fragmentation.
    #[inline(always)]
    pub(crate) fn must_not_be_fragmented(&self) -> bool {
        match &self.outer {
            Some(outer) => outer.is_dont_fragment,
            None => self.is_dont_fragment,
        }
    }

    /// The length of the IP headers of the packet as a whole.
    #[inline(always)]
    pub(crate) fn network_len(&self) -> u32 {
        match &self.outer {
            Some(outer) => outer.transport,
            None => self.transport,
        }
    }
}
