// SPDX-License-Identifier: GPL-2.0

//! The headers of a packet, parsed once for all steps.
//!
//! C version: `struct ip_vs_iphdr`, `ip_vs_fill_iph_skb()` [include/net/ip_vs.h].

use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    oot::net::{
        nf_proto::NfProto,
        skbuff::Skb, //
    },
    proto::{
        sctp::states::Event,
        Proto,
        Signal, //
    },
    uapi::{
        IPPROTO_AH,
        IPPROTO_ESP,
        IPPROTO_UDP, //
    },
    wire::{
        ipv4,
        ipv6,
        sctp,
        tcp,
        udp, //
    }, //
};

/// The UDP port of ISAKMP (C: `PORT_ISAKMP`).
const ISAKMP: Port = Port::new(500);

/// The parsed headers of a packet. Offsets are in bytes from the start of the skb's data.
///
/// For a packet quoted in an ICMP error, source and destination are [`swapped`](Self::swapped), as
/// if it went in the direction of the error. [`outer`](Self::outer) describes the error itself.
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    pub(crate) family: Family,
    /// The transport protocol, `IPPROTO_*`.
    pub(crate) protocol: u8,
    /// The transport protocol, if it is supported and there is a transport header.
    pub(crate) proto: Option<Proto>,
    /// The offset of the IP header.
    pub(crate) start: u32,
    /// The offset of the transport header.
    pub(crate) transport: u32,
    pub(crate) saddr: Addr,
    pub(crate) daddr: Addr,
    /// The source port; 0 if the packet has no ports.
    pub(crate) sport: Port,
    /// The destination port; 0 if the packet has no ports.
    pub(crate) dport: Port,
    /// How much of the transport header is present.
    pub(crate) header: Extent,
    /// The input to the state machine of the protocol.
    pub(crate) signal: Signal,
    /// Whether the packet is a fragment other than the first, and so has no transport header.
    pub(crate) is_later_fragment: bool,
    /// Whether the packet is a fragment, first or later.
    pub(crate) is_fragment: bool,
    /// Whether the IPv4 header has the DF bit (C: `IP_DF`).
    pub(crate) is_dont_fragment: bool,
    /// The ICMP error that quotes the packet, if any.
    pub(crate) outer: Option<Outer>,
    /// The hash of the packet in the table of conns; `None` before the first lookup.
    pub(crate) hash: Option<u32>,
}

/// How much of a transport header could be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// No ports, or the ports were not read.
    Nothing,
    /// The ports, but not the whole header.
    Ports,
    /// The whole header, except options.
    Whole,
}

/// An ICMP error that quotes another packet. The error starts at offset 0.
#[derive(Clone, Copy)]
pub(crate) struct Outer {
    /// The offset of the ICMP header.
    pub(crate) transport: u32,
    pub(crate) saddr: Addr,
    pub(crate) daddr: Addr,
    pub(crate) is_dont_fragment: bool,
}

impl Packet {
    /// A packet whose headers have not been parsed yet.
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
            hash: None,
        }
    }

    /// Parses the headers from the start of the skb's data, where the IP layer has checked the IP
    /// header. Writes in place, since a `Packet` is too large to be returned by value.
    ///
    /// Returns false if the IP header or the chain of IPv6 extension headers is incomplete.
    #[must_use]
    pub(crate) fn parse(&mut self, skb: &Skb) -> bool {
        if !self.parse_common(skb) {
            return false;
        }
        self.read_rare(skb);
        true
    }

    /// As [`parse`](Self::parse), but recognises no transport protocols except TCP and UDP. For the
    /// others, [`read_rare`](Self::read_rare) does the rest.
    #[inline(always)]
    #[must_use]
    pub(crate) fn parse_common(&mut self, skb: &Skb) -> bool {
        self.parse_from::<false>(skb, 0).is_some()
    }

    /// Parses the headers of a quoted or tunnelled packet, from offset `start` on. Returns `None`
    /// also if the IP version or the length of the IPv4 header is invalid.
    pub(crate) fn parse_inside(skb: &Skb, family: Family, start: u32) -> Option<Self> {
        let mut packet = Self::new(family);
        packet.parse_from::<true>(skb, start)?;
        packet.read_rare(skb);
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
        self.proto = Proto::common(header.protocol);
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
        self.proto = Proto::common(header.next);
        self.transport = start.wrapping_add(ipv6::LEN as u32);
        self.saddr = header.saddr;
        self.daddr = header.daddr;
        // Most packets have no extension header.
        if self.proto.is_none() {
            let found = skb.ipv6_find_header(start)?;
            self.protocol = found.protocol;
            // The offset of a later fragment is that of the IP header.
            self.transport = self.transport.max(found.offset);
            self.is_later_fragment = found.fragment_offset != 0;
            if !self.is_later_fragment {
                self.proto = Proto::common(found.protocol);
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
            Proto::Sctp => None,
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

    /// Reads the transport header of a protocol other than TCP and UDP, if it is supported.
    #[cold]
    pub(crate) fn read_rare(&mut self, skb: &Skb) {
        // A later IPv6 fragment has no transport header, and is not reassembled.
        let has_none = self.is_later_fragment && self.family == Family::Inet6;
        if self.proto.is_some() || has_none {
            return;
        }
        self.proto = Proto::rare(self.protocol);
        if self.proto.is_some() && self.read_sctp(skb).is_none() {
            self.read_ports(skb);
        }
    }

    /// Reads the common header of SCTP, and the first chunks. `None` if the header is incomplete.
    fn read_sctp(&mut self, skb: &Skb) -> Option<()> {
        let header: sctp::Header = skb.read(self.transport)?;
        self.sport = header.source;
        self.dport = header.dest;
        self.header = Extent::Whole;
        let chunks = self
            .transport
            .wrapping_add(size_of::<sctp::Header>() as u32);
        let event = Event::of_chunks(|offset| skb.read(chunks.wrapping_add(offset)));
        if let Some(event) = event {
            self.signal = Signal::Chunks(event);
        }
        Some(())
    }

    /// Reads the ports of a truncated header.
    #[cold]
    fn read_ports(&mut self, skb: &Skb) {
        if let Some([a, b, c, d]) = skb.read::<[u8; 4]>(self.transport) {
            self.sport = Port::from_be16(u16::from_ne_bytes([a, b]));
            self.dport = Port::from_be16(u16::from_ne_bytes([c, d]));
            self.header = Extent::Ports;
        }
    }

    /// Whether it is an AH or ESP packet, which has no ports.
    pub(crate) fn is_ipsec(&self) -> bool {
        matches!(self.protocol, IPPROTO_AH | IPPROTO_ESP)
    }

    /// An ISAKMP packet between the same addresses.
    pub(crate) fn as_isakmp(&self) -> Self {
        Self {
            protocol: IPPROTO_UDP,
            sport: ISAKMP,
            dport: ISAKMP,
            hash: None,
            ..*self
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

    /// The same packet, as quoted in the ICMP error `outer`.
    pub(crate) fn inside(self, outer: &Self) -> Self {
        Self {
            outer: Some(Outer {
                transport: outer.transport,
                saddr: outer.saddr,
                daddr: outer.daddr,
                is_dont_fragment: outer.is_dont_fragment,
            }),
            ..self
        }
    }

    /// Whether the packet is quoted in an ICMP error.
    #[inline(always)]
    pub(crate) fn is_in_icmp(&self) -> bool {
        self.outer.is_some()
    }

    /// The source address of the outermost IP header: the error's, if the packet is quoted in one.
    #[inline(always)]
    pub(crate) fn sender(&self) -> &Addr {
        match &self.outer {
            Some(outer) => &outer.saddr,
            None => &self.saddr,
        }
    }

    /// The destination address of the outermost IP header.
    pub(crate) fn receiver(&self) -> &Addr {
        match &self.outer {
            Some(outer) => &outer.daddr,
            None => &self.daddr,
        }
    }

    /// Whether the outermost IPv4 header has the DF bit.
    #[inline(always)]
    pub(crate) fn must_not_be_fragmented(&self) -> bool {
        match &self.outer {
            Some(outer) => outer.is_dont_fragment,
            None => self.is_dont_fragment,
        }
    }

    /// The length in bytes of the outermost IP header, with options and extension headers.
    #[inline(always)]
    pub(crate) fn network_len(&self) -> u32 {
        match &self.outer {
            Some(outer) => outer.transport,
            None => self.transport,
        }
    }
}

/// The netfilter protocol of an address family.
#[inline(always)]
pub(crate) const fn nf_proto(family: Family) -> NfProto {
    match family {
        Family::Inet => NfProto::Ipv4,
        Family::Inet6 => NfProto::Ipv6,
    }
}
