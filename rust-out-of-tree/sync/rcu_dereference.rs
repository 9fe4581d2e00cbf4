// SPDX-License-Identifier: GPL-2.0

//! Reads of RCU-protected pointers.
//!
//! A reader must not read data older than the pointer it follows. C relies on the address
//! dependency and on compiler flags that preserve it. LLVM does not guarantee that for Rust, so the
//! load is an acquire. On x86 every load is an acquire, and a volatile access, as in `READ_ONCE()`,
//! is enough to make it a single load. There, [`Atomic::load`] would be a call of a C helper unless
//! helpers are inlined.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use kernel::sync::atomic::Atomic;

/// Loads the pointer, as `rcu_dereference()`.
#[inline(always)]
pub(in crate::oot) fn rcu_dereference<T>(pointer: &Atomic<*mut T>) -> *mut T {
    #[cfg(CONFIG_X86)]
    return super::once::Once::read_once(pointer);
    #[cfg(not(CONFIG_X86))]
    pointer.load(kernel::sync::atomic::Acquire)
}

/// Loads an address with flags in its low bits, as `rcu_dereference()`.
#[inline(always)]
pub(super) fn rcu_dereference_marked(address: &Atomic<usize>) -> usize {
    #[cfg(CONFIG_X86)]
    return super::once::Once::read_once(address);
    #[cfg(not(CONFIG_X86))]
    address.load(kernel::sync::atomic::Acquire)
}
