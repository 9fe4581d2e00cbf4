// SPDX-License-Identifier: GPL-2.0

#include <net/netfilter/nf_conntrack.h>
#include <net/netfilter/nf_conntrack_core.h>
#include <net/netfilter/nf_conntrack_expect.h>
#include <net/netfilter/nf_conntrack_extend.h>
#include <net/netfilter/nf_conntrack_helper.h>
#include <net/netfilter/nf_conntrack_seqadj.h>

__oot_helper struct nf_conn *oot_nf_ct_get(const struct sk_buff *skb, unsigned int *info)
{
	enum ip_conntrack_info ctinfo;
	struct nf_conn *ct = nf_ct_get(skb, &ctinfo);

	*info = ctinfo;
	return ct;
}

__oot_helper bool oot_nf_ct_is_confirmed(const struct nf_conn *ct)
{
	return nf_ct_is_confirmed(ct);
}

__oot_helper bool oot_nf_ct_is_dying(const struct nf_conn *ct)
{
	return nf_ct_is_dying(ct);
}

__oot_helper void oot_nf_tuple_set_protocols(struct nf_conntrack_tuple *tuple, u8 pf, u8 protocol)
{
	tuple->src.l3num = pf;
	tuple->dst.protonum = protocol;
}

__oot_helper u8 oot_nf_tuple_protocol(const struct nf_conntrack_tuple *tuple)
{
	return tuple->dst.protonum;
}

/* An address of 16 bytes, and a port in network byte order. */
__oot_helper void oot_nf_tuple_set_source(struct nf_conntrack_tuple *tuple, const u8 *addr, u16 port)
{
	memcpy(&tuple->src.u3, addr, sizeof(tuple->src.u3));
	tuple->src.u.all = (__force __be16)port;
}

__oot_helper void oot_nf_tuple_set_destination(struct nf_conntrack_tuple *tuple, const u8 *addr,
					       u16 port)
{
	memcpy(&tuple->dst.u3, addr, sizeof(tuple->dst.u3));
	tuple->dst.u.all = (__force __be16)port;
}

__oot_helper const struct nf_conntrack_tuple *oot_nf_ct_reply(const struct nf_conn *ct)
{
	return nf_ct_tuple(ct, IP_CT_DIR_REPLY);
}

__oot_helper void oot_nf_conntrack_alter_reply(struct nf_conn *ct,
					       const struct nf_conntrack_tuple *reply)
{
	nf_conntrack_alter_reply(ct, reply);
}

__oot_helper int oot_nf_conntrack_confirm(struct sk_buff *skb)
{
	return nf_conntrack_confirm(skb);
}

__oot_helper bool oot_nf_ct_is_dnat(const struct nf_conn *ct)
{
	return test_bit(IPS_DST_NAT_BIT, &ct->status);
}

__oot_helper struct nf_conn *oot_nf_conntrack_find_get(struct net *net,
						       const struct nf_conntrack_tuple *tuple)
{
	struct nf_conntrack_tuple_hash *hash;

	hash = nf_conntrack_find_get(net, &nf_ct_zone_dflt, tuple);
	return hash ? nf_ct_tuplehash_to_ctrack(hash) : NULL;
}

__oot_helper void oot_nf_ct_put(struct nf_conn *ct)
{
	nf_ct_put(ct);
}

__oot_helper u8 oot_nf_ct_family(const struct nf_conn *ct)
{
	return nf_ct_l3num(ct);
}

/* Returns false if memory is short. To be called for an unconfirmed entry. */
__oot_helper bool oot_nf_ct_allow_seqadj(struct nf_conn *ct)
{
	return nfct_seqadj(ct) || nfct_seqadj_ext_add(ct);
}

/*
 * Keeps a connection out of flowtables. To be called for an unconfirmed entry. The expression
 * flow_offload skips entries with one of these properties. The bit has another meaning only
 * for UDP and GRE. Protocols other than TCP and UDP are not offloaded.
 */
__oot_helper void oot_nf_ct_forbid_offload(struct nf_conn *ct)
{
	switch (nf_ct_protonum(ct)) {
	case IPPROTO_TCP:
		__set_bit(IPS_NAT_CLASH_BIT, &ct->status);
		break;
	case IPPROTO_UDP:
		/* Without IPS_HELPER: no helper is assigned. */
		if (!nfct_help(ct))
			nf_ct_ext_add(ct, NF_CT_EXT_HELPER, GFP_ATOMIC);
		break;
	}
}

/*
 * Creates an expectation of a connection from any port. Addresses have 16 bytes, the port is in
 * network byte order. On failure the connection is not marked as related.
 */
__oot_helper void oot_nf_ct_expect(struct nf_conn *ct, const u8 *saddr, const u8 *daddr, u16 dport,
				   u8 protocol)
{
	struct nf_conntrack_expect *expect = nf_ct_expect_alloc(ct);
	__be16 port = (__force __be16)dport;

	if (!expect)
		return;
	nf_ct_expect_init(expect, NF_CT_EXPECT_CLASS_DEFAULT, nf_ct_l3num(ct), (const void *)saddr,
			  (const void *)daddr, protocol, NULL, &port);
	nf_ct_expect_related(expect, 0);
	nf_ct_expect_put(expect);
}
