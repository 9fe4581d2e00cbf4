// SPDX-License-Identifier: GPL-2.0

//! Packet headers in wire format.
//!
//! Each header is a `#[repr(C)]` struct with an alignment of one byte. The type of a field gives
//! its byte order. The length is checked once, when the struct is read from bytes
//! (`zerocopy::FromBytes::ref_from_prefix` or `skb_header_pointer()`). After that, no accessor can
//! fail. The values of fields are not checked.

pub(crate) mod csum;
pub(crate) mod ftp;
pub(crate) mod gre;
pub(crate) mod gue;
pub(crate) mod icmp;
pub(crate) mod icmpv6;
pub(crate) mod ipv4;
pub(crate) mod ipv6;
pub(crate) mod sctp;
pub(crate) mod seq;
pub(crate) mod tcp;
mod text;
pub(crate) mod toa;
pub(crate) mod udp;
