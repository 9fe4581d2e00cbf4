// SPDX-License-Identifier: GPL-2.0

//! TCP.

pub(crate) mod states;
