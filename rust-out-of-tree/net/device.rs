// SPDX-License-Identifier: GPL-2.0

//! Network devices.
//!
//! C header: [`include/linux/netdevice.h`](srctree/include/linux/netdevice.h)

use crate::oot::bindings;
use kernel::sync::rcu;

use super::namespace::Net;

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
