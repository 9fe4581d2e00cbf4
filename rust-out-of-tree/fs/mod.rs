// SPDX-License-Identifier: GPL-2.0

//! Files.

pub(crate) mod proc;
pub(crate) mod sysctl;
