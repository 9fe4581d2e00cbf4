// SPDX-License-Identifier: GPL-2.0

#include <linux/kthread.h>
#include <linux/rcupdate_wait.h>
#include <linux/sched.h>
#include <linux/sched/task.h>
#include <linux/wait.h>

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

__oot_helper void oot_cond_resched_rcu(void)
{
	cond_resched_rcu();
}

__oot_helper void oot_get_task_struct(struct task_struct *task)
{
	get_task_struct(task);
}

/* For a kthread: returns when woken, when it should stop, or after a time. */
__oot_helper void oot_kthread_wait(struct wait_queue_head *queue, const u32 *woken, long timeout)
{
	wait_event_interruptible_timeout(*queue, READ_ONCE(*woken) || kthread_should_stop(), timeout);
}

__oot_helper void oot_init_waitqueue(struct wait_queue_head *queue)
{
	init_waitqueue_head(queue);
}

__oot_helper void oot_wake_up(struct wait_queue_head *queue)
{
	wake_up(queue);
}
