// SPDX-License-Identifier: GPL-2.0

//! Memory sizes and allocation.
//!
//! C headers: [`include/linux/mm.h`](srctree/include/linux/mm.h),
//! [`include/linux/swap.h`](srctree/include/linux/swap.h)

pub(crate) mod slab;
pub(crate) mod vec;

use crate::oot::bindings;

/// The number of free pages beyond the high watermarks in the zones for `GFP_USER` allocations.
pub(crate) fn free_buffer_pages() -> usize {
    // SAFETY: The function only reads counters of the kernel.
    unsafe { bindings::nr_free_buffer_pages() }
}

/// The number of pages that are free or hold buffers of block devices.
pub(crate) fn available_pages() -> usize {
    let mut info = bindings::sysinfo::default();
    // SAFETY: `info` is valid for writes.
    unsafe { bindings::si_meminfo(&raw mut info) };
    info.freeram.wrapping_add(info.bufferram)
}
