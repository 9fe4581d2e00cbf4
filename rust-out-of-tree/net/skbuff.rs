// SPDX-License-Identifier: GPL-2.0

//! Packets.
//!
//! [`Skb`] is a borrowed packet of the IP layer, [`SkBuff`] an owned one. Offsets count from the
//! start of the packet's data, which is its IP header.
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h)

mod checksum;
mod ipv6;

pub(crate) use checksum::IpSummed;

use core::{
    marker::PhantomData,
    mem::MaybeUninit,
    ops::{
        Deref,
        DerefMut, //
    },
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    types::Opaque, //
};
use zerocopy::{
    FromBytes,
    Immutable,
    IntoBytes, //
};

use crate::oot::bindings;

use super::{
    dst::{
        Dst,
        DstRef, //
    },
    namespace::Net, //
    nf_proto::NfProto,
};

/// The most room that a packet can have before its data, in bytes: offsets in it have 16 bits.
pub(crate) const MAX_HEADROOM: u32 = u16::MAX as u32;

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

/// A packet of the IP layer, borrowed.
///
/// The type is not `Sized`, so that two packets cannot be swapped by means of two `&mut Skb`: the
/// stack has pointers to each. It is what [`Pin`] is used for elsewhere, without a reborrow at every
/// call. The length of the slice is always 0.
///
/// # Invariants
///
/// A live `struct sk_buff` that no other thread uses while the reference lives. Its route, device
/// and socket, as far as it has them, are live as well.
#[repr(C)]
pub(crate) struct Skb {
    raw: Opaque<bindings::sk_buff>,
    _not_sized: [()],
}

impl Skb {
    #[inline(always)]
    fn fat(skb: NonNull<bindings::sk_buff>) -> *mut Self {
        core::ptr::slice_from_raw_parts_mut(skb.as_ptr().cast::<()>(), 0) as *mut Self
    }

    /// # Safety
    ///
    /// `skb` must be live and only be read by others for `'a`.
    #[inline(always)]
    pub(super) unsafe fn from_raw<'a>(skb: NonNull<bindings::sk_buff>) -> &'a Self {
        // INVARIANT: By the safety requirement.
        // SAFETY: By the safety requirement; the type begins with the packet, and has no more.
        unsafe { &*Self::fat(skb) }
    }

    /// # Safety
    ///
    /// `skb` must be live and not be used by others for `'a`.
    #[inline(always)]
    pub(super) unsafe fn from_raw_mut<'a>(skb: NonNull<bindings::sk_buff>) -> &'a mut Self {
        // INVARIANT: By the safety requirement.
        // SAFETY: By the safety requirement; the type begins with the packet, and has no more.
        unsafe { &mut *Self::fat(skb) }
    }

    #[inline(always)]
    pub(super) fn as_raw(&self) -> *mut bindings::sk_buff {
        self.raw.get()
    }

    /// The first byte of the packet.
    #[inline(always)]
    fn data(&self) -> *mut u8 {
        // SAFETY: The packet is live by the type invariant.
        unsafe { (*self.as_raw()).data }
    }

    /// The length of the linear part.
    #[inline(always)]
    fn head_len(&self) -> u32 {
        // SAFETY: The packet is live by the type invariant.
        let paged = unsafe { (*self.as_raw()).data_len };
        self.len().wrapping_sub(paged)
    }

    /// The length of the packet in bytes, paged data included.
    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        // SAFETY: The packet is live by the type invariant.
        unsafe { (*self.as_raw()).len }
    }

    /// The bytes of the packet that lie in its linear part.
    #[inline(always)]
    fn linear(&self) -> &[u8] {
        // SAFETY: `data` points at the linear part, which is `head_len()` bytes long.
        unsafe { core::slice::from_raw_parts(self.data(), self.head_len() as usize) }
    }

    /// Reads a header at `offset`; `None` if the packet ends before. As `skb_header_pointer()`.
    #[inline(always)]
    pub(crate) fn read<T: FromBytes + Copy>(&self, offset: u32) -> Option<T> {
        let rest = self.linear().get(offset as usize..);
        match rest.and_then(|rest| T::read_from_prefix(rest).ok()) {
            Some((header, _)) => Some(header),
            None => self.read_paged(offset),
        }
    }

    #[cold]
    fn read_paged<T: FromBytes + Copy>(&self, offset: u32) -> Option<T> {
        let mut header = MaybeUninit::<T>::zeroed();
        // SAFETY: Copies `size_of::<T>()` bytes to `header`, or fails if the packet is shorter.
        let failed = unsafe {
            bindings::skb_copy_bits(
                self.as_raw(),
                i32::try_from(offset).ok()?,
                header.as_mut_ptr().cast(),
                size_of::<T>() as i32,
            )
        };
        // SAFETY: Initialised as zeros and `T: FromBytes` may hold any bytes.
        (failed == 0).then(|| unsafe { header.assume_init() })
    }

    /// The first `len` bytes, private to us and linear, for writing; as `skb_ensure_writable()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also for a packet that is shorter.
    #[inline]
    pub(crate) fn writable(&mut self, len: u32) -> Result<&mut [u8]> {
        // SAFETY: The packet is used by no other by the type invariant.
        if unsafe { bindings::skb_ensure_writable(self.as_raw(), len) } != 0 {
            return Err(ENOMEM);
        }
        // SAFETY: At least `len` bytes of `data` are linear and unshared now.
        Ok(unsafe { core::slice::from_raw_parts_mut(self.data(), len as usize) })
    }

    /// Makes sure of `headroom` bytes before the packet, unshared; as `skb_cow()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also for more than [`MAX_HEADROOM`].
    pub(crate) fn cow(&mut self, headroom: u32) -> Result {
        if headroom > MAX_HEADROOM {
            return Err(ENOMEM);
        }
        // SAFETY: The packet is used by no other by the type invariant; the room is one that a
        // packet can have.
        match unsafe { bindings::oot_skb_cow(self.as_raw(), headroom) } {
            0 => Ok(()),
            _ => Err(ENOMEM),
        }
    }

    /// Makes the first `len` bytes linear, as `pskb_may_pull()`; false if the packet is shorter.
    pub(crate) fn may_pull(&mut self, len: u32) -> bool {
        // SAFETY: The packet is used by no other by the type invariant.
        unsafe { bindings::oot_pskb_may_pull(self.as_raw(), len) }
    }

    /// Sets where the transport header starts.
    ///
    /// # Errors
    ///
    /// `EINVAL` for an offset beyond the linear part of the packet.
    pub(crate) fn set_transport_header(&mut self, offset: u32) -> Result {
        if offset > self.head_len() {
            return Err(EINVAL);
        }
        // SAFETY: The offset lies within the linear part.
        unsafe { bindings::oot_skb_set_transport_header(self.as_raw(), offset as i32) };
        Ok(())
    }

    /// Whether the mark of packets that a virtual server has handled is set.
    #[inline(always)]
    pub(crate) fn ipvs_property(&self) -> bool {
        // SAFETY: The packet is live by the type invariant.
        unsafe { bindings::oot_skb_ipvs_property(self.as_raw()) }
    }

    /// Sets the mark of packets that a virtual server has handled, which `xt_ipvs` and others read.
    #[inline(always)]
    pub(crate) fn set_ipvs_property(&mut self) {
        // SAFETY: The packet is used by no other by the type invariant.
        unsafe { bindings::oot_skb_set_ipvs_property(self.as_raw()) };
    }

    /// Whether it was sent to this very host, not broadcast nor overheard (`PACKET_HOST`).
    #[inline(always)]
    pub(crate) fn is_to_host(&self) -> bool {
        // SAFETY: The packet is live by the type invariant.
        unsafe { bindings::oot_skb_pkt_type(self.as_raw()) == bindings::PACKET_HOST as u8 }
    }

    /// Its firewall mark.
    #[inline(always)]
    pub(crate) fn mark(&self) -> u32 {
        // SAFETY: The packet is live by the type invariant.
        unsafe { bindings::oot_skb_mark(self.as_raw()) }
    }

    #[inline(always)]
    fn dev(&self) -> *mut bindings::net_device {
        // SAFETY: The packet is live by the type invariant, and `dev` is what the union holds while
        // it is the IP layer's.
        unsafe {
            (*self.as_raw())
                .__bindgen_anon_1
                .__bindgen_anon_1
                .__bindgen_anon_1
                .dev
        }
    }

    /// Whether it came in by a device; one sent by this host has none before POST_ROUTING.
    #[inline(always)]
    pub(crate) fn has_dev(&self) -> bool {
        !self.dev().is_null()
    }

    /// Whether it came in by the loopback device.
    pub(crate) fn dev_is_loopback(&self) -> bool {
        // SAFETY: The device is live by the type invariant.
        self.has_dev() && unsafe { bindings::oot_dev_is_loopback(self.dev()) }
    }

    /// Gives a packet without device the loopback one, which the ICMP senders need.
    pub(crate) fn set_loopback_dev_if_none(&mut self, net: &Net) {
        if !self.has_dev() {
            // SAFETY: The namespace is live and so is its loopback device.
            unsafe { bindings::oot_skb_set_loopback_dev(self.as_raw(), net.as_raw()) };
        }
    }

    /// Sets the device to that of the route if there is none.
    pub(crate) fn set_dst_dev_if_none(&mut self) {
        if !self.has_dev() && self.has_dst() {
            // SAFETY: The packet has a route, and a route has a device.
            unsafe { bindings::oot_skb_set_dst_dev(self.as_raw()) };
        }
    }

    /// Makes the route's device the packet's, as the source of an ICMP error.
    pub(crate) fn force_dst_dev(&mut self) {
        if self.has_dst() {
            // SAFETY: The packet has a route, and a route has a device.
            unsafe { bindings::oot_skb_set_dst_dev(self.as_raw()) };
        }
    }

    /// Whether it belongs to a socket.
    #[inline(always)]
    pub(crate) fn has_socket(&self) -> bool {
        // SAFETY: The packet is live by the type invariant.
        !unsafe { (*self.as_raw()).sk }.is_null()
    }

    /// Whether it belongs to a socket that is neither in `TIME_WAIT` nor a mere request: those have
    /// no more than a socket's beginning.
    pub(crate) fn has_full_socket(&self) -> bool {
        // SAFETY: Reads fields of the packet's socket, which it keeps alive.
        self.has_socket() && unsafe { bindings::oot_skb_has_fullsock(self.as_raw()) }
    }

    /// Whether it was sent by a raw IPv4 socket that wants its fragments left alone.
    pub(crate) fn is_from_nodefrag_socket(&self) -> bool {
        // SAFETY: Reads fields of the packet's socket, which is whole and which it keeps alive.
        self.has_full_socket() && unsafe { bindings::oot_skb_nodefrag(self.as_raw()) }
    }

    /// Lets go of the socket, as `skb_orphan()`.
    pub(crate) fn orphan(&mut self) {
        if self.has_socket() {
            // SAFETY: The packet is used by no other by the type invariant.
            unsafe { bindings::oot_skb_orphan(self.as_raw()) };
        }
    }

    #[inline(always)]
    fn raw_dst(&self) -> *mut bindings::dst_entry {
        // SAFETY: The packet is live by the type invariant.
        unsafe { bindings::oot_skb_dst(self.as_raw()) }
    }

    /// Whether it has a route.
    #[inline(always)]
    pub(crate) fn has_dst(&self) -> bool {
        !self.raw_dst().is_null()
    }

    /// Its route, if it has one.
    #[inline(always)]
    pub(crate) fn dst(&self) -> Option<DstRef<'_>> {
        // SAFETY: The route is live by the type invariant for as long as it is the packet's.
        NonNull::new(self.raw_dst()).map(|dst| unsafe { DstRef::from_raw(dst) })
    }

    /// Which protocol of the IP layer the packet is of, if any.
    pub(super) fn protocol(&self) -> Option<NfProto> {
        // SAFETY: The packet is live by the type invariant.
        match u32::from(unsafe { bindings::oot_skb_protocol(self.as_raw()) }) {
            bindings::ETH_P_IP => Some(NfProto::Ipv4),
            bindings::ETH_P_IPV6 => Some(NfProto::Ipv6),
            _ => None,
        }
    }

    /// Tells the sender that there is no way to the destination, as `dst_link_failure()`.
    pub(crate) fn link_failure(&mut self) {
        if self.has_dst() {
            // SAFETY: The packet has a route.
            unsafe { bindings::oot_dst_link_failure(self.as_raw()) };
        }
    }

    /// Whether it has an IPv4 route, and that is one of packets from outside.
    pub(crate) fn is_input_route4(&self) -> bool {
        self.dst().is_some_and(|dst| dst.family() == NfProto::Ipv4)
            // SAFETY: The packet has an IPv4 route.
            && unsafe { bindings::oot_skb_is_input_route(self.as_raw()) }
    }

    /// Whether it is a bundle of segments.
    #[inline(always)]
    pub(crate) fn is_gso(&self) -> bool {
        // SAFETY: The packet is live by the type invariant, and so is its shared info.
        unsafe { bindings::oot_skb_is_gso(self.as_raw()) }
    }

    /// Whether it, or each of the segments it will become, is longer than `mtu`.
    #[inline(always)]
    pub(crate) fn exceeds_mtu(&self, mtu: u32) -> bool {
        if self.len() <= mtu {
            return false;
        }
        // SAFETY: The packet is live by the type invariant, and a bundle of segments.
        !(self.is_gso() && unsafe { bindings::skb_gso_validate_network_len(self.as_raw(), mtu) })
    }

    /// Forgets the connection tracking entry and has the packet left untracked, if it has an entry.
    #[inline(always)]
    pub(crate) fn notrack(&mut self) {
        // SAFETY: The packet is live by the type invariant.
        if unsafe { (*self.as_raw())._nfct } != 0 {
            // SAFETY: The packet is used by no other by the type invariant.
            unsafe { bindings::oot_skb_notrack(self.as_raw()) };
        }
    }

    /// Forgets what the receive path knew of checksum and time, before it is sent on.
    #[inline(always)]
    pub(crate) fn forget_receive_state(&mut self) {
        // SAFETY: The packet is used by no other by the type invariant.
        unsafe { bindings::oot_skb_forward_csum(self.as_raw()) };
        if self.has_dev() {
            // SAFETY: The packet is used by no other by the type invariant.
            unsafe { bindings::oot_skb_clear_tstamp(self.as_raw()) };
        }
    }

    /// Lets the IP layer fragment it whatever its DF bit says.
    #[inline(always)]
    pub(crate) fn set_ignore_df(&mut self) {
        // SAFETY: The packet is used by no other by the type invariant.
        unsafe { bindings::oot_skb_set_ignore_df(self.as_raw()) };
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
    pub(super) unsafe fn from_raw(skb: NonNull<bindings::sk_buff>, family: NfProto) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            skb,
            family,
            _call: PhantomData,
        }
    }

    /// Gives the packet to C.
    #[inline(always)]
    pub(super) fn into_raw(self) -> *mut bindings::sk_buff {
        core::mem::ManuallyDrop::new(self).skb.as_ptr()
    }

    /// Which IP header it begins with.
    #[inline(always)]
    pub(super) fn family(&self) -> NfProto {
        self.family
    }

    /// Replaces the route.
    #[inline(always)]
    pub(super) fn set_route(&mut self, route: SkbRoute<'h>) {
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
