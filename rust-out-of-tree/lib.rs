// SPDX-License-Identifier: GPL-2.0

//! Extensions of the kernel crate for a network module, laid out like `rust/kernel/`.
//!
//! Only this directory contains `unsafe` code and uses the C bindings.

mod bindings;

pub(crate) mod capability;
pub(crate) mod cpumask;
pub(crate) mod fs;
pub(crate) mod hash;
pub(crate) mod kthread;
pub(crate) mod mm;
pub(crate) mod module;
pub(crate) mod net;
pub(crate) mod sync;
pub(crate) mod time;
pub(crate) mod workqueue;
