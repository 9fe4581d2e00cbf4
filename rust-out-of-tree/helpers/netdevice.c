// SPDX-License-Identifier: GPL-2.0

#include <linux/netdevice.h>

__oot_helper struct net_device *oot_netdev_notifier_info_to_dev(void *info)
{
	return netdev_notifier_info_to_dev(info);
}

__oot_helper struct net *oot_dev_net(const struct net_device *dev)
{
	return dev_net(dev);
}
