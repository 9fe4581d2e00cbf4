// SPDX-License-Identifier: GPL-2.0

//! Applications: the packets of a bound conn are read before their translation, and their payload
//! may be changed.
//!
//! C version: `ip_vs_app_pkt_in()`, `ip_vs_app_pkt_out()` [net/netfilter/ipvs/ip_vs_app.c], and the
//! calls of these in [net/netfilter/ipvs/ip_vs_proto_tcp.c].

mod ftp;

use super::output::Context;
use crate::{
    conn::app::App,
    oot::net::skbuff::{
        IpSummed,
        Skb, //
    },
    packet::Extent,
    proto::{
        direction::Direction,
        tcp::states::State, //
    },
    wire::{
        seq::Seq,
        tcp, //
    },
};
use zerocopy::FromBytes;

/// Handles a packet to the dest. `None` if it must be dropped.
pub(super) fn request(context: Context<'_>, skb: &mut Skb) -> Option<()> {
    run(context, skb, Direction::Input, ftp::request)
}

/// Handles a packet from the dest. `None` if it must be dropped.
pub(super) fn reply(context: Context<'_>, skb: &mut Skb) -> Option<()> {
    run(context, skb, Direction::Output, ftp::reply)
}

/// A handler of the payload of a packet.
type Handler = fn(Context<'_>, &App, &mut Skb, Segment) -> Option<()>;

/// A TCP packet that is linear and has a payload.
#[derive(Clone, Copy)]
struct Segment {
    /// The offset of the payload in bytes.
    payload: u32,
    seq: u32,
}

impl Segment {
    /// The payload.
    fn data(self, skb: &mut Skb) -> Option<&[u8]> {
        let whole = skb.len();
        skb.writable(whole).ok()?.get(self.payload as usize..)
    }
}

fn run(context: Context<'_>, skb: &mut Skb, direction: Direction, handle: Handler) -> Option<()> {
    let Context { conn, packet, .. } = context;
    if packet.is_in_icmp() {
        return Some(());
    }
    let Some(app) = conn.app(context.rcu) else {
        return Some(());
    };
    if packet.header != Extent::Whole || !skb.has_valid_checksum(packet.transport, packet.protocol)
    {
        return None;
    }
    let [from_client, to_client] = conn.adjustments(context.rcu);
    if from_client.is_some() || to_client.is_some() {
        match direction {
            Direction::Output => adjust(packet.transport, skb, to_client, from_client)?,
            _ => adjust(packet.transport, skb, from_client, to_client)?,
        }
    }
    if conn.state() == State::Established as u8 {
        if let Some(segment) = segment(packet.transport, skb)? {
            handle(context, app, skb, segment)?;
        }
    }
    if skb.ip_summed() == IpSummed::Complete {
        // It was verified, and the translation updates it.
        skb.set_checksum_unnecessary();
    }
    Some(())
}

/// Adjusts the sequence number of a TCP packet by `seq`, and its acknowledgement by `ack`.
#[cold]
fn adjust(transport: u32, skb: &mut Skb, seq: Option<Seq>, ack: Option<Seq>) -> Option<()> {
    let is_partial = skb.ip_summed() == IpSummed::Partial;
    let end = transport.checked_add(size_of::<tcp::Header>() as u32)?;
    let bytes = skb.writable(end).ok()?.get_mut(transport as usize..)?;
    let (header, _) = tcp::Header::mut_from_prefix(bytes).ok()?;
    let delta = Seq::adjust(header, seq, ack);
    if !is_partial {
        header.check = header.check.update(delta);
    }
    Some(())
}

/// Makes the packet linear. The inner result is `None` if it has no payload, the outer one if
/// memory is short.
fn segment(transport: u32, skb: &mut Skb) -> Option<Option<Segment>> {
    let len = skb.len();
    let bytes = skb.writable(len).ok()?;
    let rest = bytes.get(transport as usize..)?;
    let (header, _) = tcp::Header::ref_from_prefix(rest).ok()?;
    if header.len() < size_of::<tcp::Header>() {
        return Some(None);
    }
    let payload = transport.checked_add(header.len() as u32)?;
    let seq = header.seq.get();
    Some((payload < len).then_some(Segment { payload, seq }))
}
