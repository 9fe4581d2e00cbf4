# shellcheck shell=bash
# LVS by direct routing, with the addresses of linuxvirtualserver.org. The director
# forwards packets unchanged; the real servers have the VIP on lo, do not answer ARP
# requests for it, and answer the client directly.

dr_lab() {
	boot director real1 real2 real3
	front_lab lan
	wire lan director:eth0 real1:eth0 real2:eth0 real3:eth0
	web_servers
}

dr_IPv4() {
	vip=172.26.20.110 rip=('' 172.26.20.112 172.26.20.113 172.26.20.114)
	at_reals 'echo 1 > /proc/sys/net/ipv4/conf/all/arp_ignore'
	at_reals 'echo 2 > /proc/sys/net/ipv4/conf/all/arp_announce'
	at_reals "ip addr add $vip/32 dev lo"
	at_reals 'ip addr add RIP/24 dev eth0'
	at director 'ip addr add 172.26.20.111/24 dev eth0'
	at director "ip addr add $vip/32 dev eth0"
	front 172.26.20.9/24
}

dr_IPv6() {
	vip=2001:db8::80 rip=('' 2001:db8::a0a0 2001:db8::b0b0 2001:db8::c0c0)
	# Neighbour discovery never answers for an address on lo.
	at_reals "ip addr add $vip/128 dev lo preferred_lft 0"
	at_reals 'ip addr add RIP/64 dev eth0'
	at director 'ip addr add 2001:db8::111/64 dev eth0'
	at director "ip addr add $vip/128 dev eth0 preferred_lft 0"
	front 2001:db8::9/64
}
