# What is configured and cannot be done yet: packets to it go nowhere, are
# counted, and are complained of once. (C does it: nothing of that is to be
# seen there.)
[ "$MODULE" = rust ] || skip "C has GUE, GRE and SCTP"
counted() { echo $((16#$(director awk 'NR == 3 { print $2 }' /proc/net/ip_vs_stats))); }
unsupported() {
	local before i
	topology nat
	vs -A -u "$VIPB:99" -s rr
	vs -a -u "$VIPB:99" -r "$RIPB1:99" -m
	vs -A -u "$VIPB:80" -s rr
	vs -a -u "$VIPB:80" -r "$RIPB1:80" -i --tun-type gue --tun-port 6080
	vs -A -u "$VIPB:81" -s rr
	vs -a -u "$VIPB:81" -r "$RIPB1:81" -i --tun-type gre
	vs -A --sctp-service "$VIPB:80" -s rr
	vs -a --sctp-service "$VIPB:80" -r "$RIPB1:80" -m
	before=$(counted)
	agent capture client client eth0
	agent capture rs1 server eth0
	for i in 1 2 3; do
		from_client "ip('$CIP', '$VIP', udp(500$i, 80, b'gue'))"
		from_client "ip('$CIP', '$VIP', udp(500$i, 81, b'gre'))"
		from_client "ip('$CIP', '$VIP', raw(132, bytes((0x13, $i, 0, 80)) + bytes(28)))"
	done
	# A service that works says when the others are through.
	from_client "ip('$CIP', '$VIP', udp(5999, 99, b'last'))"
	agent captured server 1 "> 99 " >/dev/null
	expect $((before + 10)) counted
	expect 1 eval 'received server | grep -c .'
	expect 1 eval 'received server | grep -c "5999 > 99"'
	expect "" eval 'received client | grep -v "5999" || true'
	# To no service of ours: no business of ours either.
	from_client "ip('$CIP', '$VIP', raw(132, bytes((0x13, 9, 0, 81)) + bytes(28)))"
	agent captured client 1 icmp >/dev/null
	expect $((before + 10)) counted
	vs -C
}
families unsupported
# Not for each packet: a module complains once, and there may have been others before.
complaints() { [ "$(dmesg | grep -c "$1.* not supported yet")" -lt 6 ] && dmesg | grep -q "$1.* not supported yet" && echo few; }
expect few complaints GUE
expect few complaints SCTP
