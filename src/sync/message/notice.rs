// SPDX-License-Identifier: GPL-2.0

//! The notices of a resync, which follow the conns of a message of version 1.
//!
//! A request is a message without conns. An answer consists of parts: messages whose conns have an
//! idle time (`IDLE` in [`v1`](super::v1)). C has no resync. It ignores both kinds and logs
//! nothing: it reads as many conns as the header counts and nothing after them, and it skips
//! unknown parameters with the mark for that. Older versions of C read the number of conns from
//! another byte of the header, which is 0.

use super::take;
use zerocopy::{
    byteorder::network_endian::U32,
    IntoBytes as _, //
};
use zerocopy_derive::{
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    Unaligned, //
};

/// The data after the conns of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// The message is a request to all directors that have conns.
    Request(Request),
    /// The message is a part of an answer.
    Part(Part),
}

/// A request for all conns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// A random number.
    pub(crate) number: u32,
    /// The number of times that the rate of the answer is halved: parts of earlier answers were
    /// lost.
    pub(crate) slower: u32,
}

/// A part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The number of the request.
    pub(crate) request: u32,
    /// The random number of the answer.
    pub(crate) answer: u32,
    /// The number of conns of the answering director when the answer began.
    pub(crate) total: u32,
    /// The number of the part, from 0 on.
    pub(crate) number: u32,
    pub(crate) is_last: bool,
}

/// A notice in a message.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Wire {
    magic: [u8; 4],
    kind: u8,
    reserved: [u8; 3],
    request: U32,
    answer: U32,
    total: U32,
    number: U32,
}

pub(super) const LEN: usize = size_of::<Wire>();

const MAGIC: [u8; 4] = *b"rsyn";
// Kinds.
const REQUEST: u8 = 1;
const PART: u8 = 2;
const LAST_PART: u8 = 3;

impl Notice {
    /// The notice in wire format.
    pub(super) fn to_bytes(self) -> [u8; LEN] {
        let (kind, part) = match self {
            Self::Request(request) => (
                REQUEST,
                Part {
                    request: request.number,
                    answer: 0,
                    total: 0,
                    number: request.slower,
                    is_last: false,
                },
            ),
            Self::Part(part) if part.is_last => (LAST_PART, part),
            Self::Part(part) => (PART, part),
        };
        let wire = Wire {
            magic: MAGIC,
            kind,
            reserved: [0; 3],
            request: U32::new(part.request),
            answer: U32::new(part.answer),
            total: U32::new(part.total),
            number: U32::new(part.number),
        };
        let mut bytes = [0; LEN];
        let _ = wire.write_to(&mut bytes);
        bytes
    }

    /// Reads the notice at the start of `bytes`; `None` if there is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (wire, _) = take::<Wire>(bytes)?;
        if wire.magic != MAGIC {
            return None;
        }
        let part = |is_last| Part {
            request: wire.request.get(),
            answer: wire.answer.get(),
            total: wire.total.get(),
            number: wire.number.get(),
            is_last,
        };
        match wire.kind {
            REQUEST => Some(Self::Request(Request {
                number: wire.request.get(),
                slower: wire.number.get(),
            })),
            PART => Some(Self::Part(part(false))),
            LAST_PART => Some(Self::Part(part(true))),
            _ => None,
        }
    }
}
