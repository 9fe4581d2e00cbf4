// SPDX-License-Identifier: GPL-2.0

#include <linux/inetdevice.h>
#include <linux/netdevice.h>
#include <net/addrconf.h>

__oot_helper struct net_device *oot_netdev_notifier_info_to_dev(void *info)
{
	return netdev_notifier_info_to_dev(info);
}

__oot_helper struct net *oot_dev_net(const struct net_device *dev)
{
	return dev_net(dev);
}

__oot_helper int oot_dev_ifindex(const struct net_device *dev)
{
	return dev->ifindex;
}

__oot_helper unsigned int oot_dev_mtu(const struct net_device *dev)
{
	return READ_ONCE(dev->mtu);
}
