// SPDX-License-Identifier: GPL-2.0
// Error: E0061

// The device of a route must not be used outside of an RCU read-side critical section.

use crate::oot::net::dst::Dst;
use kernel::sync::rcu;

fn is_local(dst: &Dst) -> bool {
    #[cfg(not(misuse))]
    {
        let guard = rcu::read_lock();
        dst.as_ref().is_local(&guard)
    }
    #[cfg(misuse)]
    dst.as_ref().is_local()
}
