// SPDX-License-Identifier: GPL-2.0
/*
 * Inlines and macros of the kernel that bindgen cannot see, one file per
 * header, sorted. Names start with `oot_helper_`.
 */
