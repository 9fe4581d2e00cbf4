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

/// A network device.
///
/// # Invariants
///
/// A live `struct net_device`.
#[repr(transparent)]
pub(crate) struct Device(Opaque<bindings::net_device>);

impl Device {
    /// The device of that name, or alternative name.
    pub(crate) fn by_name<'g>(net: &Net, name: &[u8], _guard: &'g rcu::Guard) -> Option<&'g Self> {
        let mut with_nul = [0; bindings::IFNAMSIZ as usize];
        if name.len() >= with_nul.len() {
            return None;
        }
        for (to, from) in with_nul.iter_mut().zip(name) {
            *to = *from;
        }
        // SAFETY: The namespace is live, the name ends in NUL, and the RCU read lock is held.
        let device = unsafe { bindings::dev_get_by_name_rcu(net.as_raw(), with_nul.as_ptr()) };
        // SAFETY: The device, if there is one, lives as long as the lock is held; the type is
        // transparent.
        unsafe { device.cast::<Self>().as_ref() }
    }

    pub(super) fn as_raw(&self) -> *mut bindings::net_device {
        self.0.get()
    }

    /// Its number in its namespace.
    pub(super) fn index(&self) -> c_int {
        // SAFETY: The device is live, and keeps its number.
        unsafe { bindings::oot_dev_ifindex(self.as_raw()) }
    }

    /// The most bytes of a packet by it.
    pub(crate) fn mtu(&self) -> u32 {
        // SAFETY: The device is live.
        unsafe { bindings::oot_dev_mtu(self.as_raw()) }
    }

    /// Whether it speaks IPv4, which all do whose MTU is not too small.
    pub(crate) fn has_inet(&self, _guard: &rcu::Guard) -> bool {
        // SAFETY: The device is live, and the RCU read lock held.
        unsafe { bindings::oot_dev_has_inet(self.as_raw()) }
    }

    /// Whether it speaks IPv6.
    pub(crate) fn has_inet6(&self, _guard: &rcu::Guard) -> bool {
        // SAFETY: The device is live, and the RCU read lock held.
        unsafe { bindings::oot_dev_has_inet6(self.as_raw()) }
    }

    /// The address, valid everywhere, that this host would send from by the device; one of another
    /// device if it has none, and zero if none has (C: `inet_select_addr()`).
    pub(crate) fn select_addr4(&self) -> [u8; 4] {
        let scope = bindings::rt_scope_t_RT_SCOPE_UNIVERSE as c_int;
        // SAFETY: The device is live.
        unsafe { bindings::inet_select_addr(self.as_raw(), 0, scope) }.to_ne_bytes()
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
