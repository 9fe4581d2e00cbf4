// SPDX-License-Identifier: GPL-2.0

//! Files in /proc and /proc/sys.

pub(crate) mod proc;
pub(crate) mod sysctl;
