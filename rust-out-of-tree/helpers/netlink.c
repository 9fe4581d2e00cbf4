// SPDX-License-Identifier: GPL-2.0

#include <net/netlink.h>

__oot_helper int oot_nlmsg_parse_deprecated(const struct nlmsghdr *nlh, int hdrlen,
					    struct nlattr *tb[], int maxtype,
					    const struct nla_policy *policy,
					    struct netlink_ext_ack *extack)
{
	return nlmsg_parse_deprecated(nlh, hdrlen, tb, maxtype, policy, extack);
}

__oot_helper struct nlattr *oot_nla_nest_start_noflag(struct sk_buff *skb, int attrtype)
{
	return nla_nest_start_noflag(skb, attrtype);
}

__oot_helper void oot_nla_nest_end(struct sk_buff *skb, struct nlattr *start)
{
	nla_nest_end(skb, start);
}

__oot_helper void oot_nla_nest_cancel(struct sk_buff *skb, struct nlattr *start)
{
	nla_nest_cancel(skb, start);
}
