// SPDX-License-Identifier: GPL-2.0

//! The hashes of conns, templates and packets in the conn table of a network namespace.
//!
//! C version: `ip_vs_conn_hashkey_param()`, `ip_vs_conn_hashkey_conn()`
//! [net/netfilter/ipvs/ip_vs_conn.c].

use super::{
    table::ConnTable,
    End,
    Params, //
};
use crate::{
    addr::Family,
    packet::Packet,
    pe, //
};

impl ConnTable {
    /// The hash by which the packet's conn is found: that in the packet, if it was computed before.
    #[inline(always)]
    pub(crate) fn hash_of_packet(&self, packet: &Packet) -> u32 {
        packet.hash.unwrap_or_else(|| {
            let source = (&packet.saddr, packet.sport);
            let destination = (&packet.daddr, packet.dport);
            self.hash_of(packet.family, packet.protocol, source, destination)
        })
    }

    /// The hash of the client's end in `params` and `end`, or of a persistence engine's data.
    #[inline]
    pub(super) fn hash_of_params(&self, params: &Params<'_>, end: End<'_>) -> u32 {
        if let Some((_, data)) = params.pe {
            return self.hash_of_data(data);
        }
        let client = (params.caddr, params.cport);
        self.hash_of(params.family, params.proto as u8, client, end)
    }

    /// The hash of up to [`pe::MAX_LEN`] bytes.
    #[cold]
    pub(super) fn hash_of_data(&self, data: &[u8]) -> u32 {
        let mut words = [0; (pe::MAX_LEN + 1) / 8];
        for (word, chunk) in words.iter_mut().zip(data.chunks(8)) {
            *word = chunk
                .iter()
                .fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        self.key.hash_words(&words)
    }

    /// The hash of packets between two ends, the same in both directions.
    #[inline(always)]
    pub(super) fn hash_of(
        &self,
        family: Family,
        protocol: u8,
        one: End<'_>,
        other: End<'_>,
    ) -> u32 {
        match family {
            Family::Inet => {
                let end =
                    |(addr, port): End<'_>| u64::from(addr.be32()) << 16 | u64::from(port.be16());
                let (one, other) = (end(one), end(other));
                let (low, high) = (one.min(other), one.max(other));
                self.key.hash4([
                    low as u32,
                    (low >> 32) as u32 | u32::from(protocol) << 16,
                    high as u32,
                    (high >> 32) as u32,
                ])
            }
            Family::Inet6 => self.hash6(protocol, one, other),
        }
    }

    #[inline]
    fn hash6(&self, protocol: u8, one: End<'_>, other: End<'_>) -> u32 {
        let end = |(addr, port): End<'_>| {
            let [a, b, c, d] = addr.words();
            let pair = |a, b| u64::from(a) << 32 | u64::from(b);
            (pair(a, b), pair(c, d), port.be16())
        };
        let (one, other) = (end(one), end(other));
        let (low, high) = (one.min(other), one.max(other));
        let rest = u64::from(protocol) << 32 | u64::from(low.2) << 16 | u64::from(high.2);
        self.key.hash_words(&[low.0, low.1, high.0, high.1, rest])
    }
}
