// SPDX-License-Identifier: GPL-2.0

#include <net/genetlink.h>

__oot_helper struct net *oot_genl_info_net(const struct genl_info *info)
{
	return genl_info_net(info);
}

__oot_helper const struct genl_info *oot_genl_info_dump(struct netlink_callback *cb)
{
	return genl_info_dump(cb);
}

__oot_helper int oot_genlmsg_reply(struct sk_buff *skb, struct genl_info *info)
{
	return genlmsg_reply(skb, info);
}
