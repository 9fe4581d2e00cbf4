// SPDX-License-Identifier: GPL-2.0

//! Memory.

pub(crate) mod slab;
