// SPDX-License-Identifier: GPL-2.0

//! Packets.
//!
//! [`Skb`] is a packet that somebody owns and lends us; [`SkBuff`] is one that we own. Offsets
//! count from the start of the packet's data, which within netfilter's hooks is the IP header.
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
    sync::rcu,
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
};

/// A packet, borrowed.
///
/// # Invariants
///
/// A live `struct sk_buff` that no other thread uses while the reference lives.
#[repr(transparent)]
pub(crate) struct Skb(Opaque<bindings::sk_buff>);

impl Skb {
    /// # Safety
    ///
    /// `skb` must be live and not be used by others for `'a`.
    pub(super) unsafe fn from_raw<'a>(skb: NonNull<bindings::sk_buff>) -> &'a mut Self {
        // SAFETY: By the safety requirement; the type is transparent.
        unsafe { skb.cast::<Self>().as_mut() }
    }

    #[inline(always)]
    pub(super) fn as_raw(&self) -> *mut bindings::sk_buff {
        self.0.get()
    }

    #[inline(always)]
    fn fields(&self) -> &bindings::sk_buff {
        // SAFETY: By the type invariant it is live and nobody writes it while we look.
        unsafe { &*self.as_raw() }
    }

    #[inline(always)]
    fn fields_mut(&mut self) -> &mut bindings::sk_buff {
        // SAFETY: By the type invariant it is live and ours alone.
        unsafe { &mut *self.as_raw() }
    }

    /// The length of the packet in bytes, paged data included.
    #[inline(always)]
    pub(crate) fn len(&self) -> u32 {
        self.fields().len
    }

    /// The bytes of the packet that lie in its linear part.
    #[inline(always)]
    fn linear(&self) -> &[u8] {
        let skb = self.fields();
        let len = skb.len.wrapping_sub(skb.data_len) as usize;
        // SAFETY: `data` points at the linear part, which is `len - data_len` bytes long.
        unsafe { core::slice::from_raw_parts(skb.data, len) }
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
        // SAFETY: The packet is ours to change.
        if unsafe { bindings::skb_ensure_writable(self.as_raw(), len) } != 0 {
            return Err(ENOMEM);
        }
        let skb = self.fields_mut();
        // SAFETY: At least `len` bytes of `data` are linear and unshared now.
        Ok(unsafe { core::slice::from_raw_parts_mut(skb.data, len as usize) })
    }

    /// Makes sure of `headroom` bytes before the packet, unshared; as `skb_cow()`.
    pub(crate) fn cow(&mut self, headroom: u32) -> Result {
        // SAFETY: The packet is ours to change.
        match unsafe { bindings::oot_skb_cow(self.as_raw(), headroom) } {
            0 => Ok(()),
            _ => Err(ENOMEM),
        }
    }

    /// Moves the start of the data `len` bytes forward and makes the IP header start there.
    pub(crate) fn pull_to_network(&mut self, len: u32) -> Result {
        // SAFETY: Fails, changing nothing, if the packet is shorter.
        if unsafe { bindings::oot_pskb_pull(self.as_raw(), len) }.is_null() {
            return Err(EINVAL);
        }
        // SAFETY: The data pointer lies within the buffer.
        unsafe { bindings::oot_skb_reset_network_header(self.as_raw()) };
        Ok(())
    }

    /// Makes the first `len` bytes linear, as `pskb_may_pull()`; false if the packet is shorter.
    pub(crate) fn may_pull(&mut self, len: u32) -> bool {
        // SAFETY: The packet is ours to change.
        unsafe { bindings::oot_pskb_may_pull(self.as_raw(), len) }
    }

    /// Says that the transport header starts `offset` bytes after the data.
    pub(crate) fn set_transport_header(&mut self, offset: u32) {
        // SAFETY: Only stores the number.
        unsafe { bindings::oot_skb_set_transport_header(self.as_raw(), offset as i32) };
    }

    /// Clears the IP options that the IPv4 stack parsed for an outer header.
    pub(crate) fn clear_ip_options(&mut self) {
        // SAFETY: The control block belongs to the IP layer within its hooks.
        unsafe { bindings::oot_ip_clear_options(self.as_raw()) };
    }

    /// Already handled by IPVS.
    #[inline(always)]
    pub(crate) fn ipvs_property(&self) -> bool {
        // SAFETY: Reads a field of a live packet.
        unsafe { bindings::oot_skb_ipvs_property(self.as_raw()) }
    }

    /// Marks the packet as handled by IPVS.
    #[inline(always)]
    pub(crate) fn set_ipvs_property(&mut self) {
        // SAFETY: Writes a field of a packet that is ours.
        unsafe { bindings::oot_skb_set_ipvs_property(self.as_raw()) };
    }

    /// Whether it was sent to this very host, not broadcast nor overheard (`PACKET_HOST`).
    #[inline(always)]
    pub(crate) fn is_to_host(&self) -> bool {
        // SAFETY: Reads a field of a live packet.
        unsafe { bindings::oot_skb_pkt_type(self.as_raw()) == bindings::PACKET_HOST as u8 }
    }

    /// Its firewall mark.
    #[inline(always)]
    pub(crate) fn mark(&self) -> u32 {
        // SAFETY: Reads a field of a live packet.
        unsafe { bindings::oot_skb_mark(self.as_raw()) }
    }

    #[inline(always)]
    fn dev(&self) -> *mut bindings::net_device {
        // SAFETY: All members of the union start with the same two links but this one is what the
        // network layer uses.
        unsafe {
            self.fields()
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
        // SAFETY: The device of a packet in flight is live.
        self.has_dev() && unsafe { bindings::oot_dev_is_loopback(self.dev()) }
    }

    /// Gives a packet without device the loopback one, which the ICMP senders need.
    pub(crate) fn set_loopback_dev_if_none(&mut self, net: &Net) {
        if !self.has_dev() {
            // SAFETY: The namespace is live and so is its loopback device.
            unsafe { bindings::oot_skb_set_loopback_dev(self.as_raw(), net.as_raw()) };
        }
    }

    /// Gives a packet without device that of its route, and says whether it has one then.
    pub(crate) fn set_dst_dev_if_none(&mut self) {
        if !self.has_dev() && self.dst().is_some() {
            // SAFETY: The packet has a route, and a route has a device.
            unsafe { bindings::oot_skb_set_dst_dev(self.as_raw()) };
        }
    }

    /// Makes the route's device the packet's, as the source of an ICMP error.
    pub(crate) fn force_dst_dev(&mut self) {
        if self.dst().is_some() {
            // SAFETY: The packet has a route, and a route has a device.
            unsafe { bindings::oot_skb_set_dst_dev(self.as_raw()) };
        }
    }

    /// Whether it belongs to a socket.
    #[inline(always)]
    pub(crate) fn has_socket(&self) -> bool {
        !self.fields().sk.is_null()
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
            // SAFETY: The packet is ours to change.
            unsafe { bindings::oot_skb_orphan(self.as_raw()) };
        }
    }

    /// Its route, if it has one.
    #[inline(always)]
    pub(crate) fn dst(&self) -> Option<DstRef<'_>> {
        // SAFETY: Reads a field of a live packet; the route lives as long as it is the packet's.
        let dst = unsafe { bindings::oot_skb_dst(self.as_raw()) };
        // SAFETY: As above.
        NonNull::new(dst).map(|dst| unsafe { DstRef::from_raw(dst) })
    }

    /// Replaces the route by one that RCU keeps alive for the section of the hook, `guard`'s.
    #[inline(always)]
    pub(crate) fn set_dst_noref(&mut self, dst: DstRef<'_>, _guard: &rcu::Guard) {
        // SAFETY: Releases the reference that the packet holds, if it does.
        unsafe { bindings::oot_skb_dst_drop(self.as_raw()) };
        // SAFETY: The route is live, and should its last reference be dropped, it is freed a grace
        // period later, after the section of the hook. Who queues the packet beyond it takes a
        // reference (`skb_dst_force()`).
        unsafe { bindings::oot_skb_dst_set_noref(self.as_raw(), dst.as_raw()) };
    }

    /// Replaces the route by one that the packet owns.
    pub(crate) fn set_dst(&mut self, dst: Dst) {
        // SAFETY: Releases the reference that the packet holds, if it does.
        unsafe { bindings::oot_skb_dst_drop(self.as_raw()) };
        // SAFETY: The packet takes over the reference.
        unsafe { bindings::oot_skb_dst_set(self.as_raw(), dst.into_raw()) };
    }

    /// Tells the sender that there is no way to the destination, as `dst_link_failure()`.
    pub(crate) fn link_failure(&mut self) {
        if self.dst().is_some() {
            // SAFETY: The packet has a route.
            unsafe { bindings::oot_dst_link_failure(self.as_raw()) };
        }
    }

    /// Whether the packet came in from outside, as its IPv4 route says.
    pub(crate) fn is_input_route4(&self) -> bool {
        // SAFETY: The packet has an IPv4 route, or we do not ask.
        self.dst().is_some() && unsafe { bindings::oot_skb_is_input_route(self.as_raw()) }
    }

    /// Whether it is a bundle of segments.
    #[inline(always)]
    pub(crate) fn is_gso(&self) -> bool {
        // SAFETY: Reads the packet's shared info.
        unsafe { bindings::oot_skb_is_gso(self.as_raw()) }
    }

    /// Whether it, or each of the segments it will become, is longer than `mtu`.
    #[inline(always)]
    pub(crate) fn exceeds_mtu(&self, mtu: u32) -> bool {
        if self.len() <= mtu {
            return false;
        }
        // SAFETY: Only looks at the packet.
        !(self.is_gso() && unsafe { bindings::skb_gso_validate_network_len(self.as_raw(), mtu) })
    }

    /// Takes the packet out of connection tracking's sight, as `ip_vs_notrack()`.
    #[inline(always)]
    pub(crate) fn notrack(&mut self) {
        if self.fields()._nfct != 0 {
            // SAFETY: The packet is ours to change.
            unsafe { bindings::oot_ip_vs_notrack(self.as_raw()) };
        }
    }

    /// Forgets what the receive path knew of checksum and time, before it is sent on.
    #[inline(always)]
    pub(crate) fn forget_receive_state(&mut self) {
        // SAFETY: The packet is ours to change.
        unsafe { bindings::oot_skb_forward_csum(self.as_raw()) };
        if self.has_dev() {
            // SAFETY: As above.
            unsafe { bindings::oot_skb_clear_tstamp(self.as_raw()) };
        }
    }

    /// Lets the IP layer fragment it whatever its DF bit says.
    #[inline(always)]
    pub(crate) fn set_ignore_df(&mut self) {
        // SAFETY: Writes a field of a packet that is ours.
        unsafe { bindings::oot_skb_set_ignore_df(self.as_raw()) };
    }
}

/// A packet that we own.
///
/// # Invariants
///
/// `skb` is live and nobody else's.
pub(crate) struct SkBuff {
    skb: NonNull<bindings::sk_buff>,
    _owns: PhantomData<Skb>,
}

impl SkBuff {
    /// # Safety
    ///
    /// `skb` must be live and become ours.
    pub(super) unsafe fn from_raw(skb: NonNull<bindings::sk_buff>) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            skb,
            _owns: PhantomData,
        }
    }

    /// Gives the packet to C.
    pub(super) fn into_raw(self) -> *mut bindings::sk_buff {
        core::mem::ManuallyDrop::new(self).skb.as_ptr()
    }

    /// The packet with at least `headroom` bytes before it, and unshared: itself or a copy of its
    /// head, which the packet's socket then owns.
    pub(crate) fn with_headroom(self, headroom: u32) -> Result<Self> {
        let raw = self.as_raw();
        // SAFETY: Only looks at the packet.
        if unsafe { bindings::oot_skb_headroom(raw) } >= headroom
            // SAFETY: As above.
            && unsafe { bindings::oot_skb_cloned(raw) } == 0
        {
            return Ok(self);
        }
        // SAFETY: Makes a new packet from a live one.
        let copy = unsafe { bindings::skb_realloc_headroom(raw, headroom) };
        // SAFETY: The copy is new and ours.
        let copy = unsafe { Self::from_raw(NonNull::new(copy).ok_or(ENOMEM)?) };
        if self.has_socket() {
            // SAFETY: The socket is kept alive by the packet that it owns so far.
            unsafe { bindings::oot_skb_set_owner_w(copy.as_raw(), raw) };
        }
        self.consume();
        Ok(copy)
    }

    /// Puts a network header before the packet.
    ///
    /// # Errors
    ///
    /// `ENOMEM` without room for it.
    pub(crate) fn push_network_header<T: IntoBytes + Immutable>(&mut self, header: T) -> Result {
        let bytes = header.as_bytes();
        let raw = self.as_raw();
        // SAFETY: Only looks at the packet.
        if (unsafe { bindings::oot_skb_headroom(raw) } as usize) < bytes.len() {
            return Err(ENOMEM);
        }
        // SAFETY: There is room, and the packet's head is unshared: see `with_headroom`.
        let start = unsafe { bindings::skb_push(raw, bytes.len() as u32) };
        // SAFETY: `start` is the beginning of `bytes.len()` bytes that were just added.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), start.cast(), bytes.len()) };
        // SAFETY: The data pointer lies within the buffer.
        unsafe { bindings::oot_skb_reset_network_header(raw) };
        Ok(())
    }

    /// Forgets the connection tracking entry, as `nf_reset_ct()`.
    pub(crate) fn reset_conntrack(&mut self) {
        // SAFETY: The packet is ours to change.
        unsafe { bindings::oot_nf_reset_ct(self.as_raw()) };
    }

    /// Frees a packet that did its duty, as `consume_skb()`: not counted as a drop.
    pub(crate) fn consume(self) {
        // SAFETY: The packet is ours to free.
        unsafe { bindings::consume_skb(self.into_raw()) };
    }
}

impl Deref for SkBuff {
    type Target = Skb;

    #[inline(always)]
    fn deref(&self) -> &Skb {
        // SAFETY: By the type invariant it is live and ours.
        unsafe { Skb::from_raw(self.skb) }
    }
}

impl DerefMut for SkBuff {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Skb {
        // SAFETY: By the type invariant it is live and ours.
        unsafe { Skb::from_raw(self.skb) }
    }
}

impl Drop for SkBuff {
    fn drop(&mut self) {
        // SAFETY: The packet is ours to free.
        unsafe { bindings::oot_kfree_skb(self.skb.as_ptr()) };
    }
}
