// SPDX-License-Identifier: GPL-2.0

//! What the running task may do.
//!
//! C header: [`include/linux/capability.h`](srctree/include/linux/capability.h)

use crate::oot::bindings;
use kernel::ffi::c_int;

/// Whether it administers the network of the whole system, not only of its own namespaces.
pub(crate) fn is_net_admin() -> bool {
    // SAFETY: Any capability may be asked for, in process context.
    unsafe { bindings::capable(bindings::CAP_NET_ADMIN as c_int) }
}
