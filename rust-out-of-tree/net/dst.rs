// SPDX-License-Identifier: GPL-2.0

//! Routes (`struct dst_entry`).
//!
//! C header: [`include/net/dst.h`](srctree/include/net/dst.h)

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::sync::rcu;

use crate::oot::bindings;

use super::{
    device::Device,
    nf_proto::NfProto, //
};

/// A borrowed route.
///
/// # Invariants
///
/// `dst` is live for `'a`, and a route of `family`.
#[derive(Clone, Copy)]
pub(crate) struct DstRef<'a> {
    dst: NonNull<bindings::dst_entry>,
    family: NfProto,
    _lives: PhantomData<&'a Dst>,
}

impl DstRef<'_> {
    /// # Safety
    ///
    /// `dst` must be live for the lifetime of the result.
    #[inline(always)]
    pub(super) unsafe fn from_raw(dst: NonNull<bindings::dst_entry>) -> Self {
        // SAFETY: The route is live. Its family, one of the two, determines the type that contains
        // it.
        let family = match unsafe { bindings::oot_dst_is_inet6(dst.as_ptr()) } {
            true => NfProto::Ipv6,
            false => NfProto::Ipv4,
        };
        // INVARIANT: By the safety requirement.
        Self {
            dst,
            family,
            _lives: PhantomData,
        }
    }

    #[inline(always)]
    pub(super) fn as_raw(self) -> *mut bindings::dst_entry {
        self.dst.as_ptr()
    }

    /// The protocol of the route.
    #[inline(always)]
    pub(super) fn family(self) -> NfProto {
        self.family
    }

    /// Whether the route is still valid, as `dst_check()`.
    #[inline(always)]
    pub(crate) fn is_valid(self, cookie: u32) -> bool {
        // SAFETY: The route is live by the type invariant.
        !unsafe { bindings::oot_dst_check(self.as_raw(), cookie) }.is_null()
    }

    /// The path MTU in bytes.
    #[inline(always)]
    pub(crate) fn mtu(self) -> u32 {
        // SAFETY: The route is live by the type invariant.
        unsafe { bindings::oot_dst_mtu(self.as_raw()) }
    }

    /// Whether the route is to this host: `RTCF_LOCAL` for IPv4, the loopback device for IPv6.
    #[inline(always)]
    pub(crate) fn is_local(self, _guard: &rcu::Guard) -> bool {
        match self.family {
            // SAFETY: The route is live, and an IPv4 route is a `struct rtable`.
            NfProto::Ipv4 => unsafe {
                bindings::oot_rt_flags(self.as_raw()) & bindings::RTCF_LOCAL != 0
            },
            // SAFETY: The route is live, and so is its device while the RCU read lock is held.
            NfProto::Ipv6 => unsafe {
                bindings::oot_dst_dev_flags(self.as_raw()) & bindings::net_device_flags_IFF_LOOPBACK
                    != 0
            },
        }
    }

    /// Whether the output device of the route is `device`.
    pub(crate) fn is_by(self, device: &Device) -> bool {
        // SAFETY: The route is live. The call compares the address of its device only.
        unsafe { bindings::oot_dst_is_by(self.as_raw(), device.as_raw()) }
    }

    /// Whether the output device of the route is running (`netif_running()`).
    pub(crate) fn is_dev_running(self, _guard: &rcu::Guard) -> bool {
        // SAFETY: The route is live, and so is its device while the RCU read lock is held.
        unsafe { bindings::oot_dst_dev_running(self.as_raw()) }
    }

    /// The link header length of the output device in bytes.
    #[inline(always)]
    pub(crate) fn hard_header_len(self, _guard: &rcu::Guard) -> u32 {
        // SAFETY: The route is live, and so is its device while the RCU read lock is held.
        unsafe { bindings::oot_dst_hard_header_len(self.as_raw()) }
    }

    /// Whether the output device computes the checksum of SCTP packets (`NETIF_F_SCTP_CRC`).
    pub(crate) fn sums_sctp(self, _guard: &rcu::Guard) -> bool {
        // SAFETY: The route is live, and so is its device while the RCU read lock is held.
        unsafe { bindings::oot_dst_sums_sctp(self.as_raw()) }
    }

    /// The headroom to reserve for the link header in bytes, as `LL_RESERVED_SPACE()`.
    pub(crate) fn reserved_space(self, _guard: &rcu::Guard) -> u32 {
        // SAFETY: The route is live, and so is its device while the RCU read lock is held.
        unsafe { bindings::oot_dst_reserved_space(self.as_raw()) }
    }
}

/// An owned reference to a route.
///
/// # Invariants
///
/// `dst` is live and a route of `family`, and this value owns one reference to it.
pub(crate) struct Dst {
    dst: NonNull<bindings::dst_entry>,
    family: NfProto,
}

// SAFETY: Routes are reference-counted and may be released in any context.
unsafe impl Send for Dst {}

// SAFETY: Routes are shared between CPUs by design.
unsafe impl Sync for Dst {}

impl Dst {
    /// # Safety
    ///
    /// `dst` must be live and a route of `family`. The caller passes on one reference.
    pub(super) unsafe fn from_raw(dst: NonNull<bindings::dst_entry>, family: NfProto) -> Self {
        // INVARIANT: By the safety requirement.
        Self { dst, family }
    }

    #[inline(always)]
    pub(super) fn into_raw(self) -> *mut bindings::dst_entry {
        core::mem::ManuallyDrop::new(self).dst.as_ptr()
    }

    /// Borrows the route.
    #[inline(always)]
    pub(crate) fn as_ref(&self) -> DstRef<'_> {
        // INVARIANT: The route is live while `self` is borrowed.
        DstRef {
            dst: self.dst,
            family: self.family,
            _lives: PhantomData,
        }
    }
}

impl Drop for Dst {
    fn drop(&mut self) {
        // SAFETY: By the type invariant we own the reference.
        unsafe { bindings::dst_release(self.dst.as_ptr()) };
    }
}
