# Tunnels across families: IPv4 in IPv6 and IPv6 in IPv4. Fields of the outer header,
# MTU, fragments and ICMP errors.
#
# Covers: src/xmit/tun
mixed() {
	local other size p
	topology tun
	case $FAMILY in 4) other=[$GS_6] ;; 6) other=$GS_4 ;; esac
	for p in t u; do
		vs -A -$p "$VIPB:80" -s rr
		vs -a -$p "$VIPB:80" -r "$other:80" -i
	done
	agent capture client client eth0
	agent capture silent silent eth0
	# Sizes around the largest that fit, for IPv4 and IPv6
	for size in 10 1411 1412 1413 1431 1432 1433; do
		from_client "ip('$GC', '$VIP', udp(5000, 80, bytes($size)), tos=3)" \
			"ip('$GC', '$VIP', udp(5001, 80, bytes($size)), df=False, ttl=7)"
	done
	from_client "ip('$GC', '$VIP', tcp(5001, 80, 'S'))" "ip('$GC', '$VIP', tcp(5001, 80, 'A'))" \
		"ip('$GC', '$VIP', udp(5002, 80, b'x'), ttl=1)" \
		"fragments(ip('$GC', '$VIP', udp(5003, 80, bytes(2000))), 800, 20)"
	from_client "ip('$GC', '$VIP', udp(5009, 80, b'last'))"
	agent captured silent 1 "5009 > 80" >/dev/null
	served 3
	observe "IPv$FAMILY${CONNTRACK:+, tracked}: at the server" received silent
	observe "IPv$FAMILY${CONNTRACK:+, tracked}: at the client" received client 0 "$GC"
	observe "IPv$FAMILY: listing" listing
	observe "IPv$FAMILY: /proc/net/ip_vs_conn" proc_connections
}
families mixed
FAMILY=6 tracked mixed
