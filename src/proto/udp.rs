// SPDX-License-Identifier: GPL-2.0

//! UDP.

pub(crate) mod states;
