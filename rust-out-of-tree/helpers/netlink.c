// SPDX-License-Identifier: GPL-2.0

#include <net/netlink.h>

__oot_helper int oot_nlmsg_parse_deprecated(const struct nlmsghdr *nlh, int hdrlen,
					    struct nlattr *tb[], int maxtype,
					    const struct nla_policy *policy,
					    struct netlink_ext_ack *extack)
{
	return nlmsg_parse_deprecated(nlh, hdrlen, tb, maxtype, policy, extack);
}

__oot_helper const unsigned char *oot_skb_tail_pointer(const struct sk_buff *skb)
{
	return skb_tail_pointer(skb);
}
