# shellcheck shell=bash
# LVS by NAT: EXAMPLE 1 and section IPv6 of ipvsadm(8). The director is the real
# servers' gateway and translates requests and replies.

nat_lab() {
	boot director real1 real2 real3
	front_lab outside
	wire outside director:eth0
	wire inside director:eth1 real1:eth0 real2:eth0 real3:eth0
	web_servers
}

nat_IPv4() {
	vip=207.175.44.110 rip=('' 192.168.10.1 192.168.10.2 192.168.10.3)
	at_reals 'ip addr add RIP/24 dev eth0'
	at_reals 'ip route add default via 192.168.10.254'
	at director "ip addr add $vip/24 dev eth0"
	at director 'ip addr add 192.168.10.254/24 dev eth1'
	at director 'echo 1 > /proc/sys/net/ipv4/ip_forward'
	front 207.175.44.9/24
}

nat_IPv6() {
	vip=2001:db8::80 rip=('' 2001:db8::a0a0 2001:db8::b0b0 2001:db8::c0c0)
	at_reals 'ip addr add RIP/64 dev eth0'
	at_reals 'ip route add default via 2001:db8::1'
	at director 'ip addr add 2001:db8:44::1/64 dev eth0'
	at director "ip addr add $vip/128 dev eth0 preferred_lft 0"
	at director 'ip addr add 2001:db8::1/64 dev eth1'
	at director 'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'
	front 2001:db8:44::9/64 '2001:db8::/64 via 2001:db8:44::1'
}
