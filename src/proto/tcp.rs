// SPDX-License-Identifier: GPL-2.0

//! TCP.

#[allow(dead_code)]
pub(crate) mod states;
