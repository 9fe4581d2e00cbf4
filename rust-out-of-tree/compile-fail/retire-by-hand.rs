// SPDX-License-Identifier: GPL-2.0
// Error: E0133

// Safe code must not set up or shut down a timer; only its object does.

use crate::oot::sync::{
    impl_has_timer,
    Object,
    RcuArc,
    RcuRef,
    Timer,
    TimerCallback, //
};
use kernel::{
    prelude::*,
    sync::rcu, //
};

struct Alarm {
    timer: Timer<Self>,
}

impl_has_timer! {
    impl HasTimer for Alarm { self.timer }
}

impl TimerCallback for Alarm {
    fn run(_this: RcuRef<'_, Self>, _guard: &rcu::Guard) -> Option<usize> {
        None
    }
}

fn start() -> Result<RcuArc<Alarm>> {
    let alarm = RcuArc::new(
        Alarm {
            timer: Timer::new(),
        },
        GFP_KERNEL,
    )?;
    Timer::start(alarm.as_rcu(), 1);
    #[cfg(misuse)]
    alarm.prepare();
    #[cfg(misuse)]
    alarm.retire();
    Ok(alarm)
}
