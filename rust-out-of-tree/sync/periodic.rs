// SPDX-License-Identifier: GPL-2.0

//! Objects with something to do again and again, as long as there is a reference to them.
//!
//! The timer is stopped for good when the last reference goes ([`Object::retire`]), before the
//! grace period that ends in freeing the object, as [`Timed`](super::timed)'s.
//!
//! C header: [`include/linux/timer.h`](srctree/include/linux/timer.h)

use core::{
    mem::offset_of,
    ops::Deref, //
};
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::rcu,
    types::Opaque, //
};

use crate::oot::{
    bindings,
    time::jiffies, //
};

use super::rcu_arc::{
    Object,
    RcuArc, //
};

/// What there is to do.
pub(crate) trait Tick: Object {
    /// Runs in soft interrupt context, never twice at a time.
    fn tick(&self, guard: &rcu::Guard);
}

/// A value with a timer.
#[pin_data]
pub(crate) struct Periodic<T: Tick> {
    #[pin]
    timer: Opaque<bindings::timer_list>,
    interval: usize,
    value: T,
}

// SAFETY: `struct timer_list` does its own locking; `T` is `Send + Sync`.
unsafe impl<T: Tick> Send for Periodic<T> {}

// SAFETY: As above.
unsafe impl<T: Tick> Sync for Periodic<T> {}

impl<T: Tick> Periodic<T> {
    /// An object that ticks each time `interval` jiffies after it was done with it.
    pub(crate) fn start(value: T, interval: usize, flags: Flags) -> Result<RcuArc<Self>> {
        let init = pin_init::pin_init!(Self {
            timer <- Opaque::try_ffi_init(|timer| {
                // SAFETY: `timer` is valid for writes and pinned; the callback fits it.
                unsafe { bindings::oot_timer_setup(timer, Some(fired::<T>)) };
                Ok::<(), Error>(())
            }),
            interval,
            value,
        }? Error);
        let this = RcuArc::new(init, flags)?;
        this.restart();
        Ok(this)
    }

    fn restart(&self) {
        let expires = jiffies().wrapping_add(self.interval);
        // SAFETY: The timer was initialised with `self`. Once it has been shut down, this does
        // nothing.
        unsafe { bindings::mod_timer(self.timer.get(), expires) };
    }
}

impl<T: Tick> Object for Periodic<T> {
    fn retire(&self) {
        // SAFETY: The timer was initialised with `self`.
        unsafe { bindings::timer_shutdown(self.timer.get()) };
        self.value.retire();
    }
}

impl<T: Tick> Deref for Periodic<T> {
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
/// To be called by the timer of a `Periodic<T>` that was started.
unsafe extern "C" fn fired<T: Tick>(timer: *mut bindings::timer_list) {
    let guard = rcu::read_lock();
    let offset = offset_of!(Periodic<T>, timer);
    // SAFETY: By the safety requirement this is the address of the value around `timer`. It is
    // alive: the timer is shut down before the grace period that frees it.
    let this = unsafe { &*timer.byte_sub(offset).cast::<Periodic<T>>() };
    this.value.tick(&guard);
    this.restart();
}
