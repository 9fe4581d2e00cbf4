# A packet with an expired TTL is answered with an ICMP error, not forwarded.
#
# Covers: src/xmit/route
hops() { # OPTION
	local ttl
	vs -A -u "$VIPB:80" -s rr
	vs -a -u "$VIPB:80" -r "$GSB:80" "$1"
	agent capture client client eth0
	agent capture silent silent eth0
	for ttl in 64 3 2 1; do
		from_client "ip('$CIP', '$VIP', udp(500$ttl, 80, b'hops'), ttl=$ttl)"
	done
	# Also replies
	[ "$1" != -m ] || for ttl in 64 3 2 1; do
		from_server "ip('$GS', '$CIP', udp(80, 5002, b'back'), ttl=$ttl)"
	done
	from_client "ip('$GC', '$VIP', udp(5009, 80, b'last'))"
	agent captured silent 1 "5009 > 80" >/dev/null
	observe "IPv$FAMILY $1, at the server" packets silent
	observe "IPv$FAMILY $1, at the client" packets client
	served 5
	observe connections connections
}
nat() { topology nat; hops -m; }
dr() { topology dr; hops -g; }
tun() { topology tun; hops -i; }
in_turn nat
in_turn dr
in_turn tun
