// SPDX-License-Identifier: GPL-2.0

//! Module unloading: the wait for RCU callbacks, and module references.
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use crate::oot::{
    bindings,
    sync::wait_for_callbacks, //
};
use kernel::prelude::*;

/// A module that waits for all of its RCU callbacks before it is unloaded.
///
/// A callback that frees an object runs module code, which must still be loaded then. A module of
/// another type does not compile.
pub(crate) struct RcuModule<M> {
    // Fields are dropped in this order.
    _module: M,
    _callbacks: Callbacks,
}

/// Waits for the module's RCU callbacks when dropped.
struct Callbacks;

impl Drop for Callbacks {
    fn drop(&mut self) {
        wait_for_callbacks();
    }
}

impl<M: kernel::Module> kernel::Module for RcuModule<M> {
    fn init(module: &'static ThisModule) -> Result<Self> {
        // Also dropped, which waits for the callbacks, if `M::init` fails.
        let callbacks = Callbacks;
        Ok(Self {
            _module: M::init(module)?,
            _callbacks: callbacks,
        })
    }
}

/// Fails to compile unless the module is an [`RcuModule`].
const _: fn(crate::LocalModule) = |_: RcuModule<_>| ();

/// Module references, which are dropped with this value.
///
/// # Invariants
///
/// The value owns `count` references to the module.
pub(crate) struct Uses {
    module: &'static ThisModule,
    count: usize,
}

// SAFETY: Any thread may put a module reference.
unsafe impl Send for Uses {}

impl Uses {
    /// Creates a count of 0.
    pub(crate) const fn new(module: &'static ThisModule) -> Self {
        // INVARIANT: No reference was taken.
        Self { module, count: 0 }
    }

    /// Takes one more reference. Returns false if the module is being unloaded.
    #[must_use]
    pub(crate) fn inc(&mut self) -> bool {
        // SAFETY: The code of the module is running, so the pointer is valid.
        let taken = unsafe { bindings::try_module_get(self.module.as_ptr()) };
        if taken {
            // INVARIANT: A reference was just taken.
            self.count = self.count.wrapping_add(1);
        }
        taken
    }

    /// Drops one reference, if there is one.
    pub(crate) fn dec(&mut self) {
        if let Some(count) = self.count.checked_sub(1) {
            // INVARIANT: The reference is dropped below.
            self.count = count;
            // SAFETY: By the type invariants the reference is ours.
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
