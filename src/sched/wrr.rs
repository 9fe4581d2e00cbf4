// SPDX-License-Identifier: GPL-2.0

//! Weighted round robin: each available dest in turn, in proportion to its weight.
//!
//! The list is walked in passes. Each pass has a *level*: the least weight that a dest must have to
//! be chosen. From pass to pass the level decreases by the greatest common divisor of the weights,
//! from the highest weight to 1. Then it starts again at the top.
//!
//! C version: [net/netfilter/ipvs/ip_vs_wrr.c].
//!
//! # Differences from C
//!
//! C makes every pass. Here the passes that find nothing are skipped, with the same result, so an
//! overloaded dest with a high weight costs no more than another one. If a weight or overload flag
//! changes between two reads, the choice is that of a search that started later.

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
use core::num::NonZeroU32;

/// The maximum number of times that a choice is repeated because another CPU has moved the cursor.
/// After that, two conns may go to the same dest.
const ATTEMPTS: u32 = 8;

/// The state of weighted round robin.
pub(crate) struct Wrr {
    weights: Weights,
    place: Cursor,
}

/// The maximum and the divisor of all weights, which determine the levels.
#[derive(Clone, Copy)]
struct Weights {
    /// The highest weight, 0 if there is none above 0.
    max: u32,
    /// The greatest common divisor of the weights above 0, if there are any (C: `di`).
    gcd: Option<NonZeroU32>,
}

impl Weights {
    const NONE: Self = Self { max: 0, gcd: None };

    /// The weights of all `dests`.
    fn of<D: Candidate>(dests: &[D]) -> Self {
        dests.iter().fold(Self::NONE, Self::with)
    }

    /// These weights and that of `dest`.
    fn with<D: Candidate>(self, dest: &D) -> Self {
        let Some(weight) = NonZeroU32::new(dest.weight().max(0).unsigned_abs()) else {
            return self;
        };
        Self {
            max: self.max.max(weight.get()),
            gcd: Some(self.gcd.map_or(weight, |gcd| greatest_divisor(gcd, weight))),
        }
    }

    /// The amount by which the level decreases from pass to pass.
    #[inline]
    fn step(&self) -> NonZeroU32 {
        self.gcd.unwrap_or(NonZeroU32::MIN)
    }

    /// The highest level (C: `mw`), 0 if no dest has a weight. It is chosen so that the last level
    /// is 1, which includes dests whose weight has just fallen below the step.
    #[inline]
    fn top(&self) -> u32 {
        self.max.saturating_sub(self.step().get().wrapping_sub(1))
    }

    /// The highest level that is not above `level` and not above `weight`, which is at least 1.
    #[inline]
    fn level_for(&self, level: u32, weight: u32) -> u32 {
        let step = self.step();
        let above = level.saturating_sub(weight);
        let whole = (above / step).wrapping_add(u32::from(above % step != 0));
        level.saturating_sub(whole.wrapping_mul(step.get())).max(1)
    }
}

/// Euclid's algorithm.
fn greatest_divisor(a: NonZeroU32, b: NonZeroU32) -> NonZeroU32 {
    let (mut a, mut b) = (a, b);
    while let Some(rest) = NonZeroU32::new(a.get() % b) {
        a = b;
        b = rest;
    }
    b
}

/// The position of the walk (C: `cl` and `cw`).
#[derive(Clone, Copy)]
struct Place {
    /// The index after that of the dest chosen last, 0 at the head of the list.
    next: u32,
    /// The level of the current pass.
    level: u32,
}

impl Place {
    /// The position after the dest at `index` was chosen on `level`.
    #[inline]
    fn after(index: usize, level: u32) -> Self {
        Self {
            next: (index as u32).saturating_add(1),
            level,
        }
    }

    #[inline]
    fn from_bits(bits: u64) -> Self {
        Self {
            next: (bits >> 32) as u32,
            level: bits as u32,
        }
    }

    #[inline]
    fn bits(self) -> u64 {
        (u64::from(self.next) << 32) | u64::from(self.level)
    }
}

/// Whether a dest can be chosen on `level`, which is never 0.
#[inline]
fn at_least<D: Candidate>(level: u32) -> impl Fn(&D) -> bool {
    move |dest| !dest.is_overloaded() && dest.weight().max(0).unsigned_abs() >= level
}

impl Scheduler for Wrr {
    const NAME: &'static str = "wrr";

    type State<D: Member> = Self;
}

impl<D: Member> State<D> for Wrr {
    fn new(_setup: &Setup, dests: &[D]) -> Result<Self, InitError> {
        let weights = Weights::of(dests);
        Ok(Self::at(weights, weights.top()))
    }

    /// Starts again at the head of the list, on the same level or the nearest that exists (C:
    /// `ip_vs_wrr_dest_changed()`).
    fn rebuild(&self, dests: &[D], change: Change) -> Result<Self, NoMemory> {
        let weights = match (change, dests.first()) {
            (Change::Added, Some(dest)) => self.weights.with(dest),
            _ => Weights::of(dests),
        };
        let (top, step) = (weights.top(), weights.step());
        let level = match Place::from_bits(self.place.get()).level {
            level if level == 0 || level > top => top,
            level if step == NonZeroU32::MIN => level,
            level => level.wrapping_sub(level % step).saturating_add(1),
        };
        Ok(Self::at(weights, level))
    }

    #[inline]
    fn schedule(&self, dests: &[D], _flow: &Flow<'_>) -> Option<usize> {
        let mut bits = self.place.get();
        let mut choice = None;
        for _ in 0..ATTEMPTS {
            let place = Place::from_bits(bits);
            let next;
            (choice, next) = self.search(dests, place);
            match self.place.advance(bits, next.bits()) {
                Ok(()) => break,
                Err(moved) => bits = moved,
            }
        }
        choice
    }
}

impl Wrr {
    /// The state at the head of the list.
    fn at(weights: Weights, level: u32) -> Self {
        Self {
            weights,
            place: Cursor::new(Place { next: 0, level }.bits()),
        }
    }

    /// The choice at `place`, if any, and the place after it.
    fn search<D: Candidate>(&self, dests: &[D], place: Place) -> (Option<usize>, Place) {
        if self.weights.top() == 0 {
            return (None, place);
        }
        if let Some(index) = find(dests, place.next as usize, at_least(place.level)) {
            return (Some(index), Place::after(index, place.level));
        }
        let step = self.weights.step().get();
        let on_last_level = place.level <= step;
        let below = match on_last_level {
            true => self.weights.top(),
            false => place.level.wrapping_sub(step),
        };
        // Usually a dest reaches the next level. The right level is computed only if none does.
        if let Some(index) = find(dests, 0, at_least(below)) {
            return (Some(index), Place::after(index, below));
        }
        let heaviest = dests
            .iter()
            .filter(|d| d.is_available())
            .map(D::weight)
            .max();
        if let Some(weight) = heaviest {
            let level = self.weights.level_for(below, weight.unsigned_abs());
            if let Some(index) = find(dests, 0, at_least(level)) {
                return (Some(index), Place::after(index, level));
            }
        }
        // C makes passes until one on the last level has visited every dest. This is the position
        // where it ends.
        let end = match on_last_level && place.next > 0 {
            true => Place { level: 1, ..place },
            false => Place {
                next: 0,
                level: self.weights.top(),
            },
        };
        (None, end)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::*;

    #[test]
    fn known_turns() {
        let cases: [(&[i32], &[u8]); 8] = [
            (&[1, 1, 1], &[0, 1, 2, 0, 1, 2]),
            (&[3, 1], &[0, 0, 0, 1, 0, 0, 0, 1]),
            (&[1, 3], &[1, 1, 0, 1, 1, 1, 0, 1]),
            (&[4, 3, 2], &[0, 0, 1, 0, 1, 2, 0, 1, 2, 0, 0, 1]),
            (&[4, 2], &[0, 0, 1, 0, 0, 1]),
            (&[10, 20, 30], &[2, 1, 2, 0, 1, 2, 2, 1, 2]),
            (&[0, 2, 0], &[1, 1, 1]),
            (&[0, 0], &[255, 255]),
        ];
        for (weights, want) in cases {
            let dests = dests(weights);
            let wrr = Wrr::new(&SETUP, &dests).unwrap();
            assert_eq!(run(&wrr, &dests, want.len()), want, "{weights:?}");
        }
    }

    #[test]
    fn a_round_takes_each_by_its_weight() {
        let weights = [7, 0, 3, 12, 1, 5];
        let dests = dests(&weights);
        let wrr = Wrr::new(&SETUP, &dests).unwrap();
        for _ in 0..3 {
            let mut taken = [0; 6];
            for name in run(&wrr, &dests, weights.iter().sum::<i32>() as usize) {
                taken[usize::from(name)] += 1;
            }
            assert_eq!(taken, weights);
        }
    }

    #[test]
    fn the_heaviest_is_overloaded() {
        let dests = dests(&[i32::MAX, 1, 2]);
        let wrr = Wrr::new(&SETUP, &dests).unwrap();
        dests[0].overloaded.set(true);
        assert_eq!(run(&wrr, &dests, 6), [2, 1, 2, 2, 1, 2]);
        dests[0].overloaded.set(false);
        assert_eq!(run(&wrr, &dests, 3), [0, 0, 0]);
    }

    #[test]
    fn greatest_divisors() {
        let cases = [
            (1, 1, 1),
            (12, 18, 6),
            (18, 12, 6),
            (7, 13, 1),
            (u32::MAX, 5, 5),
        ];
        for (a, b, gcd) in cases {
            let of = |n| NonZeroU32::new(n).unwrap();
            assert_eq!(greatest_divisor(of(a), of(b)), of(gcd));
        }
    }

    /// C's walk, pass by pass. The mark is the dest's index plus 1, 0 for the head of the list.
    struct Walk {
        mark: usize,
        level: i32,
        top: i32,
        step: i32,
    }

    impl Walk {
        fn new(dests: &[Dest]) -> Self {
            let mut walk = Self {
                mark: 0,
                level: 0,
                top: 0,
                step: 0,
            };
            walk.changed(dests);
            walk
        }

        fn changed(&mut self, dests: &[Dest]) {
            let weights = || dests.iter().map(Dest::weight).filter(|w| *w > 0);
            let divides = |d: &i32| weights().all(|w| w % d == 0);
            self.mark = 0;
            let max = weights().max().unwrap_or(0);
            self.step = (1..=max).rev().find(divides).unwrap_or(1);
            self.top = max - (self.step - 1);
            if self.level > self.top || self.level == 0 {
                self.level = self.top;
            } else if self.step > 1 {
                self.level = self.level / self.step * self.step + 1;
            }
        }

        fn schedule(&mut self, dests: &[Dest]) -> Option<usize> {
            if self.top == 0 {
                return None;
            }
            let last = self.mark;
            let (mut stop, mut last_pass, mut restarted) = (usize::MAX, false, false);
            loop {
                while self.mark < dests.len() {
                    let dest = &dests[self.mark];
                    self.mark += 1;
                    if !dest.is_overloaded() && dest.weight() >= self.level {
                        return Some(self.mark - 1);
                    }
                    if self.mark == stop {
                        return None;
                    }
                }
                self.mark = 0;
                self.level -= self.step;
                if self.level <= 0 {
                    self.level = self.top;
                    if last_pass || last == 0 {
                        return None;
                    }
                    restarted = true;
                }
                last_pass = self.level <= self.step;
                if last_pass && restarted && last != 0 {
                    stop = last;
                }
            }
        }
    }

    #[test]
    fn leaves_out_only_passes_that_find_nothing() {
        for seed in 0..50 {
            let mut random = Random(seed);
            let scale = 1 + random.below(4) as i32;
            let mut dests: Vec<Dest> = Vec::new();
            let mut wrr = Wrr::new(&SETUP, &dests).unwrap();
            let mut walk = Walk::new(&dests);
            for step in 0..4000 {
                let len = dests.len() as u64;
                let index = random.below(len.max(1)) as usize;
                let weight = scale * random.below(6) as i32;
                let change = match random.below(16) {
                    0 if len < 7 => {
                        dests.insert(0, Dest::new(step as u8, weight));
                        Some(Change::Added)
                    }
                    1 if len > 0 => {
                        dests.remove(index);
                        Some(Change::Removed(index))
                    }
                    2 if len > 0 => {
                        dests[index].weight.set(weight);
                        Some(Change::Edited)
                    }
                    3..=5 if len > 0 => {
                        dests[index].overloaded.set(random.below(2) == 0);
                        None
                    }
                    _ => None,
                };
                if let Some(change) = change {
                    wrr = wrr.rebuild(&dests, change).unwrap();
                    walk.changed(&dests);
                }
                assert_eq!(wrr.schedule(&dests, &FLOW), walk.schedule(&dests));
                let place = Place::from_bits(wrr.place.get());
                let want = (walk.mark as u32, walk.level as u32);
                assert_eq!((place.next, place.level), want, "seed {seed}, step {step}");
            }
        }
    }
}
