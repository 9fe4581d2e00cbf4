// SPDX-License-Identifier: GPL-2.0

//! NAT: the packet gets the dest's address and port, a reply the service's.
//!
//! C version: `ip_vs_nat_xmit()` [net/netfilter/ipvs/ip_vs_xmit.c], `tcp_snat_handler()` and its
//! like [net/netfilter/ipvs/ip_vs_proto_tcp.c].

use super::{
    output::{
        self,
        Context, //
    },
    route::{
        self,
        Mode,
        Reach, //
    }, //
};
use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    conn::Conn,
    oot::net::{
        filter::{
            HookSkb,
            Verdict, //
        },
        skbuff::{
            IpSummed,
            Skb, //
        }, //
    },
    packet::{
        Packet,
        Ports, //
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
        tcp,
        udp, //
    }, //
};
use zerocopy::FromBytes;

/// Which end of a packet is rewritten.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The source, of a packet from the dest: it becomes the service.
    Source,
    /// The destination, of a packet to the service: it becomes the dest.
    Destination,
}

/// An address and port and what they become.
struct Change<'a> {
    end: End,
    old: (&'a Addr, Port),
    new: (&'a Addr, Port),
}

impl<'a> Change<'a> {
    fn of(conn: &'a Conn, end: End) -> Self {
        let service = (&conn.vaddr, conn.vport);
        let dest = (&conn.daddr, conn.dport);
        let (old, new) = match end {
            End::Source => (dest, service),
            End::Destination => (service, dest),
        };
        Self { end, old, new }
    }
}

/// Sends a packet to its dest, translated.
#[inline(always)]
pub(super) fn transmit<'h>(
    context: Context<'_>,
    ports: &Ports,
    mut skb: HookSkb<'h>,
) -> Verdict<'h> {
    let was_input = is_from_outside(context.packet, &skb);
    let Some(reach) = route::to_dest(context, &mut skb, Mode::NAT) else {
        return skb.free();
    };
    let local = matches!(reach, Reach::Local);
    if local && was_input && is_loopback(context) {
        return skb.free();
    }
    if make_room(&mut skb).is_none() || translate(context, ports, &mut skb).is_none() {
        return skb.free();
    }
    output::send_translated(context, skb, local)
}

/// Whether the packet came from another host, as the test against leaking into loopback wants it.
pub(super) fn is_from_outside(packet: &Packet, skb: &Skb) -> bool {
    match packet.family {
        Family::Inet => skb.is_input_route4(),
        Family::Inet6 => skb.has_dev() && !skb.dev_is_loopback(),
    }
}

/// Whether the dest is a loopback address, which nobody outside may reach.
pub(super) fn is_loopback(context: Context<'_>) -> bool {
    let daddr = &context.conn.daddr;
    match context.packet.family {
        Family::Inet => matches!(daddr.v4(), [127, ..]),
        Family::Inet6 => route::is_loopback6(daddr),
    }
}

/// Makes sure that the link header will fit before the packet.
#[inline(always)]
pub(super) fn make_room(skb: &mut Skb) -> Option<()> {
    let headroom = skb.dst()?.hard_header_len();
    skb.cow(headroom).ok()
}

#[inline(always)]
fn translate(context: Context<'_>, ports: &Ports, skb: &mut Skb) -> Option<()> {
    rewrite(context.conn, context.packet, ports, End::Destination, skb)
}

/// Rewrites one end of a packet and all its checksums.
#[inline(always)]
pub(crate) fn rewrite(
    conn: &Conn,
    packet: &Packet,
    ports: &Ports,
    end: End,
    skb: &mut Skb,
) -> Option<()> {
    let change = Change::of(conn, end);
    if packet.is_later_fragment {
        // It has no ports, and its first one's checksum covers it.
        let network = skb.writable(packet.transport).ok()?;
        return rewrite_network(packet.family, &change, network);
    }
    if !ports.is_whole {
        return None;
    }
    let summed = skb.ip_summed();
    let len = match conn.proto {
        Proto::Tcp => size_of::<tcp::Header>(),
        Proto::Udp => size_of::<udp::Header>(),
    };
    let bytes = skb
        .writable(packet.transport.checked_add(len as u32)?)
        .ok()?;
    let (network, transport) = bytes.split_at_mut_checked(packet.transport as usize)?;
    rewrite_network(packet.family, &change, network)?;
    match conn.proto {
        Proto::Tcp => rewrite_tcp(packet.family, &change, summed, transport)?,
        Proto::Udp if !rewrite_udp(packet.family, &change, summed, transport)? => {
            return sum_udp(conn, packet, end, skb)
        }
        Proto::Udp => (),
    }
    if summed == IpSummed::Complete {
        skb.set_ip_summed(IpSummed::None);
    }
    Some(())
}

#[inline(always)]
fn rewrite_network(family: Family, change: &Change<'_>, network: &mut [u8]) -> Option<()> {
    let (addr, _) = change.new;
    match family {
        Family::Inet => {
            let (header, _) = ipv4::Header::mut_from_prefix(network).ok()?;
            let old = match change.end {
                End::Source => header.saddr(),
                End::Destination => header.daddr(),
            };
            match change.end {
                End::Source => header.set_saddr(addr),
                End::Destination => header.set_daddr(addr),
            }
            let delta = Delta::NONE.replace_u32(old.v4(), addr.v4());
            header.check = header.check.update(delta);
            if network.len() > ipv4::MIN_LEN {
                return sum_options(network);
            }
        }
        Family::Inet6 => {
            let (header, _) = ipv6::Header::mut_from_prefix(network).ok()?;
            match change.end {
                End::Source => header.saddr = *addr,
                End::Destination => header.daddr = *addr,
            }
        }
    }
    Some(())
}

/// The checksum of an IPv4 header with options, into which the stack may have written without
/// putting the checksum right: route, time stamps (C: `ip_send_check()`).
#[cold]
pub(super) fn sum_options(network: &mut [u8]) -> Option<()> {
    let check = ipv4::checksum(network);
    let (header, _) = ipv4::Header::mut_from_prefix(network).ok()?;
    header.check = check;
    Some(())
}

#[inline(always)]
fn rewrite_tcp(
    family: Family,
    change: &Change<'_>,
    summed: IpSummed,
    transport: &mut [u8],
) -> Option<()> {
    let (header, _) = tcp::Header::mut_from_prefix(transport).ok()?;
    set_port(change, &mut header.source, &mut header.dest);
    header.check = updated(family, change, summed, header.check);
    Some(())
}

/// False if the datagram has no checksum yet, which it is then to get.
#[inline(always)]
fn rewrite_udp(
    family: Family,
    change: &Change<'_>,
    summed: IpSummed,
    transport: &mut [u8],
) -> Option<bool> {
    let (header, _) = udp::Header::mut_from_prefix(transport).ok()?;
    set_port(change, &mut header.source, &mut header.dest);
    if header.check.is_zero() && summed != IpSummed::Partial {
        return Some(false);
    }
    let check = updated(family, change, summed, header.check);
    header.check = match summed {
        IpSummed::Partial => check,
        _ => check.mangled(),
    };
    Some(true)
}

#[inline(always)]
fn set_port(change: &Change<'_>, source: &mut Port, dest: &mut Port) {
    let (_, port) = change.new;
    match change.end {
        End::Source => *source = port,
        End::Destination => *dest = port,
    }
}

/// The checksum after the change of address and port; one that the device will complete covers
/// the pseudo header alone, so not the ports.
#[inline(always)]
fn updated(family: Family, change: &Change<'_>, summed: IpSummed, check: Csum16) -> Csum16 {
    let (old, old_port) = change.old;
    let (new, new_port) = change.new;
    let delta = Delta::NONE.replace_addr(family, old, new);
    match summed {
        IpSummed::Partial => check.update_partial(delta),
        _ => check.update(delta.replace_u16(old_port.bytes(), new_port.bytes())),
    }
}

/// A datagram without checksum gets one, as C gives it.
#[cold]
fn sum_udp(conn: &Conn, packet: &Packet, end: End, skb: &mut Skb) -> Option<()> {
    let (saddr, daddr) = match end {
        End::Source => (&conn.vaddr, &conn.caddr),
        End::Destination => (&conn.caddr, &conn.daddr),
    };
    let len = skb.len().checked_sub(packet.transport)?;
    let data = skb.checksum_from(packet.transport);
    let check = Sum::ZERO
        .add_u32(data.to_ne_bytes())
        .add_pseudo(packet.family, saddr, daddr, conn.proto as u8, len)
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
    skb.set_ip_summed(IpSummed::Unnecessary);
    Some(())
}
