/* SPDX-License-Identifier: GPL-2.0 */
/*
 * A helper module for NAT. It passes the functions of nf_nat to this module, so that this
 * module does not depend on nf_nat. See net/nat_helper.rs.
 */

#ifndef _OOT_NAT_HELPER_H
#define _OOT_NAT_HELPER_H

#include <linux/types.h>

struct module;
struct nf_conn;
struct sk_buff;

#define OOT_NAT_HELPER_PORTS 8

/* All of it is constant while the helper is registered. */
struct oot_nat_helper {
	struct module *owner;
	/* Server ports in host byte order, each once, none of them 0. */
	unsigned short ports[OOT_NAT_HELPER_PORTS];
	unsigned int count;
	/* __nf_nat_mangle_tcp_packet() */
	bool (*mangle_tcp)(struct sk_buff *skb, struct nf_conn *ct, unsigned int ctinfo,
			   unsigned int protoff, unsigned int match_offset,
			   unsigned int match_len, const char *rep_buffer,
			   unsigned int rep_len);
};

#ifndef __BINDGEN__
/* Returns -EEXIST if there is one. May sleep. */
int oot_nat_helper_register(const struct oot_nat_helper *helper);
/* No call of the helper's functions is in progress after that. Sleeps. */
void oot_nat_helper_unregister(const struct oot_nat_helper *helper);
#endif

#endif
