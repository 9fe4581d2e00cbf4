// SPDX-License-Identifier: GPL-2.0

#include <linux/slab.h>

__oot_helper struct kmem_cache *oot_kmem_cache_create(const char *name, unsigned int size,
						      unsigned int align)
{
	return kmem_cache_create(name, size, align, SLAB_NO_MERGE, NULL);
}

__oot_helper void *oot_kmem_cache_alloc(struct kmem_cache *cache, gfp_t flags)
{
	return kmem_cache_alloc(cache, flags);
}
