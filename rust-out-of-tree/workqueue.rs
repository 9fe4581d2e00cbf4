// SPDX-License-Identifier: GPL-2.0

//! Delayed work as part of a value, cancelled when the value is dropped.
//!
//! In `kernel::workqueue`, delayed work holds an `Arc` to its value until it has run. This module
//! adds two functions: cancelling work synchronously, so that the work can be part of a value with
//! a known lifetime, and changing the delay of queued work (`mod_delayed_work()`).
//!
//! A [`Timer`](crate::oot::sync::Timer) is a field of its value, as in `kernel::time::hrtimer`. The
//! work is a wrapper instead: it must be cancelled before any field of the value is dropped, and a
//! field cannot do that.
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

/// A value with a work function.
pub(crate) trait Work: Send + Sync + 'static {
    /// The work function. Returns the number of jiffies after which to run again, or `None`.
    fn run(&self) -> Option<usize>;
}

/// A value and its delayed work.
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
    /// Wraps a value; queues no work.
    pub(crate) fn new<E>(value: impl PinInit<T, E>) -> impl PinInit<Self, E> {
        pin_init::pin_init!(Self {
            work <- Opaque::try_ffi_init(|work| {
                // SAFETY: `work` is valid for writes and pinned, and `run::<T>` expects the work of
                // a `Delayed<T>`.
                unsafe { bindings::oot_init_delayed_work(work, Some(run::<T>)) };
                Ok(())
            }),
            value <- value,
        }? E)
    }

    /// Queues the work to run in `delay` jiffies. Does nothing if it is queued already.
    pub(crate) fn schedule(&self, delay: usize) {
        // SAFETY: The work was initialised, and is cancelled when `self` is dropped.
        unsafe { bindings::oot_schedule_delayed_work(self.work.get(), delay) };
    }

    /// Cancels queued work and waits for running work to end. Sleeps.
    pub(crate) fn cancel(&self) {
        // SAFETY: The work was initialised. The call also cancels work that queues itself again.
        unsafe { bindings::cancel_delayed_work_sync(self.work.get()) };
    }

    /// Queues the work to run in `delay` jiffies. Changes the time if it is queued already.
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
/// To be called only by the workqueue, on the work of a live `Delayed<T>`.
unsafe extern "C" fn run<T: Work>(work: *mut bindings::work_struct) {
    let offset = offset_of!(Delayed<T>, work) + offset_of!(bindings::delayed_work, work);
    // SAFETY: By the safety requirement, the work is a field of a live `Delayed<T>` at this offset.
    let delayed = unsafe { &*work.byte_sub(offset).cast::<Delayed<T>>() };
    if let Some(delay) = delayed.value.run() {
        delayed.schedule(delay);
    }
}
