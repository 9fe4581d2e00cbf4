// SPDX-License-Identifier: GPL-2.0

//! Network devices.
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

use crate::oot::bindings;
use core::ptr::NonNull;
use kernel::{
    ffi::c_int,
    sync::rcu,
    types::Opaque, //
};

use super::namespace::Net;

/// A network device.
///
/// # Invariants
///
/// The value is a live `struct net_device`.
#[repr(transparent)]
pub(crate) struct Device(Opaque<bindings::net_device>);

impl Device {
    /// Returns the device with this name or alternative name. `name` has no NUL.
    pub(crate) fn by_name<'g>(net: &Net, name: &[u8], _guard: &'g rcu::Guard) -> Option<&'g Self> {
        let mut with_nul = [0; bindings::IFNAMSIZ as usize];
        if name.len() >= with_nul.len() {
            return None;
        }
        for (to, from) in with_nul.iter_mut().zip(name) {
            *to = *from;
        }
        // SAFETY: The namespace is live, the name ends with a NUL, and the RCU read lock is held.
        let device = unsafe { bindings::dev_get_by_name_rcu(net.as_raw(), with_nul.as_ptr()) };
        // SAFETY: A device is valid as long as the lock is held; the type is transparent.
        unsafe { device.cast::<Self>().as_ref() }
    }

    /// # Safety
    ///
    /// `device` must be live for `'a`.
    pub(super) unsafe fn from_raw<'a>(device: NonNull<bindings::net_device>) -> &'a Self {
        // SAFETY: By the safety requirement; the type is transparent.
        unsafe { device.cast::<Self>().as_ref() }
    }

    pub(super) fn as_raw(&self) -> *mut bindings::net_device {
        self.0.get()
    }

    /// The interface index.
    pub(crate) fn index(&self) -> c_int {
        // SAFETY: The device is live, and its index does not change.
        unsafe { bindings::oot_dev_ifindex(self.as_raw()) }
    }

    /// The MTU in bytes.
    pub(crate) fn mtu(&self) -> u32 {
        // SAFETY: The device is live.
        unsafe { bindings::oot_dev_mtu(self.as_raw()) }
    }

    /// Returns the global source address for packets sent through this device, in network byte
    /// order. If the device has none, returns one of another device, or zero (C:
    /// `inet_select_addr()`).
    pub(crate) fn select_addr4(&self) -> [u8; 4] {
        let scope = bindings::rt_scope_t_RT_SCOPE_UNIVERSE as c_int;
        // SAFETY: The device is live.
        unsafe { bindings::inet_select_addr(self.as_raw(), 0, scope) }.to_ne_bytes()
    }
}
