// SPDX-License-Identifier: GPL-2.0

#include <linux/workqueue.h>

__oot_helper void oot_init_delayed_work(struct delayed_work *work, work_func_t function)
{
	INIT_DELAYED_WORK(work, function);
}

__oot_helper bool oot_schedule_delayed_work(struct delayed_work *work, unsigned long delay)
{
	return queue_delayed_work(system_dfl_long_wq, work, delay);
}

__oot_helper void oot_mod_delayed_work(struct delayed_work *work, unsigned long delay)
{
	mod_delayed_work(system_dfl_long_wq, work, delay);
}
