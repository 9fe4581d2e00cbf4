// SPDX-License-Identifier: GPL-2.0
/*
 * Part of ip_vs: exports the functions for its companion modules.
 */

#include <linux/export.h>

#include "../../rust-out-of-tree/nat_helper.h"
#include "companion.h"

EXPORT_SYMBOL_GPL(ip_vs_xt_match);
EXPORT_SYMBOL_GPL(oot_nat_helper_register);
EXPORT_SYMBOL_GPL(oot_nat_helper_unregister);
