# Fragments in any order, missing, duplicate or overlapping.
#
# Covers: src/packet src/hook.rs
pieces() { # TOPOLOGY OPTION
	local c v cuts order
	topology "$1"
	c=$GC v=$VIP
	for p in t u; do
		vs -A -$p "$VIPB:80" -s rr
		vs -a -$p "$VIPB:80" -r "$GSB:80" "$2"
	done
	agent capture client client eth0
	agent capture silent silent eth0
	# 2000 bytes, fragments in each order; then TCP
	local port=5000
	for order in 012 021 102 120 201 210; do
		from_client "[fragments(ip('$c', '$v', udp($port, 80, bytes(2000))), 800, $port)[int(i)] for i in '$order']"
		port=$((port + 1))
	done
	from_client "fragments(ip('$c', '$v', tcp(5010, 80, 'S', bytes(1000))), 400, 10)" \
		"fragments(ip('$c', '$v', tcp(5011, 80, 'S')), 8, 11)" "fragments(ip('$c', '$v', tcp(5012, 80, 'S')), 8, 12)[::-1]" \
		"fragments(ip('$c', '$v', udp(5013, 80, bytes(100))), 8, 13)"
	# Larger than the MTU when reassembled; exactly the MTU
	from_client "fragments(ip('$c', '$v', udp(5014, 80, bytes(4000))), 1400, 14)" \
		"fragments(ip('$c', '$v', udp(5015, 80, bytes(1480 - 8 if ':' not in '$v' else 1440))), 720, 15)"
	# Incomplete: each of the fragments missing
	from_client "fragments(ip('$c', '$v', udp(5020, 80, bytes(2000))), 800, 20)[:2]" \
		"fragments(ip('$c', '$v', udp(5021, 80, bytes(2000))), 800, 21)[1:]" \
		"fragments(ip('$c', '$v', udp(5022, 80, bytes(2000))), 800, 22)[::2]"
	# Duplicate and overlapping
	from_client "[f for f in fragments(ip('$c', '$v', udp(5023, 80, bytes(2000))), 800, 23) for _ in (1, 2)]" \
		"fragments(ip('$c', '$v', udp(5024, 80, bytes(2000))), 800, 24)[:1] + fragments(ip('$c', '$v', udp(5024, 80, bytes(2000))), 400, 24)[1:]"
	# To an existing connection
	from_client "ip('$c', '$v', udp(5025, 80, b'whole'))" "fragments(ip('$c', '$v', udp(5025, 80, bytes(2000))), 1200, 25)"
	# ICMP errors about a first and a later fragment, and one that is itself fragmented
	from_client "ip('$c', '$v', icmp($UNREACHABLE, fragments(ip('$v', '$c', udp(80, 5025, bytes(2000))), 800, 26)[0][:100]))" \
		"ip('$c', '$v', icmp($UNREACHABLE, fragments(ip('$v', '$c', udp(80, 5025, bytes(2000))), 800, 26)[1][:100]))" \
		"fragments(ip('$c', '$v', icmp($UNREACHABLE, ip('$v', '$c', udp(80, 5025, bytes(500))))), 200, 27)"
	# Fragmented replies
	[ "$2" != -m ] || from_server "fragments(ip('$GS', '$c', udp(80, 5025, bytes(2000))), 1200, 28)" \
		"fragments(ip('$GS', '$c', udp(80, 5025, bytes(2000))), 1200, 29)[::-1]" \
		"fragments(ip('$GS', '$c', udp(80, 5099, bytes(2000))), 1200, 30)" \
		"fragments(ip('$GS', '$c', udp(80, 5025, bytes(2000))), 1200, 31)[1:]"
	from_client "ip('$c', '$v', udp(5999, 80, b'last'))"
	agent captured silent 1 "5999 > 80" >/dev/null
	served 5
	observe "IPv$FAMILY $2: at the server" received silent
	observe "IPv$FAMILY $2: at the client" received client
	observe "IPv$FAMILY $2: connections" connections
}
kinds() {
	UNREACHABLE="3, 3"
	[ "$FAMILY" = 4 ] || UNREACHABLE="1, 4"
	pieces "$@"
}
in_turn kinds nat -m
in_turn kinds dr -g
in_turn kinds tun -i
