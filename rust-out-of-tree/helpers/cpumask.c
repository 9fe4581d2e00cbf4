// SPDX-License-Identifier: GPL-2.0

#include <linux/cpumask.h>
#include <linux/sched.h>
#include <linux/sched/isolation.h>
#include <linux/sprintf.h>

__oot_helper void oot_cpumask_and_current(struct cpumask *mask)
{
	cpumask_and(mask, mask, &current->cpus_mask);
}

__oot_helper int oot_cpulist_parse(const char *list, struct cpumask *mask)
{
	return cpulist_parse(list, mask);
}

__oot_helper int oot_cpulist_print(char *buffer, size_t size, const struct cpumask *mask)
{
	return scnprintf(buffer, size, "%*pbl\n", cpumask_pr_args(mask));
}

__oot_helper const struct cpumask *oot_housekeeping_kthread(void)
{
	return housekeeping_cpumask(HK_TYPE_KTHREAD);
}
