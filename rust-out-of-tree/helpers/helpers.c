// SPDX-License-Identifier: GPL-2.0
/*
 * Inlines and macros of the kernel that bindgen cannot see, a file per header
 * or subject, sorted. Names start with `oot_`.
 */

#include <linux/compiler_types.h>
#include <linux/types.h>

/* Called from Rust alone: no prototype is needed, and bindgen makes one. */
#ifndef __oot_helper
#define __oot_helper
#endif

#include "cpumask.c"
#include "genetlink.c"
#include "ip.c"
#include "ipv6.c"
#include "kthread.c"
#include "namespace.c"
#include "netdevice.c"
#include "netlink.c"
#include "percpu.c"
#include "proc_fs.c"
#include "rcupdate.c"
#include "siphash.c"
#include "skbuff.c"
#include "slab.c"
#include "sock.c"
#include "sync.c"
#include "workqueue.c"
