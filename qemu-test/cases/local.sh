# Real servers and clients on the director itself (LOCAL_OUT).
#
# Covers: src/xmit src/forward
# Needs: two CPUs
local_server() {
	topology nat
	agent serve director local 80 8080
	for p in t u; do
		vs -A -$p "$VIPB:80" -s rr
		vs -a -$p "$VIPB:80" -r "$DIPB:8080" -m
		vs -a -$p "$VIPB:80" -r "$RIPB1:8080" -m
		vs -A -$p "$VIPB:8080" -s rr
		vs -a -$p "$VIPB:8080" -r "$DIPB:8080" -g
	done
	agent capture client client eth0
	agent capture rs1 rs1 eth0
	for proto in tcp udp; do
		observe "$proto" get $proto "$VIP" 80 4 who
		observe "$proto" get $proto "$VIP" 8080 2 who
	done
	served 12
	for proto in tcp udp; do
		observe "from the director, $proto" agent get director $proto "$VIP" 80 4 who 2
		observe "from the director, $proto" agent get director $proto "$VIP" 8080 2 who 1
	done
	served 16
	agent source "$DIP"
	for proto in tcp udp; do
		observe "from the director's inner address, $proto" agent get director $proto "$VIP" 80 4 who 2
	done
	observe listing listing
	observe connections connections
	observe counts counts -u "$VIPB:80"
	observe "client's TCP" tcp_kinds client
	observe "rs1's TCP" tcp_kinds rs1
	observe "rs1's UDP" packets rs1 0 " udp "
}
families local_server

direct_client() { # OPTION
	vs -A -t "$VIPB:80" -s rr
	vs -A -u "$VIPB:80" -s rr
	for rip in "$RIPB1" "$RIPB2"; do
		vs -a -t "$VIPB:80" -r "$rip:80" "$1"
		vs -a -u "$VIPB:80" -r "$rip:80" "$1"
	done
	# The director does not have the VIP here: it would drop the real servers'
	# replies, which come from the VIP, as packets from its own address.
	if [ -n "$CONNTRACK" ]; then
		: # deleted before
	elif [ "$FAMILY" = 4 ]; then
		n director ip addr del "$VIP/32" dev eth0
	else
		n director ip addr del "$VIP/128" dev eth0
	fi
	agent source "$DIP"
	for proto in tcp udp; do
		observe "from the director by $1, $proto" agent get director $proto "$VIP" 80 4 who 2
	done
	served 8
	observe listing listing
	observe connections connections
}
by_dr() { topology dr; direct_client -g; }
# TIME_WAIT sockets on the director still answer. They are smaller than full sockets:
# KASAN reports an access beyond their end.
answers_late() {
	agent capture rs1 late eth0
	agent capture rs2 later eth0
	from_client "[ip('$VIP', '$DIP', tcp(80, port, 'FA')) for port in range(40001, 40100)]"
	late() { [ -n "$(agent captured late 0 tcp; agent captured later 0 tcp)" ]; }
	wait_for late
}
by_tun() {
	topology tun
	direct_client -i
	[ -n "$CONNTRACK" ] || answers_late
}
in_turn by_dr
in_turn by_tun
