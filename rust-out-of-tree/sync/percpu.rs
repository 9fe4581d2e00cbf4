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

    /// The counters of one CPU; 0 for one that cannot exist.
    #[inline]
    pub(crate) fn on_cpu(&self, cpu: u32) -> [u64; N] {
        let mut counts = [0; N];
        self.add_to(&mut counts, cpu);
        counts
    }

    /// Adds the counters of one CPU to `sums`.
    #[inline(always)]
    fn add_to(&self, sums: &mut [u64; N], cpu: u32) {
        if !is_possible(cpu) {
            return;
        }
        // SAFETY: `base` is the per-CPU address of live words, and `cpu` is possible.
        let words = unsafe { bindings::oot_per_cpu_ptr(self.base.as_ptr().cast(), cpu) };
        for (index, sum) in sums.iter_mut().enumerate() {
            // SAFETY: The word lies within the allocation.
            let word = unsafe { words.add(index) };
            // SAFETY: A whole word is read, which its CPU writes whole.
            *sum = sum.wrapping_add(unsafe { word.read_volatile() });
        }
    }

    /// The counters over all CPUs.
    pub(crate) fn sums(&self) -> [u64; N] {
        let mut sums = [0; N];
        for cpu in 0..nr_cpu_ids() {
            self.add_to(&mut sums, cpu);
        }
        sums
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
