// SPDX-License-Identifier: GPL-2.0

//! The end of a module: what waits for it, and what keeps it from being removed.
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use crate::oot::{
    bindings,
    sync::wait_for_callbacks, //
};
use kernel::prelude::*;

/// A module that is unloaded only once all of its RCU callbacks are over.
///
/// What the layer frees after a grace period is freed by code of the module, which must be there
/// still: each module that uses the layer is one of these, or does not compile.
pub(crate) struct RcuModule<M> {
    // Fields are dropped in this order.
    _module: M,
    _callbacks: Callbacks,
}

/// The callbacks of the module, for which it waits when dropped.
struct Callbacks;

impl Drop for Callbacks {
    fn drop(&mut self) {
        wait_for_callbacks();
    }
}

impl<M: kernel::Module> kernel::Module for RcuModule<M> {
    fn init(module: &'static ThisModule) -> Result<Self> {
        // What an `init` that fails has made is freed so as well.
        let callbacks = Callbacks;
        Ok(Self {
            _module: M::init(module)?,
            _callbacks: callbacks,
        })
    }
}

/// A module that is of another type does not compile.
const _: fn(crate::LocalModule) = |_: RcuModule<_>| ();

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
