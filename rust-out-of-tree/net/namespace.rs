// SPDX-License-Identifier: GPL-2.0

//! Network namespaces.
//!
//! C header: [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)

use core::ops::Deref;
use kernel::{
    ffi::c_int,
    types::Opaque, //
};

use crate::oot::bindings;

/// A network namespace.
///
/// # Invariants
///
/// The value is a live `struct net`.
#[repr(transparent)]
pub(crate) struct Net(Opaque<bindings::net>);

// SAFETY: `struct net` is shared between CPUs by design.
unsafe impl Sync for Net {}

impl Net {
    /// # Safety
    ///
    /// `net` must be live for `'a`.
    pub(in crate::oot) unsafe fn from_raw<'a>(net: *mut bindings::net) -> &'a Self {
        // SAFETY: By the safety requirement; the type is transparent.
        unsafe { &*net.cast::<Self>() }
    }

    /// The initial network namespace.
    pub(crate) fn init() -> &'static Self {
        // SAFETY: The initial network namespace is never freed.
        unsafe { Self::from_raw(&raw mut bindings::init_net) }
    }

    /// Whether this is the initial network namespace.
    pub(crate) fn is_init(&self) -> bool {
        core::ptr::eq(self, Self::init())
    }

    /// Whether the namespace belongs to the initial user namespace.
    pub(crate) fn is_of_init_user_ns(&self) -> bool {
        // SAFETY: The namespace is live by the type invariant.
        unsafe { bindings::oot_net_is_of_init_user_ns(self.as_raw()) }
    }

    /// Whether the current task has `CAP_NET_ADMIN` in the user namespace of this namespace.
    pub(crate) fn is_admin(&self) -> bool {
        self.is_capable(bindings::CAP_NET_ADMIN)
    }

    /// Whether the current task has `capability` in the user namespace of this namespace.
    pub(in crate::oot) fn is_capable(&self, capability: u32) -> bool {
        // SAFETY: The namespace is live by the type invariant.
        unsafe { bindings::oot_net_ns_capable(self.as_raw(), capability as c_int) }
    }

    #[inline(always)]
    pub(in crate::oot) fn as_raw(&self) -> *mut bindings::net {
        self.0.get()
    }
}

/// A reference to a value that belongs to a network namespace, for example
/// [`pernet::Ref`](super::pernet::Ref). Registrations of hooks and files hold one, and C code calls
/// back with the value.
///
/// # Safety
///
/// The namespace is valid as long as the reference exists. The value does not move, and stays valid
/// until a grace period after the reference is dropped.
pub(crate) unsafe trait NetRef:
    Deref<Target: Sync + 'static> + Send + Sync + 'static
{
    /// Returns the namespace.
    fn net(&self) -> &Net;
}
