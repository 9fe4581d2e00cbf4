// SPDX-License-Identifier: GPL-2.0

#include <linux/bit_spinlock.h>
#include <linux/bottom_half.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

__oot_helper void oot_bit_spin_lock(int bit, unsigned long *word)
{
	bit_spin_lock(bit, word);
}

__oot_helper void oot_bit_spin_unlock(int bit, unsigned long *word)
{
	bit_spin_unlock(bit, word);
}

__oot_helper void oot_local_bh_disable(void)
{
	local_bh_disable();
}

__oot_helper void oot_local_bh_enable(void)
{
	local_bh_enable();
}

__oot_helper void oot_timer_setup(struct timer_list *timer,
				  void (*function)(struct timer_list *timer))
{
	timer_setup(timer, function, 0);
}

__oot_helper void oot_init_work(struct work_struct *work, work_func_t function)
{
	INIT_WORK(work, function);
}

__oot_helper bool oot_schedule_work(struct work_struct *work)
{
	return queue_work(system_dfl_long_wq, work);
}
