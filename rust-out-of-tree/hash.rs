// SPDX-License-Identifier: GPL-2.0

//! Keyed hashes for tables with attacker-controlled keys.
//!
//! C header: [`include/linux/siphash.h`](srctree/include/linux/siphash.h)

use crate::oot::bindings;

/// A secret for hashes, drawn at random.
pub(crate) struct HashKey(bindings::hsiphash_key_t);

impl HashKey {
    /// Draws a key; may be called once the system's random numbers are ready, and before.
    pub(crate) fn random() -> Self {
        // CAST: An `unsigned long` takes as many bits of it as it has.
        let word = || random_u64() as usize;
        Self(bindings::hsiphash_key_t {
            key: [word(), word()],
        })
    }

    /// HalfSipHash, SipHash-1-3 on 64-bit machines, of four words.
    #[inline(always)]
    pub(crate) fn hash4(&self, words: [u32; 4]) -> u32 {
        let [a, b, c, d] = words;
        // SAFETY: Computes from its arguments and a live key.
        unsafe { bindings::hsiphash_4u32(a, b, c, d, &self.0) }
    }

    /// The same of `N` double words.
    #[inline(always)]
    pub(crate) fn hash_words<const N: usize>(&self, words: &[u64; N]) -> u32 {
        let len = size_of_val(words);
        // SAFETY: Reads the array, which is aligned as the function wants it, and a live key.
        unsafe { bindings::oot_hsiphash(words.as_ptr().cast(), len, &self.0) }
    }
}

/// A random number, of as good a quality as there is.
#[inline]
pub(crate) fn random_u64() -> u64 {
    // SAFETY: May be called in any context.
    unsafe { bindings::get_random_u64() }
}
