// SPDX-License-Identifier: GPL-2.0

//! Packets that are ours to change, send or free.

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

/// The route that a packet is given.
pub(crate) enum SkbRoute<'h> {
    /// One that lives as long as the call of the hook, without a reference.
    NoRef(DstRef<'h>),
    /// One that the packet owns.
    Owned(Dst),
}

impl SkbRoute<'_> {
    /// Looks at the route.
    #[inline(always)]
    pub(crate) fn dst(&self) -> DstRef<'_> {
        match self {
            Self::NoRef(dst) => *dst,
            Self::Owned(dst) => dst.as_ref(),
        }
    }
}

/// A packet of the IP layer that we own, within the call of a hook that took it.
///
/// `'h` is the time of that call, in which the RCU read lock is held: the packet's route may be one
/// without a reference (`SKB_DST_NOREF`), so that the packet must not be kept beyond.
///
/// # Invariants
///
/// `skb` is live and used by no other, and its data begin with a linear IP header of `family`, which
/// is where its network header is set to. The RCU read lock is held for `'h`.
pub(crate) struct SkBuff<'h> {
    skb: NonNull<bindings::sk_buff>,
    family: NfProto,
    _call: PhantomData<&'h ()>,
}

impl<'h> SkBuff<'h> {
    /// # Safety
    ///
    /// `skb` must be live and become ours, as a hook of `family` has it, and the RCU read lock must
    /// be held for `'h`.
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

    /// Gives the packet to C.
    #[inline(always)]
    pub(in crate::oot::net) fn into_raw(self) -> *mut bindings::sk_buff {
        core::mem::ManuallyDrop::new(self).skb.as_ptr()
    }

    /// Which IP header it begins with.
    #[inline(always)]
    pub(in crate::oot::net) fn family(&self) -> NfProto {
        self.family
    }

    /// Replaces the route.
    #[inline(always)]
    pub(in crate::oot::net) fn set_route(&mut self, route: SkbRoute<'h>) {
        // SAFETY: Releases the reference that the packet holds, if it does.
        unsafe { bindings::oot_skb_dst_drop(self.as_raw()) };
        match route {
            // SAFETY: The route is live for `'h`, as the packet is ours, with the RCU read lock
            // held; C takes a reference where it queues the packet (`skb_dst_force()`).
            SkbRoute::NoRef(dst) => unsafe {
                bindings::oot_skb_dst_set_noref(self.as_raw(), dst.as_raw())
            },
            // SAFETY: The packet takes over the reference.
            SkbRoute::Owned(dst) => unsafe {
                bindings::oot_skb_dst_set(self.as_raw(), dst.into_raw())
            },
        }
    }

    /// Takes the first `len` bytes off, so that the packet begins with the IP header behind them.
    /// What the stack parsed of the options of the header before is forgotten.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is no whole IP header of the packet's family. The packet stays as it was.
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
        // SAFETY: So many bytes are linear.
        unsafe { bindings::oot_pskb_pull(self.as_raw(), len) };
        self.network_header_is_new();
        Ok(())
    }

    /// The data begin with another IP header than before.
    fn network_header_is_new(&mut self) {
        // SAFETY: The data pointer lies within the buffer.
        unsafe { bindings::oot_skb_reset_network_header(self.as_raw()) };
        // SAFETY: The control block belongs to the IP layer while the packet does.
        unsafe { bindings::oot_ip_clear_options(self.as_raw()) };
    }

    /// The packet with at least `headroom` bytes before it, and unshared: itself or a copy of its
    /// head, which the packet's socket then owns.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also for more than [`MAX_HEADROOM`]. The packet is freed.
    pub(crate) fn with_headroom(self, headroom: u32) -> Result<Self> {
        if self.has_own_headroom(headroom) {
            return Ok(self);
        }
        if headroom > MAX_HEADROOM {
            return Err(ENOMEM);
        }
        let raw = self.as_raw();
        // SAFETY: The packet is live by the type invariant; the room is one that a packet can have.
        let copy = unsafe { bindings::skb_realloc_headroom(raw, headroom) };
        // SAFETY: The copy is new and ours. It has the same data, header and route.
        let copy = unsafe { Self::from_raw(NonNull::new(copy).ok_or(ENOMEM)?, self.family) };
        if self.has_socket() {
            // SAFETY: The socket is kept alive by the packet that it owns so far.
            unsafe { bindings::oot_skb_set_owner_w(copy.as_raw(), raw) };
        }
        self.consume();
        Ok(copy)
    }

    /// Whether there are `len` bytes before the packet that no other packet shares.
    fn has_own_headroom(&self, len: u32) -> bool {
        let raw = self.as_raw();
        // SAFETY: The packet is live by the type invariant.
        let headroom = unsafe { bindings::oot_skb_headroom(raw) };
        // SAFETY: The packet is live by the type invariant.
        headroom >= len && unsafe { bindings::oot_skb_cloned(raw) } == 0
    }

    /// Puts an IPv4 header without options before the packet.
    ///
    /// # Errors
    ///
    /// `ENOMEM` without room for it: see [`Self::with_headroom`].
    pub(crate) fn push_ipv4_header<T: IntoBytes + Immutable>(&mut self, header: &T) -> Result {
        const { assert!(size_of::<T>() == size_of::<bindings::iphdr>()) };
        self.push_network_header(NfProto::Ipv4, header.as_bytes())
    }

    /// Puts an IPv6 header before the packet.
    ///
    /// # Errors
    ///
    /// `ENOMEM` without room for it: see [`Self::with_headroom`].
    pub(crate) fn push_ipv6_header<T: IntoBytes + Immutable>(&mut self, header: &T) -> Result {
        const { assert!(size_of::<T>() == size_of::<bindings::ipv6hdr>()) };
        self.push_network_header(NfProto::Ipv6, header.as_bytes())
    }

    fn push_network_header(&mut self, family: NfProto, bytes: &[u8]) -> Result {
        let len = bytes.len() as u32;
        if !self.has_own_headroom(len) {
            return Err(ENOMEM);
        }
        // SAFETY: There is room, and the packet's head is unshared.
        let start = unsafe { bindings::skb_push(self.as_raw(), len) };
        // SAFETY: `start` is the beginning of `bytes.len()` bytes that were just added.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), start.cast(), bytes.len()) };
        // INVARIANT: The callers' bytes are as long as a header of `family`.
        self.family = family;
        self.network_header_is_new();
        Ok(())
    }

    /// Forgets the connection tracking entry, as `nf_reset_ct()`.
    pub(crate) fn reset_conntrack(&mut self) {
        // SAFETY: The packet is used by no other by the type invariant.
        unsafe { bindings::oot_nf_reset_ct(self.as_raw()) };
    }

    /// Frees a packet that did its duty, as `consume_skb()`: not counted as a drop.
    pub(crate) fn consume(self) {
        // SAFETY: The packet is ours to free by the type invariant.
        unsafe { bindings::consume_skb(self.into_raw()) };
    }
}

impl Deref for SkBuff<'_> {
    type Target = Skb;

    #[inline(always)]
    fn deref(&self) -> &Skb {
        // SAFETY: It is live and used by no other by the type invariant.
        unsafe { Skb::from_raw(self.skb) }
    }
}

impl DerefMut for SkBuff<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Skb {
        // SAFETY: It is live and used by no other by the type invariant.
        unsafe { Skb::from_raw_mut(self.skb) }
    }
}

impl Drop for SkBuff<'_> {
    fn drop(&mut self) {
        // SAFETY: The packet is ours to free by the type invariant.
        unsafe { bindings::oot_kfree_skb(self.skb.as_ptr()) };
    }
}
