// SPDX-License-Identifier: GPL-2.0

//! UDP.

#[allow(dead_code)]
pub(crate) mod states;
