// SPDX-License-Identifier: GPL-2.0

//! Memory that is freed a grace period after its last use.
//!
//! All RCU callbacks of the layer are queued here and are one function, [`free`]. Each CPU counts
//! those that it queues, so that [`wait_for_callbacks`] can tell when there are no more, however
//! deep values nest that are freed so.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::ptr::NonNull;
use kernel::{
    prelude::*,
    sync::rcu,
    types::Opaque, //
};

use crate::oot::bindings;

/// A value with what RCU needs to call back about it.
#[repr(C)]
#[pin_data]
pub(in crate::oot) struct RcuBlock<T> {
    /// First, so that [`free`] gets the address of the whole.
    head: Opaque<bindings::callback_head>,
    #[pin]
    pub(super) value: T,
}

impl<T> RcuBlock<T> {
    /// A block that can be moved until it is shared.
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
    /// The caller owns the block, which was allocated from the slab allocator and initialised, and
    /// gives it up. Only RCU readers from before still look at it.
    pub(super) unsafe fn free_after_grace_period(block: NonNull<Self>)
    where
        T: Send + 'static,
    {
        // SAFETY: The block is live by the safety requirement.
        let head = unsafe { &raw const (*block.as_ptr()).head };
        // SAFETY: By the safety requirement nothing else queues the head, and nothing uses the block
        // once readers from before are gone, which is when `free` is called.
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
/// To be called by RCU on the head that [`RcuBlock::free_after_grace_period`] queued.
unsafe extern "C" fn free<T>(head: *mut bindings::callback_head) {
    if let Some(block) = NonNull::new(head.cast::<RcuBlock<T>>()) {
        // SAFETY: The head is the first field of a block which was given up a grace period ago.
        unsafe { RcuBlock::free_now(block) };
    }
}

/// Waits until no callback is queued or running, provided that nothing but callbacks queues others.
///
/// `rcu_barrier()` waits for the callbacks that were queued before it, to their last instruction.
/// Each of them may have queued others, which it counted before its end: if none did, all are over.
///
/// Sleeps.
#[cold]
pub(in crate::oot) fn wait_for_callbacks() {
    loop {
        // SAFETY: Reads per-CPU counters of the module's.
        let before = unsafe { bindings::oot_rcu_callbacks() };
        rcu::rcu_barrier();
        // SAFETY: As above.
        if unsafe { bindings::oot_rcu_callbacks() } == before {
            return;
        }
    }
}
