// SPDX-License-Identifier: GPL-2.0

//! The power of two choices: two available dests are drawn at random, in proportion to their
//! weights, and the one with the lower conn overhead / weight is chosen.
//!
//! Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing" (2001). As in C, a draw is
//! a number from 0 to the sum of all weights, inclusive, so the first dest in the list has one
//! chance more than its weight.
//!
//! C version: [net/netfilter/ipvs/ip_vs_twos.c].
//!
//! # Costs
//!
//! C walks the list twice. Here a dest is found by a search in a tree of prefix sums (see
//! [`tree`](super::tree)) of the available dests' weights, which reads log4(n) nodes. Both draws
//! are made from one random number. The tree is written when a weight or an overload flag changes.
//!
//! # Differences from C
//!
//! In C the sum of the weights and the products overflow from 2^31 on.

use super::{
    find,
    tree::Members,
    Candidate,
    Change,
    Figures,
    Flow,
    InitError,
    Kind,
    Member,
    Scheduler,
    Setup,
    State, //
};
use crate::shim::{
    random_u64,
    NoMemory, //
};

/// The state of the power of two choices.
pub(crate) struct Twos {
    members: Members,
}

impl Scheduler for Twos {
    const NAME: &'static str = "twos";

    type State<D: Member> = Self;

    #[inline]
    fn part(figures: &Figures) -> Option<u64> {
        let weight = figures.available_weight();
        Some(weight.map_or(0, |weight| weight.get().into()))
    }

    const NEEDS_PREFIX_SUMS: bool = true;
}

impl<D: Member> State<D> for Twos {
    fn new(_setup: &Setup, dests: &[D]) -> Result<Self, InitError> {
        Ok(Self {
            members: Members::new(Kind::Twos, dests)?,
        })
    }

    fn rebuild(&self, dests: &[D], change: Change) -> Result<Self, NoMemory> {
        Ok(Self {
            members: self.members.after(dests, change)?,
        })
    }

    fn register(&self, dests: &[D]) {
        self.members.register(dests);
    }

    #[inline]
    fn schedule(&self, dests: &[D], _flow: &Flow<'_>) -> Option<usize> {
        let total = self.members.order.sums()?.total();
        if total == 0 {
            return None;
        }
        let [first, second] = two_below(total.wrapping_add(1));
        let first = self.drawn(dests, total, first)?;
        let second = self.drawn(dests, total, second)?;
        match is_below(dests.get(second)?, dests.get(first)?) {
            true => Some(second),
            false => Some(first),
        }
    }
}

impl Twos {
    /// The index of the available dest for `draw`, a number from 0 to `total`.
    #[inline]
    fn drawn<D: Candidate>(&self, dests: &[D], total: u64, draw: u64) -> Option<usize> {
        // Slots are numbered from the end of the list.
        let point = total.wrapping_sub(draw.saturating_sub(1));
        self.members
            .index(self.members.order.sums()?.find(point))
            .filter(|index| dests.get(*index).is_some_and(D::is_available))
            // The sums may be wrong for a moment while they change.
            .or_else(|| find(dests, 0, D::is_available))
    }
}

/// Two independent random numbers below `limit`. The error of a number's probability is at most
/// 2^-32.
#[inline]
fn two_below(limit: u64) -> [u64; 2] {
    // The high word of the product is a random number below the limit. The low word is again a
    // random number of 64 bits, less log2(limit) bits that are used up.
    let split = |random: u64| {
        let product = u128::from(random).wrapping_mul(limit.into());
        ((product >> 64) as u64, product as u64)
    };
    let (first, rest) = split(random_u64());
    let rest = match u32::try_from(limit) {
        Ok(_) => rest,
        Err(_) => random_u64(),
    };
    [first, split(rest).0]
}

/// Whether `dest` has a lower conn overhead / weight than `other`.
#[inline]
fn is_below<D: Candidate>(dest: &D, other: &D) -> bool {
    let (dest, other) = (dest.figures(), other.figures());
    let times = |one: &Figures, other: &Figures| {
        u128::from(one.conn_overhead()).wrapping_mul(other.weight.max(0).unsigned_abs().into())
    };
    times(&dest, &other) < times(&other, &dest)
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::*;

    /// The number of times that each dest is chosen.
    fn tally(service: &Service, count: usize) -> Vec<i32> {
        let mut tally = vec![0; service.dests.len()];
        for _ in 0..count {
            tally[service.schedule().unwrap()] += 1;
        }
        tally
    }

    /// Checks that each share is within five standard deviations of the expected one.
    fn assert_shares(tally: &[i32], expected: &[f64]) {
        let count: i32 = tally.iter().sum();
        for (got, share) in tally.iter().zip(expected) {
            let mean = f64::from(count) * share;
            let deviation = (mean * (1.0 - share)).sqrt();
            let off = (f64::from(*got) - mean).abs();
            assert!(off <= 5.0 * deviation, "{tally:?}, expected {expected:?}");
        }
    }

    /// If all loads are in proportion to the weights, the first dest drawn is chosen.
    #[test]
    fn by_weight() {
        let service = Service::new(Kind::Twos, dests(&[1, 2, 0, 7, 30]));
        let tally = tally(&service, 60_000);
        // There are 41 draws. The first dest has the draw 0 as well.
        assert_shares(
            &tally,
            &[2, 2, 0, 7, 30].map(|draws| f64::from(draws) / 41.0),
        );
    }

    /// The least loaded dest is chosen if it is drawn once or twice, the most loaded one if it is
    /// drawn twice.
    #[test]
    fn the_less_loaded_of_two() {
        let service = Service::new(Kind::Twos, dests(&[100; 3]));
        for (dest, active) in service.dests.iter().zip([3, 1, 2]) {
            dest.set(&dest.active, active);
        }
        let tally = tally(&service, 60_000);
        let [most, least, mid] = [101.0, 100.0, 100.0].map(|draws: f64| draws / 301.0);
        let drawn = |share: f64| 1.0 - (1.0 - share) * (1.0 - share);
        let expected = [most * most, drawn(least), mid * mid + 2.0 * mid * most];
        assert_shares(&tally, &expected);
    }

    #[test]
    fn loads_are_for_their_weights() {
        let [light, heavy] = &dests(&[1, 10])[..] else {
            unreachable!()
        };
        light.active.set(1);
        heavy.active.set(9);
        assert!(is_below(heavy, light));
        heavy.active.set(10);
        assert!(!is_below(heavy, light) && !is_below(light, heavy));
        heavy.active.set(i32::MAX);
        assert!(is_below(light, heavy));
    }

    #[test]
    fn only_available_dests_are_drawn() {
        let mut service = Service::new(Kind::Twos, dests(&[1, 1, 1, 1]));
        let overloaded = &service.dests[1];
        overloaded.set(&overloaded.overloaded, true);
        service.weigh(2, 0);
        assert_eq!(tally(&service, 500)[1..3], [0, 0]);
        service.remove(0);
        assert_eq!(tally(&service, 500), [0, 0, 500]);
        service.weigh(2, 0);
        assert_eq!(service.schedule(), None);
        service.add(Dest::new(9, 1));
        assert_eq!(service.schedule(), Some(0));
    }

    /// With n conns to n dests, the most loaded dest has about log2(log2(n)) conns. With one random
    /// choice, it would have log(n) / log log(n).
    #[test]
    fn the_fullest_is_not_very_full() {
        let service = Service::new(Kind::Twos, dests(&vec![1; 10_000]));
        service.fill(10_000);
        let fullest = service.active().into_iter().max();
        assert!((3..=5).contains(&fullest.unwrap()), "{fullest:?}");
    }
}
