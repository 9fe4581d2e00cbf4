// SPDX-License-Identifier: GPL-2.0

//! Tests of steps, timeouts and expiry, sequential and concurrent.

use super::*;
use crate::shim::hold_up;
use std::sync::atomic::{
    AtomicBool,
    Ordering::SeqCst, //
};

const ACTIVE: u8 = 1;
const CLOSED: u8 = 6;

fn is_active(state: u8) -> bool {
    state == ACTIVE
}

fn to(state: u8) -> impl Fn(u8, bool) -> Option<Next> {
    move |_, _| {
        Some(Next {
            state,
            has_output: false,
        })
    }
}

fn stay(state: u8, _: bool) -> Option<Next> {
    Some(Next {
        state,
        has_output: false,
    })
}

/// 900 jiffies in the active state, 10 in others.
fn timeout_of(state: u8) -> u32 {
    if state == ACTIVE {
        900
    } else {
        10
    }
}

fn active(now: u32) -> Life {
    let life = Life::new(INACTIVE, now, false);
    life.step(false, to(ACTIVE), is_active);
    life.settle(ACTIVE, false, timeout_of);
    life
}

#[test]
fn a_set_state_keeps_the_activity() {
    const LISTEN: u8 = 9;
    for flags in [0, INACTIVE] {
        let life = Life::new(flags | NO_OUTPUT, 5, false);
        assert!(life.set_state(LISTEN));
        assert_eq!((life.state(), life.is_inactive()), (LISTEN, flags != 0));
        assert!(life.has_no_output());
        assert_eq!(
            life.kill().map(|death| death.was_inactive),
            Some(flags != 0)
        );
        assert!(!life.set_state(ACTIVE));
        assert_eq!(life.state(), LISTEN);
    }
}

#[test]
fn steps_change_what_changes() {
    let life = Life::new(INACTIVE | NO_OUTPUT, 5, false);
    let step = life.step(false, to(ACTIVE), is_active);
    let change = |old_state, new_state, activity| {
        Step::Changed(Change {
            old_state,
            new_state,
            activity,
        })
    };
    assert_eq!(step, change(0, ACTIVE, Some(true)));
    assert_eq!(life.step(false, to(ACTIVE), is_active), Step::Same(ACTIVE));
    assert_eq!(life.step(false, |_, _| None, is_active), Step::Nothing);
    let output = |state, no_output: bool| {
        assert!(no_output);
        Some(Next {
            state,
            has_output: true,
        })
    };
    assert_eq!(
        life.step(false, output, is_active),
        change(ACTIVE, ACTIVE, None)
    );
    assert!(!life.has_no_output());
    assert_eq!(
        life.step(false, to(CLOSED), is_active),
        change(ACTIVE, CLOSED, Some(false))
    );
    let death = Death {
        was_inactive: true,
        was_bound: true,
    };
    assert_eq!(life.kill(), Some(death));
    assert_eq!(life.kill(), None);
    assert_eq!(life.step(false, to(ACTIVE), is_active), Step::Dead);
    assert_eq!(life.step(false, |_, _| None, is_active), Step::Dead);
}

#[test]
fn timeouts_and_answers() {
    let life = Life::new(INACTIVE, 0, true);
    let settled = life.settle(0, false, |_| 300);
    assert_eq!(settled, Settled::default());
    assert_eq!((life.timeout(), life.has_timeout(300, true)), (300, false));
    assert!(life.settle(0, true, |_| 300).answered);
    assert!(life.has_timeout(300, true) && !life.settle(0, true, |_| 300).answered);
    assert_eq!(life.settle(0, false, |_| 200).sooner, Some(200));
    assert_eq!(life.settle(0, false, |_| 250).sooner, None);
}

/// The first packets from the client are counted, whatever else they change. Then the word does not
/// change any more.
#[test]
fn first_packets_are_counted() {
    let silent: fn(u8, bool) -> Option<Next> = |_, _| None;
    for next in [stay, silent] {
        let life = Life::new(INACTIVE, 0, false);
        life.begin(ACTIVE, true, 900);
        assert_eq!(life.packets(), 1);
        assert_eq!(life.settled_state(true), None);
        assert_eq!(life.settled_state(false), Some((ACTIVE, false)));
        assert_eq!(
            life.step(false, next, is_active),
            life.step(true, next, is_active)
        );
        assert_eq!(life.packets(), 2);
        life.step(true, to(CLOSED), is_active);
        assert_eq!((life.packets(), life.state()), (3, CLOSED));
        life.count();
        assert!(life.take_control());
        for packets in 5..20 {
            life.step(true, next, is_active);
            assert_eq!(life.packets(), packets.min(COUNTED));
        }
        assert!(life.is_in_control());
        assert_eq!(life.settled_state(true), Some((CLOSED, false)));
        life.count();
        assert_eq!(life.packets(), COUNTED);
    }
    let template = Life::new(INACTIVE, 0, false);
    template.begin_template(u32::MAX);
    assert_eq!((template.packets(), template.state()), (0, 0));
    template.count();
    assert_eq!((template.packets(), template.lifetime()), (1, u32::MAX));
}

#[test]
fn idle_times() {
    let life = active(u32::MAX - 10);
    for (now, is_idle) in [(0, false), (88, false), (89, true), (4000, true)] {
        assert_eq!(life.is_idle_for(now, 100), is_idle, "{now}");
    }
    // A packet has arrived after the clock was read.
    assert!(!life.is_idle_for(u32::MAX - 11, 100));
}

/// A packet that changes nothing sets the timeout while another CPU closes the conn. The final
/// timeout is that of the closed state, and the timer is restarted for it.
#[test]
fn a_stale_timeout_does_not_stay() {
    let life = active(0);
    life.timeout.set(0);
    let mut closed = false;
    let closed = std::cell::Cell::from_mut(&mut closed);
    assert_eq!(life.step(false, stay, is_active), Step::Same(ACTIVE));
    let settled = life.settle(ACTIVE, false, |state| {
        if !closed.replace(true) {
            // Another CPU, between this CPU's read of the state and its write.
            life.step(false, to(CLOSED), is_active);
            life.settle(CLOSED, false, timeout_of);
        }
        timeout_of(state)
    });
    assert_eq!(life.timeout(), timeout_of(CLOSED));
    assert_eq!(settled.sooner, Some(timeout_of(CLOSED)));
}

#[test]
fn the_timer_waits_for_what_is_left() {
    let life = active(0);
    assert_eq!(life.fired(100, 900), Expiry::Again(800));
    life.seen(100);
    assert_eq!(life.fired(900, 900), Expiry::Again(100));
    assert!(life.take_control());
    assert_eq!(life.fired(1000, 900), Expiry::Controls(CONTROL_PERIOD));
    assert_eq!(life.left(1001, life.timeout()), CONTROL_PERIOD - 1);
    life.uncontrol();
    let died = Expiry::Died(Death {
        was_inactive: false,
        was_bound: true,
    });
    assert_eq!(life.fired(1000 + CONTROL_PERIOD, CONTROL_PERIOD), died);
    assert_eq!(life.fired(0, 0), Expiry::Over);
    assert!(!life.take_control() && !life.is_usable());
}

/// A dying conn is revived by any packet, whatever its effect on the state.
#[test]
fn a_dying_conn_is_revived() {
    let silent: fn(u8, bool) -> Option<Next> = |_, _| None;
    for next in [stay, silent] {
        let life = active(0);
        life.word.set(life.word.get() | DYING);
        assert_ne!(life.step(false, next, is_active), Step::Dead);
        assert_eq!(life.word.get(), u64::from(ACTIVE));
    }
    let life = active(0);
    life.word.set(life.word.get() | DYING);
    assert!(life.take_control() && life.is_in_control());
    assert_eq!(life.word.get(), u64::from(ACTIVE) | CONTROLLED);
}

/// Packets arrive while the timer fires. If a packet stores the time and then finds a conn that is
/// not dead, that timer does not kill the conn.
#[test]
fn packets_and_the_timer_agree() {
    for round in 0..500_u32 {
        let life = active(0);
        let now = 900;
        let gate = std::sync::Barrier::new(2);
        let found_alive = AtomicBool::new(false);
        let died = std::thread::scope(|scope| {
            scope.spawn(|| {
                hold_up(round);
                gate.wait();
                for _ in 0..round % 64 {
                    std::hint::spin_loop();
                }
                life.seen(now);
                let step = life.step(false, stay, is_active);
                found_alive.store(step != Step::Dead, SeqCst);
            });
            hold_up(round.wrapping_mul(31));
            gate.wait();
            matches!(life.fired(now, 900), Expiry::Died(_))
        });
        assert_ne!(died, found_alive.load(SeqCst), "round {round}");
        assert_eq!(life.word.get() & DYING, 0);
    }
}

/// Two CPUs change the state and the timeout at once. The final timeout is that of the final state.
#[test]
fn states_and_timeouts_agree() {
    for round in 0..500 {
        let life = active(0);
        life.timeout.set(1);
        let cpu = |state, seed| {
            hold_up(seed);
            if let Step::Same(state)
            | Step::Changed(Change {
                new_state: state, ..
            }) = life.step(false, to(state), is_active)
            {
                life.settle(state, false, timeout_of);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(|| cpu(ACTIVE, round));
            cpu(CLOSED, round.wrapping_mul(31));
        });
        assert_eq!(life.timeout(), timeout_of(life.state()));
    }
}

#[test]
fn received_conns() {
    let life = Life::new(INACTIVE | UNBOUND, 0, false);
    let received = |old_state, new_state, activity| {
        Some(Change {
            old_state,
            new_state,
            activity,
        })
    };
    // No dest counts it yet.
    assert_eq!(life.receive(1, false), received(0, 1, None));
    assert!(life.is_unbound() && !life.has_no_output());
    assert_eq!(life.bind(true), Some(false));
    assert!(!life.is_unbound() && life.has_no_output());
    // The message determines the activity, whatever the state.
    assert_eq!(life.receive(1, true), received(1, 1, Some(false)));
    assert_eq!(life.receive(4, true), received(1, 4, None));
    assert_eq!(life.receive(4, false), received(4, 4, Some(true)));
    life.set_timeout(u32::MAX);
    life.renew(7);
    assert_eq!(life.timeout(), u32::MAX >> 1);
    assert_eq!(life.left(8, life.timeout()), life.timeout() - 1);
    let death = Death {
        was_inactive: false,
        was_bound: true,
    };
    assert_eq!(life.kill(), Some(death));
    assert_eq!((life.receive(1, true), life.bind(false)), (None, None));
    let unbound = Life::new(UNBOUND, 0, false);
    assert_eq!(unbound.kill().map(|death| death.was_bound), Some(false));
}
