// SPDX-License-Identifier: GPL-2.0

//! Notifications of what happens to network devices (netdevice notifiers).
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)
//!
//! # Not supported
//!
//! Events other than `NETDEV_DOWN`, and refusing one.

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

/// Called on what happens to the devices of all namespaces, with the RTNL held.
pub(crate) trait DeviceNotifier: 'static {
    /// A device of the namespace goes down, perhaps for good: references to it have to go.
    fn down(net: &Net, device: &Device);
}

/// Calls `T` as long as it lives.
///
/// As all registrations of the kernel crate, one that is leaked (`core::mem::forget()`) stays: the
/// functions are code of the module, which must not be unloaded then.
pub(crate) struct Registration<T: DeviceNotifier> {
    block: Pin<KBox<Opaque<bindings::notifier_block>>>,
    _of: PhantomData<fn(T)>,
}

// SAFETY: The block is only handed to C on registering and unregistering.
unsafe impl<T: DeviceNotifier> Send for Registration<T> {}

// SAFETY: `&Registration` offers nothing.
unsafe impl<T: DeviceNotifier> Sync for Registration<T> {}

/// Before addresses and routes go by what has happened (C: `ADDRCONF_NOTIFY_PRIORITY`).
pub(crate) const PRIORITY_BEFORE_ADDRESSES: c_int = 5;

impl<T: DeviceNotifier> Registration<T> {
    /// Begins to call; notifiers of higher priority are called earlier.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
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
        // SAFETY: It was registered in `new`; calls of it have ended after this.
        unsafe { bindings::unregister_netdevice_notifier(self.block.get()) };
    }
}

/// The notifier's call.
///
/// # Safety
///
/// To be called by the device code, with the RTNL held.
unsafe extern "C" fn notify<T: DeviceNotifier>(
    _block: *mut bindings::notifier_block,
    event: c_ulong,
    info: *mut c_void,
) -> c_int {
    if event != bindings::netdev_cmd_NETDEV_DOWN as c_ulong {
        return 0;
    }
    // SAFETY: The information names a live device.
    let device = unsafe { bindings::oot_netdev_notifier_info_to_dev(info) };
    let Some(device) = NonNull::new(device) else {
        return 0;
    };
    // SAFETY: The device is live.
    let net = unsafe { bindings::oot_dev_net(device.as_ptr()) };
    // SAFETY: A live device's namespace is live, and it does not change with the RTNL held.
    let net = unsafe { Net::from_raw(net) };
    // SAFETY: The device lives for the call.
    T::down(net, unsafe { Device::from_raw(device) });
    0
}
