// SPDX-License-Identifier: GPL-2.0

//! Weighted failover: the available dest with the highest weight.
//!
//! C version: [net/netfilter/ipvs/ip_vs_fo.c].

use super::{
    tree::{
        Key,
        Preference, //
    },
    Figures,
    Kind, //
};
use core::num::NonZeroU32;

/// Weighted failover.
pub(crate) struct Fo;

impl Preference for Fo {
    const KIND: Kind = Kind::Fo;
    const NAME: &'static str = "fo";

    #[inline]
    fn available_key(_figures: &Figures, weight: NonZeroU32) -> Key {
        Key::most(weight)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::*,
        Kind, //
    };

    /// All conns go to the available dest with the highest weight.
    #[test]
    fn the_heaviest_only() {
        let mut service = Service::new(Kind::Fo, dests(&[1, 9, 9, 3]));
        assert_eq!(service.fill(3), [1, 1, 1]);
        service.weigh(1, 0);
        assert_eq!(service.fill(2), [2, 2]);
        let dest = &service.dests[2];
        dest.set(&dest.overloaded, true);
        assert_eq!(service.fill(2), [3, 3]);
        service.remove(3);
        assert_eq!(service.fill(2), [0, 0]);
        service.weigh(0, 0);
        assert_eq!(service.fill(1), [255]);
    }
}
