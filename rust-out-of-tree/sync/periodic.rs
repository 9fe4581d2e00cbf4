// SPDX-License-Identifier: GPL-2.0

//! Objects with a periodic timer, which runs as long as the object has a reference.

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

/// A value with a periodic function.
pub(crate) trait Tick: Send + Sync + 'static {
    /// Called in softirq context, never concurrently.
    fn tick(&self, guard: &rcu::Guard);
}

/// A value with its timer.
pub(crate) struct Periodic<T: Tick> {
    timer: Timer<Self>,
    interval: usize,
    value: T,
}

impl_has_timer! {
    impl{T: Tick} HasTimer for Periodic<T> { self.timer }
}

impl<T: Tick> Periodic<T> {
    /// Creates an object whose [`Tick::tick`] is first called in `interval` jiffies, and then
    /// `interval` jiffies after each call has ended.
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
