// SPDX-License-Identifier: GPL-2.0

//! What the kernel crate lacks for a network module.

mod bindings;
