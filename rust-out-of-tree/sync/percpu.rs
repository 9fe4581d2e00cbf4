// SPDX-License-Identifier: GPL-2.0

//! Per-CPU counters.
//!
//! Unlike `percpu_counter`, which keeps an approximate sum under a lock and has one counter per
//! allocation, these counters are exact when read, several share an allocation, and the sum is
//! computed on request.
//!
//! A CPU that has never been online has counted nothing. So a sum covers only the CPUs up to the
//! last one that [`OnlineCpus`] has recorded as online, not all possible CPUs.
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

/// One more than the highest CPU number that was online since [`OnlineCpus`] was set up. Before
/// that it is 0, and sums cover all possible CPUs.
static SEEN: Atomic<u32> = Atomic::new(0);

/// `N` 64-bit counters per possible CPU. They start at 0 and only grow.
///
/// # Invariants
///
/// `base` is a live per-CPU allocation of `N` words.
pub(crate) struct PerCpuCounters<const N: usize> {
    base: NonNull<c_void>,
}

// SAFETY: A CPU writes only its own words, by single instructions; any CPU may read all words.
unsafe impl<const N: usize> Send for PerCpuCounters<N> {}

// SAFETY: As above.
unsafe impl<const N: usize> Sync for PerCpuCounters<N> {}

impl<const N: usize> PerCpuCounters<N> {
    /// Allocates the counters. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: Any size is valid, and the alignment is a power of two.
        let base = unsafe { bindings::oot_alloc_percpu(N * size_of::<u64>(), align_of::<u64>()) };
        // INVARIANT: The allocation was just made.
        Ok(Self {
            base: NonNull::new(base.cast()).ok_or(ENOMEM)?,
        })
    }

    /// Adds `value` to counter `index` of this CPU. Safe against preemption and softirqs, as
    /// `this_cpu_add()` is. Does nothing if `index` is out of range.
    #[inline(always)]
    pub(crate) fn add(&self, index: usize, value: u64) {
        if index < N {
            // SAFETY: The word lies within the allocation.
            let word = unsafe { self.base.as_ptr().cast::<u64>().add(index) };
            // SAFETY: `word` is the per-CPU address of a live `u64`.
            unsafe { bindings::oot_this_cpu_add(word, value) };
        }
    }

    /// Adds 1 to counter `index` of this CPU and returns its new value. Safe against preemption and
    /// softirqs. Returns 0 if `index` is out of range.
    pub(crate) fn next(&self, index: usize) -> u64 {
        if index >= N {
            return 0;
        }
        // SAFETY: The word lies within the allocation.
        let word = unsafe { self.base.as_ptr().cast::<u64>().add(index) };
        // SAFETY: `word` is the per-CPU address of a live `u64`.
        unsafe { bindings::oot_this_cpu_inc_return(word) }
    }

    /// Returns the counters of one CPU: 0 for a CPU that is not possible.
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
            // SAFETY: The word is aligned, and its CPU writes it in one access.
            *sum = sum.wrapping_add(unsafe { word.read_volatile() });
        }
    }

    /// Returns the sums of the counters over all CPUs.
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

/// Tracks which CPUs have been online, including those that are online when it is set up.
///
/// Sums of counters that were allocated later cover only the recorded CPUs.
///
/// # Invariants
///
/// `state` was set up, and is removed on drop.
pub(crate) struct OnlineCpus {
    state: bindings::cpuhp_state,
}

impl OnlineCpus {
    /// Registers the hotplug callback as `name` in /sys/devices/system/cpu/hotplug/states. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOSPC` if no dynamic hotplug state is free.
    pub(crate) fn new(name: &'static CStr) -> Result<Self> {
        let name = name.as_char_ptr();
        let stage = bindings::cpuhp_state_CPUHP_BP_PREPARE_DYN;
        // SAFETY: The callback is removed on drop; there is no callback for a CPU going offline.
        let state =
            unsafe { bindings::__cpuhp_setup_state(stage, name, true, Some(prepare), None, false) };
        to_result(state)?;
        // INVARIANT: The state was just set up.
        Ok(Self {
            state: state as bindings::cpuhp_state,
        })
    }
}

impl Drop for OnlineCpus {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; no callback is invoked for the CPUs that are online.
        unsafe { bindings::__cpuhp_remove_state(self.state, false) };
    }
}

/// Called when a CPU is about to come online, and for each online CPU at setup.
///
/// # Safety
///
/// To be called only by the CPU hotplug code, which serialises the calls.
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

/// Whether CPU number `cpu` is possible on this system.
pub(crate) fn is_possible(cpu: u32) -> bool {
    // SAFETY: Numbers below `nr_cpu_ids` are valid arguments.
    cpu < nr_cpu_ids() && unsafe { bindings::oot_cpu_possible(cpu) }
}
