// SPDX-License-Identifier: GPL-2.0

//! Schedulers: which dest of a service a new conn goes to.
//!
//! C version: `struct ip_vs_scheduler` [include/net/ip_vs.h], [net/netfilter/ipvs/ip_vs_sched.c].
//!
//! To add a scheduler: its file, and a line in [`schedulers!`] below.
//!
//! # Vocabulary
//!
//! - A scheduler's *state* is what it remembers between two choices; it lies beside the slice of
//!   dests it was built for, and both are replaced as one by RCU.
//! - A dest is *available* if its weight is above 0 and it is not overloaded.
//!
//! # Concurrency
//!
//! Any number of CPUs schedule at once, on the same state and without a lock. A sequence of choices
//! made by one CPU is C's, exactly. When several choose at once, the outcome is that of some order
//! of their choices, except where a scheduler's file says otherwise; and choices made while a
//! successor is being built may be forgotten by it.

use crate::addr::{Addr, Family, Port};
use crate::shim::NoMemory;

/// What a scheduler sees of a dest.
///
/// Other CPUs change the figures at any time.
pub(crate) trait Candidate {
    /// The weight, 0 or more.
    fn weight(&self) -> i32;

    /// Whether the dest has reached its upper threshold and not yet fallen below the lower one
    /// (C: `IP_VS_DEST_F_OVERLOAD`).
    fn is_overloaded(&self) -> bool;

    /// The number of conns in an active state.
    fn active_conns(&self) -> i32;

    /// The number of all conns, active or not (C: `totalconns`).
    fn total_conns(&self) -> i32;

    fn addr(&self) -> Addr;

    fn port(&self) -> Port;

    /// Whether a new conn may go there, as far as most schedulers are concerned.
    #[inline]
    fn is_available(&self) -> bool {
        !self.is_overloaded() && self.weight() > 0
    }
}

/// What a scheduler may know of the packet that starts a conn.
pub(crate) struct Flow<'a> {
    /// The family of both addresses.
    pub(crate) family: Family,
    pub(crate) caddr: &'a Addr,
    /// The client's port, 0 if the protocol has none.
    pub(crate) cport: Port,
    pub(crate) vaddr: &'a Addr,
    /// The virtual port, 0 if the protocol has none.
    pub(crate) vport: Port,
}

/// What has happened to a service's dests since its scheduler's state was built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A dest was added, at the head of the list, where C adds it.
    Added,
    /// The dest that had this index was removed.
    Removed(usize),
    /// A dest was edited in place, its weight perhaps.
    Edited,
}

/// A way to choose a dest; the type's values are its state for one service.
///
/// `dests` is always the slice of the service's dests in the order of C's list, newest first.
pub(crate) trait Scheduler: Sized {
    /// The name, as in `ipvsadm -s`.
    const NAME: &'static str;

    /// The state of a service which takes up this scheduler (C: `init_service`).
    fn new<D: Candidate>(dests: &[D]) -> Result<Self, NoMemory>;

    /// The state that succeeds this one after one `change` led to `dests` (C: `add_dest`,
    /// `del_dest`, `upd_dest`).
    ///
    /// The schedulers that can do so make it in constant time when a dest was added.
    fn rebuild<D: Candidate>(&self, dests: &[D], change: Change) -> Result<Self, NoMemory>;

    /// The index of the dest to take, or `None` if none can be.
    fn schedule<D: Candidate>(&self, dests: &[D], flow: &Flow<'_>) -> Option<usize>;
}

/// Takes in the schedulers' files and defines [`Kind`] and [`AnyScheduler`], with one variant for
/// each.
macro_rules! schedulers {
    ($($file:ident::$name:ident,)+) => {
        $(mod $file;
        use $file::$name;)+

        /// One of the schedulers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Kind {
            $($name,)+
        }

        impl Kind {
            /// The scheduler called `name`, as in `ipvsadm -s`, without a terminating NUL.
            pub(crate) fn by_name(name: &[u8]) -> Option<Self> {
                $(if name == <$name as Scheduler>::NAME.as_bytes() {
                    return Some(Self::$name);
                })+
                None
            }

            /// The scheduler's name.
            pub(crate) const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => <$name as Scheduler>::NAME,)+
                }
            }
        }

        /// The state of a service's scheduler, whichever it is. See [`Scheduler`].
        pub(crate) enum AnyScheduler {
            $($name($name),)+
        }

        impl AnyScheduler {
            /// The state of a service which takes up the scheduler `kind`.
            pub(crate) fn new<D: Candidate>(kind: Kind, dests: &[D]) -> Result<Self, NoMemory> {
                match kind {
                    $(Kind::$name => <$name as Scheduler>::new(dests).map(Self::$name),)+
                }
            }

            /// Which scheduler it is.
            pub(crate) const fn kind(&self) -> Kind {
                match self {
                    $(Self::$name(_) => Kind::$name,)+
                }
            }

            /// The state that succeeds this one after one `change` led to `dests`.
            pub(crate) fn rebuild<D: Candidate>(
                &self,
                dests: &[D],
                change: Change,
            ) -> Result<Self, NoMemory> {
                match self {
                    $(Self::$name(state) => {
                        Scheduler::rebuild(state, dests, change).map(Self::$name)
                    })+
                }
            }

            /// The index of the dest to take, or `None` if none can be.
            #[inline]
            pub(crate) fn schedule<D: Candidate>(
                &self,
                dests: &[D],
                flow: &Flow<'_>,
            ) -> Option<usize> {
                match self {
                    $(Self::$name(state) => Scheduler::schedule(state, dests, flow),)+
                }
            }
        }
    };
}

schedulers! {
    rr::Rr,
    wrr::Wrr,
    wlc::Wlc,
}

/// The index of the first dest from index `from` on which `may_take` accepts.
#[inline]
fn find<D>(dests: &[D], from: usize, may_take: impl Fn(&D) -> bool) -> Option<usize> {
    let index = dests.get(from..)?.iter().position(may_take)?;
    Some(from.wrapping_add(index))
}

/// The available dest with the least `cost` for its weight; of several, the first.
#[inline]
fn least_loaded<D: Candidate>(dests: &[D], cost: impl Fn(&D) -> u64) -> Option<usize> {
    let mut least: Option<(usize, Load)> = None;
    // `enumerate()` would check its count for overflow.
    for (index, dest) in (0..dests.len()).zip(dests) {
        if !dest.is_available() {
            continue;
        }
        let load = Load {
            cost: cost(dest),
            weight: dest.weight().unsigned_abs(),
        };
        match &least {
            Some((_, other)) if !load.is_below(other) => {}
            _ => least = Some((index, load)),
        }
    }
    least.map(|(index, _)| index)
}

/// A cost for a weight, compared as the exact fraction.
struct Load {
    cost: u64,
    weight: u32,
}

impl Load {
    #[inline]
    fn is_below(&self, other: &Self) -> bool {
        // 64 bits by 32 bits cannot overflow 128.
        let scale = |cost: u64, weight: u32| u128::from(cost).wrapping_mul(u128::from(weight));
        scale(self.cost, other.weight) < scale(other.cost, self.weight)
    }
}

/// How much of a dest its conns take: an active one 257 times as much as an inactive one.
///
/// C: `ip_vs_dest_conn_overhead()`; there more than 2^23 active conns overflow.
#[inline]
fn conn_overhead<D: Candidate>(dest: &D) -> u64 {
    // A count read while it falls may be below 0 for a moment.
    let count = |conns: i32| u64::from(conns.max(0).unsigned_abs());
    (count(dest.active_conns()) << 8).wrapping_add(count(dest.total_conns()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    /// A dest whose figures the tests set.
    #[derive(Clone)]
    pub(super) struct Dest {
        pub(super) name: u8,
        pub(super) weight: Cell<i32>,
        pub(super) overloaded: Cell<bool>,
        pub(super) active: Cell<i32>,
        pub(super) inactive: Cell<i32>,
    }

    impl Candidate for Dest {
        fn weight(&self) -> i32 {
            self.weight.get()
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
    }

    impl Dest {
        pub(super) fn new(name: u8, weight: i32) -> Self {
            Self {
                name,
                weight: Cell::new(weight),
                overloaded: Cell::new(false),
                active: Cell::new(0),
                inactive: Cell::new(0),
            }
        }
    }

    /// Dests named 0, 1, .. with these weights.
    pub(super) fn dests(weights: &[i32]) -> Vec<Dest> {
        weights
            .iter()
            .zip(0..)
            .map(|(weight, name)| Dest::new(name, *weight))
            .collect()
    }

    pub(super) const FLOW: Flow<'static> = Flow {
        family: Family::Inet,
        caddr: &Addr::ANY,
        cport: Port::ZERO,
        vaddr: &Addr::ANY,
        vport: Port::ZERO,
    };

    /// The names of the dests that `count` new conns go to, 255 for none.
    pub(super) fn run<S: Scheduler>(state: &S, dests: &[Dest], count: usize) -> Vec<u8> {
        let name = |index: usize| dests[index].name;
        (0..count)
            .map(|_| state.schedule(dests, &FLOW).map_or(255, name))
            .collect()
    }

    /// Numbers that look random and are always the same.
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

    #[test]
    fn names() {
        let all = [(Kind::Rr, "rr"), (Kind::Wrr, "wrr"), (Kind::Wlc, "wlc")];
        for (kind, name) in all {
            assert_eq!(kind.name(), name);
            assert_eq!(Kind::by_name(name.as_bytes()), Some(kind));
            let state = AnyScheduler::new::<Dest>(kind, &[]).unwrap();
            assert_eq!(state.kind(), kind);
        }
        for name in ["", "r", "rrr", "RR", "none", "wrr\0"] {
            assert_eq!(Kind::by_name(name.as_bytes()), None, "{name:?}");
        }
    }

    /// Laws of every scheduler, through every change.
    #[test]
    fn every_scheduler_takes_only_available_dests() {
        for kind in [Kind::Rr, Kind::Wrr, Kind::Wlc] {
            let mut random = Random(kind as u64 + 1);
            let mut dests: Vec<Dest> = Vec::new();
            let mut state = AnyScheduler::new(kind, &dests).unwrap();
            for step in 0..20_000 {
                let change = match random.below(8) {
                    0 if dests.len() < 9 => {
                        dests.insert(0, Dest::new(step as u8, random.below(5) as i32));
                        Some(Change::Added)
                    }
                    1 if !dests.is_empty() => {
                        let index = random.below(dests.len() as u64) as usize;
                        dests.remove(index);
                        Some(Change::Removed(index))
                    }
                    2 if !dests.is_empty() => {
                        let index = random.below(dests.len() as u64) as usize;
                        dests[index].weight.set(random.below(5) as i32);
                        Some(Change::Edited)
                    }
                    3 if !dests.is_empty() => {
                        let index = random.below(dests.len() as u64) as usize;
                        dests[index].overloaded.set(random.below(2) == 0);
                        None
                    }
                    _ => None,
                };
                if let Some(change) = change {
                    state = state.rebuild(&dests, change).unwrap();
                }
                match state.schedule(&dests, &FLOW) {
                    Some(index) => assert!(dests[index].is_available(), "{kind:?}"),
                    None => assert!(!dests.iter().any(Dest::is_available), "{kind:?}"),
                }
            }
        }
    }

    #[test]
    fn loads_compare_as_fractions() {
        let load = |cost, weight| Load { cost, weight };
        let max = load(u64::MAX, u32::MAX);
        assert!(load(1, 2).is_below(&load(2, 3)));
        assert!(!load(2, 4).is_below(&load(1, 2)));
        assert!(!load(1, 2).is_below(&load(2, 4)));
        assert!(load(u64::MAX - 1, u32::MAX).is_below(&max));
        assert!(max.is_below(&load(u64::MAX, 1)));
        assert!(load(0, 1).is_below(&max));
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
            assert_eq!(conn_overhead(&dest), overhead);
        }
    }
}
