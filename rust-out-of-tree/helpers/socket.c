// SPDX-License-Identifier: GPL-2.0

#include <linux/kthread.h>
#include <linux/net.h>
#include <linux/udp.h>
#include <linux/wait.h>
#include <net/sock.h>

__oot_helper int oot_udp_socket(struct net *net, int family, struct socket **res)
{
	return sock_create_kern(net, family, SOCK_DGRAM, IPPROTO_UDP, res);
}

__oot_helper int oot_setsockopt(struct socket *sock, int level, int name, void *value, unsigned int len)
{
	if (level == SOL_SOCKET)
		return sock_setsockopt(sock, level, name, KERNEL_SOCKPTR(value), len);
	return READ_ONCE(sock->ops)->setsockopt(sock, level, name, KERNEL_SOCKPTR(value), len);
}

__oot_helper int oot_bind(struct socket *sock, void *addr, int len)
{
	return kernel_bind(sock, addr, len);
}

__oot_helper int oot_connect(struct socket *sock, void *addr, int len)
{
	return kernel_connect(sock, addr, len, 0);
}

__oot_helper int oot_send_now(struct socket *sock, const void *data, size_t len)
{
	struct msghdr msg = { .msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL };
	struct kvec vec = { .iov_base = (void *)data, .iov_len = len };

	return kernel_sendmsg(sock, &msg, &vec, 1, len);
}

__oot_helper int oot_receive_now(struct socket *sock, void *buffer, size_t len)
{
	struct msghdr msg = {};
	struct kvec vec = { .iov_base = buffer, .iov_len = len };

	return kernel_recvmsg(sock, &msg, &vec, 1, len, MSG_DONTWAIT);
}

__oot_helper bool oot_udp_is_readable(const struct socket *sock)
{
	const struct sock *sk = sock->sk;

	return !skb_queue_empty_lockless(&sk->sk_receive_queue) ||
	       !skb_queue_empty_lockless(&udp_sk(sk)->reader_queue);
}

/* For a kthread: also returns when it should stop. */
__oot_helper void oot_udp_wait_readable(struct socket *sock, long timeout)
{
	wait_event_interruptible_timeout(*sk_sleep(sock->sk),
					 oot_udp_is_readable(sock) || kthread_should_stop(), timeout);
}

/* For a kthread: also returns when it should stop. */
__oot_helper void oot_udp_wait_writable(struct socket *sock)
{
	wait_event_interruptible(*sk_sleep(sock->sk),
				 sock_writeable(sock->sk) || kthread_should_stop());
}
