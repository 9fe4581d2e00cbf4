// SPDX-License-Identifier: GPL-2.0

//! Counters that each CPU keeps for itself.
//!
//! C header: [`include/linux/percpu.h`](srctree/include/linux/percpu.h)

use core::{
    ffi::c_void,
    ptr::NonNull, //
};
use kernel::prelude::*;

use crate::oot::bindings;

/// `N` counters of 64 bits per possible CPU, which start at 0 and only grow.
///
/// # Invariants
///
/// `base` is a live per-CPU allocation of `N` words.
pub(crate) struct PerCpuCounters<const N: usize> {
    base: NonNull<c_void>,
}

// SAFETY: A CPU writes its own words alone, by single instructions; all may read all.
unsafe impl<const N: usize> Send for PerCpuCounters<N> {}

// SAFETY: As above.
unsafe impl<const N: usize> Sync for PerCpuCounters<N> {}

impl<const N: usize> PerCpuCounters<N> {
    /// Allocates the counters; sleeps.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Any size and a power of two as alignment are fine.
        let base = unsafe { bindings::oot_alloc_percpu(N * size_of::<u64>(), align_of::<u64>()) };
        // INVARIANT: The allocation was just made.
        Ok(Self {
            base: NonNull::new(base.cast()).ok_or(ENOMEM)?,
        })
    }

    /// Adds to counter `index` of this CPU. Safe against preemption and soft interrupts, since
    /// `this_cpu_add()` is. An index out of range adds nothing.
    #[inline(always)]
    pub(crate) fn add(&self, index: usize, value: u64) {
        if index < N {
            // SAFETY: The word lies within the allocation.
            let word = unsafe { self.base.as_ptr().cast::<u64>().add(index) };
            // SAFETY: `word` is the per-CPU address of a live `u64`.
            unsafe { bindings::oot_this_cpu_add(word, value) };
        }
    }

    /// Counter `index` of one CPU; 0 for one that cannot exist.
    pub(crate) fn on_cpu(&self, cpu: u32, index: usize) -> u64 {
        if index >= N || !is_possible(cpu) {
            return 0;
        }
        // SAFETY: The word lies within the allocation.
        let word = unsafe { self.base.as_ptr().cast::<u64>().add(index) };
        // SAFETY: `word` is the per-CPU address of a live `u64`, and `cpu` is possible.
        unsafe { bindings::oot_per_cpu_read(word, cpu) }
    }

    /// Counter `index` over all CPUs.
    pub(crate) fn sum(&self, index: usize) -> u64 {
        (0..nr_cpu_ids()).fold(0, |sum: u64, cpu| sum.wrapping_add(self.on_cpu(cpu, index)))
    }
}

impl<const N: usize> Drop for PerCpuCounters<N> {
    fn drop(&mut self) {
        // SAFETY: The allocation is live by the type invariant and nobody uses it any more.
        unsafe { bindings::free_percpu(self.base.as_ptr().cast()) };
    }
}

/// One more than the highest number of a possible CPU.
pub(crate) fn nr_cpu_ids() -> u32 {
    // SAFETY: Reads a constant of the running system.
    unsafe { bindings::oot_nr_cpu_ids() }
}

/// Whether CPU number `cpu` can exist in this system.
pub(crate) fn is_possible(cpu: u32) -> bool {
    // SAFETY: Numbers below `nr_cpu_ids` are valid arguments.
    cpu < nr_cpu_ids() && unsafe { bindings::oot_cpu_possible(cpu) }
}
