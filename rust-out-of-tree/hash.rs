// SPDX-License-Identifier: GPL-2.0

//! Keyed hashes for tables with attacker-controlled keys.
//!
//! C header: [`include/linux/siphash.h`](srctree/include/linux/siphash.h)

use crate::oot::bindings;

/// A random secret key for the hashes.
pub(crate) struct HashKey(bindings::hsiphash_key_t);

impl HashKey {
    /// Draws a key. Does not wait until the random number generator is seeded.
    pub(crate) fn random() -> Self {
        // CAST: An `unsigned long` keeps as many bits as it has.
        let word = || random_u64() as usize;
        Self(bindings::hsiphash_key_t {
            key: [word(), word()],
        })
    }

    /// Hashes four words: SipHash-1-3 on 64-bit machines, HalfSipHash-1-3 on 32-bit ones.
    #[inline(always)]
    pub(crate) fn hash4(&self, words: [u32; 4]) -> u32 {
        let [a, b, c, d] = words;
        // SAFETY: The function reads its arguments and a live key only.
        unsafe { bindings::hsiphash_4u32(a, b, c, d, &self.0) }
    }

    /// Hashes `N` 64-bit words, with the same functions as [`Self::hash4`].
    #[inline(always)]
    pub(crate) fn hash_words<const N: usize>(&self, words: &[u64; N]) -> u32 {
        let len = size_of_val(words);
        // SAFETY: The function reads a live key and the array, which has the alignment that it
        // requires.
        unsafe { bindings::oot_hsiphash(words.as_ptr().cast(), len, &self.0) }
    }
}

/// Returns a random number of cryptographic quality, as `get_random_u64()`.
#[inline]
pub(crate) fn random_u64() -> u64 {
    // SAFETY: May be called in any context.
    unsafe { bindings::get_random_u64() }
}
