// SPDX-License-Identifier: GPL-2.0

//! Netdevice notifiers.
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)
//!
//! # Not supported
//!
//! Events other than `NETDEV_DOWN`, and vetoing an event.

use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    ffi::{
        c_int,
        c_ulong,
        c_void, //
    },
    prelude::*,
    types::Opaque, //
};

use crate::oot::bindings;

use super::{
    device::Device,
    namespace::Net, //
};

/// Callbacks for events of devices in all namespaces, called with the RTNL held.
pub(crate) trait DeviceNotifier: 'static {
    /// `device` of `net` goes down, perhaps before it is unregistered: references to it must be
    /// dropped.
    fn down(net: &Net, device: &Device);
}

/// A registered notifier that calls `T`, unregistered on drop.
///
/// As for all registrations of the kernel crate, a leaked one (`core::mem::forget()`) stays
/// registered. Its functions are module code: the module must not be unloaded then.
pub(crate) struct Registration<T: DeviceNotifier> {
    block: Pin<KBox<Opaque<bindings::notifier_block>>>,
    _of: PhantomData<fn(T)>,
}

// SAFETY: The block is only passed to C, for registering and unregistering.
unsafe impl<T: DeviceNotifier> Send for Registration<T> {}

// SAFETY: `&Registration` has no methods.
unsafe impl<T: DeviceNotifier> Sync for Registration<T> {}

/// The priority of notifiers that run before addresses and routes react to an event (C:
/// `ADDRCONF_NOTIFY_PRIORITY`).
pub(crate) const PRIORITY_BEFORE_ADDRESSES: c_int = 5;

impl<T: DeviceNotifier> Registration<T> {
    /// Registers the notifier. Notifiers with a higher priority are called first.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or the error of `register_netdevice_notifier()`.
    pub(crate) fn new(priority: c_int) -> Result<Self> {
        let block = bindings::notifier_block {
            notifier_call: Some(notify::<T>),
            priority,
            ..Default::default()
        };
        let block = KBox::pin(Opaque::new(block), GFP_KERNEL)?;
        // SAFETY: The block stays in place until it is unregistered on drop.
        to_result(unsafe { bindings::register_netdevice_notifier(block.get()) })?;
        Ok(Self {
            block,
            _of: PhantomData,
        })
    }
}

impl<T: DeviceNotifier> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: The block was registered in `new`. After the call no notification is running.
        unsafe { bindings::unregister_netdevice_notifier(self.block.get()) };
    }
}

/// The notifier function.
///
/// # Safety
///
/// To be called only by the netdevice code, with the RTNL held.
unsafe extern "C" fn notify<T: DeviceNotifier>(
    _block: *mut bindings::notifier_block,
    event: c_ulong,
    info: *mut c_void,
) -> c_int {
    if event != bindings::netdev_cmd_NETDEV_DOWN as c_ulong {
        return 0;
    }
    // SAFETY: The event info refers to a live device.
    let device = unsafe { bindings::oot_netdev_notifier_info_to_dev(info) };
    let Some(device) = NonNull::new(device) else {
        return 0;
    };
    // SAFETY: The device is live.
    let net = unsafe { bindings::oot_dev_net(device.as_ptr()) };
    // SAFETY: The namespace of a live device is live, and does not change while the RTNL is held.
    let net = unsafe { Net::from_raw(net) };
    // SAFETY: The device is valid for the call.
    T::down(net, unsafe { Device::from_raw(device) });
    0
}
