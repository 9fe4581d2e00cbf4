# shellcheck shell=bash
# The client's path to the director: on the director's network (LAB=base), behind a
# gateway firewall with NAT (LAB=gateway), or behind a router that is not the real
# servers' (LAB=router).

front_lab() { # SWITCH of the director
	case $LAB in
	base)
		boot client
		wire "$1" client:eth0
		;;
	gateway)
		boot client gateway
		wire internet client:eth0 gateway:eth0
		wire "$1" gateway:eth1
		;;
	router)
		boot client router1 router2
		wire internet client:eth0 router1:eth0 router2:eth0
		wire "$1" router1:eth1 router2:eth1
		;;
	esac
}

# front ADDRESS/PREFIX [ROUTE]: sets up the client or gateway with this address on the
# director's network. Sets $target, the address that the client requests, and $source,
# the client's address as the director sees it.
front() {
	source=${1%/*}: target=$vip
	[ "$family" = IPv4 ] || source=[${1%/*}]: target=[$vip]
	"front_$LAB" "$@"
}

front_base() {
	at client "ip addr add $1 dev eth0"
	[ -z "${2-}" ] || at client "ip route add $2"
}

front_gateway() {
	local near=${1%/*}
	if [ "$family" = IPv4 ]; then
		target=198.51.100.1
		at client 'ip addr add 198.51.100.9/24 dev eth0'
		at gateway 'ip addr add 198.51.100.1/24 dev eth0'
		at gateway "ip addr add $1 dev eth1"
		at gateway 'echo 1 > /proc/sys/net/ipv4/ip_forward'
		at gateway "iptables -t nat -A PREROUTING -d 198.51.100.1 -p tcp --dport 80 -j DNAT --to-destination $vip:80"
		at gateway "iptables -t nat -A POSTROUTING -d $vip -p tcp --dport 80 -j SNAT --to-source $near"
	else
		target=[2001:db8:51::1]
		at client 'ip addr add 2001:db8:51::9/64 dev eth0'
		at gateway 'ip addr add 2001:db8:51::1/64 dev eth0'
		at gateway "ip addr add $1 dev eth1"
		[ -z "${2-}" ] || at gateway "ip route add $2"
		at gateway 'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'
		at gateway "ip6tables -t nat -A PREROUTING -d 2001:db8:51::1 -p tcp --dport 80 -j DNAT --to-destination [$vip]:80"
		at gateway "ip6tables -t nat -A POSTROUTING -d $vip -p tcp --dport 80 -j SNAT --to-source $near"
	fi
}

front_router() {
	if [ "$family" = IPv4 ]; then
		source=198.51.100.9:
		at client 'ip addr add 198.51.100.9/24 dev eth0'
		at client 'ip route add 172.26.20.0/24 via 198.51.100.1'
		at router1 'ip addr add 198.51.100.1/24 dev eth0'
		at router1 'ip addr add 172.26.20.1/24 dev eth1'
		at router1 'echo 1 > /proc/sys/net/ipv4/ip_forward'
		at router2 'ip addr add 198.51.100.2/24 dev eth0'
		at router2 'ip addr add 172.26.20.2/24 dev eth1'
		at router2 'echo 1 > /proc/sys/net/ipv4/ip_forward'
		at_reals 'ip route add default via 172.26.20.2'
	else
		source=[2001:db8:51::9]:
		at client 'ip addr add 2001:db8:51::9/64 dev eth0'
		at client 'ip route add 2001:db8::/64 via 2001:db8:51::1'
		at router1 'ip addr add 2001:db8:51::1/64 dev eth0'
		at router1 'ip addr add 2001:db8::1/64 dev eth1'
		at router1 'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'
		at router2 'ip addr add 2001:db8:51::2/64 dev eth0'
		at router2 'ip addr add 2001:db8::2/64 dev eth1'
		at router2 'echo 1 > /proc/sys/net/ipv6/conf/all/forwarding'
		at_reals 'ip route add default via 2001:db8::2'
	fi
}
