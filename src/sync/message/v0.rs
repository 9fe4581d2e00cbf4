// SPDX-License-Identifier: GPL-2.0

//! Version 0 of sync messages: IPv4 only.
//!
//! C version: `struct ip_vs_sync_conn_v0`, `ip_vs_process_message_v0()`
//! [net/netfilter/ipvs/ip_vs_sync.c].

use super::{
    take,
    Read,
    Record,
    Seq,
    Writer, //
};
use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    uapi::*, //
};
use zerocopy::{
    byteorder::{
        native_endian::U32, //
        network_endian::U16,
    },
    FromBytes as _,
    IntoBytes as _, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

/// The header of a message.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) conns: u8,
    pub(super) sync_id: u8,
    /// The length of the message.
    pub(super) size: U16,
}

pub(super) const HEADER_LEN: usize = size_of::<Header>();

/// A conn.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Conn {
    reserved: u8,
    protocol: u8,
    cport: Port,
    vport: Port,
    dport: Port,
    caddr: [u8; 4],
    vaddr: [u8; 4],
    daddr: [u8; 4],
    flags: U16,
    state: U16,
}

/// Follows a conn with a flag of `IP_VS_CONN_F_SEQ_MASK`; in the byte order of the sender.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Sequences([U32; 6]);

/// Writes the header of a message without conns.
pub(super) fn write_header(message: &mut [u8], sync_id: u8) {
    let header = Header {
        conns: 0,
        sync_id,
        size: U16::new(HEADER_LEN as u16),
    };
    Writer(message).put(header.as_bytes());
}

/// Writes the length and the number of conns to the header.
pub(super) fn write_counts(message: &mut [u8], size: u16, conns: u8) {
    if let Ok((header, _)) = Header::mut_from_prefix(message) {
        header.size = U16::new(size);
        header.conns = conns;
    }
}

/// The length of a conn in bytes.
pub(super) fn record_len(record: &Record<'_>) -> usize {
    match record.seq {
        Some(_) => size_of::<Conn>().wrapping_add(size_of::<Sequences>()),
        None => size_of::<Conn>(),
    }
}

/// Writes a conn.
pub(super) fn write(out: &mut Writer<'_>, record: &Record<'_>) {
    let conn = Conn {
        reserved: 0,
        protocol: record.protocol,
        cport: record.cport,
        vport: record.vport,
        dport: record.dport,
        caddr: record.caddr.v4(),
        vaddr: record.vaddr.v4(),
        daddr: record.daddr.v4(),
        flags: U16::new(record.flags as u16),
        state: U16::new(record.state),
    };
    out.put(conn.as_bytes());
    if let Some([one, other]) = record.seq {
        let words = [
            one.init_seq,
            one.delta,
            one.previous_delta,
            other.init_seq,
            other.delta,
            other.previous_delta,
        ];
        out.put(Sequences(words.map(U32::new)).as_bytes());
    }
}

/// Reads a conn and returns it and the rest. `None` if there is none.
pub(super) fn read(bytes: &[u8]) -> Option<(Read<'_>, &[u8])> {
    let (conn, mut rest) = take::<Conn>(bytes)?;
    let flags = u32::from(conn.flags.get());
    let mut seq = None;
    if flags & IP_VS_CONN_F_SEQ_MASK != 0 {
        let (words, after) = take::<Sequences>(rest)?;
        rest = after;
        seq = Some(sequences(words.0.map(|word| word.get())));
    }
    let record = Record {
        family: Family::Inet,
        protocol: conn.protocol,
        flags,
        state: conn.state.get(),
        cport: conn.cport,
        vport: conn.vport,
        dport: conn.dport,
        fwmark: 0,
        timeout: 0,
        caddr: Addr::from_v4(conn.caddr),
        vaddr: Addr::from_v4(conn.vaddr),
        daddr: Addr::from_v4(conn.daddr),
        seq,
        pe: None,
        local: None,
        idle: None,
    };
    Some((Read::Valid(record), rest))
}

/// The sequence data in the order in which they are sent.
pub(super) fn sequences([a, b, c, d, e, f]: [u32; 6]) -> [Seq; 2] {
    let seq = |init_seq, delta, previous_delta| Seq {
        init_seq,
        delta,
        previous_delta,
    };
    [seq(a, b, c), seq(d, e, f)]
}
