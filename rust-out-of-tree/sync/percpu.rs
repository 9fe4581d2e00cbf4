// SPDX-License-Identifier: GPL-2.0

//! Counters that each CPU keeps for itself.
//!
//! It is not `percpu_counter`, which keeps an approximate sum under a lock and has one counter an
//! allocation. Here a counter is exact when read, several share an allocation, and their sum is
//! made when it is asked for.
//!
//! A CPU that has never been online has counted nothing: a sum ends at the last CPU that
//! [`OnlineCpus`] has seen online, and does not take longer by all those that a machine might get.
//!
//! C headers: [`include/linux/percpu.h`](srctree/include/linux/percpu.h),
//! [`include/linux/cpuhotplug.h`](srctree/include/linux/cpuhotplug.h)

use core::{
    ffi::c_void,
    ptr::NonNull, //
};
use kernel::{
    cpu::nr_cpu_ids,
    error::to_result,
    ffi::{
        c_int,
        c_uint, //
    },
    prelude::*,
    sync::atomic::{
        Atomic,
        Release, //
    }, //
};

use crate::oot::bindings;

use super::once::Once;

/// One more than the highest number of a CPU that has been online while there was an [`OnlineCpus`]; 0
/// until there is one, when no CPU can be left out.
static SEEN: Atomic<u32> = Atomic::new(0);

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
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
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
        for cpu in 0..seen() {
            self.add_to(&mut sums, cpu);
        }
        sums
    }
}

impl<const N: usize> Drop for PerCpuCounters<N> {
    fn drop(&mut self) {
        // SAFETY: The allocation is live by the type invariant and is not used any more.
        unsafe { bindings::free_percpu(self.base.as_ptr().cast()) };
    }
}

/// Sees which CPUs come online, of those that are so at first too.
///
/// Counters that are made while there is one are summed up over the CPUs that it has seen.
///
/// # Invariants
///
/// `state` was set up, and is removed on drop.
pub(crate) struct OnlineCpus {
    state: bindings::cpuhp_state,
}

impl OnlineCpus {
    /// Begins to watch, under `name` in /sys/devices/system/cpu/hotplug/states; sleeps.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if there are too many callbacks.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        let name = name.as_char_ptr();
        let stage = bindings::cpuhp_state_CPUHP_BP_PREPARE_DYN;
        // SAFETY: The callback is removed on drop; nothing is asked for when a CPU goes.
        let state =
            unsafe { bindings::__cpuhp_setup_state(stage, name, true, Some(prepare), None, false) };
        to_result(state)?;
        // INVARIANT: It was just set up.
        Ok(Self {
            state: state as bindings::cpuhp_state,
        })
    }
}

impl Drop for OnlineCpus {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; there is nothing to call for the CPUs that are online.
        unsafe { bindings::__cpuhp_remove_state(self.state, false) };
    }
}

/// A CPU is about to come online, or is when the watch begins.
///
/// # Safety
///
/// To be called by the code for hotplugging CPUs only, which does one at a time.
unsafe extern "C" fn prepare(cpu: c_uint) -> c_int {
    let seen = SEEN.read_once().max(cpu.wrapping_add(1));
    SEEN.store(seen, Release);
    0
}

/// One more than the highest number of a CPU that may have counted.
fn seen() -> u32 {
    match SEEN.read_once() {
        0 => nr_cpu_ids(),
        seen => seen,
    }
}

/// Whether CPU number `cpu` can exist in this system.
pub(crate) fn is_possible(cpu: u32) -> bool {
    // SAFETY: Numbers below `nr_cpu_ids` are valid arguments.
    cpu < nr_cpu_ids() && unsafe { bindings::oot_cpu_possible(cpu) }
}
