// SPDX-License-Identifier: GPL-2.0
/*
 * ip_vs_ftp: enables FTP in ip_vs while it is loaded, as C's module of that name.
 *
 * ip_vs contains the code. This module has the parameters, and passes the functions of nf_nat
 * to ip_vs, which must not depend on nf_nat.
 */

#include <linux/module.h>
#include <net/netfilter/nf_nat_helper.h>

#include "../../rust-out-of-tree/nat_helper.h"

static unsigned int ports_count = 1;
static unsigned short ports[OOT_NAT_HELPER_PORTS] = { 21 };
module_param_array(ports, ushort, &ports_count, 0444);
MODULE_PARM_DESC(ports, "Ports to monitor for FTP control commands");

static bool mangle_tcp(struct sk_buff *skb, struct nf_conn *ct, unsigned int ctinfo,
		       unsigned int protoff, unsigned int match_offset, unsigned int match_len,
		       const char *rep_buffer, unsigned int rep_len)
{
	return nf_nat_mangle_tcp_packet(skb, ct, ctinfo, protoff, match_offset, match_len,
					rep_buffer, rep_len);
}

static struct oot_nat_helper ftp = {
	.owner = THIS_MODULE,
	.mangle_tcp = mangle_tcp,
};

/* C fails with the same errno for a port that is listed twice, and ignores port 0. */
static int __init take_ports(void)
{
	for (unsigned int i = 0; i < ports_count; i++) {
		if (!ports[i])
			continue;
		for (unsigned int j = 0; j < ftp.count; j++)
			if (ftp.ports[j] == ports[i])
				return -EEXIST;
		ftp.ports[ftp.count++] = ports[i];
	}
	return 0;
}

static int __init ip_vs_ftp_init(void)
{
	return take_ports() ?: oot_nat_helper_register(&ftp);
}

static void __exit ip_vs_ftp_exit(void)
{
	oot_nat_helper_unregister(&ftp);
}

module_init(ip_vs_ftp_init);
module_exit(ip_vs_ftp_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("ipvs ftp helper");
