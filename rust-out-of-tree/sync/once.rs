// SPDX-License-Identifier: GPL-2.0

//! `READ_ONCE()` and `WRITE_ONCE()` on [`Atomic`], in line.
//!
//! [`Atomic::load`] and [`Atomic::store`] are calls of C helpers wherever `inline.mk` cannot inline
//! those: with KASAN and its like, on other architectures than x86-64, without the clang of rustc's
//! LLVM. A call there is five instructions on x86, with the return thunk, and clobbers registers;
//! the access is one. Where helpers are inlined the code is the same. The memory model is that of a
//! relaxed access of an aligned word.
//!
//! C header: [`include/asm-generic/rwonce.h`](srctree/include/asm-generic/rwonce.h)

use kernel::sync::atomic::{
    Atomic,
    AtomicType, //
};

/// Marked accesses without ordering or read-modify-write.
pub(crate) trait Once<T> {
    /// Reads the word once, as `READ_ONCE()`.
    fn read_once(&self) -> T;

    /// Writes the word once, as `WRITE_ONCE()`.
    fn write_once(&self, value: T);
}

impl<T: AtomicType> Once<T> for Atomic<T> {
    #[inline(always)]
    fn read_once(&self) -> T {
        // SAFETY: `as_ptr` is valid and aligned for `T`, a machine word or less; a volatile access
        // of one is what `READ_ONCE()` does, so it does not race with the C-side atomics.
        unsafe { self.as_ptr().read_volatile() }
    }

    #[inline(always)]
    fn write_once(&self, value: T) {
        // SAFETY: As in `read_once`, for `WRITE_ONCE()`.
        unsafe { self.as_ptr().write_volatile(value) }
    }
}
