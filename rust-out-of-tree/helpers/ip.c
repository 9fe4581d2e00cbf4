// SPDX-License-Identifier: GPL-2.0

#include <linux/icmpv6.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <net/addrconf.h>
#include <net/dst.h>
#include <net/icmp.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/route.h>
#include <net/xfrm.h>

__oot_helper struct dst_entry *oot_dst_check(struct dst_entry *dst, u32 cookie)
{
	return dst_check(dst, cookie);
}

__oot_helper u32 oot_dst_mtu(const struct dst_entry *dst)
{
	return dst_mtu(dst);
}

__oot_helper bool oot_dst_is_inet6(const struct dst_entry *dst)
{
	return dst->ops->family == AF_INET6;
}

__oot_helper unsigned int oot_rt_flags(const struct dst_entry *dst)
{
	return dst_rtable(dst)->rt_flags;
}

__oot_helper unsigned int oot_dst_dev_flags(const struct dst_entry *dst)
{
	return dst_dev(dst)->flags;
}

__oot_helper bool oot_dst_is_by(const struct dst_entry *dst, const struct net_device *dev)
{
	return dst_dev(dst) == dev;
}

__oot_helper bool oot_dst_dev_running(const struct dst_entry *dst)
{
	return netif_running(dst_dev(dst));
}

__oot_helper unsigned int oot_dst_hard_header_len(const struct dst_entry *dst)
{
	return dst_dev(dst)->hard_header_len;
}

__oot_helper bool oot_dst_sums_sctp(const struct dst_entry *dst)
{
	return dst_dev(dst)->features & NETIF_F_SCTP_CRC;
}

__oot_helper unsigned int oot_dst_reserved_space(const struct dst_entry *dst)
{
	const struct net_device *dev = dst_dev(dst);

	return LL_RESERVED_SPACE(dev);
}

__oot_helper int oot_dst_error(const struct dst_entry *dst)
{
	return dst->error;
}

__oot_helper struct dst_entry *oot_ip_route_output(struct net *net, __be32 daddr, __be32 *saddr,
						   u8 flags)
{
	struct flowi4 fl4 = { .daddr = daddr, .saddr = *saddr, .flowi4_flags = flags };
	struct rtable *rt = ip_route_output_key(net, &fl4);

	*saddr = fl4.saddr;
	return (struct dst_entry *)rt;
}

__oot_helper struct dst_entry *oot_ip6_route_output(struct net *net, struct flowi6 *fl6)
{
	return ip6_route_output(net, NULL, fl6);
}

__oot_helper int oot_ip6_get_saddr(struct net *net, struct dst_entry *dst, struct flowi6 *fl6)
{
	return ipv6_dev_get_saddr(net, ip6_dst_idev(dst)->dev, &fl6->daddr, 0, &fl6->saddr);
}

__oot_helper struct dst_entry *oot_xfrm_lookup6(struct net *net, struct dst_entry *dst,
						struct flowi6 *fl6)
{
	return xfrm_lookup(net, dst, flowi6_to_flowi(fl6), NULL, 0);
}

__oot_helper u32 oot_rt6_get_cookie(const struct dst_entry *dst)
{
	return rt6_get_cookie(dst_rt6_info(dst));
}

__oot_helper void oot_nf_local_out4(struct net *net, struct sk_buff *skb)
{
	NF_HOOK(NFPROTO_IPV4, NF_INET_LOCAL_OUT, net, NULL, skb, NULL, skb_dst(skb)->dev,
		dst_output);
}

__oot_helper void oot_nf_local_out6(struct net *net, struct sk_buff *skb)
{
	NF_HOOK(NFPROTO_IPV6, NF_INET_LOCAL_OUT, net, NULL, skb, NULL, skb_dst(skb)->dev,
		dst_output);
}

__oot_helper void oot_ip_local_out(struct net *net, struct sk_buff *skb)
{
	ip_local_out(net, skb->sk, skb);
}

__oot_helper void oot_ip6_local_out(struct net *net, struct sk_buff *skb)
{
	ip6_local_out(net, skb->sk, skb);
}

__oot_helper void oot_netif_rx(struct sk_buff *skb)
{
	if (!skb_mac_header_was_set(skb))
		skb_reset_mac_header(skb);
	netif_rx(skb);
}

__oot_helper void oot_icmp_send(struct sk_buff *skb, int type, int code, __be32 info)
{
	icmp_send(skb, type, code, info);
}

__oot_helper void oot_icmpv6_send(struct sk_buff *skb, u8 type, u8 code, u32 info)
{
	icmpv6_send(skb, type, code, info);
}

__oot_helper int oot_ip_route_me_harder(struct net *net, struct sk_buff *skb)
{
	return ip_route_me_harder(net, skb->sk, skb, RTN_LOCAL);
}

__oot_helper int oot_ip6_route_me_harder(struct net *net, struct sk_buff *skb)
{
	return ip6_route_me_harder(net, skb->sk, skb);
}

__oot_helper void oot_ip_send_check(struct sk_buff *skb)
{
	ip_send_check(ip_hdr(skb));
}

__oot_helper void oot_ip_inc_hdrerrors(struct net *net)
{
	IP_INC_STATS(net, IPSTATS_MIB_INHDRERRORS);
}

__oot_helper void oot_ip6_inc_hdrerrors(struct net *net, struct sk_buff *skb)
{
	struct inet6_dev *idev = __in6_dev_get_safely(skb->dev);

	IP6_INC_STATS(net, idev, IPSTATS_MIB_INHDRERRORS);
}

__oot_helper void oot_update_socket_pmtu(struct sk_buff *skb, u32 mtu)
{
	skb_dst(skb)->ops->update_pmtu(skb_dst(skb), skb->sk, NULL, mtu, true);
}

__oot_helper bool oot_inet_port_requires_bind_service(struct net *net, u16 port)
{
	return inet_port_requires_bind_service(net, port);
}

/* The first port, and the last one in the upper half. */
__oot_helper u32 oot_local_port_range(const struct net *net)
{
	int low, high;

	inet_get_local_port_range(net, &low, &high);
	return (u32)high << 16 | (u16)low;
}

/* The ports of a block of 64, as bits. */
__oot_helper u64 oot_local_reserved_ports(const struct net *net, u32 block)
{
	const unsigned long *ports = net->ipv4.sysctl_local_reserved_ports;
	u64 bits = 0;

	if (ports && block < 65536 / 64)
		bitmap_to_arr64(&bits, ports + block * (64 / BITS_PER_LONG), 64);
	return bits;
}

__oot_helper void oot_ip_select_ident(struct net *net, struct sk_buff *skb)
{
	ip_select_ident(net, skb, NULL);
}
