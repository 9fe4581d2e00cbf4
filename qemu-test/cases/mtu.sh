# A real server behind a smaller MTU: packets with DF are answered with an ICMP error
# that has the MTU, others are fragmented; TCP transfers succeed.
#
# Covers: src/xmit/route
small() { # OPTION
	local size
	n director ip route add "$GS" dev "${DOWNLINK##* }" mtu 1400
	n director ip route add "$RIP1" dev "${DOWNLINK##* }" mtu 1400
	vs -A -u "$VIPB:80" -s rr
	vs -a -u "$VIPB:80" -r "$GSB:80" "$1"
	vs -A -t "$VIPB:80" -s rr
	vs -a -t "$VIPB:80" -r "$RIPB1:80" "$1"
	agent capture client client eth0
	agent capture silent silent eth0
	for size in 1280 1340 1341 1352 1353 1360 1361 1372 1373 1380 1381 1400 1450; do
		from_client "ip('$CIP', '$VIP', udp(5000, 80, bytes($size - 28)))" \
			"ip('$CIP', '$VIP', udp(5001, 80, bytes($size - 28)), df=False)"
	done
	from_client "ip('$GC', '$VIP', udp(5009, 80, b'last'))"
	agent captured silent 1 "5009 > 80" >/dev/null
	observe "IPv$FAMILY $1, at the server" packets silent
	observe "IPv$FAMILY $1, at the client" packets client
	expect intact agent upload client "$VIP" 80 300000
	expect intact agent download client "$VIP" 80 300000
	served 4
}
nat() { topology nat; small -m; }
dr() { topology dr; small -g; }
tun() { topology tun; small -i; }
in_turn nat
in_turn dr
in_turn tun

# With pmtu_disc=0 tunnel packets may be fragmented by routers.
uncut() {
	local size
	topology tun
	setting director net.ipv4.vs.pmtu_disc=0
	n director ip route add "$GS" dev "${DOWNLINK##* }" mtu 1400
	vs -A -u "$VIPB:80" -s rr
	vs -a -u "$VIPB:80" -r "$GSB:80" -i
	agent capture client client eth0
	agent capture silent silent eth0
	for size in 1300 1352 1353 1380 1450; do
		from_client "ip('$GC', '$VIP', udp(5000, 80, bytes($size)))" \
			"ip('$GC', '$VIP', udp(5001, 80, bytes($size)), df=False)"
	done
	from_client "ip('$GC', '$VIP', udp(5009, 80, b'last'))"
	agent captured silent 1 "5009 > 80" >/dev/null
	observe "IPv$FAMILY, pmtu_disc=0, at the server" packets silent
	observe "IPv$FAMILY, pmtu_disc=0, at the client" received client 0 "$GC"
}
families uncut
