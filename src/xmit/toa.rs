// SPDX-License-Identifier: GPL-2.0

//! FULLNAT with TOA: the first segments to the dest have a TCP option with the client's address and
//! port. Since the option makes them longer, the MSS in the SYN of the dest is lowered.

use super::{
    output::Context,
    route::Target, //
};
use crate::{
    addr::Family,
    conn::handshake::Handshake,
    oot::net::skbuff::{
        IpSummed,
        Skb, //
    },
    packet::{
        Extent,
        Packet, //
    },
    wire::{
        csum::Delta,
        ipv4,
        ipv6,
        tcp,
        toa, //
    },
};
use zerocopy::FromBytes;

/// The maximum length of a packet in bytes.
const MAX_LEN: u32 = u16::MAX as u32;

/// Adds the option to a translated packet to the dest, if it is one of those that have it and there
/// is room in the header and the MTU. `None` if memory is short, or if there is no room and the client
/// has sent the option itself.
pub(super) fn request(context: Context<'_>, target: &Target<'_>, skb: &mut Skb) -> Option<()> {
    let Context { conn, packet, .. } = context;
    let Some((handshake, header)) = segment(context, skb) else {
        return Some(());
    };
    let payload = packet.transport.saturating_add(header.len() as u32);
    let len = toa::len(conn.family) as u32;
    let longest = target.dst(skb)?.mtu().min(MAX_LEN).saturating_sub(len);
    let has_room = || {
        toa::fits(conn.family, header.len())
            && skb.len() <= MAX_LEN.saturating_sub(len)
            && !skb.exceeds_mtu(longest)
    };
    if !handshake.takes_option(&header, skb.len() > payload) {
        return Some(());
    }
    match has_room() {
        true => insert(context, skb, len),
        false => has_none(packet.transport, payload, skb),
    }
}

/// Returns `None` if a header has the option already: a client could name another one with it.
fn has_none(start: u32, end: u32, skb: &mut Skb) -> Option<()> {
    let header = skb.writable(end).ok()?.get(start as usize..)?;
    (!toa::is_in(header)).then_some(())
}

/// Lowers the MSS in a SYN of the dest by the length of the option. `None` if memory is short.
pub(super) fn reply(context: Context<'_>, skb: &mut Skb) -> Option<()> {
    let transport = context.packet.transport;
    match segment(context, skb) {
        Some((handshake, header)) if handshake.answers(&header) => {
            let is_partial = skb.ip_summed() == IpSummed::Partial;
            let end = transport.checked_add(header.len() as u32)?;
            let bytes = skb.writable(end).ok()?.get_mut(transport as usize..)?;
            let delta = toa::lower_mss(bytes, toa::len(context.conn.family) as u16);
            let (header, _) = tcp::Header::mut_from_prefix(bytes).ok()?;
            if !is_partial {
                header.check = header.check.update(delta);
            }
            Some(())
        }
        _ => Some(()),
    }
}

/// The TCP header of a packet of a conn with the option, and that conn's
/// handshake.
fn segment<'a>(context: Context<'a>, skb: &Skb) -> Option<(&'a Handshake, tcp::Header)> {
    let Context { conn, packet, .. } = context;
    let handshake = conn.handshake(context.rcu)?;
    let is_whole = packet.header == Extent::Whole && !packet.is_in_icmp();
    let header: tcp::Header = skb.read(packet.transport)?;
    (is_whole && header.len() >= size_of::<tcp::Header>()).then_some((handshake, header))
}

/// Inserts the option behind the first 20 bytes of the TCP header.
fn insert(context: Context<'_>, skb: &mut Skb, len: u32) -> Option<()> {
    let Context { conn, packet, .. } = context;
    let at = packet
        .transport
        .checked_add(size_of::<tcp::Header>() as u32)?;
    let before = skb.len().checked_sub(packet.transport)?;
    let after = before.checked_add(len)?;
    skb.insert(at, len).ok()?;
    let is_partial = skb.ip_summed() == IpSummed::Partial;
    let bytes = skb.writable(at.checked_add(len)?).ok()?;
    let (network, bytes) = bytes.split_at_mut_checked(packet.transport as usize)?;
    let option = toa::write(bytes, conn.family, conn.client())?;
    let (header, _) = tcp::Header::mut_from_prefix(bytes).ok()?;
    let (before, after) = (before.to_be_bytes(), after.to_be_bytes());
    header.check = match is_partial {
        true => {
            let delta = Delta::NONE.replace_u32(before, after);
            header.check.update_partial(delta)
        }
        false => header.check.update(option.replace_u32(before, after)),
    };
    lengthen(packet, network, len as u16)
}

/// Adds to the length in the IP header.
fn lengthen(packet: &Packet, network: &mut [u8], len: u16) -> Option<()> {
    match packet.family {
        Family::Inet => {
            let (header, _) = ipv4::Header::mut_from_prefix(&mut *network).ok()?;
            let total = header.total_len.get().checked_add(len)?;
            header.total_len.set(total);
            ipv4::set_checksum(network)
        }
        Family::Inet6 => {
            let (header, _) = ipv6::Header::mut_from_prefix(network).ok()?;
            let total = header.payload_len.get().checked_add(len)?;
            header.payload_len.set(total);
            Some(())
        }
    }
}
