// SPDX-License-Identifier: GPL-2.0

//! Shortest expected delay: the available dest which, with one active conn more than it has, has
//! the least active conns for its weight.
//!
//! C version: [net/netfilter/ipvs/ip_vs_sed.c].

use super::{
    tree::{
        Key,
        Preference, //
    },
    Figures,
    Kind, //
};
use core::num::NonZeroU32;

pub(crate) struct Sed;

impl Preference for Sed {
    const KIND: Kind = Kind::Sed;
    const NAME: &'static str = "sed";

    #[inline]
    fn available_key(figures: &Figures, weight: NonZeroU32) -> Key {
        Key::ratio(figures.active_conns().saturating_add(1), weight)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::*,
        Kind, //
    };

    /// The delay is that with the new conn: a heavy dest gets its first conns before a light one
    /// gets any.
    #[test]
    fn the_new_conn_counts() {
        let service = Service::new(Kind::Sed, dests(&[1, 3]));
        assert_eq!(service.fill(8), [1, 1, 0, 1, 1, 1, 0, 1]);
    }

    #[test]
    fn inactive_conns_do_not_count() {
        let service = Service::new(Kind::Sed, dests(&[1, 1]));
        let dest = &service.dests[0];
        dest.set(&dest.inactive, 1_000_000);
        assert_eq!(service.fill(2), [0, 1]);
    }
}
