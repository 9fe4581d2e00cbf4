// SPDX-License-Identifier: GPL-2.0

//! The checksum of a packet's transport header, and who has to see to it.

use crate::oot::bindings;

use super::Skb;

/// How far a packet's transport checksum is known to be right.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IpSummed {
    /// Nobody has looked.
    None,
    /// Checked.
    Unnecessary,
    /// `skb->csum` sums the whole packet.
    Complete,
    /// The field holds the sum of the pseudo header; the device adds the rest.
    Partial,
}

impl Skb {
    /// What is known of the transport checksum.
    #[inline(always)]
    pub(crate) fn ip_summed(&self) -> IpSummed {
        // SAFETY: Reads a field of a live packet.
        match unsafe { bindings::oot_skb_ip_summed(self.as_raw()) } {
            1 => IpSummed::Unnecessary,
            2 => IpSummed::Complete,
            3 => IpSummed::Partial,
            _ => IpSummed::None,
        }
    }

    /// Says what is known of the transport checksum.
    pub(crate) fn set_ip_summed(&mut self, summed: IpSummed) {
        let value = match summed {
            IpSummed::None => 0,
            IpSummed::Unnecessary => 1,
            IpSummed::Complete => 2,
            IpSummed::Partial => 3,
        };
        // SAFETY: Writes a field of a packet that is ours.
        unsafe { bindings::oot_skb_set_ip_summed(self.as_raw(), value) };
    }

    /// Leaves the checksum of the header at `start` to the device: the field `offset` bytes into
    /// it holds the sum of the pseudo header.
    pub(crate) fn set_partial_checksum(&mut self, start: u32, offset: u16) {
        // SAFETY: Writes fields of a packet that is ours.
        unsafe { bindings::oot_skb_set_csum_start(self.as_raw(), start, offset) };
        self.set_ip_summed(IpSummed::Partial);
    }

    /// The unfolded sum of the packet from `offset` to its end, as `skb_checksum()`.
    pub(crate) fn checksum_from(&self, offset: u32) -> u32 {
        let len = self.len().saturating_sub(offset);
        // SAFETY: Sums bytes that the packet has.
        unsafe { bindings::skb_checksum(self.as_raw(), offset as i32, len as i32, 0) }
    }

    /// Verifies the checksum of an ICMP message (family by `proto`) that starts at `offset`, as
    /// `ip_vs_checksum_common_check()`.
    pub(crate) fn has_valid_checksum(&mut self, offset: u32, proto: u8, family: u8) -> bool {
        // SAFETY: The packet is ours; its network header is set within the hooks.
        unsafe {
            bindings::oot_ip_vs_checksum_common_check(
                self.as_raw(),
                offset as i32,
                proto.into(),
                family.into(),
            )
        }
    }
}
