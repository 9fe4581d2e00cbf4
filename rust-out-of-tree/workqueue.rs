// SPDX-License-Identifier: GPL-2.0

//! Work that is done some time later, in process context, and ends with its owner.
//!
//! `kernel::workqueue` has delayed work for values that live in an `Arc`, which is a reference to
//! them until it is done. It lacks what this one is for: to cancel work and to wait for it, so that
//! work can be part of a value which ends at a known time, and to queue for a later or an earlier
//! time what is queued already (`mod_delayed_work()`).
//!
//! C header: [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use crate::oot::bindings;
use core::{
    mem::offset_of,
    ops::Deref, //
};
use kernel::{
    prelude::*,
    types::Opaque, //
};

/// A value for which there is work to do.
pub(crate) trait Work: Send + Sync + 'static {
    /// Does the work, and returns in how many jiffies to do it again, if at all.
    fn run(&self) -> Option<usize>;
}

/// A value with its work.
#[pin_data(PinnedDrop)]
pub(crate) struct Delayed<T: Work> {
    #[pin]
    work: Opaque<bindings::delayed_work>,
    #[pin]
    value: T,
}

// SAFETY: `struct delayed_work` does its own locking; `T` is `Send`.
unsafe impl<T: Work> Send for Delayed<T> {}

// SAFETY: As above; `T` is `Sync`.
unsafe impl<T: Work> Sync for Delayed<T> {}

impl<T: Work> Delayed<T> {
    /// Wraps a value; its work is not scheduled.
    pub(crate) fn new<E>(value: impl PinInit<T, E>) -> impl PinInit<Self, E> {
        pin_init::pin_init!(Self {
            work <- Opaque::try_ffi_init(|work| {
                // SAFETY: `work` is valid for writes and pinned; the function fits it.
                unsafe { bindings::oot_init_delayed_work(work, Some(run::<T>)) };
                Ok(())
            }),
            value <- value,
        }? E)
    }

    /// Queues the work for `delay` jiffies from now, unless it is queued already.
    pub(crate) fn schedule(&self, delay: usize) {
        // SAFETY: The work was initialised, and is cancelled when `self` is dropped.
        unsafe { bindings::oot_schedule_delayed_work(self.work.get(), delay) };
    }

    /// Cancels queued work, and waits for work that is being done. Sleeps.
    pub(crate) fn cancel(&self) {
        // SAFETY: The work was initialised; work that schedules itself again is cancelled too.
        unsafe { bindings::cancel_delayed_work_sync(self.work.get()) };
    }

    /// Queues the work for `delay` jiffies from now, even if it is queued for another time.
    pub(crate) fn reschedule(&self, delay: usize) {
        // SAFETY: As above.
        unsafe { bindings::oot_mod_delayed_work(self.work.get(), delay) };
    }
}

impl<T: Work> Deref for Delayed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

#[pinned_drop]
impl<T: Work> PinnedDrop for Delayed<T> {
    fn drop(self: Pin<&mut Self>) {
        self.cancel();
    }
}

/// The work function.
///
/// # Safety
///
/// To be called by the workqueue on the work of a live `Delayed<T>`.
unsafe extern "C" fn run<T: Work>(work: *mut bindings::work_struct) {
    let offset = offset_of!(Delayed<T>, work) + offset_of!(bindings::delayed_work, work);
    // SAFETY: By the safety requirement, this is the address of the value around `work`.
    let delayed = unsafe { &*work.byte_sub(offset).cast::<Delayed<T>>() };
    if let Some(delay) = delayed.value.run() {
        delayed.schedule(delay);
    }
}
