// SPDX-License-Identifier: GPL-2.0

#include <net/ip_vs.h>

__oot_helper bool oot_ip_vs_checksum_common_check(struct sk_buff *skb, int offset, int proto,
						  int af)
{
	return ip_vs_checksum_common_check(skb, offset, proto, af);
}

__oot_helper void oot_ip_vs_notrack(struct sk_buff *skb)
{
	ip_vs_notrack(skb);
}
