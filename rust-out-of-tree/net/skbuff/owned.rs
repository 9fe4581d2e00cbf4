// SPDX-License-Identifier: GPL-2.0

//! Owned packets.

use core::{
    marker::PhantomData,
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::NonNull, //
};
use kernel::prelude::*;
use zerocopy::{
    Immutable,
    IntoBytes, //
};

use crate::oot::{
    bindings,
    net::{
        dst::{
            Dst,
            DstRef, //
        },
        nf_proto::NfProto, //
    }, //
};

use super::{
    Skb,
    MAX_HEADROOM, //
};

/// A route for a packet.
pub(crate) enum SkbRoute<'h> {
    /// A route without a reference, live until the hook call ends.
    NoRef(DstRef<'h>),
    /// A route with a reference, which the packet takes over.
    Owned(Dst),
}

impl SkbRoute<'_> {
    /// Borrows the route.
    #[inline(always)]
    pub(crate) fn dst(&self) -> DstRef<'_> {
        match self {
            Self::NoRef(dst) => *dst,
            Self::Owned(dst) => dst.as_ref(),
        }
    }
}

/// A packet of the IP layer that a hook has stolen and owns.
///
/// `'h` is the duration of the hook call, for which the RCU read lock is held. The packet's route
/// may be one without a reference (`SKB_DST_NOREF`), so the packet must not be kept longer.
///
/// # Invariants
///
/// `skb` is live and no other code uses it. Its data begin with a linear IP header of `family`, and
/// the network header offset is set to it. The RCU read lock is held for `'h`.
pub(crate) struct SkBuff<'h> {
    skb: NonNull<bindings::sk_buff>,
    family: NfProto,
    _call: PhantomData<&'h ()>,
}

impl<'h> SkBuff<'h> {
    /// # Safety
    ///
    /// `skb` must be live and as in a hook of `family`, the caller must pass on its ownership, and
    /// the RCU read lock must be held for `'h`.
    #[inline(always)]
    pub(in crate::oot::net) unsafe fn from_raw(
        skb: NonNull<bindings::sk_buff>,
        family: NfProto,
    ) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            skb,
            family,
            _call: PhantomData,
        }
    }

    /// Passes the packet to C.
    #[inline(always)]
    pub(in crate::oot::net) fn into_raw(self) -> *mut bindings::sk_buff {
        core::mem::ManuallyDrop::new(self).skb.as_ptr()
    }

    /// The protocol of the packet's IP header.
    #[inline(always)]
    pub(in crate::oot::net) fn family(&self) -> NfProto {
        self.family
    }

    /// Replaces the route.
    #[inline(always)]
    pub(in crate::oot::net) fn set_route(&mut self, route: SkbRoute<'h>) {
        self.drop_route();
        match route {
            // SAFETY: The route is live for `'h`, as long as we own the packet, with the RCU read
            // lock held. C takes a reference where it queues the packet (`skb_dst_force()`).
            SkbRoute::NoRef(dst) => unsafe {
                bindings::oot_skb_dst_set_noref(self.as_raw(), dst.as_raw())
            },
            // SAFETY: The packet takes over the reference.
            SkbRoute::Owned(dst) => unsafe {
                bindings::oot_skb_dst_set(self.as_raw(), dst.into_raw())
            },
        }
    }

    /// Drops the route, if there is one.
    #[inline(always)]
    pub(in crate::oot::net) fn drop_route(&mut self) {
        // SAFETY: The call releases the reference that the packet holds, if any.
        unsafe { bindings::oot_skb_dst_drop(self.as_raw()) };
    }

    /// Removes the first `len` bytes, so that the packet begins with the IP header after them.
    /// Clears the parsed options of the previous header.
    ///
    /// # Errors
    ///
    /// `EINVAL` if no complete IP header of the packet's family follows. The packet is not changed
    /// then.
    pub(crate) fn pull_to_network(&mut self, len: u32) -> Result {
        let least = match self.family {
            NfProto::Ipv4 => size_of::<bindings::iphdr>(),
            NfProto::Ipv6 => size_of::<bindings::ipv6hdr>(),
        } as u32;
        if !self.may_pull(len.checked_add(least).ok_or(EINVAL)?) {
            return Err(EINVAL);
        }
        let first = *self.linear().get(len as usize).ok_or(EINVAL)?;
        let (version, header) = match self.family {
            NfProto::Ipv4 => (4, u32::from(first & 0xf) << 2),
            NfProto::Ipv6 => (6, least),
        };
        if first >> 4 != version || header < least || !self.may_pull(len.wrapping_add(header)) {
            return Err(EINVAL);
        }
        // SAFETY: At least `len` bytes are linear.
        unsafe { bindings::oot_pskb_pull(self.as_raw(), len) };
        self.network_header_is_new();
        Ok(())
    }

    /// Resets the network header offset to the start of the data, and the parsed options.
    fn network_header_is_new(&mut self) {
        // SAFETY: The data pointer lies within the buffer.
        unsafe { bindings::oot_skb_reset_network_header(self.as_raw()) };
        // SAFETY: The control block belongs to the IP layer while it has the packet.
        unsafe { bindings::oot_ip_clear_options(self.as_raw()) };
    }

    /// Returns the packet with at least `headroom` bytes of unshared headroom: itself, or a copy of
    /// its head, to which the packet's socket is transferred.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also if `headroom` is above [`MAX_HEADROOM`]. The packet is freed then.
    pub(crate) fn with_headroom(self, headroom: u32) -> Result<Self> {
        if self.has_own_headroom(headroom) {
            return Ok(self);
        }
        if headroom > MAX_HEADROOM {
            return Err(ENOMEM);
        }
        let raw = self.as_raw();
        // SAFETY: The packet is live by the type invariant, and the headroom is within the limit.
        let copy = unsafe { bindings::skb_realloc_headroom(raw, headroom) };
        // SAFETY: The copy is new and owned by us. It has the same data, header and route.
        let copy = unsafe { Self::from_raw(NonNull::new(copy).ok_or(ENOMEM)?, self.family) };
        if self.has_socket() {
            // SAFETY: The old packet still holds the socket, so it is live.
            unsafe { bindings::oot_skb_set_owner_w(copy.as_raw(), raw) };
        }
        self.consume();
        Ok(copy)
    }

    /// Whether the packet has `len` bytes of headroom, and does not share its head.
    fn has_own_headroom(&self, len: u32) -> bool {
        let raw = self.as_raw();
        // SAFETY: The packet is live by the type invariant.
        let headroom = unsafe { bindings::oot_skb_headroom(raw) };
        // SAFETY: The packet is live by the type invariant.
        headroom >= len && unsafe { bindings::oot_skb_cloned(raw) } == 0
    }

    /// Prepends an IPv4 header without options, followed by the `transport` header, which may be
    /// empty. The offset of the transport header is set unless it is empty.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if the headroom is too small: see [`Self::with_headroom`].
    #[inline(always)]
    pub(crate) fn push_ipv4_header<T: IntoBytes + Immutable>(
        &mut self,
        header: &T,
        transport: &[u8],
    ) -> Result {
        const { assert!(size_of::<T>() == size_of::<bindings::iphdr>()) };
        self.push_network_header(NfProto::Ipv4, header.as_bytes(), transport)
    }

    /// As [`push_ipv4_header`](Self::push_ipv4_header), with an IPv6 header.
    ///
    /// # Errors
    ///
    /// `ENOMEM` if the headroom is too small: see [`Self::with_headroom`].
    #[inline(always)]
    pub(crate) fn push_ipv6_header<T: IntoBytes + Immutable>(
        &mut self,
        header: &T,
        transport: &[u8],
    ) -> Result {
        const { assert!(size_of::<T>() == size_of::<bindings::ipv6hdr>()) };
        self.push_network_header(NfProto::Ipv6, header.as_bytes(), transport)
    }

    // With the constant length of the header, copying it needs no call.
    #[inline(always)]
    fn push_network_header(&mut self, family: NfProto, bytes: &[u8], transport: &[u8]) -> Result {
        let len = bytes.len().checked_add(transport.len()).ok_or(ENOMEM)?;
        let len = u32::try_from(len).map_err(|_| ENOMEM)?;
        if !self.has_own_headroom(len) {
            return Err(ENOMEM);
        }
        // SAFETY: The headroom is sufficient, and the packet's head is unshared.
        let start = unsafe { bindings::skb_push(self.as_raw(), len) }.cast::<u8>();
        // SAFETY: `start` is the beginning of `len` bytes that were just added, `bytes` first.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len()) };
        // INVARIANT: The callers pass a header of `family`.
        self.family = family;
        self.network_header_is_new();
        if transport.is_empty() {
            return Ok(());
        }
        // SAFETY: `bytes.len()` is at most `len`.
        let next = unsafe { start.add(bytes.len()) };
        // SAFETY: `transport.len()` of the added bytes are left from `next` on.
        unsafe { core::ptr::copy_nonoverlapping(transport.as_ptr(), next, transport.len()) };
        self.set_transport_header(bytes.len() as u32)
    }

    /// Drops the conntrack entry, as `nf_reset_ct()`.
    pub(crate) fn reset_conntrack(&mut self) {
        // SAFETY: By the type invariant no other code uses the packet.
        unsafe { bindings::oot_nf_reset_ct(self.as_raw()) };
    }

    /// Frees a packet that is not counted as dropped, as `consume_skb()`.
    pub(crate) fn consume(self) {
        // SAFETY: By the type invariant we own the packet.
        unsafe { bindings::consume_skb(self.into_raw()) };
    }
}

impl Deref for SkBuff<'_> {
    type Target = Skb;

    #[inline(always)]
    fn deref(&self) -> &Skb {
        // SAFETY: By the type invariant the packet is live and no other code uses it.
        unsafe { Skb::from_raw(self.skb) }
    }
}

impl DerefMut for SkBuff<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Skb {
        // SAFETY: By the type invariant the packet is live and no other code uses it.
        unsafe { Skb::from_raw_mut(self.skb) }
    }
}

impl Drop for SkBuff<'_> {
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own the packet.
        unsafe { bindings::oot_kfree_skb(self.skb.as_ptr()) };
    }
}
