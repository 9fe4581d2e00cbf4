# ICMP errors are matched to their connection and translated: from a real server
# and a router about requests, from a client and a router about replies.
#
# Covers: src/hook/icmp src/xmit/icmp src/wire
errors() { # OPTION
	local four=$((FAMILY == 4)) port=80 rs_port=80 rip_seen=$VIP way code rest request reply
	[ "$1" != -m ] || { rs_port=8080 rip_seen=$GS; }
	# Types of port unreachable, too big and time exceeded
	if [ "$four" = 1 ]; then
		codes=("3, 3" "3, 4" "11, 0" "12, 0" "4, 0" "5, 1")
		router=${GC%.*}.77 inner=${GS%.*}.77
	else
		codes=("1, 4" "2, 0" "3, 0" "4, 1" "1, 0" "127, 0")
		router=${GC%:*}:77 inner=${GS%:*}:77
	fi
	for p in t u; do
		vs -A -$p "$VIPB:80" -s rr
		vs -a -$p "$VIPB:80" -r "$GSB:$rs_port" "$1"
	done
	agent capture client client eth0
	agent capture silent silent eth0
	# A connection of each protocol; its packets as seen on each side
	from_client "ip('$GC', '$VIP', udp(5000, 80, b'question'))" "ip('$GC', '$VIP', tcp(5001, 80, 'S'))"
	agent captured silent 2 "$rip_seen" >/dev/null

	for upper in "udp(5000, 80, b'question')" "tcp(5001, 80, 'A', b'some data')"; do
		to_server=${upper/80/$rs_port}
		for code in "${codes[@]}"; do
			rest=1400
			request="ip('$GC', '$rip_seen', $to_server, ttl=60)"
			reply="ip('$VIP', '$GC', ${upper/500?, 80/80, ${upper:4:4}}, ttl=60)"
			# About the request: from the real server, and from a router in front of it
			from_server "ip('$GS', '$GC', icmp($code, $request, $rest))" "ip('$inner', '$GC', icmp($code, $request, $rest))"
			# About the reply: from the client, and from a router in front of it
			from_client "ip('$GC', '$VIP', icmp($code, $reply, $rest))" "ip('$router', '$VIP', icmp($code, $reply, $rest))"
		done
		# Truncated to the minimum that a router must quote, and below
		from_client "ip('$GC', '$VIP', icmp(${codes[0]}, $reply[:28]))" "ip('$GC', '$VIP', icmp(${codes[0]}, $reply[:27]))" \
			"ip('$GC', '$VIP', icmp(${codes[0]}, $reply[:48]))" "ip('$GC', '$VIP', icmp(${codes[0]}, $reply[:20]))" \
			"ip('$GC', '$VIP', icmp(${codes[0]}, b''))"
		# About a connection that does not exist, and about an ICMP error
		from_client "ip('$GC', '$VIP', icmp(${codes[0]}, ${reply/500/700}))"
		from_client "ip('$GC', '$VIP', icmp(${codes[0]}, ip('$VIP', '$GC', icmp(${codes[0]}, $request))))"
		# With a wrong checksum
		from_client "ip('$GC', '$VIP', icmp(${codes[0]}, $reply, csum=1))"
		from_server "ip('$GS', '$GC', icmp(${codes[0]}, $request, csum=1))"
	done
	from_client "ip('$GC', '$VIP', udp(5009, 80, b'last'))"
	agent captured silent 1 "5009 > $rs_port" >/dev/null
	observe "IPv$FAMILY $1${CONNTRACK:+, tracked}: at the client" received client
	observe "IPv$FAMILY $1${CONNTRACK:+, tracked}: at the server" received silent
	served 3
	observe connections connections
}
nat() { topology nat; errors -m; }
dr() { topology dr; errors -g; }
tun() { topology tun; errors -i; }
families nat
families dr
families tun
# Only the server's errors arrive: they are forwarded, and drop_invalid does not check
# that hook for NAT.
FAMILY=6 tracked nat

# A real server answers for a closed port itself.
closed_port() {
	topology nat
	for p in t u; do
		vs -A -$p "$VIPB:80" -s rr
		vs -a -$p "$VIPB:80" -r "$RIPB1:9" -m
	done
	observe "closed, tcp" get tcp "$VIP" 80
	observe "closed, udp" get udp "$VIP" 80
	served 2
}
in_turn closed_port
