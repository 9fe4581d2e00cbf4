// SPDX-License-Identifier: GPL-2.0
// Error: E0478 E0495

// An object is dropped after a grace period, so it must not borrow from a local variable.

use crate::oot::sync::Object;

struct Borrowed<'a>(&'a u32);

#[cfg(not(misuse))]
impl Object for Borrowed<'static> {}

#[cfg(misuse)]
impl<'a> Object for Borrowed<'a> {}
