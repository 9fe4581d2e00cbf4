// SPDX-License-Identifier: GPL-2.0

//! Memory that is freed after a grace period.
//!
//! All RCU callbacks of this layer are queued here, with the function [`free`]. Each CPU counts the
//! callbacks that it queues, so that [`wait_for_callbacks`] can detect when none is left, even if
//! callbacks queue further ones.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::ptr::NonNull;
use kernel::{
    prelude::*,
    sync::rcu,
    types::Opaque, //
};

use crate::oot::bindings;

/// A value with its RCU head.
#[repr(C)]
#[pin_data]
pub(in crate::oot) struct RcuBlock<T> {
    /// The first field, so that [`free`] gets the address of the block.
    head: Opaque<bindings::callback_head>,
    #[pin]
    pub(super) value: T,
}

impl<T> RcuBlock<T> {
    /// Creates a block, which can be moved until it is shared.
    pub(super) const fn new(value: T) -> Self {
        Self {
            head: Opaque::uninit(),
            value,
        }
    }

    /// Initialises a block in place.
    pub(super) fn init<E>(value: impl PinInit<T, E>) -> impl PinInit<Self, E> {
        pin_init::pin_init!(Self {
            head: Opaque::uninit(),
            value <- value,
        }? E)
    }

    /// Drops the value and frees the block after a grace period. May be called in any context.
    ///
    /// # Safety
    ///
    /// The caller owns the block and gives it up. The block was allocated from the slab allocator
    /// and initialised. Only pre-existing RCU readers may still access it.
    pub(super) unsafe fn free_after_grace_period(block: NonNull<Self>)
    where
        T: Send + 'static,
    {
        // SAFETY: The block is live by the safety requirement.
        let head = unsafe { &raw const (*block.as_ptr()).head };
        // SAFETY: By the safety requirement nothing else queues the head, and nothing accesses the
        // block once the pre-existing readers have ended, which is when `free` is called.
        unsafe { bindings::oot_call_rcu(Opaque::cast_into(head), Some(free::<T>)) };
    }

    /// Drops the value and frees the block.
    ///
    /// # Safety
    ///
    /// The caller owns the block, which was allocated from the slab allocator and initialised, and
    /// there is no other reference to it.
    pub(super) unsafe fn free_now(block: NonNull<Self>) {
        // SAFETY: By the safety requirement the value is ours to drop.
        unsafe { core::ptr::drop_in_place(&raw mut (*block.as_ptr()).value) };
        // SAFETY: The memory came from the slab allocator; `kfree()` finds the cache.
        unsafe { bindings::kfree(block.as_ptr().cast()) };
    }
}

/// The RCU callback.
///
/// # Safety
///
/// To be called only by RCU, with the head that [`RcuBlock::free_after_grace_period`] queued.
unsafe extern "C" fn free<T>(head: *mut bindings::callback_head) {
    if let Some(block) = NonNull::new(head.cast::<RcuBlock<T>>()) {
        // SAFETY: The head is the first field of a block that was given up a grace period ago.
        unsafe { RcuBlock::free_now(block) };
    }
}

/// Waits until no callback is queued or running. Only callbacks may queue callbacks meanwhile.
///
/// `rcu_barrier()` waits until the callbacks that were queued before it have returned. Each of them
/// may have queued others, and counted them before it returned. If the count has not changed, none
/// is left.
///
/// Sleeps.
#[cold]
pub(in crate::oot) fn wait_for_callbacks() {
    loop {
        // SAFETY: Reads the module's per-CPU counters.
        let before = unsafe { bindings::oot_rcu_callbacks() };
        rcu::rcu_barrier();
        // SAFETY: As above.
        if unsafe { bindings::oot_rcu_callbacks() } == before {
            return;
        }
    }
}
