// SPDX-License-Identifier: GPL-2.0

//! Sync messages: the conns of a master in UDP datagrams.
//!
//! A message is a header and up to 255 conns. All numbers are in network byte order, except the
//! sequence data of version 0, which are in that of the sender. Every length, count and value of a
//! received message is checked, as in C.
//!
//! C version: `struct ip_vs_sync_mesg`, `ip_vs_process_message()`
//! [net/netfilter/ipvs/ip_vs_sync.c].
//!
//! # Differences from C
//!
//! A message has at most 255 conns. In C the count wraps if `--sync-maxlen` allows more, and the
//! receiver ignores the rest of the message.

mod notice;
mod v0;
mod v1;

use crate::{
    addr::{
        Addr,
        Family,
        Port, //
    },
    shim::{
        zeroed,
        Bytes,
        NoMemory, //
    },
    uapi::*,
    wire::seq::Seq, //
};
pub(crate) use notice::{
    Notice,
    Part,
    Request, //
};
use zerocopy::{
    FromBytes,
    Immutable,
    KnownLayout,
    Unaligned, //
};

/// The version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// IPv4 only, without fwmark and timeout.
    V0,
    /// The current version.
    V1,
}

impl Version {
    /// The version that the sysctl `sync_version` selects.
    pub(crate) const fn from_sysctl(version: i32) -> Self {
        match version {
            0 => Self::V0,
            _ => Self::V1,
        }
    }

    /// The length of a message without conns, in bytes.
    const fn header_len(self) -> usize {
        match self {
            Self::V0 => v0::HEADER_LEN,
            Self::V1 => v1::HEADER_LEN,
        }
    }

    /// The length of a conn in bytes, without padding.
    fn record_len(self, record: &Record<'_>) -> usize {
        match self {
            Self::V0 => v0::record_len(record),
            Self::V1 => v1::record_len(record),
        }
    }

    /// The length in bytes of the padding that precedes a conn at the offset `at`.
    const fn padding(self, at: usize) -> usize {
        match self {
            Self::V0 => 0,
            Self::V1 => at.wrapping_neg() & 3,
        }
    }
}

/// The data of a persistence engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeData<'a> {
    /// The name of the engine, up to 16 bytes.
    pub(crate) name: &'a [u8],
    /// Up to 255 bytes.
    pub(crate) data: &'a [u8],
}

/// A conn or template in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) family: Family,
    /// The number of the protocol; 0 in a template of a fwmark service.
    pub(crate) protocol: u8,
    /// `IP_VS_CONN_F_*`
    pub(crate) flags: u32,
    pub(crate) state: u16,
    pub(crate) cport: Port,
    pub(crate) vport: Port,
    pub(crate) dport: Port,
    pub(crate) fwmark: u32,
    /// In seconds; 0 for that of the state.
    pub(crate) timeout: u32,
    pub(crate) caddr: Addr,
    pub(crate) vaddr: Addr,
    pub(crate) daddr: Addr,
    /// The adjustment of sequence numbers from the client and to it.
    pub(crate) seq: Option<[Seq; 2]>,
    pub(crate) pe: Option<PeData<'a>>,
    /// The local end, which replaces the client's in packets to the dest.
    pub(crate) local: Option<(Addr, Port)>,
    /// The time since the last packet in milliseconds; only in answers to a request for a resync.
    pub(crate) idle: Option<u32>,
}

impl Record<'_> {
    /// Whether it is a template.
    pub(crate) fn is_template(&self) -> bool {
        self.flags & IP_VS_CONN_F_TEMPLATE != 0
    }

    /// Checks the flags and the state of a received conn, and clears the flags that a message must
    /// not set. `None` if the conn must be skipped.
    fn checked(mut self, states: States) -> Option<Self> {
        let is_template = self.is_template();
        if self.flags & IP_VS_CONN_F_NO_CPORT != 0 && is_template
            || self.flags & IP_VS_CONN_F_ONE_PACKET != 0
        {
            return None;
        }
        self.flags = self.flags & IP_VS_CONN_F_BACKUP_MASK | IP_VS_CONN_F_SYNC;
        let states = match is_template {
            true => TEMPLATE_STATES,
            false => states(self.protocol)?,
        };
        (self.state < states).then_some(self)
    }
}

/// Returns the number of states of conns of a protocol; `None` if it is not supported.
pub(crate) type States = fn(protocol: u8) -> Option<u16>;

/// The number of states of a template (C: `IP_VS_CTPL_S_LAST`).
const TEMPLATE_STATES: u16 = 2;

/// The maximum length of a notice, in bytes, with the padding before it.
const MAX_CLOSE: usize = notice::LEN + 3;

/// A message to be sent.
pub(crate) struct Message {
    version: Version,
    bytes: Bytes,
    /// The number of bytes for header and conns.
    room: usize,
    len: usize,
    conns: u8,
}

impl Message {
    /// Allocates a message with one conn. It is up to `maxlen` bytes long, or longer if that is too
    /// short for the conn. Only the low byte of `sync_id` is sent.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if the allocation fails.
    pub(crate) fn new(
        version: Version,
        sync_id: u32,
        maxlen: usize,
        record: &Record<'_>,
    ) -> Result<Self, NoMemory> {
        Self::with_conn(version, sync_id, maxlen, 0, record)
    }

    /// Allocates a message of an answer to a request for a resync, with one conn. Its notice must
    /// be [added](Self::close) at the end. The parameters are as for [`new`](Self::new).
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if the allocation fails.
    pub(crate) fn part(sync_id: u32, maxlen: usize, record: &Record<'_>) -> Result<Self, NoMemory> {
        let room = maxlen.saturating_sub(MAX_CLOSE);
        Self::with_conn(Version::V1, sync_id, room, MAX_CLOSE, record)
    }

    /// Allocates a message with one conn, `room` bytes for header and conns, or as many as they
    /// need, and `more` bytes.
    fn with_conn(
        version: Version,
        sync_id: u32,
        room: usize,
        more: usize,
        record: &Record<'_>,
    ) -> Result<Self, NoMemory> {
        let least = version
            .header_len()
            .wrapping_add(version.record_len(record));
        let mut message = Self::empty(version, sync_id, room.max(least), more)?;
        message.push(record);
        Ok(message)
    }

    /// Allocates a message with a request for a resync.
    ///
    /// # Errors
    ///
    /// [`NoMemory`] if the allocation fails.
    pub(crate) fn request(sync_id: u32, request: Request) -> Result<Self, NoMemory> {
        let version = Version::V1;
        let mut message = Self::empty(version, sync_id, version.header_len(), MAX_CLOSE)?;
        message.close(Notice::Request(request));
        Ok(message)
    }

    /// Allocates a message without conns, with `room` bytes for header and conns, and `more` bytes.
    fn empty(version: Version, sync_id: u32, room: usize, more: usize) -> Result<Self, NoMemory> {
        let mut message = Self {
            version,
            bytes: zeroed(room.saturating_add(more))?,
            room,
            len: version.header_len(),
            conns: 0,
        };
        match version {
            Version::V0 => v0::write_header(&mut message.bytes, sync_id as u8),
            Version::V1 => v1::write_header(&mut message.bytes, sync_id as u8),
        }
        Ok(message)
    }

    /// Appends the notice to a part or a request.
    pub(crate) fn close(&mut self, notice: Notice) {
        let start = self.len.wrapping_add(self.version.padding(self.len));
        let end = start.wrapping_add(notice::LEN);
        let Ok(size) = u16::try_from(end) else {
            return;
        };
        if let Some(place) = self.bytes.get_mut(start..end) {
            Writer(place).put(&notice.to_bytes());
            self.len = end;
            v1::write_counts(&mut self.bytes, size, self.conns);
        }
    }

    /// The version of the message.
    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// The content.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    /// Appends a conn. Returns false if there is no room for it.
    pub(crate) fn push(&mut self, record: &Record<'_>) -> bool {
        let start = self.len.wrapping_add(self.version.padding(self.len));
        let end = start.wrapping_add(self.version.record_len(record));
        let (Some(conns), Ok(size)) = (self.conns.checked_add(1), u16::try_from(end)) else {
            return false;
        };
        if end > self.room {
            return false;
        }
        let Some(place) = self.bytes.get_mut(start..end) else {
            return false;
        };
        match self.version {
            Version::V0 => v0::write(&mut Writer(place), record),
            Version::V1 => v1::write(&mut Writer(place), record),
        }
        (self.len, self.conns) = (end, conns);
        match self.version {
            Version::V0 => v0::write_counts(&mut self.bytes, size, conns),
            Version::V1 => v1::write_counts(&mut self.bytes, size, conns),
        }
        true
    }
}

/// The rest of a place for bytes.
struct Writer<'a>(&'a mut [u8]);

impl Writer<'_> {
    /// Writes `bytes`, as many as fit.
    fn put(&mut self, bytes: &[u8]) {
        let place = core::mem::take(&mut self.0);
        if let Some((to, rest)) = place.split_at_mut_checked(bytes.len()) {
            for (to, from) in to.iter_mut().zip(bytes) {
                *to = *from;
            }
            self.0 = rest;
        }
    }
}

/// Reads a `T` at the start of `bytes`. Returns it and the rest.
fn take<T: FromBytes + KnownLayout + Immutable + Unaligned>(bytes: &[u8]) -> Option<(&T, &[u8])> {
    T::ref_from_prefix(bytes).ok()
}

/// The valid conns of a received message.
///
/// As in C, the conns before a malformed one are valid. A conn of an unknown kind is skipped.
pub(crate) struct Records<'a> {
    version: Version,
    /// The rest of the message, from the next conn on.
    rest: &'a [u8],
    /// The number of conns that follow.
    left: u8,
    states: States,
}

/// The result of reading a conn.
enum Read<'a> {
    Valid(Record<'a>),
    /// To be skipped.
    Other,
}

impl<'a> Records<'a> {
    /// The conns in `message`; none if its `size` is wrong, or its sync id is not `sync_id`, which
    /// is 0 to accept any.
    pub(crate) fn of(message: &'a [u8], sync_id: u32, states: States) -> Self {
        let (version, left, rest) = start(message, sync_id).unwrap_or((Version::V0, 0, &[]));
        Self {
            version,
            rest,
            left,
            states,
        }
    }

    /// The notice after the conns, once all of them were read.
    pub(crate) fn notice(&self) -> Option<Notice> {
        match (self.version, self.left) {
            (Version::V1, 0) => Notice::read(self.rest),
            _ => None,
        }
    }
}

/// Returns the version of a message, the number of its conns, and its content after the header.
fn start(message: &[u8], sync_id: u32) -> Option<(Version, u8, &[u8])> {
    let (header, rest) = take::<v0::Header>(message)?;
    if usize::from(header.size.get()) != message.len() {
        return None;
    }
    let (version, conns, rest) = match v1::start(message) {
        Some((conns, rest)) => (Version::V1, conns, rest),
        None => (Version::V0, header.conns, rest),
    };
    // The request of a director that accepts any sync id is for all directors.
    let is_for_all = header.sync_id == 0 && conns == 0;
    if sync_id != 0 && u32::from(header.sync_id) != sync_id && !is_for_all {
        return None;
    }
    Some((version, conns, rest))
}

impl<'a> Iterator for Records<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        while self.left != 0 {
            let (read, rest) = match self.version {
                Version::V0 => v0::read(self.rest),
                Version::V1 => v1::read(self.rest),
            }
            // The rest of the message is dropped.
            .or_else(|| {
                (self.left, self.rest) = (0, &[]);
                None
            })?;
            (self.left, self.rest) = (self.left.wrapping_sub(1), rest);
            if let Read::Valid(record) = read {
                if let Some(record) = record.checked(self.states) {
                    return Some(record);
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests;
