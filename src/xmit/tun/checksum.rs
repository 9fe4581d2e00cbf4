// SPDX-License-Identifier: GPL-2.0

//! Checksums of the headers that a tunnel adds.
//!
//! C version: `udp_set_csum()` [net/ipv4/udp.c], `udp6_set_csum()` [net/ipv6/ip6_checksum.c],
//! `gre_build_header()` [include/net/gre.h].

use crate::{
    oot::net::skbuff::{
        IpSummed,
        Skb, //
    },
    wire::csum::{
        Csum16,
        Sum, //
    }, //
};

/// Sets a checksum that is 0. It covers `pseudo` and the data from offset `start` on. Its field is
/// `offset` bytes from there. `finish` turns the checksum into the field's value.
///
/// If the device completes a checksum in the data, the sum of the data behind that one's start is
/// known, and this one is computed. Otherwise the device completes this one. Returns `None` if the
/// packet is inconsistent or cannot be made writable.
pub(super) fn set(
    skb: &mut Skb,
    pseudo: Sum,
    start: u32,
    offset: u16,
    finish: impl FnOnce(Csum16) -> Csum16,
) -> Option<()> {
    let field = start.checked_add(offset.into())?;
    if skb.ip_summed() != IpSummed::Partial {
        write(skb, field, pseudo.partial())?;
        return skb.set_partial_checksum(start, offset).ok();
    }
    let inner = skb.partial_checksum()?;
    let bytes = skb.writable(inner.field.checked_add(2)?).ok()?;
    let data = bytes.get(start as usize..inner.start as usize)?;
    let value = bytes.get(inner.field as usize..)?.first_chunk()?;
    let sum = pseudo
        .add_bytes(data)
        .add_completed(Csum16::from_bytes(*value));
    write(skb, field, finish(sum.checksum()))
}

/// Writes the checksum field at offset `field`.
pub(super) fn write(skb: &mut Skb, field: u32, check: Csum16) -> Option<()> {
    let bytes = skb.writable(field.checked_add(2)?).ok()?;
    *bytes.get_mut(field as usize..)?.first_chunk_mut()? = check.bytes();
    Some(())
}
