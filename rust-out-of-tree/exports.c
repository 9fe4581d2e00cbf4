// SPDX-License-Identifier: GPL-2.0
/* What Rust code defines for other modules. */

#include <linux/export.h>

#include "nat_helper.h"

EXPORT_SYMBOL_GPL(oot_nat_helper_register);
EXPORT_SYMBOL_GPL(oot_nat_helper_unregister);
