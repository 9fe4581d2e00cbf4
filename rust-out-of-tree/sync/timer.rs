// SPDX-License-Identifier: GPL-2.0

//! Timer wheel timers as fields of objects behind an [`RcuArc`](super::RcuArc).
//!
//! The API follows `kernel::time::hrtimer`, which has no wheel timers: a [`Timer`] field, a
//! [`TimerCallback`], and [`impl_has_timer!`](crate::oot::sync::timer::impl_has_timer), which names
//! the field. It needs no handle: the timer is valid as long as there are references to its object.
//! [`Object::retire`] shuts the timer down when the last reference is dropped, before the grace
//! period after which the object is freed. A callback that is still running is an RCU reader, so
//! the object stays live for it. No callback starts later.
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

/// A timer whose callback gets the `T` that contains it.
#[repr(transparent)]
pub(crate) struct Timer<T>(Opaque<bindings::timer_list>, PhantomData<fn(T)>);

// SAFETY: `struct timer_list` does its own locking.
unsafe impl<T> Send for Timer<T> {}

// SAFETY: As above.
unsafe impl<T> Sync for Timer<T> {}

/// The callback of a [`Timer`].
pub(crate) trait TimerCallback: Object {
    /// Called in softirq context when the timer expires, never concurrently for one object. Returns
    /// the jiffies after which the timer is to expire again, or `None`.
    fn run(this: RcuRef<'_, Self>, guard: &rcu::Guard) -> Option<usize>
    where
        Self: Sized;
}

/// A type that contains a timer. Implemented only by [`impl_has_timer!`].
///
/// # Safety
///
/// `OFFSET` must be the offset of the field that [`HasTimer::timer`] returns. [`Object::prepare`]
/// must be [`Timer::set_up`], and [`Object::retire`] must be [`Timer::shut_down`].
pub(crate) unsafe trait HasTimer: TimerCallback + Sized {
    /// The offset of the timer in the type, in bytes.
    const OFFSET: usize;

    /// Returns the timer.
    fn timer(&self) -> &Timer<Self>;
}

impl<T> Timer<T> {
    /// Creates a timer, which can be started once its object is behind an
    /// [`RcuArc`](super::RcuArc).
    pub(crate) const fn new() -> Self {
        Self(Opaque::uninit(), PhantomData)
    }
}

impl<T: HasTimer> Timer<T> {
    /// Starts or restarts the timer to expire in `delay` jiffies.
    ///
    /// Does nothing once the last reference to the object has been dropped.
    #[inline]
    pub(crate) fn start(this: RcuRef<'_, T>, delay: usize) {
        let expires = jiffies().wrapping_add(delay);
        // SAFETY: The object is behind an `RcuArc` and live, so its timer was set up.
        unsafe { bindings::mod_timer(this.timer().0.get(), expires) };
    }

    /// Initialises the timer.
    ///
    /// # Safety
    ///
    /// To be called only as [`Object::prepare`].
    #[inline]
    pub(crate) unsafe fn set_up(&self) {
        // SAFETY: By the safety requirement no other code accesses the timer, and it is pinned. The
        // callback expects the timer of a `T`.
        unsafe { bindings::oot_timer_setup(self.0.get(), Some(fired::<T>)) };
    }

    /// Stops the timer. It cannot be started again (`timer_shutdown()`).
    ///
    /// # Safety
    ///
    /// To be called only as [`Object::retire`].
    #[inline]
    pub(crate) unsafe fn shut_down(&self) {
        // SAFETY: By the safety requirement the timer was set up.
        unsafe { bindings::timer_shutdown(self.0.get()) };
    }
}

/// The timer callback.
///
/// # Safety
///
/// To be called only by the timer code, for the timer of a `T` behind an `RcuArc`.
unsafe extern "C" fn fired<T: HasTimer>(timer: *mut bindings::timer_list) {
    let guard = rcu::read_lock();
    let value = timer.wrapping_byte_sub(T::OFFSET).cast::<T>();
    // SAFETY: By the requirements on `OFFSET` this is the address of the `T` that contains the
    // timer. It is live: the timer is shut down before the grace period after which it is freed.
    let this = unsafe { RcuRef::from_value(value) };
    if let Some(delay) = T::run(this, &guard) {
        let expires = jiffies().wrapping_add(delay);
        // Another CPU may have restarted the timer for an earlier time, which must be kept.
        // SAFETY: The timer was set up; once it is shut down, this does nothing.
        unsafe { bindings::timer_reduce(timer, expires) };
    }
}

/// Names the field of a type that is its [`Timer`], and implements [`Object`] for the type.
macro_rules! impl_has_timer {
    (
        impl$({$($generics:tt)*})? HasTimer for $self:ty {
            self.$field:ident
        }
    ) => {
        #[allow(unsafe_code)]
        // SAFETY: `timer` compiles only if the field is a timer of this type. The `Object`
        // implementation is the one below.
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
