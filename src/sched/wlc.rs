// SPDX-License-Identifier: GPL-2.0

//! Weighted least connections: the available dest with the least conn overhead / weight.
//!
//! C version: [net/netfilter/ipvs/ip_vs_wlc.c].

use super::{
    tree::{
        Key,
        Preference, //
    },
    Figures,
    Kind, //
};
use core::num::NonZeroU32;

/// Weighted least connections.
pub(crate) struct Wlc;

impl Preference for Wlc {
    const KIND: Kind = Kind::Wlc;
    const NAME: &'static str = "wlc";

    #[inline]
    fn available_key(figures: &Figures, weight: NonZeroU32) -> Key {
        Key::ratio(figures.conn_overhead(), weight)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::*,
        Kind, //
    };

    #[test]
    fn the_first_of_equals() {
        let fill = |weights, count| Service::new(Kind::Wlc, dests(weights)).fill(count);
        assert_eq!(fill(&[1, 1, 1], 6), [0, 1, 2, 0, 1, 2]);
        assert_eq!(fill(&[2, 1], 6), [0, 1, 0, 0, 1, 0]);
    }

    #[test]
    fn by_weight() {
        let service = Service::new(Kind::Wlc, dests(&[1, 3, 0, 2]));
        service.fill(600);
        assert_eq!(service.active(), [100, 300, 0, 200]);
    }

    #[test]
    fn an_active_conn_counts_257() {
        let service = Service::new(Kind::Wlc, dests(&[1, 1]));
        let [first, second] = &service.dests[..] else {
            unreachable!()
        };
        first.set(&first.active, 1);
        for (inactive, choice) in [(256, 1), (257, 0), (258, 0)] {
            second.set(&second.inactive, inactive);
            assert_eq!(service.schedule(), Some(choice), "{inactive} inactive");
        }
    }

    #[test]
    fn skips_what_is_not_available() {
        let service = Service::new(Kind::Wlc, dests(&[0, 1, 1]));
        let [_, overloaded, busy] = &service.dests[..] else {
            unreachable!()
        };
        overloaded.set(&overloaded.overloaded, true);
        busy.set(&busy.active, 1000);
        assert_eq!(service.schedule(), Some(2));
        busy.set(&busy.weight, 0);
        assert_eq!(service.schedule(), None);
        assert_eq!(Service::new(Kind::Wlc, Vec::new()).schedule(), None);
    }
}
