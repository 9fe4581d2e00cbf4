// SPDX-License-Identifier: GPL-2.0

#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/skbuff.h>
#include <net/dst.h>
#include <net/inet_sock.h>
#include <net/ip.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/route.h>
#include <net/sock.h>
#include <net/udp.h>

__oot_helper int oot_skb_cow(struct sk_buff *skb, unsigned int headroom)
{
	return skb_cow(skb, headroom);
}

__oot_helper void *oot_pskb_pull(struct sk_buff *skb, unsigned int len)
{
	return pskb_pull(skb, len);
}

__oot_helper bool oot_pskb_may_pull(struct sk_buff *skb, unsigned int len)
{
	return pskb_may_pull(skb, len);
}

__oot_helper void oot_skb_reset_network_header(struct sk_buff *skb)
{
	skb_reset_network_header(skb);
}

__oot_helper void oot_skb_set_transport_header(struct sk_buff *skb, int offset)
{
	skb_set_transport_header(skb, offset);
}

__oot_helper void oot_ip_clear_options(struct sk_buff *skb)
{
	memset(&IPCB(skb)->opt, 0, sizeof(IPCB(skb)->opt));
}

__oot_helper bool oot_skb_ipvs_property(const struct sk_buff *skb)
{
	return skb->ipvs_property;
}

__oot_helper void oot_skb_set_ipvs_property(struct sk_buff *skb)
{
	skb->ipvs_property = 1;
}

__oot_helper u16 oot_skb_protocol(const struct sk_buff *skb)
{
	return ntohs(skb->protocol);
}

__oot_helper u8 oot_skb_pkt_type(const struct sk_buff *skb)
{
	return skb->pkt_type;
}

__oot_helper u32 oot_skb_mark(const struct sk_buff *skb)
{
	return skb->mark;
}

__oot_helper bool oot_dev_is_loopback(const struct net_device *dev)
{
	return dev->flags & IFF_LOOPBACK;
}

__oot_helper void oot_skb_set_loopback_dev(struct sk_buff *skb, struct net *net)
{
	skb->dev = net->loopback_dev;
}

__oot_helper void oot_skb_set_dst_dev(struct sk_buff *skb)
{
	skb->dev = skb_dst_dev(skb);
}

__oot_helper bool oot_skb_has_fullsock(const struct sk_buff *skb)
{
	return sk_fullsock(skb->sk);
}

__oot_helper bool oot_skb_nodefrag(const struct sk_buff *skb)
{
	return skb->sk->sk_family == PF_INET && inet_test_bit(NODEFRAG, skb->sk);
}

__oot_helper void oot_skb_orphan(struct sk_buff *skb)
{
	skb_orphan(skb);
}

__oot_helper struct dst_entry *oot_skb_dst(const struct sk_buff *skb)
{
	return skb_dst(skb);
}

__oot_helper void oot_skb_dst_drop(struct sk_buff *skb)
{
	skb_dst_drop(skb);
}

__oot_helper void oot_skb_dst_set(struct sk_buff *skb, struct dst_entry *dst)
{
	skb_dst_set(skb, dst);
}

__oot_helper void oot_skb_dst_set_noref(struct sk_buff *skb, struct dst_entry *dst)
{
	skb_dst_set_noref(skb, dst);
}

__oot_helper void oot_dst_link_failure(struct sk_buff *skb)
{
	dst_link_failure(skb);
}

__oot_helper bool oot_skb_is_input_route(const struct sk_buff *skb)
{
	return rt_is_input_route(skb_rtable(skb));
}

__oot_helper bool oot_skb_is_gso(const struct sk_buff *skb)
{
	return skb_is_gso(skb);
}

__oot_helper u32 oot_ip6_frag_max_size(const struct sk_buff *skb)
{
	return IP6CB(skb)->frag_max_size;
}

__oot_helper u8 oot_skb_ip_summed(const struct sk_buff *skb)
{
	return skb->ip_summed;
}

__oot_helper void oot_skb_set_ip_summed(struct sk_buff *skb, u8 summed)
{
	skb->ip_summed = summed;
}

__oot_helper void oot_skb_set_csum_start(struct sk_buff *skb, u32 start, u16 offset)
{
	skb->csum_start = skb_headroom(skb) + start;
	skb->csum_offset = offset;
}

/* Relative to the data. Only with CHECKSUM_PARTIAL. */
__oot_helper int oot_skb_csum_start(const struct sk_buff *skb)
{
	return skb_checksum_start_offset(skb);
}

__oot_helper u16 oot_skb_csum_offset(const struct sk_buff *skb)
{
	return skb->csum_offset;
}

__oot_helper void oot_skb_forward_csum(struct sk_buff *skb)
{
	skb_forward_csum(skb);
}

__oot_helper void oot_skb_clear_tstamp(struct sk_buff *skb)
{
	skb_clear_tstamp(skb);
}

__oot_helper void oot_skb_set_ignore_df(struct sk_buff *skb)
{
	skb->ignore_df = 1;
}

__oot_helper int oot_skb_ensure_writable(struct sk_buff *skb, unsigned int len)
{
	/* The usual case, without a call. */
	if (likely(len <= skb_headlen(skb) && !skb_cloned(skb)))
		return 0;
	return skb_ensure_writable(skb, len);
}

/* The first `at` bytes must be linear and writable. */
__oot_helper int oot_skb_insert(struct sk_buff *skb, unsigned int at, unsigned int len)
{
	unsigned int mac_len = skb_mac_header_was_set(skb) ? skb->mac_len : 0;
	unsigned char *headers;

	if (len > U16_MAX - mac_len || skb_cow(skb, mac_len + len))
		return -ENOMEM;
	headers = skb->data;
	skb_push(skb, len);
	if (mac_len)
		skb_mac_header_rebuild(skb);
	memmove(skb->data, headers, at);
	skb_reset_network_header(skb);
	skb->transport_header -= len;
	if (skb->ip_summed == CHECKSUM_PARTIAL)
		skb->csum_start -= len;
	return 0;
}

__oot_helper unsigned int oot_skb_headroom(const struct sk_buff *skb)
{
	return skb_headroom(skb);
}

__oot_helper int oot_skb_cloned(const struct sk_buff *skb)
{
	return skb_cloned(skb);
}

__oot_helper void oot_skb_set_owner_w(struct sk_buff *skb, const struct sk_buff *owned)
{
	skb_set_owner_w(skb, owned->sk);
}

/* Validates as at LOCAL_IN, whatever hook the packet is at. */
__oot_helper bool oot_nf_checksum_is_valid(struct sk_buff *skb, unsigned int offset, u8 proto,
					   unsigned short family)
{
	return skb_csum_unnecessary(skb) ||
	       !nf_checksum(skb, NF_INET_LOCAL_IN, offset, proto, family);
}

__oot_helper void oot_skb_notrack(struct sk_buff *skb)
{
#if IS_ENABLED(CONFIG_NF_CONNTRACK)
	enum ip_conntrack_info ctinfo;

	if (nf_ct_get(skb, &ctinfo)) {
		nf_reset_ct(skb);
		nf_ct_set(skb, NULL, IP_CT_UNTRACKED);
	}
#endif
}

__oot_helper void oot_nf_reset_ct(struct sk_buff *skb)
{
	nf_reset_ct(skb);
}

__oot_helper void oot_skb_set_inner_headers(struct sk_buff *skb, u8 protocol)
{
	skb->transport_header = skb->network_header;
	skb_set_inner_ipproto(skb, protocol);
	skb_set_inner_mac_header(skb, skb_inner_network_offset(skb));
}

/* In place of the inner IP protocol. */
__oot_helper void oot_skb_set_inner_ethertype(struct sk_buff *skb, u16 ethertype)
{
	skb_set_inner_protocol(skb, htons(ethertype));
}

__oot_helper void oot_skb_clear_encapsulation(struct sk_buff *skb)
{
	skb->encapsulation = 0;
}

/* `hash` is the flow's, in place of one that would be computed from the headers. 0: none. */
__oot_helper __be16 oot_udp_flow_src_port(struct net *net, struct sk_buff *skb, u32 hash)
{
	if (hash && !skb->l4_hash && !skb->sw_hash)
		__skb_set_sw_hash(skb, hash, true);
	return udp_flow_src_port(net, skb, 0, 0, false);
}

__oot_helper void oot_kfree_skb(struct sk_buff *skb)
{
	kfree_skb(skb);
}
