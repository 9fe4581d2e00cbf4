// SPDX-License-Identifier: GPL-2.0

//! The checksum of a packet's transport header, and what is known of it.

use kernel::prelude::*;

use crate::oot::bindings;

use super::Skb;

/// How far a packet's transport checksum is known to be right.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IpSummed {
    /// Not at all.
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
        // SAFETY: The packet is live by the type invariant.
        match u32::from(unsafe { bindings::oot_skb_ip_summed(self.as_raw()) }) {
            bindings::CHECKSUM_UNNECESSARY => IpSummed::Unnecessary,
            bindings::CHECKSUM_COMPLETE => IpSummed::Complete,
            bindings::CHECKSUM_PARTIAL => IpSummed::Partial,
            _ => IpSummed::None,
        }
    }

    #[inline(always)]
    fn set_ip_summed(&mut self, summed: u32) {
        // SAFETY: The packet is used by no other by the type invariant.
        unsafe { bindings::oot_skb_set_ip_summed(self.as_raw(), summed as u8) };
    }

    /// Says that nothing is known of the transport checksum.
    #[inline(always)]
    pub(crate) fn set_checksum_none(&mut self) {
        self.set_ip_summed(bindings::CHECKSUM_NONE);
    }

    /// Says that the transport checksum is right.
    #[inline(always)]
    pub(crate) fn set_checksum_unnecessary(&mut self) {
        self.set_ip_summed(bindings::CHECKSUM_UNNECESSARY);
    }

    /// Leaves the checksum of the header at `start` to the device: the field `offset` bytes into
    /// it holds the sum of the pseudo header.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the field is not within the linear part of the packet.
    pub(crate) fn set_partial_checksum(&mut self, start: u32, offset: u16) -> Result {
        let field = start.checked_add(offset.into()).ok_or(EINVAL)?;
        let end = field.checked_add(size_of::<u16>() as u32).ok_or(EINVAL)?;
        if end > self.head_len() {
            return Err(EINVAL);
        }
        // SAFETY: The packet is used by no other by the type invariant, and has such a field.
        unsafe { bindings::oot_skb_set_csum_start(self.as_raw(), start, offset) };
        self.set_ip_summed(bindings::CHECKSUM_PARTIAL);
        Ok(())
    }

    /// The unfolded sum of the packet from `offset` to its end, as `skb_checksum()`. It is that of
    /// no bytes if the packet ends before.
    pub(crate) fn checksum_from(&self, offset: u32) -> u32 {
        let Some(len) = self.len().checked_sub(offset) else {
            return 0;
        };
        // SAFETY: The packet has so many bytes from `offset` on.
        unsafe { bindings::skb_checksum(self.as_raw(), offset as i32, len as i32, 0) }
    }

    /// Verifies the checksum of the message that starts at `offset`, of the transport protocol
    /// `proto`, as `nf_checksum()`. That of a packet without device, from this host, is right.
    pub(crate) fn has_valid_checksum(&mut self, offset: u32, proto: u8) -> bool {
        if !self.has_dev() {
            return true;
        }
        let Some(family) = self.protocol().filter(|_| offset <= self.len()) else {
            return false;
        };
        // SAFETY: The packet is used by no other by the type invariant, and of that family; so many
        // bytes of it are there.
        unsafe {
            bindings::oot_nf_checksum_is_valid(self.as_raw(), offset, proto, family.as_raw().into())
        }
    }
}
