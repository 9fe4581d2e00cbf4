// SPDX-License-Identifier: GPL-2.0

//! Rewriting of a packet's source and destination, and of the checksums that cover them.
//!
//! C version: `tcp_snat_handler()`, `tcp_dnat_handler()` and the UDP and SCTP variants
//! [net/netfilter/ipvs/ip_vs_proto_tcp.c].

use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    conn::{
        Conn,
        End, //
    },
    oot::net::skbuff::{
        IpSummed,
        Skb, //
    },
    packet::{
        Extent,
        Packet, //
    },
    proto::Proto,
    wire::{
        csum::{
            Csum16,
            Delta,
            Sum, //
        },
        ipv4,
        ipv6,
        sctp,
        tcp,
        udp, //
    }, //
};
use zerocopy::FromBytes;

/// The change of one end of a packet, source or destination.
#[derive(Clone, Copy)]
pub(super) struct Change<'a> {
    pub(super) old: End<'a>,
    pub(super) new: End<'a>,
}

impl Change<'_> {
    /// Adds the change of the address to `delta`, and that of the port if `with_ports`.
    #[inline(always)]
    fn add_to(&self, delta: Delta, family: Family, with_ports: bool) -> Delta {
        let delta = delta.replace_addr(family, self.old.0, self.new.0);
        match with_ports {
            true => delta.replace_u16(self.old.1.bytes(), self.new.1.bytes()),
            false => delta,
        }
    }
}

/// The changes of both ends of a packet. An end with `None` does not change.
#[derive(Clone, Copy)]
pub(super) struct Edit<'a> {
    pub(super) source: Option<Change<'a>>,
    pub(super) destination: Option<Change<'a>>,
}

impl<'a> Edit<'a> {
    /// The edit of a packet to the dest. The source changes only if a `local` end replaces the
    /// client's.
    #[inline(always)]
    pub(super) fn request(conn: &'a Conn, local: Option<End<'a>>) -> Self {
        Self {
            source: local.map(|local| Change {
                old: conn.client(),
                new: local,
            }),
            destination: Some(Change {
                old: conn.service(),
                new: conn.dest_end(),
            }),
        }
    }

    /// The edit of a packet from the dest. The destination changes only if a `local` end replaces
    /// the client's.
    #[inline(always)]
    pub(super) fn reply(conn: &'a Conn, local: Option<End<'a>>) -> Self {
        Self {
            source: Some(Change {
                old: conn.dest_end(),
                new: conn.service(),
            }),
            destination: local.map(|local| Change {
                old: local,
                new: conn.client(),
            }),
        }
    }

    /// Applies the edit to a TCP or UDP, AH or ESP packet that is not quoted in an ICMP error.
    ///
    /// Returns `None` if the transport header is incomplete or the packet cannot be made writable.
    #[inline(always)]
    pub(super) fn apply(&self, packet: &Packet, proto: Proto, skb: &mut Skb) -> Option<()> {
        if packet.header != Extent::Whole {
            return self.apply_without_ports(packet, skb);
        }
        let summed = skb.ip_summed();
        let len = match proto {
            Proto::Tcp => size_of::<tcp::Header>(),
            _ => size_of::<udp::Header>(),
        };
        let bytes = skb
            .writable(packet.transport.checked_add(len as u32)?)
            .ok()?;
        let (network, transport) = bytes.split_at_mut_checked(packet.transport as usize)?;
        self.apply_network(packet.family, network)?;
        match proto {
            Proto::Tcp => self.apply_tcp(packet.family, summed, transport)?,
            _ if !self.apply_udp(packet.family, summed, transport)? => {
                let source = self.source.map_or(&packet.saddr, |change| change.new.0);
                let destination = self
                    .destination
                    .map_or(&packet.daddr, |change| change.new.0);
                return sum_udp(packet, source, destination, skb);
            }
            _ => (),
        }
        if summed == IpSummed::Complete {
            skb.set_checksum_none();
        }
        Some(())
    }

    /// Applies the edit to the IP header of an AH or ESP packet. Other packets with an incomplete
    /// transport header are refused.
    #[cold]
    fn apply_without_ports(&self, packet: &Packet, skb: &mut Skb) -> Option<()> {
        match packet.is_ipsec() {
            true => self.apply_network(packet.family, skb.writable(packet.transport).ok()?),
            false => None,
        }
    }

    #[inline(always)]
    fn apply_network(&self, family: Family, network: &mut [u8]) -> Option<()> {
        match family {
            Family::Inet => {
                let (header, _) = ipv4::Header::mut_from_prefix(network).ok()?;
                let mut delta = Delta::NONE;
                if let Some(Change { new: (addr, _), .. }) = self.source {
                    delta = delta.replace_u32(header.saddr().v4(), addr.v4());
                    header.set_saddr(addr);
                }
                if let Some(Change { new: (addr, _), .. }) = self.destination {
                    delta = delta.replace_u32(header.daddr().v4(), addr.v4());
                    header.set_daddr(addr);
                }
                header.check = header.check.update(delta);
                if network.len() > ipv4::MIN_LEN {
                    // The stack may have written record route or timestamp options without
                    // updating the checksum (C: `ip_send_check()`).
                    return ipv4::set_checksum(network);
                }
            }
            Family::Inet6 => {
                let (header, _) = ipv6::Header::mut_from_prefix(network).ok()?;
                if let Some(Change { new: (addr, _), .. }) = self.source {
                    header.saddr = *addr;
                }
                if let Some(Change { new: (addr, _), .. }) = self.destination {
                    header.daddr = *addr;
                }
            }
        }
        Some(())
    }

    #[inline(always)]
    fn apply_tcp(&self, family: Family, summed: IpSummed, transport: &mut [u8]) -> Option<()> {
        let (header, _) = tcp::Header::mut_from_prefix(transport).ok()?;
        self.set_ports(&mut header.source, &mut header.dest);
        header.check = self.updated(family, summed, header.check);
        Some(())
    }

    /// Returns false if the datagram has no checksum and needs one.
    #[inline(always)]
    fn apply_udp(&self, family: Family, summed: IpSummed, transport: &mut [u8]) -> Option<bool> {
        let (header, _) = udp::Header::mut_from_prefix(transport).ok()?;
        self.set_ports(&mut header.source, &mut header.dest);
        if header.check.is_zero() && summed != IpSummed::Partial {
            return Some(false);
        }
        let check = self.updated(family, summed, header.check);
        header.check = match summed {
            IpSummed::Partial => check,
            _ => check.mangled(),
        };
        Some(true)
    }

    /// As [`apply`](Self::apply), for SCTP. The checksum, a CRC32c, covers neither addresses nor
    /// other parts of the IP header. Each segment of a GSO packet gets its own when it is sent.
    /// `is_summed_later`: the device that sends the packet computes it, if it is not complete.
    pub(super) fn apply_sctp(
        &self,
        packet: &Packet,
        skb: &mut Skb,
        is_summed_later: bool,
    ) -> Option<()> {
        if packet.header != Extent::Whole {
            return None;
        }
        let end = packet
            .transport
            .checked_add(size_of::<sctp::Header>() as u32)?;
        let (is_partial, is_gso) = (skb.ip_summed() == IpSummed::Partial, skb.is_gso());
        let bytes = skb.writable(end).ok()?;
        let (network, transport) = bytes.split_at_mut_checked(packet.transport as usize)?;
        self.apply_network(packet.family, network)?;
        let (header, _) = sctp::Header::mut_from_prefix(transport).ok()?;
        let old = (header.source, header.dest);
        self.set_ports(&mut header.source, &mut header.dest);
        let has_new_ports = (header.source, header.dest) != old;
        if has_new_ports || is_partial && !is_summed_later {
            if !is_gso {
                header.checksum.set(0);
                return sum_sctp(packet.transport, skb);
            }
        } else if !is_partial {
            // As in C, although the checksum was not verified.
            skb.set_checksum_unnecessary();
        }
        Some(())
    }

    #[inline(always)]
    fn set_ports(&self, source: &mut Port, destination: &mut Port) {
        if let Some(Change { new: (_, port), .. }) = self.source {
            *source = port;
        }
        if let Some(Change { new: (_, port), .. }) = self.destination {
            *destination = port;
        }
    }

    /// The transport checksum after the edit. With `CHECKSUM_PARTIAL` it covers only the
    /// pseudo-header, which has no ports.
    #[inline(always)]
    fn updated(&self, family: Family, summed: IpSummed, check: Csum16) -> Csum16 {
        let with_ports = summed != IpSummed::Partial;
        let mut delta = Delta::NONE;
        if let Some(change) = &self.source {
            delta = change.add_to(delta, family, with_ports);
        }
        if let Some(change) = &self.destination {
            delta = change.add_to(delta, family, with_ports);
        }
        match with_ports {
            true => check.update(delta),
            false => check.update_partial(delta),
        }
    }
}

/// Sets the checksum of a UDP datagram that has none, as C does. `saddr` and `daddr` are the
/// addresses after the edit.
#[cold]
fn sum_udp(packet: &Packet, saddr: &Addr, daddr: &Addr, skb: &mut Skb) -> Option<()> {
    let len = skb.len().checked_sub(packet.transport)?;
    let data = skb.checksum_from(packet.transport);
    let check = Sum::ZERO
        .add_u32(data.to_ne_bytes())
        .add_pseudo(packet.family, saddr, daddr, packet.protocol, len)
        .checksum()
        .mangled();
    let end = packet
        .transport
        .checked_add(size_of::<udp::Header>() as u32)?;
    let bytes = skb
        .writable(end)
        .ok()?
        .get_mut(packet.transport as usize..)?;
    let (header, _) = udp::Header::mut_from_prefix(bytes).ok()?;
    header.check = check;
    skb.set_checksum_unnecessary();
    Some(())
}

/// Sets the checksum of the SCTP packet at offset `start`, which is 0 (C: `sctp_nat_csum()`).
fn sum_sctp(start: u32, skb: &mut Skb) -> Option<()> {
    let sum = skb.crc32c_from(start);
    let end = start.checked_add(size_of::<sctp::Header>() as u32)?;
    let bytes = skb.writable(end).ok()?.get_mut(start as usize..)?;
    let (header, _) = sctp::Header::mut_from_prefix(bytes).ok()?;
    header.checksum.set(sum);
    skb.set_checksum_unnecessary();
    Some(())
}
