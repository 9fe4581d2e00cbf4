// SPDX-License-Identifier: GPL-2.0

//! Transport checksums and their state (`skb->ip_summed`).

use kernel::prelude::*;

use crate::oot::bindings;

use super::Skb;

/// The state of a packet's transport checksum (`CHECKSUM_*`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum IpSummed {
    /// The checksum was not verified.
    None,
    /// The checksum was verified.
    Unnecessary,
    /// `skb->csum` is the sum of the whole packet.
    Complete,
    /// The checksum field has the pseudo header's sum; the device adds the rest.
    Partial,
}

/// A checksum that the device completes (`CHECKSUM_PARTIAL`).
#[derive(Clone, Copy)]
pub(crate) struct PartialChecksum {
    /// The offset in bytes from which on the device takes the sum.
    pub(crate) start: u32,
    /// The offset of the checksum field in bytes.
    pub(crate) field: u32,
}

impl Skb {
    /// Returns the state of the transport checksum.
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
        // SAFETY: By the type invariant no other code uses the packet.
        unsafe { bindings::oot_skb_set_ip_summed(self.as_raw(), summed as u8) };
    }

    /// Marks the transport checksum as not verified.
    #[inline(always)]
    pub(crate) fn set_checksum_none(&mut self) {
        self.set_ip_summed(bindings::CHECKSUM_NONE);
    }

    /// Marks the transport checksum as verified.
    #[inline(always)]
    pub(crate) fn set_checksum_unnecessary(&mut self) {
        self.set_ip_summed(bindings::CHECKSUM_UNNECESSARY);
    }

    /// Leaves the checksum of the header at `start` to the device. The checksum field, `offset`
    /// bytes into the header, must have the pseudo header's sum.
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
        // SAFETY: By the type invariant no other code uses the packet, and the field is within it.
        unsafe { bindings::oot_skb_set_csum_start(self.as_raw(), start, offset) };
        self.set_ip_summed(bindings::CHECKSUM_PARTIAL);
        Ok(())
    }

    /// The checksum that the device completes, if there is one. `None` also if its field is not
    /// within the linear part of the packet.
    pub(crate) fn partial_checksum(&self) -> Option<PartialChecksum> {
        if self.ip_summed() != IpSummed::Partial {
            return None;
        }
        // SAFETY: The packet is live by the type invariant.
        let start = u32::try_from(unsafe { bindings::oot_skb_csum_start(self.as_raw()) }).ok()?;
        // SAFETY: The packet is live by the type invariant.
        let offset = unsafe { bindings::oot_skb_csum_offset(self.as_raw()) };
        let field = start.checked_add(offset.into())?;
        let end = field.checked_add(size_of::<u16>() as u32)?;
        (end <= self.head_len()).then_some(PartialChecksum { start, field })
    }

    /// The unfolded sum of the packet from `offset` to its end, as `skb_checksum()`. 0 if the
    /// packet is too short.
    pub(crate) fn checksum_from(&self, offset: u32) -> u32 {
        let Some(len) = self.len().checked_sub(offset) else {
            return 0;
        };
        // SAFETY: The packet has `len` bytes from `offset` on.
        unsafe { bindings::skb_checksum(self.as_raw(), offset as i32, len as i32, 0) }
    }

    /// The CRC32c of the packet from `offset` to its end: the checksum of SCTP, if its field is 0
    /// now (`sctp_compute_cksum()`). 0 if the packet is too short, or if the kernel lacks the
    /// function.
    pub(crate) fn crc32c_from(&self, offset: u32) -> u32 {
        #[cfg(CONFIG_NET_CRC32C)]
        if let Some(len) = self.len().checked_sub(offset) {
            // SAFETY: The packet has `len` bytes from `offset` on.
            return !unsafe { bindings::skb_crc32c(self.as_raw(), offset as i32, len as i32, !0) };
        }
        let _ = offset;
        0
    }

    /// Verifies the checksum of the message at `offset`, whose transport protocol is `proto`, as
    /// `nf_checksum()`. A packet without device was sent by this host and is valid.
    pub(crate) fn has_valid_checksum(&mut self, offset: u32, proto: u8) -> bool {
        if !self.has_dev() {
            return true;
        }
        let Some(family) = self.protocol().filter(|_| offset <= self.len()) else {
            return false;
        };
        // SAFETY: By the type invariant no other code uses the packet. It is of that family, and
        // `offset` is within it.
        unsafe {
            bindings::oot_nf_checksum_is_valid(self.as_raw(), offset, proto, family.as_raw().into())
        }
    }
}
