// SPDX-License-Identifier: GPL-2.0

//! Sets of CPUs, and their text.
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

// SAFETY: It owns a plain bitmap.
unsafe impl Send for CpuMask {}

// SAFETY: As above; nothing changes it by a shared reference.
unsafe impl Sync for CpuMask {}

impl CpuMask {
    /// The CPUs of a list such as `0-3,6`; none, of an empty one. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`; `EINVAL` and the like if it is no such list, or names a CPU that there cannot be.
    pub(crate) fn parse(list: &CStr) -> Result<Self> {
        let mask = CpumaskVar::new_zero(GFP_KERNEL)?;
        // SAFETY: The text ends with a NUL, and the mask is valid and ours.
        to_result(unsafe { bindings::oot_cpulist_parse(list.as_char_ptr(), mask.as_raw()) })?;
        Ok(Self(mask))
    }

    /// The CPUs that kernel threads run on by default. Sleeps.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn housekeeping() -> Result<Self> {
        let mut copy = CpumaskVar::new_zero(GFP_KERNEL)?;
        let _guard = rcu::read_lock();
        // SAFETY: The read lock is held.
        let mask = unsafe { bindings::oot_housekeeping_kthread() };
        // SAFETY: It is valid as long as the read lock is held.
        unsafe { Cpumask::from_raw(mask) }.copy(&mut copy);
        Ok(Self(copy))
    }

    /// Without the CPUs that the running task may not use.
    pub(crate) fn and_current(self) -> Self {
        // SAFETY: The mask is valid and ours.
        unsafe { bindings::oot_cpumask_and_current(self.0.as_raw()) };
        self
    }

    /// Writes the list that [`Self::parse`] reads and a newline to `buffer`, as far as it goes, and
    /// a NUL behind. Its length without that.
    pub(crate) fn print(&self, buffer: &mut [u8]) -> usize {
        let start = buffer.as_mut_ptr().cast();
        // SAFETY: The buffer is as long as it says, and the mask is valid.
        let len = unsafe { bindings::oot_cpulist_print(start, buffer.len(), self.0.as_raw()) };
        len.max(0) as usize
    }
}

/// Its CPUs are read as those of the kernel crate's masks.
impl Deref for CpuMask {
    type Target = Cpumask;

    fn deref(&self) -> &Cpumask {
        &self.0
    }
}
