// SPDX-License-Identifier: GPL-2.0

//! Timers of the timer wheel, as fields of objects behind an [`RcuArc`](super::RcuArc).
//!
//! The shape is that of `kernel::time::hrtimer`, which has no wheel timers: a [`Timer`] field, a
//! [`TimerCallback`], and [`impl_has_timer!`](crate::oot::sync::timer::impl_has_timer), which says
//! what field it is. A handle is not needed: the timer lives as long as the references to its
//! object. [`Object::retire`] shuts it down when the last one goes, before the grace period that
//! ends in freeing the object. A callback that runs until then finds the object alive, since it is
//! an RCU reader; none runs later.
//!
//! C header: [`include/linux/timer.h`](srctree/include/linux/timer.h)

use core::marker::PhantomData;
use kernel::{
    sync::rcu,
    types::Opaque, //
};

use crate::oot::{
    bindings,
    time::jiffies, //
};

use super::rcu_arc::{
    Object,
    RcuRef, //
};

/// A timer that calls back about the `T` it is a field of.
#[repr(transparent)]
pub(crate) struct Timer<T>(Opaque<bindings::timer_list>, PhantomData<fn(T)>);

// SAFETY: `struct timer_list` does its own locking.
unsafe impl<T> Send for Timer<T> {}

// SAFETY: As above.
unsafe impl<T> Sync for Timer<T> {}

/// What happens when the timer fires.
pub(crate) trait TimerCallback: Object {
    /// Runs in soft interrupt context, never twice at a time for one object. Gives the jiffies
    /// until the timer is to fire again, if it is to.
    fn run(this: RcuRef<'_, Self>, guard: &rcu::Guard) -> Option<usize>
    where
        Self: Sized;
}

/// A type with a timer. Implemented by [`impl_has_timer!`] alone.
///
/// # Safety
///
/// `OFFSET` must be that of the field that [`HasTimer::timer`] gives. [`Object::prepare`] must be
/// [`Timer::set_up`], and [`Object::retire`] must be [`Timer::shut_down`].
pub(crate) unsafe trait HasTimer: TimerCallback + Sized {
    /// Where the timer is in the type.
    const OFFSET: usize;

    /// The timer.
    fn timer(&self) -> &Timer<Self>;
}

impl<T> Timer<T> {
    /// A timer, which can be started once its object is behind a reference.
    pub(crate) const fn new() -> Self {
        Self(Opaque::uninit(), PhantomData)
    }
}

impl<T: HasTimer> Timer<T> {
    /// Starts the timer, or restarts it, to fire `delay` jiffies from now.
    ///
    /// Does nothing once the last reference to the object is gone.
    #[inline]
    pub(crate) fn start(this: RcuRef<'_, T>, delay: usize) {
        let expires = jiffies().wrapping_add(delay);
        // SAFETY: The object is behind an `RcuArc`, and alive: its timer was set up.
        unsafe { bindings::mod_timer(this.timer().0.get(), expires) };
    }

    /// Makes the timer ready.
    ///
    /// # Safety
    ///
    /// To be called as [`Object::prepare`].
    #[inline]
    pub(crate) unsafe fn set_up(&self) {
        // SAFETY: By the safety requirement the memory is ours alone and stays in its place; the
        // callback fits the timer's type.
        unsafe { bindings::oot_timer_setup(self.0.get(), Some(fired::<T>)) };
    }

    /// Stops the timer for good.
    ///
    /// # Safety
    ///
    /// To be called as [`Object::retire`].
    #[inline]
    pub(crate) unsafe fn shut_down(&self) {
        // SAFETY: By the safety requirement the timer was set up.
        unsafe { bindings::timer_shutdown(self.0.get()) };
    }
}

/// The timer's callback.
///
/// # Safety
///
/// To be called by the timer of a `T` behind an `RcuArc`.
unsafe extern "C" fn fired<T: HasTimer>(timer: *mut bindings::timer_list) {
    let guard = rcu::read_lock();
    let value = timer.wrapping_byte_sub(T::OFFSET).cast::<T>();
    // SAFETY: By the requirements on `OFFSET` it is the value around the timer. That is alive: the
    // timer is shut down before the grace period that frees it.
    let this = unsafe { RcuRef::from_value(value) };
    if let Some(delay) = T::run(this, &guard) {
        let expires = jiffies().wrapping_add(delay);
        // Another CPU may have started the timer meanwhile, for an earlier time: that holds.
        // SAFETY: The timer was set up; once it is shut down, this does nothing.
        unsafe { bindings::timer_reduce(timer, expires) };
    }
}

/// Says which field of a type is its [`Timer`]; makes the type an [`Object`].
macro_rules! impl_has_timer {
    (
        impl$({$($generics:tt)*})? HasTimer for $self:ty {
            self.$field:ident
        }
    ) => {
        #[allow(unsafe_code)]
        // SAFETY: `timer` compiles only if the field is a timer of this type. The `Object` is the
        // one below.
        unsafe impl$(<$($generics)*>)? $crate::oot::sync::timer::HasTimer for $self {
            const OFFSET: usize = ::core::mem::offset_of!(Self, $field);

            #[inline(always)]
            fn timer(&self) -> &$crate::oot::sync::timer::Timer<Self> {
                &self.$field
            }
        }

        #[allow(unsafe_code)]
        impl$(<$($generics)*>)? $crate::oot::sync::Object for $self {
            #[inline]
            unsafe fn prepare(&self) {
                // SAFETY: This is `prepare`.
                unsafe { self.$field.set_up() };
            }

            #[inline]
            unsafe fn retire(&self) {
                // SAFETY: This is `retire`.
                unsafe { self.$field.shut_down() };
            }
        }
    };
}
pub(crate) use impl_has_timer;
