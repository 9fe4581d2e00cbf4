// SPDX-License-Identifier: GPL-2.0

//! Inline `READ_ONCE()` and `WRITE_ONCE()` for [`Atomic`].
//!
//! [`Atomic::load`] and [`Atomic::store`] are calls of C helpers wherever `inline.mk` cannot inline
//! them: with sanitizers, on architectures other than x86-64, or without clang of rustc's LLVM
//! version. On x86 a call takes five instructions, with the return thunk, and clobbers registers;
//! the access takes one. Where helpers are inlined the generated code is the same. The memory
//! ordering is that of a relaxed access to an aligned word.
//!
//! C header: [`include/asm-generic/rwonce.h`](srctree/include/asm-generic/rwonce.h)

use kernel::sync::atomic::{
    Atomic,
    AtomicType, //
};

/// Relaxed single accesses, without read-modify-write.
pub(crate) trait Once<T> {
    /// Reads the word once, as `READ_ONCE()`.
    fn read_once(&self) -> T;

    /// Writes the word once, as `WRITE_ONCE()`.
    fn write_once(&self, value: T);
}

impl<T: AtomicType> Once<T> for Atomic<T> {
    #[inline(always)]
    fn read_once(&self) -> T {
        // SAFETY: `as_ptr` is valid and aligned for `T`, which is a machine word or smaller. A
        // volatile access to it is what `READ_ONCE()` does, so it does not race with the C atomics.
        unsafe { self.as_ptr().read_volatile() }
    }

    #[inline(always)]
    fn write_once(&self, value: T) {
        // SAFETY: As in `read_once`, for `WRITE_ONCE()`.
        unsafe { self.as_ptr().write_volatile(value) }
    }
}
