// SPDX-License-Identifier: GPL-2.0

//! Least connections: the available dest with the least conn overhead, whatever its weight.
//!
//! C version: [net/netfilter/ipvs/ip_vs_lc.c].

use super::{
    tree::{
        Key,
        Preference, //
    },
    Figures,
    Kind, //
};
use core::num::NonZeroU32;

/// Least connections.
pub(crate) struct Lc;

impl Preference for Lc {
    const KIND: Kind = Kind::Lc;
    const NAME: &'static str = "lc";

    #[inline]
    fn available_key(figures: &Figures, _weight: NonZeroU32) -> Key {
        Key::least(figures.conn_overhead())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::*,
        Kind, //
    };

    #[test]
    fn weight_only_says_whether() {
        let service = Service::new(Kind::Lc, dests(&[1, 100, 0, 7]));
        assert_eq!(service.fill(6), [0, 1, 3, 0, 1, 3]);
    }

    #[test]
    fn inactive_conns_count_little() {
        let service = Service::new(Kind::Lc, dests(&[1, 1]));
        let dest = &service.dests[0];
        dest.set(&dest.inactive, 256);
        assert_eq!(service.fill(3), [1, 0, 1]);
    }
}
