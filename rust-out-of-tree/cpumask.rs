// SPDX-License-Identifier: GPL-2.0

//! CPU masks and their list format.
//!
//! C headers: [`include/linux/cpumask.h`](srctree/include/linux/cpumask.h),
//! [`include/linux/sched/isolation.h`](srctree/include/linux/sched/isolation.h)

use core::ops::Deref;
use kernel::{
    cpumask::{
        Cpumask,
        CpumaskVar, //
    },
    error::to_result,
    prelude::*,
    sync::rcu, //
};

use crate::oot::bindings;

/// A set of CPUs.
pub(crate) struct CpuMask(CpumaskVar);

// SAFETY: The mask is a plain bitmap that the value owns.
unsafe impl Send for CpuMask {}

// SAFETY: As above; nothing changes the mask through a shared reference.
unsafe impl Sync for CpuMask {}

impl CpuMask {
    /// Parses a CPU list, for example `0-3,6`. An empty list gives an empty mask. Sleeps.
    ///
    /// # Errors
    ///
    /// - `ENOMEM`: no memory.
    /// - `EINVAL`, `ERANGE` or `EOVERFLOW`: not a valid list, or a CPU number out of range, as
    ///   `cpulist_parse()` returns them.
    pub(crate) fn parse(list: &CStr) -> Result<Self> {
        let mask = CpumaskVar::new_zero(GFP_KERNEL)?;
        // SAFETY: The text ends with a NUL, and the mask is valid and owned by this function.
        to_result(unsafe { bindings::oot_cpulist_parse(list.as_char_ptr(), mask.as_raw()) })?;
        Ok(Self(mask))
    }

    /// Returns a copy of the housekeeping CPUs for kernel threads (`HK_TYPE_KTHREAD`). Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn housekeeping() -> Result<Self> {
        let mut copy = CpumaskVar::new_zero(GFP_KERNEL)?;
        let _guard = rcu::read_lock();
        // SAFETY: The read lock is held.
        let mask = unsafe { bindings::oot_housekeeping_kthread() };
        // SAFETY: The mask is valid as long as the read lock is held.
        unsafe { Cpumask::from_raw(mask) }.copy(&mut copy);
        Ok(Self(copy))
    }

    /// Removes the CPUs that the running task may not use.
    pub(crate) fn and_current(self) -> Self {
        // SAFETY: The mask is valid and owned by `self`.
        unsafe { bindings::oot_cpumask_and_current(self.0.as_raw()) };
        self
    }

    /// Writes the CPU list, a newline and a NUL to `buffer`, truncated if the buffer is too short.
    /// Returns the length without the NUL.
    pub(crate) fn print(&self, buffer: &mut [u8]) -> usize {
        let start = buffer.as_mut_ptr().cast();
        // SAFETY: `buffer` is valid for writes of its length, and the mask is valid.
        let len = unsafe { bindings::oot_cpulist_print(start, buffer.len(), self.0.as_raw()) };
        len.max(0) as usize
    }
}

/// Gives access to the read methods of the kernel crate's [`Cpumask`].
impl Deref for CpuMask {
    type Target = Cpumask;

    fn deref(&self) -> &Cpumask {
        &self.0
    }
}
