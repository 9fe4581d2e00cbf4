// SPDX-License-Identifier: GPL-2.0

#include <linux/cpumask.h>
#include <linux/percpu.h>

__oot_helper void __percpu *oot_alloc_percpu(size_t size, size_t align)
{
	return __alloc_percpu(size, align);
}

__oot_helper void oot_this_cpu_add(u64 __percpu *word, u64 value)
{
	this_cpu_add(*word, value);
}

__oot_helper u64 oot_this_cpu_inc_return(u64 __percpu *word)
{
	return this_cpu_inc_return(*word);
}

__oot_helper u64 *oot_per_cpu_ptr(u64 __percpu *word, unsigned int cpu)
{
	return per_cpu_ptr(word, cpu);
}

__oot_helper bool oot_cpu_possible(unsigned int cpu)
{
	return cpu_possible(cpu);
}
