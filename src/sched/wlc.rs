// SPDX-License-Identifier: GPL-2.0

//! Weighted least connections: the available dest with the least conns for its weight.
//!
//! C version: [net/netfilter/ipvs/ip_vs_wlc.c].

use super::{
    conn_overhead,
    least_loaded,
    Candidate,
    Change,
    Flow,
    Scheduler, //
};
use crate::shim::NoMemory;

/// Weighted least connections has no state: it reads the dests.
pub(crate) struct Wlc;

impl Scheduler for Wlc {
    const NAME: &'static str = "wlc";

    fn new<D: Candidate>(_dests: &[D]) -> Result<Self, NoMemory> {
        Ok(Self)
    }

    fn rebuild<D: Candidate>(&self, _dests: &[D], _change: Change) -> Result<Self, NoMemory> {
        Ok(Self)
    }

    #[inline]
    fn schedule<D: Candidate>(&self, dests: &[D], _flow: &Flow<'_>) -> Option<usize> {
        least_loaded(dests, conn_overhead)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::*;
    use super::*;

    /// Schedules `count` conns, each staying active.
    fn fill(dests: &[Dest], count: usize) -> Vec<u8> {
        let take = |_| {
            let dest = &dests[Wlc.schedule(dests, &FLOW).unwrap()];
            dest.active.set(dest.active.get() + 1);
            dest.name
        };
        (0..count).map(take).collect()
    }

    #[test]
    fn the_first_of_equals() {
        assert_eq!(fill(&dests(&[1, 1, 1]), 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(fill(&dests(&[2, 1]), 6), [0, 1, 0, 0, 1, 0]);
    }

    #[test]
    fn by_weight() {
        let dests = dests(&[1, 3, 0, 2]);
        fill(&dests, 600);
        let active: Vec<_> = dests.iter().map(|d| d.active.get()).collect();
        assert_eq!(active, [100, 300, 0, 200]);
    }

    #[test]
    fn an_active_conn_counts_257() {
        let dests = dests(&[1, 1]);
        dests[0].active.set(1);
        for (inactive, name) in [(256, 1), (257, 0), (258, 0)] {
            dests[1].inactive.set(inactive);
            assert_eq!(run(&Wlc, &dests, 1), [name], "{inactive} inactive");
        }
    }

    #[test]
    fn skips_what_is_not_available() {
        let dests = dests(&[0, 1, 1]);
        dests[1].overloaded.set(true);
        dests[2].active.set(1000);
        assert_eq!(run(&Wlc, &dests, 1), [2]);
        dests[2].weight.set(0);
        assert_eq!(run(&Wlc, &dests, 1), [255]);
        assert_eq!(run(&Wlc, &[], 1), [255]);
    }

    /// C's loop with its products in 64 bits, wherever those do not overflow.
    #[test]
    fn chooses_as_c() {
        let mut random = Random(11);
        for _ in 0..20_000 {
            let len = random.below(9) as usize;
            let dests: Vec<_> = (0..len)
                .map(|name| {
                    let dest = Dest::new(name as u8, random.below(4) as i32);
                    dest.overloaded.set(random.below(5) == 0);
                    dest.active.set(random.below(4) as i32);
                    dest.inactive.set(random.below(600) as i32);
                    dest
                })
                .collect();
            let cost = |d: &Dest| i64::from((d.active.get() << 8) + d.total_conns());
            let mut least: Option<usize> = None;
            for (index, dest) in dests.iter().enumerate() {
                let below = |least: &Dest| {
                    cost(least) * i64::from(dest.weight()) > cost(dest) * i64::from(least.weight())
                };
                if match least {
                    None => dest.is_available(),
                    Some(least) => !dest.is_overloaded() && below(&dests[least]),
                } {
                    least = Some(index);
                }
            }
            assert_eq!(Wlc.schedule(&dests, &FLOW), least);
        }
    }
}
