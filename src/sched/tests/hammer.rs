// SPDX-License-Identifier: GPL-2.0

//! A stress test: several CPUs change the dests of one order at once. When they stop, the order
//! must be correct.

use super::Random;
use crate::{
    addr::{
        Addr,
        Port, //
    },
    sched::{
        tree::Order,
        Candidate,
        Kind,
        Place, //
    },
    shim::{
        hold_up,
        read_lock,
        share,
        Shared, //
    },
};
use std::sync::atomic::{
    AtomicBool,
    AtomicI32,
    Ordering::SeqCst, //
};

struct Dest {
    weight: AtomicI32,
    overloaded: AtomicBool,
    active: AtomicI32,
    total: AtomicI32,
    place: Place,
}

impl Candidate for Dest {
    fn weight(&self) -> i32 {
        self.weight.load(SeqCst)
    }
    fn last_weight(&self) -> i32 {
        self.weight()
    }
    fn is_overloaded(&self) -> bool {
        self.overloaded.load(SeqCst)
    }
    fn active_conns(&self) -> i32 {
        self.active.load(SeqCst)
    }
    fn total_conns(&self) -> i32 {
        self.total.load(SeqCst)
    }
    fn addr(&self) -> Addr {
        Addr::ANY
    }
    fn port(&self) -> Port {
        Port::ZERO
    }
    fn place(&self) -> &Place {
        &self.place
    }
}

impl Dest {
    fn new() -> Self {
        Self {
            weight: AtomicI32::new(1),
            overloaded: AtomicBool::new(false),
            active: AtomicI32::new(0),
            total: AtomicI32::new(0),
            place: Place::new(),
        }
    }

    fn changed(&self) {
        self.place.changed(self, &read_lock());
    }

    fn bound(&self) {
        self.active.fetch_add(1, SeqCst);
        self.total.fetch_add(1, SeqCst);
        self.changed();
    }

    fn deactivated(&self) {
        self.active.fetch_sub(1, SeqCst);
        self.changed();
    }

    fn unbound(&self) {
        self.total.fetch_sub(1, SeqCst);
        self.changed();
    }
}

fn filled(kind: Kind, dests: &[Dest]) -> Shared<Order> {
    let order = share(Order::new(kind, dests).unwrap()).unwrap();
    for (dest, slot) in dests.iter().rev().zip(0..) {
        dest.place.join(dest, &order, slot);
    }
    order
}

/// The work of one CPU: opens conns, mostly to the first dest, changes their state and ends them.
fn conns_come_and_go(order: &Order, dests: &[Dest], seed: u64, steps: usize) {
    hold_up(seed as u32);
    let mut random = Random(seed);
    let mut any = || &dests[random.below(dests.len() as u64) as usize];
    for step in 0..steps {
        // While ranks change, the slot may be empty.
        let first = order
            .first()
            .map(|slot| dests.iter().rev().nth(slot as usize));
        match (step % 8, first.flatten()) {
            (0..=2, Some(dest)) => dest.bound(),
            (3, _) => any().bound(),
            (4, _) => any().deactivated(),
            (5 | 6, _) => any().unbound(),
            _ => {
                let dest = any();
                dest.overloaded.fetch_xor(true, SeqCst);
                dest.changed();
            }
        }
    }
}

/// The work of the control plane: changes weights, removes dests and adds them again.
fn dests_come_and_go(order: &Shared<Order>, dests: &[Dest], seed: u64, steps: usize) {
    let mut random = Random(seed);
    for _ in 0..steps {
        let slot = random.below(dests.len() as u64) as usize;
        let dest = &dests[dests.len() - 1 - slot];
        dest.weight.store(random.below(4) as i32, SeqCst);
        dest.changed();
        match random.below(3) {
            0 => drop(dest.place.leave(dest)),
            1 => dest.place.join(dest, order, slot as u32),
            _ => (),
        }
    }
}

#[test]
fn settles() {
    const STEPS: usize = 200;
    let kinds = [
        Kind::Wlc,
        Kind::Lc,
        Kind::Sed,
        Kind::Nq,
        Kind::Ovf,
        Kind::Twos,
    ];
    // All CPUs write the few nodes of small orders.
    let sizes = [1, 2, 3, 5, 17, 70];
    for round in 0..400 {
        let dests: Vec<Dest> = (0..sizes[round % sizes.len()])
            .map(|_| Dest::new())
            .collect();
        let order = filled(kinds[round % kinds.len()], &dests);
        std::thread::scope(|scope| {
            let (order, dests) = (&order, &dests[..]);
            for cpu in 0..4 {
                let seed = (round * 4 + cpu) as u64;
                scope.spawn(move || conns_come_and_go(order, dests, seed, STEPS));
            }
            dests_come_and_go(order, dests, round as u64, STEPS);
        });
        assert!(order.is_settled(&dests), "round {round}");
    }
}

#[test]
fn rooms() {
    for count in [
        0, 1, 4, 5, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1000, 1024, 1025, 5000,
    ] {
        let dests: Vec<Dest> = (0..count).map(|_| Dest::new()).collect();
        let order = filled(Kind::Wlc, &dests);
        assert!(order.room() > count, "{count}");
        assert!(order.is_settled(&dests));
        assert_eq!(order.first(), (count as u32).checked_sub(1));
        for dest in &dests {
            dest.bound();
        }
        assert!(order.is_settled(&dests));
        for dest in &dests {
            dest.place.leave(dest);
        }
        assert!(order.is_settled(&dests));
        assert_eq!(order.first(), None);
    }
}
