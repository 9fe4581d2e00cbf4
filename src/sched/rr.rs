// SPDX-License-Identifier: GPL-2.0

//! Round robin: each available dest in turn.
//!
//! C version: [net/netfilter/ipvs/ip_vs_rr.c].
//!
//! # Costs
//!
//! A choice reads the dests from the cursor to the first available one, as in C: usually one dest,
//! but all of them if none is available. It writes the cursor, one word for all CPUs.
//!
//! # Differences from C
//!
//! C's mark points to the dest that was chosen last, or to the head of the list. The cursor here is
//! the index of the dest after that, where the next search starts, or 0.

use super::{
    find,
    Candidate,
    Change,
    Flow,
    InitError,
    Member,
    Scheduler,
    Setup,
    State, //
};
use crate::shim::{
    Cursor,
    NoMemory, //
};

/// The maximum number of times that a choice is repeated because another CPU has moved the cursor.
/// After that, two conns may go to the same dest.
const ATTEMPTS: u32 = 8;

/// The state of round robin.
pub(crate) struct Rr {
    next: Cursor,
}

impl Scheduler for Rr {
    const NAME: &'static str = "rr";

    type State<D: Member> = Self;
}

impl<D: Member> State<D> for Rr {
    fn new(_setup: &Setup, _dests: &[D]) -> Result<Self, InitError> {
        Ok(Self {
            next: Cursor::new(0),
        })
    }

    /// Keeps the position: after the dest that was chosen last or, if that was removed, after its
    /// predecessor.
    fn rebuild(&self, _dests: &[D], change: Change) -> Result<Self, NoMemory> {
        let next = self.next.get();
        let next = match change {
            // The new dest is at the head, so the index of the dest chosen last, if any, increases.
            Change::Added if next > 0 => next.saturating_add(1),
            Change::Removed(index) if next > index as u64 => next.saturating_sub(1),
            Change::Added | Change::Removed(_) | Change::Edited => next,
        };
        Ok(Self {
            next: Cursor::new(next),
        })
    }

    #[inline]
    fn schedule(&self, dests: &[D], _flow: &Flow<'_>) -> Option<usize> {
        let mut next = self.next.get();
        let mut choice = search(dests, next)?;
        for _ in 0..ATTEMPTS {
            match self.next.advance(next, (choice as u64).saturating_add(1)) {
                Ok(()) => break,
                Err(moved) => next = moved,
            }
            choice = search(dests, next)?;
        }
        Some(choice)
    }
}

/// The first available dest from `next` on, wrapping around the end of the list.
#[inline]
fn search<D: Candidate>(dests: &[D], next: u64) -> Option<usize> {
    let next = (next as usize).min(dests.len());
    find(dests, next, D::is_available).or_else(|| find(dests.get(..next)?, 0, D::is_available))
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::*;

    #[test]
    fn takes_turns() {
        let dests = dests(&[1, 1, 1]);
        let rr = Rr::new(&SETUP, &dests).unwrap();
        assert_eq!(run(&rr, &dests, 7), [0, 1, 2, 0, 1, 2, 0]);
    }

    #[test]
    fn weight_only_says_whether() {
        let dests = dests(&[100, 0, 1]);
        let rr = Rr::new(&SETUP, &dests).unwrap();
        assert_eq!(run(&rr, &dests, 4), [0, 2, 0, 2]);
        dests[2].overloaded.set(true);
        assert_eq!(run(&rr, &dests, 2), [0, 0]);
        dests[0].weight.set(0);
        assert_eq!(run(&rr, &dests, 2), [255, 255]);
        dests[1].weight.set(1);
        assert_eq!(run(&rr, &dests, 1), [1]);
    }

    #[test]
    fn none_and_one() {
        let rr = <Rr as State<Dest>>::new(&SETUP, &[]).unwrap();
        assert_eq!(run(&rr, &[], 2), [255, 255]);
        let one = dests(&[1]);
        assert_eq!(run(&rr, &one, 3), [0, 0, 0]);
    }

    /// The choices after `taken` choices among four dests and then a change.
    #[test]
    fn keeps_its_place() {
        let cases: [(usize, Change, [u8; 5]); 12] = [
            (0, Change::Added, [9, 0, 1, 2, 3]),
            (1, Change::Added, [1, 2, 3, 9, 0]),
            (4, Change::Added, [9, 0, 1, 2, 3]),
            (0, Change::Edited, [0, 1, 2, 3, 0]),
            (2, Change::Edited, [2, 3, 0, 1, 2]),
            (0, Change::Removed(0), [1, 2, 3, 1, 2]),
            (1, Change::Removed(0), [1, 2, 3, 1, 2]),
            (2, Change::Removed(0), [2, 3, 1, 2, 3]),
            (2, Change::Removed(1), [2, 3, 0, 2, 3]),
            (2, Change::Removed(2), [3, 0, 1, 3, 0]),
            (4, Change::Removed(3), [0, 1, 2, 0, 1]),
            (3, Change::Removed(3), [0, 1, 2, 0, 1]),
        ];
        for (taken, change, want) in cases {
            let mut dests = dests(&[1; 4]);
            let rr = Rr::new(&SETUP, &dests).unwrap();
            run(&rr, &dests, taken);
            match change {
                Change::Added => dests.insert(0, Dest::new(9, 1)),
                Change::Removed(index) => drop(dests.remove(index)),
                Change::Edited => {}
            }
            let rr = rr.rebuild(&dests, change).unwrap();
            assert_eq!(run(&rr, &dests, 5), want, "{taken} {change:?}");
        }
    }

    /// Compares with C's mark, kept as the name of the dest chosen last.
    #[test]
    fn follows_the_mark_of_c() {
        let mut random = Random(7);
        let mut dests: Vec<Dest> = Vec::new();
        let mut rr = Rr::new(&SETUP, &dests).unwrap();
        let mut mark: Option<u8> = None;
        for name in (0..200u8).cycle().take(20_000) {
            let place = mark.map(|mark| dests.iter().position(|d| d.name == mark).unwrap());
            let change = match random.below(6) {
                0 if dests.len() < 8 && dests.iter().all(|d| d.name != name) => {
                    dests.insert(0, Dest::new(name, random.below(3) as i32));
                    Some(Change::Added)
                }
                1 if !dests.is_empty() => {
                    let index = random.below(dests.len() as u64) as usize;
                    if place == Some(index) {
                        mark = index.checked_sub(1).map(|previous| dests[previous].name);
                    }
                    dests.remove(index);
                    Some(Change::Removed(index))
                }
                _ => None,
            };
            if let Some(change) = change {
                rr = rr.rebuild(&dests, change).unwrap();
            }
            let start = mark.map_or(0, |m| dests.iter().position(|d| d.name == m).unwrap() + 1);
            let mut order = dests[start..].iter().chain(&dests[..start]);
            let want = order.find(|d| d.is_available()).map(|d| d.name);
            mark = want.or(mark);
            assert_eq!(rr.schedule(&dests, &FLOW).map(|i| dests[i].name), want);
        }
    }

    #[test]
    fn many_cpus_share_evenly() {
        struct Up;
        impl Candidate for Up {
            fn weight(&self) -> i32 {
                1
            }
            fn last_weight(&self) -> i32 {
                1
            }
            fn is_overloaded(&self) -> bool {
                false
            }
            fn active_conns(&self) -> i32 {
                0
            }
            fn total_conns(&self) -> i32 {
                0
            }
            fn addr(&self) -> crate::addr::Addr {
                crate::addr::Addr::ANY
            }
            fn port(&self) -> crate::addr::Port {
                crate::addr::Port::ZERO
            }
            fn place(&self) -> &super::super::Place {
                unreachable!()
            }
        }
        impl crate::shim::Share for Up {}
        impl Member for Up {
            type Kept = Self;
            fn keep(&self) -> Self {
                unreachable!()
            }
        }
        let rr = <Rr as State<Up>>::new(&SETUP, &[]).unwrap();
        let dests = [Up, Up, Up, Up, Up];
        let count = || {
            let mut taken = [0i64; 5];
            for _ in 0..50_000 {
                taken[rr.schedule(&dests, &FLOW).unwrap()] += 1;
            }
            taken
        };
        let taken = std::thread::scope(|scope| {
            let cpus = [(); 4].map(|()| scope.spawn(count));
            cpus.map(|cpu| cpu.join().unwrap())
        });
        for dest in 0..5 {
            let sum: i64 = taken.iter().map(|taken| taken[dest]).sum();
            // The turns are not exact if a CPU fails in all attempts. How often that happens
            // depends on the machine.
            assert!((sum - 40_000).abs() < 4_000, "{taken:?}");
        }
    }
}
