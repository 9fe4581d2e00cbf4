// SPDX-License-Identifier: GPL-2.0

//! Shortest expected delay: the available dest with the least (active conns + 1) / weight.
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

/// Shortest expected delay.
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

    /// The expected delay includes the new conn, so a dest with a high weight gets several conns
    /// before one with a low weight gets its first.
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
