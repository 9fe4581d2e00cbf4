// SPDX-License-Identifier: GPL-2.0

#include <linux/capability.h>
#include <linux/user_namespace.h>
#include <net/net_namespace.h>
#include <net/netns/generic.h>

__oot_helper void *oot_net_generic(const struct net *net, unsigned int id)
{
	return net_generic(net, id);
}

__oot_helper bool oot_net_ns_capable(const struct net *net, int cap)
{
	return ns_capable(net->user_ns, cap);
}

__oot_helper bool oot_net_is_of_init_user_ns(const struct net *net)
{
	return net->user_ns == &init_user_ns;
}
