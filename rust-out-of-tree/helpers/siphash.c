// SPDX-License-Identifier: GPL-2.0

#include <linux/siphash.h>

__oot_helper u32 oot_hsiphash(const void *data, size_t len, const hsiphash_key_t *key)
{
	return hsiphash(data, len, key);
}
