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
    life.step(to(ACTIVE), is_active);
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
        assert_eq!(life.kill(), Some(flags != 0));
        assert!(!life.set_state(ACTIVE));
        assert_eq!(life.state(), LISTEN);
    }
}

#[test]
fn steps_change_what_changes() {
    let life = Life::new(INACTIVE | NO_OUTPUT, 5, false);
    let step = life.step(to(ACTIVE), is_active);
    let change = |old_state, new_state, activity| {
        Step::Changed(Change {
            old_state,
            new_state,
            activity,
        })
    };
    assert_eq!(step, change(0, ACTIVE, Some(true)));
    assert_eq!(life.step(to(ACTIVE), is_active), Step::Same(ACTIVE));
    assert_eq!(life.step(|_, _| None, is_active), Step::Nothing);
    let output = |state, no_output: bool| {
        assert!(no_output);
        Some(Next {
            state,
            has_output: true,
        })
    };
    assert_eq!(life.step(output, is_active), change(ACTIVE, ACTIVE, None));
    assert!(!life.has_no_output());
    assert_eq!(
        life.step(to(CLOSED), is_active),
        change(ACTIVE, CLOSED, Some(false))
    );
    assert_eq!(life.kill(), Some(true));
    assert_eq!(life.kill(), None);
    assert_eq!(life.step(to(ACTIVE), is_active), Step::Dead);
    assert_eq!(life.step(|_, _| None, is_active), Step::Dead);
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

/// A packet that changes nothing sets the timeout while another CPU closes the conn. The final
/// timeout is that of the closed state, and the timer is restarted for it.
#[test]
fn a_stale_timeout_does_not_stay() {
    let life = active(0);
    life.timeout.set(0);
    let mut closed = false;
    let closed = std::cell::Cell::from_mut(&mut closed);
    assert_eq!(life.step(stay, is_active), Step::Same(ACTIVE));
    let settled = life.settle(ACTIVE, false, |state| {
        if !closed.replace(true) {
            // Another CPU, between this CPU's read of the state and its write.
            life.step(to(CLOSED), is_active);
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
    assert_eq!(life.fired(1000, 900), Expiry::Again(CONTROL_PERIOD));
    assert_eq!(life.left(1001, life.timeout()), CONTROL_PERIOD - 1);
    life.uncontrol();
    let died = Expiry::Died {
        was_inactive: false,
    };
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
        assert_ne!(life.step(next, is_active), Step::Dead);
        assert_eq!(life.word.get(), u64::from(ACTIVE));
    }
    let life = active(0);
    life.word.set(life.word.get() | DYING);
    assert!(life.take_control() && life.is_in_control());
    assert_eq!(life.word.get(), u64::from(ACTIVE) | CONTROLLED);
}

/// Packets arrive while the timer fires. If a packet finds the conn alive after it has stored the
/// time, that timer does not kill the conn.
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
                let step = life.step(stay, is_active);
                found_alive.store(step != Step::Dead, SeqCst);
            });
            hold_up(round.wrapping_mul(31));
            gate.wait();
            matches!(life.fired(now, 900), Expiry::Died { .. })
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
            }) = life.step(to(state), is_active)
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
