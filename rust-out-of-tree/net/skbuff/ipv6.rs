// SPDX-License-Identifier: GPL-2.0

//! IPv6 extension headers.
//!
//! C header: [`include/net/ipv6.h`](srctree/include/net/ipv6.h)

use crate::oot::bindings;

use super::Skb;

/// The transport header of an IPv6 packet.
pub(crate) struct Ipv6Transport {
    /// The offset from the start of the packet's data, in bytes.
    pub(crate) offset: u32,
    /// The protocol number.
    pub(crate) protocol: u8,
    /// The fragment offset in bytes; 0 for a first fragment and for an unfragmented packet.
    pub(crate) fragment_offset: u16,
    /// Whether the packet has a fragment header.
    pub(crate) is_fragment: bool,
}

impl Skb {
    /// The size in bytes of the largest fragment that an IPv6 packet was reassembled from, or 0.
    pub(crate) fn ip6_frag_max_size(&self) -> u32 {
        // SAFETY: The control block belongs to the IP layer in its hooks.
        unsafe { bindings::oot_ip6_frag_max_size(self.as_raw()) }
    }

    /// Finds the transport header of an IPv6 packet after its extension headers (C:
    /// `ipv6_find_hdr()`).
    ///
    /// `start` is the offset of the IPv6 header.
    pub(crate) fn ipv6_find_header(&self, start: u32) -> Option<Ipv6Transport> {
        let mut found = Ipv6Transport {
            offset: start,
            protocol: 0,
            fragment_offset: 0,
            is_fragment: false,
        };
        let mut flags = 0;
        let offset: *mut u32 = &mut found.offset;
        // SAFETY: The pointers are to local variables; the function checks every offset.
        let protocol = unsafe {
            bindings::ipv6_find_hdr(
                self.as_raw(),
                offset,
                -1,
                &mut found.fragment_offset,
                &mut flags,
            )
        };
        found.protocol = u8::try_from(protocol).ok()?;
        found.is_fragment = flags & bindings::IP6_FH_F_FRAG as i32 != 0;
        Some(found)
    }
}
