// SPDX-License-Identifier: GPL-2.0

//! Entries of an [`RcuHash`](super::rcu_hash::RcuHash) with a timer of their own.
//!
//! The timer is stopped for good when the last reference goes ([`Object::retire`]), before the
//! grace period that ends in freeing it: one that fires until then finds the object alive, none
//! fires later.
//!
//! C header: [`include/linux/timer.h`](srctree/include/linux/timer.h)

use core::{
    mem::offset_of,
    ops::Deref, //
};
use kernel::{
    prelude::*,
    sync::rcu,
    types::Opaque, //
};

use crate::oot::{
    bindings,
    time::jiffies, //
};

use super::{
    rcu_arc::{
        Object,
        RcuRef, //
    },
    rcu_hash::Linked, //
};

/// What happens when the timer fires.
pub(crate) trait Expire: Object {
    /// Runs in soft interrupt context. Gives the jiffies until the timer is to fire again, if it
    /// is to.
    fn fired(entry: RcuRef<'_, Linked<Timed<Self>>>, guard: &rcu::Guard) -> Option<usize>
    where
        Self: Sized;
}

/// A value with a timer.
#[pin_data]
pub(crate) struct Timed<T: Expire> {
    #[pin]
    timer: Opaque<bindings::timer_list>,
    #[pin]
    value: T,
}

// SAFETY: `struct timer_list` does its own locking; `T` is `Send + Sync`.
unsafe impl<T: Expire> Send for Timed<T> {}

// SAFETY: As above.
unsafe impl<T: Expire> Sync for Timed<T> {}

impl<T: Expire> Timed<T> {
    /// Wraps a value; the timer is not running.
    pub(crate) fn new<E>(value: impl PinInit<T, E>) -> impl PinInit<Self, E> {
        pin_init::pin_init!(Self {
            timer <- Opaque::try_ffi_init(|timer| {
                // SAFETY: `timer` is valid for writes and pinned; the callback fits it.
                unsafe { bindings::oot_timer_setup(timer, Some(fired::<T>)) };
                Ok(())
            }),
            value <- value,
        }? E)
    }

    /// Starts the timer, or restarts it, to fire `delay` jiffies from now.
    ///
    /// Does nothing once the last reference to the entry is gone.
    pub(crate) fn start(entry: RcuRef<'_, Linked<Self>>, delay: usize) {
        let expires = jiffies().wrapping_add(delay);
        // SAFETY: The timer was initialised with the entry, which is alive.
        unsafe { bindings::mod_timer(entry.get().timer.get(), expires) };
    }
}

impl<T: Expire> Object for Timed<T> {
    fn retire(&self) {
        // SAFETY: The timer was initialised with `self`.
        unsafe { bindings::timer_shutdown(self.timer.get()) };
        self.value.retire();
    }
}

impl<T: Expire> Deref for Timed<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}

/// The timer's callback.
///
/// # Safety
///
/// To be called by the timer of a `Timed<T>` that was started as an entry.
unsafe extern "C" fn fired<T: Expire>(timer: *mut bindings::timer_list) {
    let guard = rcu::read_lock();
    let offset = Linked::<Timed<T>>::VALUE_OFFSET + offset_of!(Timed<T>, timer);
    let linked = timer.wrapping_byte_sub(offset).cast::<Linked<Timed<T>>>();
    // SAFETY: `start` is the only way to start a timer, with a reference to a `Linked` around it.
    // That is alive: the timer is shut down before the grace period that frees it.
    let entry = unsafe { RcuRef::from_value(linked) };
    if let Some(delay) = T::fired(entry, &guard) {
        let expires = jiffies().wrapping_add(delay);
        // Another CPU may have started the timer meanwhile, for an earlier time: that holds.
        // SAFETY: The timer was initialised with the entry, which is alive.
        unsafe { bindings::timer_reduce(timer, expires) };
    }
}
