// SPDX-License-Identifier: GPL-2.0

//! Reading a pointer that RCU protects.
//!
//! What is read through the pointer must not be older than the pointer. C relies on the address
//! dependency, and on compiler flags that preserve it; LLVM makes no such promise for Rust,
//! so this is an acquiring load. On x86 each load is one, and a volatile access, as `READ_ONCE()`,
//! keeps the compiler from more than one; [`Atomic::load`] would be a call of a C helper there if
//! helpers are not inlined.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use kernel::sync::atomic::Atomic;

/// The pointer, as `rcu_dereference()`.
#[inline(always)]
pub(super) fn rcu_dereference<T>(pointer: &Atomic<*mut T>) -> *mut T {
    #[cfg(CONFIG_X86)]
    return super::once::Once::read_once(pointer);
    #[cfg(not(CONFIG_X86))]
    pointer.load(kernel::sync::atomic::Acquire)
}

/// The same of an address that has marks in its lower bits.
#[inline(always)]
pub(super) fn rcu_dereference_marked(address: &Atomic<usize>) -> usize {
    #[cfg(CONFIG_X86)]
    return super::once::Once::read_once(address);
    #[cfg(not(CONFIG_X86))]
    address.load(kernel::sync::atomic::Acquire)
}
