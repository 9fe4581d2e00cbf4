// SPDX-License-Identifier: GPL-2.0

//! Overflow: of the available dests that have no more active conns than their weight, the one with
//! the highest weight.
//!
//! C version: [net/netfilter/ipvs/ip_vs_ovf.c].

use super::{
    tree::{
        Key,
        Preference, //
    },
    Figures,
    Kind, //
};
use core::num::NonZeroU32;

/// Overflow.
pub(crate) struct Ovf;

impl Preference for Ovf {
    const KIND: Kind = Kind::Ovf;
    const NAME: &'static str = "ovf";

    #[inline]
    fn available_key(figures: &Figures, weight: NonZeroU32) -> Key {
        if figures.active_conns() > weight.get().into() {
            return Key::NEVER;
        }
        Key::most(weight)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::*,
        Kind, //
    };

    /// The dest with the highest weight is chosen until it has one active conn more than its
    /// weight, then the next.
    #[test]
    fn conns_flow_over() {
        let service = Service::new(Kind::Ovf, dests(&[1, 2, 0]));
        assert_eq!(service.fill(7), [1, 1, 1, 0, 0, 255, 255]);
        let dest = &service.dests[1];
        dest.set(&dest.active, 2);
        assert_eq!(service.fill(2), [1, 255]);
    }
}
