// SPDX-License-Identifier: GPL-2.0

#include <linux/sockptr.h>
#include <net/sock.h>

__oot_helper int oot_copy_from_sockptr(void *dst, sockptr_t src, size_t size)
{
	return copy_from_sockptr(dst, src, size);
}

__oot_helper struct net *oot_sock_net(const struct sock *sk)
{
	return sock_net(sk);
}
