// SPDX-License-Identifier: GPL-2.0
/*
 * The module xt_ipvs: registers the match `ipvs` of iptables, which is part of
 * ip_vs, with x_tables. A rule with the match holds a reference to this module,
 * and this module one to ip_vs.
 *
 * C version: net/netfilter/xt_ipvs.c.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/module.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_ipvs.h>

#include "companion.h"

static int check(const struct xt_mtchk_param *par)
{
	switch (par->family) {
	case NFPROTO_IPV4:
	case NFPROTO_IPV6:
		return 0;
	default:
		pr_info_ratelimited("protocol family %u not supported\n", par->family);
		return -EINVAL;
	}
}

static struct xt_match match __read_mostly = {
	.name		= "ipvs",
	.revision	= 0,
	.family		= NFPROTO_UNSPEC,
	.match		= ip_vs_xt_match,
	.checkentry	= check,
	.matchsize	= XT_ALIGN(sizeof(struct xt_ipvs_mtinfo)),
	.me		= THIS_MODULE,
};

static int __init xt_ipvs_init(void)
{
	return xt_register_match(&match);
}

static void __exit xt_ipvs_exit(void)
{
	xt_unregister_match(&match);
}

module_init(xt_ipvs_init);
module_exit(xt_ipvs_exit);
MODULE_DESCRIPTION("Xtables: match IPVS connection properties");
MODULE_LICENSE("GPL");
MODULE_ALIAS("ipt_ipvs");
MODULE_ALIAS("ip6t_ipvs");
