// SPDX-License-Identifier: GPL-2.0

//! Memory.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h),
//! [`include/linux/swap.h`](srctree/include/linux/swap.h)

pub(crate) mod slab;
pub(crate) mod vec;

use crate::oot::bindings;

/// How many pages there are for buffers before memory gets short.
pub(crate) fn free_buffer_pages() -> usize {
    // SAFETY: There is nothing to it.
    unsafe { bindings::nr_free_buffer_pages() }
}

/// How many pages are free, or hold buffers of block devices.
pub(crate) fn available_pages() -> usize {
    let mut info = bindings::sysinfo::default();
    // SAFETY: It is valid for writes.
    unsafe { bindings::si_meminfo(&raw mut info) };
    info.freeram.wrapping_add(info.bufferram)
}
