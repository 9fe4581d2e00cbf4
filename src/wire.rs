// SPDX-License-Identifier: GPL-2.0

//! Packet headers, as they lie on the wire.
//!
//! Each header is a `#[repr(C)]` struct whose fields have their byte order in their type and an
//! alignment of one byte. The length is checked once, when the struct is taken from bytes
//! (`zerocopy::FromBytes::ref_from_prefix` or `skb_header_pointer()`); after that no accessor can
//! fail. A struct judges nothing: a field may hold any value, and what is made of it is the
//! caller's.

pub(crate) mod csum;
pub(crate) mod icmp;
pub(crate) mod icmpv6;
pub(crate) mod ipv4;
pub(crate) mod ipv6;
pub(crate) mod tcp;
pub(crate) mod udp;
