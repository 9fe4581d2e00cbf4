// SPDX-License-Identifier: GPL-2.0
/*
 * Part of ip_vs: exports what its companion modules call.
 */

#include <linux/export.h>

#include "companion.h"

EXPORT_SYMBOL_GPL(ip_vs_xt_match);
