// SPDX-License-Identifier: GPL-2.0

//! Packets.
//!
//! [`Skb`] is a borrowed packet of the IP layer, [`SkBuff`] an owned one. Offsets are in bytes from
//! the start of the packet's data, which is its IP header.
//!
//! C header: [`include/linux/skbuff.h`](srctree/include/linux/skbuff.h)

mod checksum;
mod ipv6;
mod owned;

pub(crate) use checksum::IpSummed;
pub(crate) use owned::{
    SkBuff,
    SkbRoute, //
};

use core::{
    mem::MaybeUninit,
    ptr::NonNull, //
};
use kernel::{
    prelude::*,
    types::Opaque, //
};
use zerocopy::FromBytes;

use crate::oot::bindings;

use super::{
    dst::DstRef,
    namespace::Net,
    nf_proto::NfProto, //
};

/// The maximum headroom of a packet in bytes: `struct sk_buff` has 16-bit offsets.
pub(crate) const MAX_HEADROOM: u32 = u16::MAX as u32;

/// A borrowed packet of the IP layer.
///
/// The type is not `Sized`, so that two packets cannot be swapped through two `&mut Skb`: the stack
/// has pointers to each. [`Pin`] would serve the same purpose, but needs a reborrow at every call.
/// The length of the slice is always 0.
///
/// # Invariants
///
/// The value is a live `struct sk_buff` that no other thread uses while the reference exists. Its
/// route, device and socket, if present, are live as well.
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
    /// `skb` must be live, and other code may only read it for `'a`.
    #[inline(always)]
    pub(super) unsafe fn from_raw<'a>(skb: NonNull<bindings::sk_buff>) -> &'a Self {
        // INVARIANT: By the safety requirement.
        // SAFETY: By the safety requirement; the type consists of the packet only.
        unsafe { &*Self::fat(skb) }
    }

    /// # Safety
    ///
    /// `skb` must be live, and no other code may use it for `'a`.
    #[inline(always)]
    pub(super) unsafe fn from_raw_mut<'a>(skb: NonNull<bindings::sk_buff>) -> &'a mut Self {
        // INVARIANT: By the safety requirement.
        // SAFETY: By the safety requirement; the type consists of the packet only.
        unsafe { &mut *Self::fat(skb) }
    }

    #[inline(always)]
    pub(super) fn as_raw(&self) -> *mut bindings::sk_buff {
        self.raw.get()
    }

    /// A pointer to the first byte of the packet.
    #[inline(always)]
    fn data(&self) -> *mut u8 {
        // SAFETY: The packet is live by the type invariant.
        unsafe { (*self.as_raw()).data }
    }

    /// The length of the linear part in bytes.
    #[inline(always)]
    fn head_len(&self) -> u32 {
        // SAFETY: The packet is live by the type invariant.
        let paged = unsafe { (*self.as_raw()).data_len };
        self.len().wrapping_sub(paged)
    }

    /// The length of the packet in bytes, including paged data.
    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        // SAFETY: The packet is live by the type invariant.
        unsafe { (*self.as_raw()).len }
    }

    /// The linear part of the packet.
    #[inline(always)]
    fn linear(&self) -> &[u8] {
        // SAFETY: `data` points to the linear part, which is `head_len()` bytes long.
        unsafe { core::slice::from_raw_parts(self.data(), self.head_len() as usize) }
    }

    /// Reads a header at `offset`, as `skb_header_pointer()`. `None` if the packet is too short.
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
        // SAFETY: Copies `size_of::<T>()` bytes to `header`, or fails if the packet is too short.
        let failed = unsafe {
            bindings::skb_copy_bits(
                self.as_raw(),
                i32::try_from(offset).ok()?,
                header.as_mut_ptr().cast(),
                size_of::<T>() as i32,
            )
        };
        // SAFETY: The value was zeroed, and `T: FromBytes` may hold any bytes.
        (failed == 0).then(|| unsafe { header.assume_init() })
    }

    /// Returns the first `len` bytes, linear and unshared, for writing, as `skb_ensure_writable()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also if the packet is too short.
    #[inline]
    pub(crate) fn writable(&mut self, len: u32) -> Result<&mut [u8]> {
        // SAFETY: By the type invariant no other code uses the packet.
        if unsafe { bindings::oot_skb_ensure_writable(self.as_raw(), len) } != 0 {
            return Err(ENOMEM);
        }
        // SAFETY: At least `len` bytes of `data` are now linear and unshared.
        Ok(unsafe { core::slice::from_raw_parts_mut(self.data(), len as usize) })
    }

    /// Ensures `headroom` bytes of unshared headroom, as `skb_cow()`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also if `headroom` is above [`MAX_HEADROOM`].
    pub(crate) fn cow(&mut self, headroom: u32) -> Result {
        if headroom > MAX_HEADROOM {
            return Err(ENOMEM);
        }
        // SAFETY: By the type invariant no other code uses the packet, and the headroom is within
        // the limit.
        match unsafe { bindings::oot_skb_cow(self.as_raw(), headroom) } {
            0 => Ok(()),
            _ => Err(ENOMEM),
        }
    }

    /// Inserts `len` bytes at the offset `at` by moving what is before them, which must be headers,
    /// and the link-layer header. The new bytes have any value. The offsets of IP and transport
    /// header and of a checksum to be completed are moved as well.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, also if `at` is beyond the packet, or `len` above [`MAX_HEADROOM`] less the length
    /// of the link-layer header.
    pub(crate) fn insert(&mut self, at: u32, len: u32) -> Result {
        self.writable(at)?;
        // SAFETY: By the type invariant no other code uses the packet, and its first `at` bytes are
        // linear.
        match unsafe { bindings::oot_skb_insert(self.as_raw(), at, len) } {
            0 => Ok(()),
            _ => Err(ENOMEM),
        }
    }

    /// Makes the first `len` bytes linear, as `pskb_may_pull()`. False if the packet is too short
    /// or memory runs out.
    pub(crate) fn may_pull(&mut self, len: u32) -> bool {
        // SAFETY: By the type invariant no other code uses the packet.
        unsafe { bindings::oot_pskb_may_pull(self.as_raw(), len) }
    }

    /// Makes the whole packet linear and returns it, as `skb_linearize()`. `None` if memory runs
    /// out.
    pub(crate) fn linearized(&mut self) -> Option<&[u8]> {
        match self.may_pull(self.len()) {
            true => Some(self.linear()),
            false => None,
        }
    }

    /// Sets the offset of the transport header.
    ///
    /// # Errors
    ///
    /// `EINVAL` if the offset is beyond the linear part of the packet.
    pub(crate) fn set_transport_header(&mut self, offset: u32) -> Result {
        if offset > self.head_len() {
            return Err(EINVAL);
        }
        // SAFETY: The offset lies within the linear part.
        unsafe { bindings::oot_skb_set_transport_header(self.as_raw(), offset as i32) };
        Ok(())
    }

    /// Whether `skb->ipvs_property` is set: IPVS has already handled the packet.
    #[inline(always)]
    pub(crate) fn ipvs_property(&self) -> bool {
        // SAFETY: The packet is live by the type invariant.
        unsafe { bindings::oot_skb_ipvs_property(self.as_raw()) }
    }

    /// Sets `skb->ipvs_property`, which `xt_ipvs` and others read.
    #[inline(always)]
    pub(crate) fn set_ipvs_property(&mut self) {
        // SAFETY: By the type invariant no other code uses the packet.
        unsafe { bindings::oot_skb_set_ipvs_property(self.as_raw()) };
    }

    /// Whether the packet was sent to this host, neither broadcast nor for another host
    /// (`PACKET_HOST`).
    #[inline(always)]
    pub(crate) fn is_to_host(&self) -> bool {
        // SAFETY: The packet is live by the type invariant.
        unsafe { bindings::oot_skb_pkt_type(self.as_raw()) == bindings::PACKET_HOST as u8 }
    }

    /// The firewall mark.
    #[inline(always)]
    pub(crate) fn mark(&self) -> u32 {
        // SAFETY: The packet is live by the type invariant.
        unsafe { bindings::oot_skb_mark(self.as_raw()) }
    }

    #[inline(always)]
    fn dev(&self) -> *mut bindings::net_device {
        // SAFETY: The packet is live by the type invariant, and the union holds `dev` while the IP
        // layer has the packet.
        unsafe {
            (*self.as_raw())
                .__bindgen_anon_1
                .__bindgen_anon_1
                .__bindgen_anon_1
                .dev
        }
    }

    /// Whether the packet has a device. A packet sent by this host has none before POST_ROUTING.
    #[inline(always)]
    pub(crate) fn has_dev(&self) -> bool {
        !self.dev().is_null()
    }

    /// Whether the packet was received on the loopback device.
    pub(crate) fn dev_is_loopback(&self) -> bool {
        // SAFETY: The device is live by the type invariant.
        self.has_dev() && unsafe { bindings::oot_dev_is_loopback(self.dev()) }
    }

    /// Sets the device to loopback if there is none. The ICMP senders need a device.
    pub(crate) fn set_loopback_dev_if_none(&mut self, net: &Net) {
        if !self.has_dev() {
            // SAFETY: The namespace and its loopback device are live.
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

    /// Sets the device to that of the route, as the source of an ICMP error.
    pub(crate) fn force_dst_dev(&mut self) {
        if self.has_dst() {
            // SAFETY: The packet has a route, and a route has a device.
            unsafe { bindings::oot_skb_set_dst_dev(self.as_raw()) };
        }
    }

    /// Whether the packet has a socket.
    #[inline(always)]
    pub(crate) fn has_socket(&self) -> bool {
        // SAFETY: The packet is live by the type invariant.
        !unsafe { (*self.as_raw()).sk }.is_null()
    }

    /// Whether the packet has a full socket: neither a `TIME_WAIT` nor a request socket, which are
    /// only prefixes of `struct sock`.
    pub(crate) fn has_full_socket(&self) -> bool {
        // SAFETY: The call reads fields of the packet's socket, which the packet keeps live.
        self.has_socket() && unsafe { bindings::oot_skb_has_fullsock(self.as_raw()) }
    }

    /// Whether the packet was sent by a raw IPv4 socket with the option `IP_NODEFRAG`.
    pub(crate) fn is_from_nodefrag_socket(&self) -> bool {
        // SAFETY: The call reads fields of the packet's socket, which is a full one and which the
        // packet keeps live.
        self.has_full_socket() && unsafe { bindings::oot_skb_nodefrag(self.as_raw()) }
    }

    /// Releases the socket, as `skb_orphan()`.
    pub(crate) fn orphan(&mut self) {
        if self.has_socket() {
            // SAFETY: By the type invariant no other code uses the packet.
            unsafe { bindings::oot_skb_orphan(self.as_raw()) };
        }
    }

    #[inline(always)]
    fn raw_dst(&self) -> *mut bindings::dst_entry {
        // SAFETY: The packet is live by the type invariant.
        unsafe { bindings::oot_skb_dst(self.as_raw()) }
    }

    /// Whether the packet has a route.
    #[inline(always)]
    pub(crate) fn has_dst(&self) -> bool {
        !self.raw_dst().is_null()
    }

    /// The route of the packet, if present.
    #[inline(always)]
    pub(crate) fn dst(&self) -> Option<DstRef<'_>> {
        // SAFETY: By the type invariant the route is live as long as the packet has it.
        NonNull::new(self.raw_dst()).map(|dst| unsafe { DstRef::from_raw(dst) })
    }

    /// The IP layer protocol of the packet (`skb->protocol`), if it is one.
    pub(super) fn protocol(&self) -> Option<NfProto> {
        // SAFETY: The packet is live by the type invariant.
        match u32::from(unsafe { bindings::oot_skb_protocol(self.as_raw()) }) {
            bindings::ETH_P_IP => Some(NfProto::Ipv4),
            bindings::ETH_P_IPV6 => Some(NfProto::Ipv6),
            _ => None,
        }
    }

    /// Reports to the sender that the destination is unreachable, as `dst_link_failure()`.
    pub(crate) fn link_failure(&mut self) {
        if self.has_dst() {
            // SAFETY: The packet has a route.
            unsafe { bindings::oot_dst_link_failure(self.as_raw()) };
        }
    }

    /// Whether the packet has an IPv4 input route, that is, was received.
    pub(crate) fn is_input_route4(&self) -> bool {
        self.dst().is_some_and(|dst| dst.family() == NfProto::Ipv4)
            // SAFETY: The packet has an IPv4 route.
            && unsafe { bindings::oot_skb_is_input_route(self.as_raw()) }
    }

    /// Whether the packet is a GSO packet.
    #[inline(always)]
    pub(crate) fn is_gso(&self) -> bool {
        // SAFETY: The packet is live by the type invariant, and so is its shared info.
        unsafe { bindings::oot_skb_is_gso(self.as_raw()) }
    }

    /// Whether the packet, or each segment of a GSO packet, is longer than `mtu` bytes.
    #[inline(always)]
    pub(crate) fn exceeds_mtu(&self, mtu: u32) -> bool {
        if self.len() <= mtu {
            return false;
        }
        // SAFETY: The packet is live by the type invariant, and a GSO packet.
        !(self.is_gso() && unsafe { bindings::skb_gso_validate_network_len(self.as_raw(), mtu) })
    }

    /// Drops the conntrack entry, if there is one, and marks the packet as untracked.
    #[inline(always)]
    pub(crate) fn notrack(&mut self) {
        // SAFETY: The packet is live by the type invariant.
        if unsafe { (*self.as_raw())._nfct } != 0 {
            // SAFETY: By the type invariant no other code uses the packet.
            unsafe { bindings::oot_skb_notrack(self.as_raw()) };
        }
    }

    /// Clears the checksum and time stamp state of the receive path before the packet is sent.
    #[inline(always)]
    pub(crate) fn forget_receive_state(&mut self) {
        // SAFETY: By the type invariant no other code uses the packet.
        unsafe { bindings::oot_skb_forward_csum(self.as_raw()) };
        if self.has_dev() {
            // SAFETY: By the type invariant no other code uses the packet.
            unsafe { bindings::oot_skb_clear_tstamp(self.as_raw()) };
        }
    }

    /// Lets the IP layer fragment the packet even if its DF bit is set.
    #[inline(always)]
    pub(crate) fn set_ignore_df(&mut self) {
        // SAFETY: By the type invariant no other code uses the packet.
        unsafe { bindings::oot_skb_set_ignore_df(self.as_raw()) };
    }
}
