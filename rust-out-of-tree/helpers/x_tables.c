// SPDX-License-Identifier: GPL-2.0

#include <linux/netfilter/x_tables.h>

__oot_helper struct net *oot_xt_net(const struct xt_action_param *par)
{
	return xt_net(par);
}

__oot_helper u8 oot_xt_family(const struct xt_action_param *par)
{
	return xt_family(par);
}

__oot_helper const void *oot_xt_matchinfo(const struct xt_action_param *par)
{
	return par->matchinfo;
}
