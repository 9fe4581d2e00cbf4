/* SPDX-License-Identifier: GPL-2.0 */
/* Headers that bindgen reads for what `kernel::bindings` lacks, sorted. */

#include <linux/netfilter.h>
