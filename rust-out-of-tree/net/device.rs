// SPDX-License-Identifier: GPL-2.0

//! Network devices.
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

use crate::oot::bindings;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    error::to_result,
    ffi::{c_int, c_ulong, c_void},
    prelude::*,
    sync::rcu,
    types::Opaque, //
};

use super::namespace::{
    Net,
    PerNet,
    Pernet, //
};

/// Whether the namespace has a device of that name.
pub(crate) fn exists(net: &Net, name: &[u8]) -> bool {
    let mut with_nul = [0; bindings::IFNAMSIZ as usize];
    if name.len() >= with_nul.len() {
        return false;
    }
    for (to, from) in with_nul.iter_mut().zip(name) {
        *to = *from;
    }
    let _guard = rcu::read_lock();
    // SAFETY: The namespace is live, the name ends in NUL, and the RCU read lock is held.
    !unsafe { bindings::dev_get_by_name_rcu(net.as_raw(), with_nul.as_ptr()) }.is_null()
}

/// A network device.
///
/// # Invariants
///
/// A live `struct net_device`.
#[repr(transparent)]
pub(crate) struct Device(Opaque<bindings::net_device>);

impl Device {
    pub(super) fn as_raw(&self) -> *mut bindings::net_device {
        self.0.get()
    }
}

/// What wants to know of devices.
pub(crate) trait Watch: Pernet {
    /// A device of the namespace goes down, perhaps for good: references to it have to go.
    fn went_down(this: &PerNet<Self>, device: &Device);
}

/// Tells the values of all namespaces of their devices.
pub(crate) struct Notifier<T: Watch> {
    block: Pin<KBox<Opaque<bindings::notifier_block>>>,
    _of: PhantomData<fn(T)>,
}

// SAFETY: The block is only handed to C on registering and unregistering.
unsafe impl<T: Watch> Send for Notifier<T> {}

// SAFETY: As above; `&Notifier` offers nothing.
unsafe impl<T: Watch> Sync for Notifier<T> {}

impl<T: Watch> Notifier<T> {
    /// Begins to tell them.
    pub(crate) fn new() -> Result<Self> {
        let block = bindings::notifier_block {
            notifier_call: Some(notify::<T>),
            // Before addresses and routes go by what has happened (C: ADDRCONF_NOTIFY_PRIORITY).
            priority: 5,
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

impl<T: Watch> Drop for Notifier<T> {
    fn drop(&mut self) {
        // SAFETY: It was registered in `new`; who runs it has ended after this.
        unsafe { bindings::unregister_netdevice_notifier(self.block.get()) };
    }
}

/// The notifier's call.
///
/// # Safety
///
/// To be called by the device code, with the RTNL held.
unsafe extern "C" fn notify<T: Watch>(
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
    // SAFETY: A live device's namespace is live.
    let net = unsafe { Net::from_raw(net) };
    // A value leaves its namespace with the RTNL held, so not now.
    if let Some(value) = PerNet::<T>::of(net) {
        // SAFETY: The device lives for the call; the type is transparent.
        T::went_down(value, unsafe { device.cast::<Device>().as_ref() });
    }
    0
}
