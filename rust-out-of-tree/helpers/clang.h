/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Included first when clang compiles the helpers for a kernel configured with
 * gcc. Unsets the options that the kernel does not support with clang.
 */

#include <linux/kconfig.h>

#ifdef __clang__
/* Per-CPU data is accessed by inline assembly, not by named address spaces. */
#undef CONFIG_CC_HAS_NAMED_AS
#undef CONFIG_USE_X86_SEG_SUPPORT
#endif

/* As in rust/helpers/helpers.c: overrides LLVM's check that attributes allow inlining. */
#define __oot_helper __always_inline
