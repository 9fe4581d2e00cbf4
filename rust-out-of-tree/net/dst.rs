// SPDX-License-Identifier: GPL-2.0

//! Routes as the packets carry them.
//!
//! C header: [`include/net/dst.h`](srctree/include/net/dst.h)

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};

use crate::oot::bindings;

use super::device::Device;

/// A route, borrowed.
///
/// # Invariants
///
/// `dst` is live for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct DstRef<'a> {
    dst: NonNull<bindings::dst_entry>,
    _lives: PhantomData<&'a Dst>,
}

impl DstRef<'_> {
    /// # Safety
    ///
    /// `dst` must be live for the lifetime of the result.
    #[inline(always)]
    pub(super) unsafe fn from_raw(dst: NonNull<bindings::dst_entry>) -> Self {
        // INVARIANT: By the safety requirement.
        Self {
            dst,
            _lives: PhantomData,
        }
    }

    #[inline(always)]
    pub(super) fn as_raw(self) -> *mut bindings::dst_entry {
        self.dst.as_ptr()
    }

    /// Whether the route still holds, as `dst_check()`.
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

    /// Whether an IPv4 route leads to this host (`RTCF_LOCAL`).
    #[inline(always)]
    pub(crate) fn is_local4(self) -> bool {
        // SAFETY: The route is live and, in IPv4's hooks and caches, a `struct rtable`.
        unsafe { bindings::oot_rt_flags(self.as_raw()) & bindings::RTCF_LOCAL != 0 }
    }

    /// Whether an IPv6 route leads to this host, which is by the loopback device.
    #[inline(always)]
    pub(crate) fn is_local6(self) -> bool {
        // SAFETY: The route is live; it keeps its device so.
        unsafe {
            bindings::oot_dst_dev_flags(self.as_raw()) & bindings::net_device_flags_IFF_LOOPBACK
                != 0
        }
    }

    /// Whether it leaves by that device.
    pub(crate) fn is_by(self, device: &Device) -> bool {
        // SAFETY: Both are live; their addresses are compared.
        unsafe { bindings::oot_dst_is_by(self.as_raw(), device.as_raw()) }
    }

    /// Whether the device that it leaves by is up.
    pub(crate) fn is_dev_running(self) -> bool {
        // SAFETY: The route is live; it keeps its device so.
        unsafe { bindings::oot_dst_dev_running(self.as_raw()) }
    }

    /// The length of the link header of its device.
    pub(crate) fn hard_header_len(self) -> u32 {
        // SAFETY: The route is live; it keeps its device so.
        unsafe { bindings::oot_dst_hard_header_len(self.as_raw()) }
    }

    /// The room to keep for the link header, as `LL_RESERVED_SPACE()`.
    pub(crate) fn reserved_space(self) -> u32 {
        // SAFETY: The route is live; it keeps its device so.
        unsafe { bindings::oot_dst_reserved_space(self.as_raw()) }
    }
}

/// A reference to a route.
///
/// # Invariants
///
/// `dst` is live and this value owns one reference to it.
pub(crate) struct Dst(NonNull<bindings::dst_entry>);

// SAFETY: Routes are reference-counted and may be released in any context.
unsafe impl Send for Dst {}

// SAFETY: Routes are shared between CPUs by design.
unsafe impl Sync for Dst {}

impl Dst {
    /// # Safety
    ///
    /// `dst` must be live, with a reference that becomes ours.
    pub(super) unsafe fn from_raw(dst: NonNull<bindings::dst_entry>) -> Self {
        // INVARIANT: By the safety requirement.
        Self(dst)
    }

    pub(super) fn into_raw(self) -> *mut bindings::dst_entry {
        core::mem::ManuallyDrop::new(self).0.as_ptr()
    }

    /// Looks at the route.
    #[inline(always)]
    pub(crate) fn as_ref(&self) -> DstRef<'_> {
        // INVARIANT: The route is live while `self` is borrowed.
        DstRef {
            dst: self.0,
            _lives: PhantomData,
        }
    }
}

impl Drop for Dst {
    fn drop(&mut self) {
        // SAFETY: By the type invariant the reference is ours.
        unsafe { bindings::dst_release(self.0.as_ptr()) };
    }
}
