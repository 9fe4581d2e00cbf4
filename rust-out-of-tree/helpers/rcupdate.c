// SPDX-License-Identifier: GPL-2.0

#include <linux/percpu.h>
#include <linux/rcupdate.h>

/* The number of RCU callbacks that each CPU has queued. */
static DEFINE_PER_CPU(unsigned long, oot_rcu_queued);

__oot_helper void oot_call_rcu(struct callback_head *head, rcu_callback_t function)
{
	call_rcu(head, function);
	/* Count after queueing: rcu_barrier() must wait for each counted callback. */
	this_cpu_inc(oot_rcu_queued);
}

__oot_helper unsigned long oot_rcu_callbacks(void)
{
	unsigned long sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(per_cpu(oot_rcu_queued, cpu));
	return sum;
}
