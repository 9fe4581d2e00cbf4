/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included first of all where clang compiles helpers for a kernel configured
 * with gcc: takes out what the kernel never does when clang builds it.
 */

#include <linux/kconfig.h>

#ifdef __clang__
/* Per-CPU data by inline assembly, not by named address spaces. */
#undef CONFIG_CC_HAS_NAMED_AS
#undef CONFIG_USE_X86_SEG_SUPPORT
#endif

/* As rust/helpers/helpers.c has it: overrides LLVM's checks whether inlining is alike. */
#define __oot_helper __always_inline
