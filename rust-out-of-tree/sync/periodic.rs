// SPDX-License-Identifier: GPL-2.0

//! Objects with something to do again and again, as long as there is a reference to them.

use core::ops::Deref;
use kernel::{
    alloc::Flags,
    prelude::*,
    sync::rcu, //
};

use super::{
    rcu_arc::{
        RcuArc,
        RcuRef, //
    },
    timer::{
        impl_has_timer,
        Timer,
        TimerCallback, //
    },
};

/// What there is to do.
pub(crate) trait Tick: Send + Sync + 'static {
    /// Runs in soft interrupt context, never twice at a time.
    fn tick(&self, guard: &rcu::Guard);
}

/// A value with a timer.
pub(crate) struct Periodic<T: Tick> {
    timer: Timer<Self>,
    interval: usize,
    value: T,
}

impl_has_timer! {
    impl{T: Tick} HasTimer for Periodic<T> { self.timer }
}

impl<T: Tick> Periodic<T> {
    /// An object that ticks each time `interval` jiffies after it was done with it.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn start(value: T, interval: usize, flags: Flags) -> Result<RcuArc<Self>> {
        let this = RcuArc::new(
            Self {
                timer: Timer::new(),
                interval,
                value,
            },
            flags,
        )?;
        Timer::start(this.as_rcu(), interval);
        Ok(this)
    }
}

impl<T: Tick> TimerCallback for Periodic<T> {
    fn run(this: RcuRef<'_, Self>, guard: &rcu::Guard) -> Option<usize> {
        this.value.tick(guard);
        Some(this.interval)
    }
}

impl<T: Tick> Deref for Periodic<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.value
    }
}
