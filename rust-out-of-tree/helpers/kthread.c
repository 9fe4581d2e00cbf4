// SPDX-License-Identifier: GPL-2.0

#include <linux/sched.h>
#include <linux/sched/task.h>

__oot_helper void oot_set_current_state_idle(void)
{
	set_current_state(TASK_IDLE);
}

__oot_helper void oot_set_current_state_running(void)
{
	__set_current_state(TASK_RUNNING);
}

__oot_helper void oot_cond_resched(void)
{
	cond_resched();
}

__oot_helper void oot_get_task_struct(struct task_struct *task)
{
	get_task_struct(task);
}
