// SPDX-License-Identifier: GPL-2.0

#include <linux/bit_spinlock.h>
#include <linux/bottom_half.h>
#include <linux/timer.h>

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
