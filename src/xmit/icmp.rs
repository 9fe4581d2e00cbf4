// SPDX-License-Identifier: GPL-2.0

//! Rewriting of ICMP errors that quote a packet of a conn.
//!
//! C version: `ip_vs_nat_icmp()`, `ip_vs_nat_icmp_v6()` [net/netfilter/ipvs/ip_vs_core.c].

use super::edit::{
    Change,
    Edit, //
};
use crate::{
    addr::Family,
    oot::net::skbuff::Skb,
    packet::{
        Outer,
        Packet, //
    },
    proto::Proto,
    uapi::IPPROTO_ICMPV6,
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

/// The offset of the checksum in an ICMPv6 header, in bytes.
const ICMPV6_CHECK: u16 = 2;

/// Applies `edit` to a packet, or to the ICMP error that quotes it. The slow path, for errors, for
/// SCTP, and for packets both of whose ends change. `sums_sctp`: see [`Edit::apply_sctp`].
#[cold]
pub(super) fn translate_rarely(
    edit: &Edit<'_>,
    packet: &Packet,
    proto: Proto,
    skb: &mut Skb,
    sums_sctp: bool,
) -> Option<()> {
    match &packet.outer {
        None if proto == Proto::Sctp => edit.apply_sctp(packet, skb, sums_sctp),
        None => edit.apply(packet, proto, skb),
        Some(outer) => translate(edit, packet, outer, skb),
    }
}

/// Rewrites an error: the ends of its own header, and the opposite ends of the quoted packet, which
/// went in the opposite direction.
fn translate(edit: &Edit<'_>, inner: &Packet, outer: &Outer, skb: &mut Skb) -> Option<()> {
    let ports = if inner.is_ipsec() { 0 } else { 4 };
    let bytes = skb.writable(inner.transport.checked_add(ports)?).ok()?;
    match inner.family {
        Family::Inet => edit4(edit, inner, outer, bytes)?,
        Family::Inet6 => edit6(edit, inner, bytes)?,
    }
    match inner.family {
        Family::Inet => sum4(outer, skb),
        Family::Inet6 => sum6(outer, skb),
    }
}

/// Splits `bytes` into the headers of the error, the IP headers of the quoted packet, and the rest,
/// which starts with the ports.
fn split<'b>(inner: &Packet, bytes: &'b mut [u8]) -> Option<[&'b mut [u8]; 3]> {
    let (head, rest) = bytes.split_at_mut_checked(inner.start as usize)?;
    let len = inner.transport.checked_sub(inner.start)?;
    let (inside, ports) = rest.split_at_mut_checked(len as usize)?;
    Some([head, inside, ports])
}

fn edit4(edit: &Edit<'_>, inner: &Packet, outer: &Outer, bytes: &mut [u8]) -> Option<()> {
    let [head, inside, ports] = split(inner, bytes)?;
    // Checked again: the quoted header may be in a page that user space can write.
    if ipv4::Header::ref_from_prefix(inside).ok()?.0.len() != inside.len() {
        return None;
    }
    let (header, _) = ipv4::Header::mut_from_prefix(&mut *head).ok()?;
    let (quoted, _) = ipv4::Header::mut_from_prefix(&mut *inside).ok()?;
    if let Some(Change { new: (addr, _), .. }) = edit.source {
        header.set_saddr(addr);
        quoted.set_daddr(addr);
    }
    if let Some(Change { new: (addr, _), .. }) = edit.destination {
        header.set_daddr(addr);
        quoted.set_saddr(addr);
    }
    ipv4::set_checksum(inside)?;
    ipv4::set_checksum(head.get_mut(..outer.transport as usize)?)?;
    edit_ports(edit, inner, ports)
}

fn edit6(edit: &Edit<'_>, inner: &Packet, bytes: &mut [u8]) -> Option<()> {
    let [head, inside, ports] = split(inner, bytes)?;
    let (header, _) = ipv6::Header::mut_from_prefix(head).ok()?;
    let (quoted, _) = ipv6::Header::mut_from_prefix(inside).ok()?;
    if let Some(Change { new: (addr, _), .. }) = edit.source {
        header.saddr = *addr;
        quoted.daddr = *addr;
    }
    if let Some(Change { new: (addr, _), .. }) = edit.destination {
        header.daddr = *addr;
        quoted.saddr = *addr;
    }
    edit_ports(edit, inner, ports)
}

/// Rewrites the ports of the quoted packet, if it has any: the edit's source is its destination,
/// and vice versa.
fn edit_ports(edit: &Edit<'_>, inner: &Packet, ports: &mut [u8]) -> Option<()> {
    if inner.is_ipsec() {
        return Some(());
    }
    if let Some(Change { new: (_, port), .. }) = edit.source {
        *ports.get_mut(2..)?.first_chunk_mut()? = port.bytes();
    }
    if let Some(Change { new: (_, port), .. }) = edit.destination {
        *ports.first_chunk_mut()? = port.bytes();
    }
    Some(())
}

/// Sets the ICMP checksum.
fn sum4(outer: &Outer, skb: &mut Skb) -> Option<()> {
    set_check(outer, skb, Csum16::ZERO)?;
    let sum = skb.checksum_from(outer.transport);
    set_check(outer, skb, Sum::ZERO.add_u32(sum.to_ne_bytes()).checksum())?;
    skb.set_checksum_unnecessary();
    Some(())
}

/// Sets the ICMPv6 checksum to the sum of the pseudo-header, for the device or the stack to
/// complete (`CHECKSUM_PARTIAL`).
fn sum6(outer: &Outer, skb: &mut Skb) -> Option<()> {
    let header: ipv6::Header = skb.read(0)?;
    let len = skb.len().checked_sub(outer.transport)?;
    let pseudo = Sum::ZERO
        .add_pseudo(
            Family::Inet6,
            &header.saddr,
            &header.daddr,
            IPPROTO_ICMPV6,
            len,
        )
        .partial();
    set_check(outer, skb, pseudo)?;
    skb.set_partial_checksum(outer.transport, ICMPV6_CHECK).ok()
}

/// Sets the checksum field, which has the same offset in ICMP and ICMPv6.
fn set_check(outer: &Outer, skb: &mut Skb, check: Csum16) -> Option<()> {
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
