// SPDX-License-Identifier: GPL-2.0

//! Never queue: the first available dest without active conns, whatever its weight. If there is
//! none, the choice of sed.
//!
//! C version: [net/netfilter/ipvs/ip_vs_nq.c].

use super::{
    tree::{
        Key,
        Preference, //
    },
    Figures,
    Kind, //
};
use core::num::NonZeroU32;

/// Never queue.
pub(crate) struct Nq;

impl Preference for Nq {
    const KIND: Kind = Kind::Nq;
    const NAME: &'static str = "nq";

    #[inline]
    fn available_key(figures: &Figures, weight: NonZeroU32) -> Key {
        match figures.active_conns() {
            0 => Key::FIRST,
            active => Key::ratio(active.saturating_add(1), weight),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::*,
        Kind, //
    };

    /// An idle dest is chosen whatever its weight. If none is idle, the choice is that of sed.
    #[test]
    fn idle_dests_first() {
        let service = Service::new(Kind::Nq, dests(&[1, 3, 0]));
        assert_eq!(service.fill(8), [0, 1, 1, 1, 1, 1, 0, 1]);
        let dest = &service.dests[0];
        dest.set(&dest.active, 0);
        assert_eq!(service.fill(2), [0, 0]);
    }
}
