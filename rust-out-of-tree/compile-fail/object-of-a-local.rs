// SPDX-License-Identifier: GPL-2.0
// Error: E0478 E0495

// An object is dropped a grace period late: it must not refer to what ends before.

use crate::oot::sync::Object;

struct Borrowed<'a>(&'a u32);

#[cfg(not(misuse))]
impl Object for Borrowed<'static> {}

#[cfg(misuse)]
impl<'a> Object for Borrowed<'a> {}
