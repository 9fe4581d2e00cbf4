// SPDX-License-Identifier: GPL-2.0

//! Version 1 of sync messages: IPv4 and IPv6, with fwmark, timeout and optional parameters.
//!
//! A conn is [`Fixed`], the three addresses, and parameters. Each parameter is a type, a length and
//! that many bytes. A receiver ignores an unknown parameter, or skips the conn if
//! [`MAY_BE_IGNORED`] is not set in its type.
//!
//! C version: `struct ip_vs_sync_v4`, `struct ip_vs_sync_v6`, `ip_vs_proc_sync_conn()`
//! [net/netfilter/ipvs/ip_vs_sync.c].

use super::{
    take,
    v0::sequences,
    PeData,
    Read,
    Record,
    Seq,
    Writer, //
};
use crate::addr::{
    Addr,
    Family,
    Port, //
};
use zerocopy::{
    byteorder::network_endian::{
        U16,
        U32, //
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

/// The header of a message. Receivers of version 0 read the first byte as the number of conns.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Header {
    reserved: u8,
    sync_id: u8,
    /// The length of the message.
    size: U16,
    conns: u8,
    version: u8,
    spare: U16,
}

pub(super) const HEADER_LEN: usize = size_of::<Header>();

/// C: `SYNC_PROTO_VER`
const VERSION: u8 = 1;

/// The first part of a conn.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Fixed {
    kind: u8,
    protocol: u8,
    /// The version of this format in the upper four bits, and the length of the conn, with its
    /// parameters but without padding.
    version_size: U16,
    flags: U32,
    state: U16,
    cport: Port,
    vport: Port,
    dport: Port,
    fwmark: U32,
    timeout: U32,
}

/// A bit of [`Fixed::kind`]: the addresses are IPv6 (C: `STYPE_F_INET6`).
const INET6: u8 = 1;
/// The length in [`Fixed::version_size`] (C: `SVER_MASK`).
const SIZE: u16 = 0x0fff;

/// The three addresses of a conn: those of client, service and dest.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Addrs<const N: usize>([[u8; N]; 3]);

/// The length of an IPv4 conn without parameters, the shortest.
const SHORTEST: usize = size_of::<Fixed>() + size_of::<Addrs<4>>();

/// A bit of a parameter's type (C: `IPVS_OPT_F_PARAM`).
const MAY_BE_IGNORED: u8 = 0x40;
// Types of parameters.
const SEQ_DATA: u8 = 1;
const PE_DATA: u8 = 2;
const PE_NAME: u8 = 3;
/// The time since the last packet; only in answers to a request for a resync. C has no such type.
const IDLE: u8 = 0x21;
/// The local end: an address of the conn's family and a port. Not known to C.
const LOCAL: u8 = 0x22;

/// The length of a parameter's type and length.
const PARAM_HEADER: usize = 2;
/// The length of a [`SEQ_DATA`] parameter.
const SEQ_LEN: u8 = 24;
/// The length of an [`IDLE`] parameter.
const IDLE_LEN: u8 = 4;
/// The maximum length of a [`PE_NAME`] (C: `IP_VS_PENAME_MAXLEN`).
const MAX_PE_NAME: usize = 16;

/// Writes the header of a message without conns.
pub(super) fn write_header(message: &mut [u8], sync_id: u8) {
    let header = Header {
        reserved: 0,
        sync_id,
        size: U16::new(HEADER_LEN as u16),
        conns: 0,
        version: VERSION,
        spare: U16::new(0),
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

/// The length of a conn in bytes, without padding.
pub(super) fn record_len(record: &Record<'_>) -> usize {
    let addrs = record.family.addr_len().wrapping_mul(3);
    let mut len = size_of::<Fixed>().wrapping_add(addrs);
    let mut param = |size: usize| len = len.wrapping_add(PARAM_HEADER).wrapping_add(size);
    if record.seq.is_some() {
        param(SEQ_LEN.into());
    }
    if let Some(PeData { name, data }) = record.pe {
        param(data.len());
        if !name.is_empty() {
            param(name.len());
        }
    }
    if record.local.is_some() {
        param(local_len(record.family));
    }
    if record.idle.is_some() {
        param(IDLE_LEN.into());
    }
    len
}

/// The length of a [`LOCAL`] parameter.
fn local_len(family: Family) -> usize {
    family.addr_len().wrapping_add(size_of::<Port>())
}

/// Writes a conn.
pub(super) fn write(out: &mut Writer<'_>, record: &Record<'_>) {
    let fixed = Fixed {
        kind: match record.family {
            Family::Inet => 0,
            Family::Inet6 => INET6,
        },
        protocol: record.protocol,
        version_size: U16::new(record_len(record) as u16 & SIZE),
        flags: U32::new(record.flags),
        state: U16::new(record.state),
        cport: record.cport,
        vport: record.vport,
        dport: record.dport,
        fwmark: U32::new(record.fwmark),
        timeout: U32::new(record.timeout),
    };
    out.put(fixed.as_bytes());
    for addr in [&record.caddr, &record.vaddr, &record.daddr] {
        write_addr(out, record.family, addr);
    }
    if let Some(seq) = record.seq {
        out.put(&[SEQ_DATA, SEQ_LEN]);
        for Seq {
            init_seq,
            delta,
            previous_delta,
        } in seq
        {
            for word in [init_seq, delta, previous_delta] {
                out.put(&word.to_be_bytes());
            }
        }
    }
    if let Some(PeData { name, data }) = record.pe {
        out.put(&[PE_DATA, data.len() as u8]);
        out.put(data);
        if !name.is_empty() {
            out.put(&[PE_NAME, name.len() as u8]);
            out.put(name);
        }
    }
    if let Some((addr, port)) = &record.local {
        out.put(&[LOCAL | MAY_BE_IGNORED, local_len(record.family) as u8]);
        write_addr(out, record.family, addr);
        out.put(&port.bytes());
    }
    if let Some(idle) = record.idle {
        out.put(&[IDLE | MAY_BE_IGNORED, IDLE_LEN]);
        out.put(&idle.to_be_bytes());
    }
}

fn write_addr(out: &mut Writer<'_>, family: Family, addr: &Addr) {
    match family {
        Family::Inet => out.put(&addr.v4()),
        Family::Inet6 => out.put(addr.bytes()),
    }
}

/// Returns the number of conns in a message and its content after the header. `None` if it is not
/// of this version.
pub(super) fn start(message: &[u8]) -> Option<(u8, &[u8])> {
    let (header, rest) = take::<Header>(message)?;
    let is = header.version == VERSION && header.reserved == 0 && header.spare.get() == 0;
    is.then_some((header.conns, rest))
}

/// Reads a conn and returns it and the rest after its padding. `None` if it is malformed.
pub(super) fn read(bytes: &[u8]) -> Option<(Read<'_>, &[u8])> {
    if bytes.len() < SHORTEST {
        return None;
    }
    let (fixed, _) = take::<Fixed>(bytes)?;
    if fixed.version_size.get() & !SIZE != 0 {
        return None;
    }
    let size = usize::from(fixed.version_size.get() & SIZE);
    let conn = bytes.get(..size)?;
    let read = read_sized(conn)?;
    let padded = size.wrapping_add(3) & !3;
    Some((read, bytes.get(padded..).unwrap_or_default()))
}

/// Reads a conn that is as long as `conn`.
fn read_sized(conn: &[u8]) -> Option<Read<'_>> {
    let (fixed, rest) = take::<Fixed>(conn)?;
    let (family, addrs, params) = if fixed.kind & INET6 != 0 {
        let (addrs, rest) = take::<Addrs<16>>(rest)?;
        (Family::Inet6, addrs.0.map(Addr::from_v6), rest)
    } else if fixed.kind == 0 {
        let (addrs, rest) = take::<Addrs<4>>(rest)?;
        (Family::Inet, addrs.0.map(Addr::from_v4), rest)
    } else {
        return None;
    };
    let [caddr, vaddr, daddr] = addrs;
    let Some(params) = Params::read(params)? else {
        return Some(Read::Other);
    };
    let Params {
        seq,
        data,
        name,
        local,
        idle,
    } = params;
    let pe = match (data, name) {
        (None, _) => None,
        (Some(_), None) => return Some(Read::Other),
        (Some(data), Some(name)) => Some(PeData { name, data }),
    };
    Some(Read::Valid(Record {
        family,
        protocol: fixed.protocol,
        flags: fixed.flags.get(),
        state: fixed.state.get(),
        cport: fixed.cport,
        vport: fixed.vport,
        dport: fixed.dport,
        fwmark: fixed.fwmark.get(),
        timeout: fixed.timeout.get(),
        caddr,
        vaddr,
        daddr,
        seq,
        pe,
        local: local.and_then(|value| read_local(family, value)),
        idle,
    }))
}

/// The known parameters of a conn.
#[derive(Default)]
struct Params<'a> {
    seq: Option<[Seq; 2]>,
    data: Option<&'a [u8]>,
    name: Option<&'a [u8]>,
    local: Option<&'a [u8]>,
    idle: Option<u32>,
}

impl<'a> Params<'a> {
    /// Reads the parameters. `None` if one is malformed, or occurs twice; `Some(None)` if one is
    /// unknown and must not be ignored. As in C, those after it are not read.
    fn read(mut bytes: &'a [u8]) -> Option<Option<Self>> {
        let mut params = Self::default();
        while !bytes.is_empty() {
            let (&[kind, len], rest) = bytes.split_first_chunk::<PARAM_HEADER>()?;
            if len == 0 {
                return None;
            }
            let (value, rest) = rest.split_at_checked(len.into())?;
            bytes = rest;
            match kind & !MAY_BE_IGNORED {
                SEQ_DATA => once(&mut params.seq, read_sequences(value)?)?,
                PE_DATA => once(&mut params.data, value)?,
                PE_NAME if value.len() <= MAX_PE_NAME => once(&mut params.name, value)?,
                PE_NAME => return None,
                LOCAL if kind & MAY_BE_IGNORED != 0 => params.local = Some(value),
                IDLE if kind & MAY_BE_IGNORED != 0 => {
                    // Of another length, it is an unknown parameter.
                    let idle = value.try_into().ok().map(u32::from_be_bytes);
                    params.idle = idle.or(params.idle);
                }
                _ if kind & MAY_BE_IGNORED != 0 => (),
                _ => return Some(None),
            }
        }
        Some(Some(params))
    }
}

/// Sets an empty `place`. `None` if it is not empty.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    match place.replace(value) {
        None => Some(()),
        Some(_) => None,
    }
}

fn read_sequences(value: &[u8]) -> Option<[Seq; 2]> {
    let (words, rest) = take::<[U32; 6]>(value)?;
    rest.is_empty()
        .then(|| sequences(words.map(|word| word.get())))
}

/// Reads a local end. `None` if it is of another length: it is an unknown parameter then.
fn read_local(family: Family, value: &[u8]) -> Option<(Addr, Port)> {
    let (addr, port) = match family {
        Family::Inet => take::<[u8; 4]>(value).map(|(addr, rest)| (Addr::from_v4(*addr), rest))?,
        Family::Inet6 => {
            take::<[u8; 16]>(value).map(|(addr, rest)| (Addr::from_v6(*addr), rest))?
        }
    };
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some((addr, Port::new(port)))
}
