// SPDX-License-Identifier: GPL-2.0
/*
 * Wrappers of the kernel's inline functions and macros, which bindgen cannot
 * process. One file per header or subject, sorted. Names start with `oot_`.
 */

#include <linux/compiler_types.h>
#include <linux/types.h>

/* Only Rust code calls the helpers, with the prototypes that bindgen generates. */
#ifndef __oot_helper
#define __oot_helper
#endif

#include "conntrack.c"
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
#include "socket.c"
#include "sync.c"
#include "workqueue.c"
#include "x_tables.c"
