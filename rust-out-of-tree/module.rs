// SPDX-License-Identifier: GPL-2.0

//! How often a module is in use: while it is, it cannot be removed.
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use crate::oot::bindings;
use kernel::prelude::*;

/// Uses of a module; they end when this is dropped.
///
/// # Invariants
///
/// It owns `count` references to the module.
pub(crate) struct Uses {
    module: &'static ThisModule,
    count: usize,
}

// SAFETY: A reference to a module can be put by any thread.
unsafe impl Send for Uses {}

impl Uses {
    /// No use yet.
    pub(crate) const fn new(module: &'static ThisModule) -> Self {
        // INVARIANT: No reference was taken.
        Self { module, count: 0 }
    }

    /// One more use, unless the module is about to go.
    #[must_use]
    pub(crate) fn inc(&mut self) -> bool {
        // SAFETY: The module's own code is running, so the pointer is valid.
        let taken = unsafe { bindings::try_module_get(self.module.as_ptr()) };
        if taken {
            // INVARIANT: A reference was just taken.
            self.count = self.count.wrapping_add(1);
        }
        taken
    }

    /// One use less.
    pub(crate) fn dec(&mut self) {
        if let Some(count) = self.count.checked_sub(1) {
            // INVARIANT: The reference is given back below.
            self.count = count;
            // SAFETY: By the type invariants, it is ours.
            unsafe { bindings::module_put(self.module.as_ptr()) };
        }
    }
}

impl Drop for Uses {
    fn drop(&mut self) {
        while self.count > 0 {
            self.dec();
        }
    }
}
