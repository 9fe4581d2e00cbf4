// SPDX-License-Identifier: GPL-2.0

//! ICMP errors of a conn, which carry the start of one of its packets.
//!
//! C version: `ip_vs_icmp_xmit()` [net/netfilter/ipvs/ip_vs_xmit.c], `ip_vs_nat_icmp()`
//! [net/netfilter/ipvs/ip_vs_core.c].

use super::{
    nat::{
        self,
        End, //
    },
    output::{
        self,
        Context, //
    },
    route::{
        self,
        Mode,
        Reach, //
    },
    transmit_untranslated, //
};
use crate::{
    addr::Family,
    conn::Conn,
    forward::Forward,
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
    packet::Packet,
    proto::IPPROTO_ICMPV6,
    wire::{
        csum::{
            Csum16,
            Sum, //
        },
        icmp,
        ipv4,
        ipv6, //
    }, //
};
use zerocopy::FromBytes;

/// Where the checksum lies in an ICMPv6 header.
const ICMPV6_CHECK: u16 = 2;

/// Sends an ICMP error from outside to the dest of the conn that it is about.
///
/// `context.packet` is the packet inside, `outer` the error. With `forwarded` it was on its way
/// through this host.
pub(crate) fn transmit<'h>(
    context: Context<'_>,
    outer: &Packet,
    forwarded: bool,
    mut skb: HookSkb<'h>,
) -> Verdict<'h> {
    if context.conn.forward() != Forward::Masq {
        return transmit_untranslated(context, skb);
    }
    let was_input = nat::is_from_outside(outer, &skb);
    let mode = if forwarded {
        Mode::NAT_FORWARDED
    } else {
        Mode::NAT
    };
    let Some(reach) = route::to_dest(context, &mut skb, mode) else {
        return skb.free();
    };
    let local = matches!(reach, Reach::Local);
    if local && was_input && nat::is_loopback(context) {
        return skb.free();
    }
    if nat::make_room(&mut skb).is_none()
        || rewrite(
            context.conn,
            outer,
            context.packet,
            End::Destination,
            &mut skb,
        )
        .is_none()
    {
        return skb.free();
    }
    output::send_translated(context, skb, local)
}

/// Translates an ICMP error: one end of its own header, and the opposite end of the packet inside,
/// which went the other way.
pub(crate) fn rewrite(
    conn: &Conn,
    outer: &Packet,
    inner: &Packet,
    end: End,
    skb: &mut Skb,
) -> Option<()> {
    let len = inner.transport.checked_add(4)?;
    let bytes = skb.writable(len).ok()?;
    match outer.family {
        Family::Inet => rewrite4(conn, outer, inner, end, bytes)?,
        Family::Inet6 => rewrite6(conn, inner, end, bytes)?,
    }
    match outer.family {
        Family::Inet => sum4(outer, skb),
        Family::Inet6 => sum6(outer, skb),
    }
}

fn rewrite4(conn: &Conn, outer: &Packet, inner: &Packet, end: End, bytes: &mut [u8]) -> Option<()> {
    let (head, rest) = bytes.split_at_mut_checked(inner.start as usize)?;
    let (rest, ports) =
        rest.split_at_mut_checked(inner.transport.checked_sub(inner.start)? as usize)?;
    // The header inside may have been read from a page that others can write.
    if ipv4::Header::ref_from_prefix(rest).ok()?.0.len() != rest.len() {
        return None;
    }
    let (header, _) = ipv4::Header::mut_from_prefix(&mut *head).ok()?;
    let (inside, _) = ipv4::Header::mut_from_prefix(&mut *rest).ok()?;
    match end {
        End::Source => {
            header.set_saddr(&conn.vaddr);
            inside.set_daddr(&conn.vaddr);
        }
        End::Destination => {
            header.set_daddr(&conn.daddr);
            inside.set_saddr(&conn.daddr);
        }
    }
    sum_header(rest)?;
    sum_header(head.get_mut(..outer.transport as usize)?)?;
    rewrite_ports(conn, end, ports)
}

/// Gives an IPv4 header, with its options, its checksum.
fn sum_header(bytes: &mut [u8]) -> Option<()> {
    let check = ipv4::checksum(bytes);
    let (header, _) = ipv4::Header::mut_from_prefix(bytes).ok()?;
    header.check = check;
    Some(())
}

fn rewrite6(conn: &Conn, inner: &Packet, end: End, bytes: &mut [u8]) -> Option<()> {
    let (head, rest) = bytes.split_at_mut_checked(inner.start as usize)?;
    let (rest, ports) =
        rest.split_at_mut_checked(inner.transport.checked_sub(inner.start)? as usize)?;
    let (header, _) = ipv6::Header::mut_from_prefix(head).ok()?;
    let (inside, _) = ipv6::Header::mut_from_prefix(rest).ok()?;
    match end {
        End::Source => {
            header.saddr = conn.vaddr;
            inside.daddr = conn.vaddr;
        }
        End::Destination => {
            header.daddr = conn.daddr;
            inside.saddr = conn.daddr;
        }
    }
    rewrite_ports(conn, end, ports)
}

/// The ports of the packet inside: source, then destination.
fn rewrite_ports(conn: &Conn, end: End, ports: &mut [u8]) -> Option<()> {
    match end {
        End::Source => *ports.get_mut(2..)?.first_chunk_mut()? = conn.vport.bytes(),
        End::Destination => *ports.first_chunk_mut()? = conn.dport.bytes(),
    }
    Some(())
}

fn sum4(outer: &Packet, skb: &mut Skb) -> Option<()> {
    set_check(outer, skb, Csum16::ZERO)?;
    let sum = skb.checksum_from(outer.transport);
    set_check(outer, skb, Sum::ZERO.add_u32(sum.to_ne_bytes()).checksum())?;
    skb.set_ip_summed(IpSummed::Unnecessary);
    Some(())
}

/// IPv6's covers the addresses; the device, or the stack, completes it.
fn sum6(outer: &Packet, skb: &mut Skb) -> Option<()> {
    let header: ipv6::Header = skb.read(outer.start)?;
    let len = skb.len().checked_sub(outer.transport)?;
    let pseudo = Sum::ZERO
        .add_pseudo(
            Family::Inet6,
            &header.saddr,
            &header.daddr,
            IPPROTO_ICMPV6,
            len,
        )
        .checksum();
    // The field holds the sum itself, not its complement.
    let [a, b] = pseudo.bytes();
    set_check(outer, skb, Csum16::from_bytes([!a, !b]))?;
    skb.set_partial_checksum(outer.transport, ICMPV6_CHECK);
    Some(())
}

/// ICMP and ICMPv6 have it in the same place.
fn set_check(outer: &Packet, skb: &mut Skb, check: Csum16) -> Option<()> {
    let end = outer
        .transport
        .checked_add(size_of::<icmp::Header>() as u32)?;
    let bytes = skb
        .writable(end)
        .ok()?
        .get_mut(outer.transport as usize..)?;
    let (header, _) = icmp::Header::mut_from_prefix(bytes).ok()?;
    header.check = check;
    Some(())
}
