// SPDX-License-Identifier: GPL-2.0

//! The dests of a service in the order of a scheduler's preference, updated on every change.
//!
//! [`Order`] is the tree. [`Members`] are the dests of one pool in it. [`Place`] is the position of
//! one dest. [`Preference`] is a scheduler that chooses the first dest of the tree.

mod key;
mod members;
mod order;
mod ordered;
mod place;
mod slots;
mod sums;

pub(super) use key::Key;
pub(super) use members::Members;
pub(super) use ordered::Preference;
pub(crate) use place::Place;

#[cfg(test)]
pub(super) use order::Order;
