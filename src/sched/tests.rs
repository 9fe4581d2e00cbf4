// SPDX-License-Identifier: GPL-2.0

//! Shared parts of the schedulers' tests, and tests of rules that hold for all schedulers.

mod c_lblc;
mod c_model;
mod hammer;

use super::*;
use core::cell::Cell;
use std::rc::Rc;

/// A dest whose figures the tests set. Its clones are the same dest.
#[derive(Clone)]
pub(super) struct Dest {
    pub(super) name: u8,
    pub(super) weight: Rc<Cell<i32>>,
    pub(super) last_weight: Rc<Cell<i32>>,
    pub(super) overloaded: Rc<Cell<bool>>,
    pub(super) active: Rc<Cell<i32>>,
    pub(super) inactive: Rc<Cell<i32>>,
    pub(super) place: Rc<Place>,
}

impl Candidate for Dest {
    fn weight(&self) -> i32 {
        self.weight.get()
    }
    fn last_weight(&self) -> i32 {
        self.last_weight.get()
    }
    fn is_overloaded(&self) -> bool {
        self.overloaded.get()
    }
    fn active_conns(&self) -> i32 {
        self.active.get()
    }
    fn total_conns(&self) -> i32 {
        self.active.get() + self.inactive.get()
    }
    fn addr(&self) -> Addr {
        Addr::from_v4([10, 0, 0, self.name])
    }
    fn port(&self) -> Port {
        Port::new(80)
    }
    fn place(&self) -> &Place {
        &self.place
    }
}

impl Share for Dest {}

impl Member for Dest {
    type Kept = Self;
    fn keep(&self) -> Self {
        self.clone()
    }
}

impl Dest {
    pub(super) fn new(name: u8, weight: i32) -> Self {
        Self {
            name,
            weight: Rc::new(Cell::new(weight)),
            last_weight: Rc::new(Cell::new(weight)),
            overloaded: Rc::default(),
            active: Rc::default(),
            inactive: Rc::default(),
            place: Rc::new(Place::new()),
        }
    }

    /// Sets one of the figures and notifies the scheduler's order.
    pub(super) fn set<T>(&self, figure: &Cell<T>, value: T) {
        figure.set(value);
        self.place.changed(self, &crate::shim::read_lock());
    }
}

/// A service that publishes its dests as `service.rs` does.
pub(super) struct Service {
    pub(super) dests: Vec<Dest>,
    pub(super) state: AnyScheduler<Dest>,
}

impl Service {
    pub(super) fn new(kind: Kind, dests: Vec<Dest>) -> Self {
        let state = AnyScheduler::new(kind, &SETUP, &dests).unwrap();
        state.register(&dests);
        Self { dests, state }
    }

    pub(super) fn add(&mut self, dest: Dest) {
        self.dests.insert(0, dest);
        self.publish(Change::Added);
    }

    pub(super) fn remove(&mut self, index: usize) -> Dest {
        let dest = self.dests.remove(index);
        self.publish(Change::Removed(index));
        dest.place.leave(&dest);
        dest
    }

    pub(super) fn weigh(&mut self, index: usize, weight: i32) {
        let dest = &self.dests[index];
        dest.set(&dest.weight, weight);
        if weight != 0 {
            dest.last_weight.set(weight);
        }
        self.publish(Change::Edited);
    }

    fn publish(&mut self, change: Change) {
        self.state = self.state.rebuild(&self.dests, change).unwrap();
        self.state.register(&self.dests);
    }

    pub(super) fn schedule(&self) -> Option<usize> {
        self.state.schedule(&self.dests, &FLOW)
    }

    /// Opens `count` conns, which stay active. Returns the names of their dests, 255 for none.
    pub(super) fn fill(&self, count: usize) -> Vec<u8> {
        let take = |_| {
            let Some(index) = self.schedule() else {
                return 255;
            };
            let dest = &self.dests[index];
            dest.set(&dest.active, dest.active.get() + 1);
            dest.name
        };
        (0..count).map(take).collect()
    }

    /// The number of active conns of each dest.
    pub(super) fn active(&self) -> Vec<i32> {
        self.dests.iter().map(|dest| dest.active.get()).collect()
    }
}

/// Dests with the names 0, 1, .. and these weights.
pub(super) fn dests(weights: &[i32]) -> Vec<Dest> {
    weights
        .iter()
        .zip((0..=u8::MAX).cycle())
        .map(|(weight, name)| Dest::new(name, *weight))
        .collect()
}

pub(super) const FLOW: Flow<'static> = Flow {
    family: Family::Inet,
    caddr: &Addr::ANY,
    cport: Port::ZERO,
    vaddr: &Addr::ANY,
    is_inverse: false,
    flags: 0,
};

pub(super) const SETUP: Setup = Setup {
    family: Family::Inet,
    lblc_expiration: Jiffies,
    lblcr_expiration: Jiffies,
    mh: mh::Settings::DEFAULT,
};

/// The names of the dests of `count` new conns, 255 for none.
pub(super) fn run<S: State<Dest>>(state: &S, dests: &[Dest], count: usize) -> Vec<u8> {
    let name = |index: usize| dests[index].name;
    (0..count)
        .map(|_| state.schedule(dests, &FLOW).map_or(255, name))
        .collect()
}

/// A generator of pseudo-random numbers, the same in each run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (self.0 >> 33) % limit
    }
}

const ALL: [Kind; 14] = [
    Kind::Rr,
    Kind::Wrr,
    Kind::Lc,
    Kind::Wlc,
    Kind::Sed,
    Kind::Nq,
    Kind::Dh,
    Kind::Sh,
    Kind::Mh,
    Kind::Lblc,
    Kind::Lblcr,
    Kind::Fo,
    Kind::Ovf,
    Kind::Twos,
];

#[test]
fn names() {
    let names = [
        "rr", "wrr", "lc", "wlc", "sed", "nq", "dh", "sh", "mh", "lblc", "lblcr", "fo", "ovf",
        "twos",
    ];
    for (kind, name) in ALL.into_iter().zip(names) {
        assert_eq!(kind.name(), name);
        assert_eq!(Kind::by_name(name.as_bytes()), Some(kind));
        let state = AnyScheduler::<Dest>::new(kind, &SETUP, &[]).unwrap();
        assert_eq!(state.kind(), kind);
    }
    for name in ["", "r", "rrr", "RR", "none", "wrr\0"] {
        assert_eq!(Kind::by_name(name.as_bytes()), None, "{name:?}");
    }
}

/// Random changes of the dests, with a choice after each.
#[test]
fn every_scheduler_takes_only_available_dests() {
    for kind in ALL {
        let mut random = Random(kind as u64 + 1);
        let mut service = Service::new(kind, Vec::new());
        for step in 0..20_000 {
            let len = service.dests.len();
            let index = random.below(len.max(1) as u64) as usize;
            match random.below(8) {
                0 if len < 9 => service.add(Dest::new(step as u8, random.below(5) as i32)),
                1 if len > 0 => drop(service.remove(index)),
                2 if len > 0 => service.weigh(index, random.below(5) as i32),
                3 if len > 0 => {
                    let dest = &service.dests[index];
                    dest.set(&dest.overloaded, random.below(2) == 0);
                }
                _ => (),
            }
            match service.schedule() {
                // An address keeps its dest, even if the dest is overloaded.
                Some(index) if kind == Kind::Lblc => assert!(service.dests[index].weight() > 0),
                Some(index) => assert!(service.dests[index].is_available(), "{kind:?}"),
                // The hashing schedulers do not search for another dest.
                None if matches!(kind, Kind::Dh | Kind::Sh | Kind::Mh) => (),
                None => assert!(!service.dests.iter().any(Dest::is_available), "{kind:?}"),
            }
        }
    }
}

/// A service that changes its scheduler behaves like one that had it from the start.
#[test]
fn schedulers_take_over() {
    let service = Service::new(Kind::Wlc, dests(&[1, 2, 3]));
    service.fill(60);
    for kind in [Kind::Sed, Kind::Rr, Kind::Lc, Kind::Wrr, Kind::Wlc] {
        let taken = Service::new(kind, service.dests.clone());
        let fresh = service.dests.iter().map(|dest| {
            let fresh = Dest::new(dest.name, dest.weight.get());
            fresh.active.set(dest.active.get());
            fresh
        });
        let fresh = Service::new(kind, fresh.collect());
        assert_eq!(taken.fill(40), fresh.fill(40), "{kind:?}");
    }
}

#[test]
fn overhead_of_conns() {
    let dest = Dest::new(0, 1);
    let cases = [
        (0, 0, 0),
        (1, 0, 257),
        (0, 1, 1),
        (3, 5, 776),
        (i32::MAX, 0, ((1u64 << 31) - 1) * 257),
        (-1, 0, 0),
    ];
    for (active, inactive, overhead) in cases {
        dest.active.set(active);
        dest.inactive.set(inactive);
        assert_eq!(dest.figures().conn_overhead(), overhead);
    }
}
