// SPDX-License-Identifier: GPL-2.0

//! The kernel's hashes whose values can be seen: which dest a client gets depends on them.
//!
//! The tables of this module are hashed by the kernel's own functions, see `oot::hash`. These here
//! are made anew so that the host tests judge what runs in the kernel.
//!
//! C version: [include/linux/hash.h], [lib/siphash.c].

/// C: `GOLDEN_RATIO_32`.
const GOLDEN_RATIO: u32 = 0x61c8_8647;

/// The highest `bits` bits, 1 to 32, of the value times the golden ratio (C: `hash_32()`).
#[inline]
pub(crate) const fn hash_32(value: u32, bits: u32) -> u32 {
    let product = value.wrapping_mul(GOLDEN_RATIO);
    product.wrapping_shr(u32::BITS.wrapping_sub(bits))
}
