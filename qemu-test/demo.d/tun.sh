# shellcheck shell=bash
# LVS by tunnels, with the addresses of linuxvirtualserver.org. The director
# encapsulates requests in IP. A real server decapsulates them by tunl0 or ip6tnl0,
# where it has the VIP, and answers the client directly.

tun_lab() {
	boot director real1 real2 real3
	front_lab lan
	wire lan director:eth0 real1:eth0 real2:eth0 real3:eth0
	web_servers
}

tun_IPv4() {
	vip=172.26.20.110 rip=('' 172.26.20.112 172.26.20.113 172.26.20.114)
	at_reals 'ip addr add RIP/24 dev eth0'
	at_reals 'modprobe ipip'
	at_reals 'echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore'
	at_reals 'echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce'
	at_reals 'echo 0 > /proc/sys/net/ipv4/conf/tunl0/rp_filter'
	at_reals 'ip link set tunl0 up'
	at_reals "ip addr add $vip/32 dev tunl0"
	at director 'ip addr add 172.26.20.111/24 dev eth0'
	at director "ip addr add $vip/32 dev eth0"
	front 172.26.20.9/24
}

tun_IPv6() {
	vip=2001:db8::80 rip=('' 2001:db8::a0a0 2001:db8::b0b0 2001:db8::c0c0)
	at_reals 'ip addr add RIP/64 dev eth0'
	at_reals 'modprobe ip6_tunnel'
	at_reals 'ip link set ip6tnl0 up'
	at_reals "ip addr add $vip/128 dev ip6tnl0 preferred_lft 0"
	# preferred_lft 0: the VIP is never selected as the source of a tunnel; a real
	# server would drop packets from its own address.
	at director 'ip addr add 2001:db8::111/64 dev eth0'
	at director "ip addr add $vip/128 dev eth0 preferred_lft 0"
	front 2001:db8::9/64
}
