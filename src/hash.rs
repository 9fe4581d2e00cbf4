// SPDX-License-Identifier: GPL-2.0

//! The kernel's hash functions that determine which dest a client gets.
//!
//! They are implemented here so that the host tests test the code that runs in the kernel. The hash
//! tables of the module use the kernel's own functions; see `oot::hash`.
//!
//! C version: [include/linux/hash.h], [lib/siphash.c].

/// C: `GOLDEN_RATIO_32`.
const GOLDEN_RATIO: u32 = 0x61c8_8647;

/// Returns the highest `bits` bits, 1 to 32, of the value times the golden ratio (C: `hash_32()`).
#[inline]
pub(crate) const fn hash_32(value: u32, bits: u32) -> u32 {
    let product = value.wrapping_mul(GOLDEN_RATIO);
    product.wrapping_shr(u32::BITS.wrapping_sub(bits))
}

/// SipHash-1-3 of one word, truncated to 32 bits (C: `hsiphash_1u32()` of 64-bit kernels; that of
/// 32-bit kernels is another function).
#[inline]
pub(crate) const fn hsiphash_1u32(word: u32, [key0, key1]: [u64; 2]) -> u32 {
    let state = [
        key0 ^ 0x736f_6d65_7073_6575,
        key1 ^ 0x646f_7261_6e64_6f6d,
        key0 ^ 0x6c79_6765_6e65_7261,
        key1 ^ 0x7465_6462_7974_6573,
    ];
    // The most significant byte is the length in bytes.
    let message = 4 << 56 | word as u64;
    let [a, b, c, d] = state;
    let [a, b, c, d] = sip_round([a, b, c, d ^ message]);
    let [a, b, c, d] = sip_round(sip_round(sip_round([a ^ message, b, c ^ 0xff, d])));
    (a ^ b ^ c ^ d) as u32
}

/// C: `SIPHASH_PERMUTATION()`.
#[inline(always)]
const fn sip_round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_32_takes_the_high_bits() {
        assert_eq!(hash_32(1, 32), GOLDEN_RATIO);
        assert_eq!(hash_32(1, 8), 0x61);
        assert_eq!(hash_32(0, 8), 0);
    }

    /// [lib/tests/siphash_kunit.c], `test_vectors_hsiphash`: the hash of the bytes 0 to 3 with the
    /// bytes 0 to 15 as key.
    #[test]
    fn hsiphash_is_the_kernels() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        assert_eq!(hsiphash_1u32(0x0302_0100, key), 0x88d3_8328);
    }
}
