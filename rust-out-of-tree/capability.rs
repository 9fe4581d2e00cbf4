// SPDX-License-Identifier: GPL-2.0

//! Capabilities of the running task.
//!
//! C header: [`include/linux/capability.h`](srctree/include/linux/capability.h)

use crate::oot::bindings;
use kernel::ffi::c_int;

/// Whether the task has `CAP_NET_ADMIN` in the initial user namespace.
pub(crate) fn is_net_admin() -> bool {
    // SAFETY: `capable()` takes any capability and is called in process context.
    unsafe { bindings::capable(bindings::CAP_NET_ADMIN as c_int) }
}
