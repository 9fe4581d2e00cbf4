# The effect of net.ipv4.vs.conn_reuse_mode, sloppy_tcp and snat_reroute. (For
# pmtu_disc see `mtu`; for removed dests `removed` and `templates`; for the tables
# `tables`; for the files themselves `sysctl-files`.)
#
# Covers: src/sysctl src/hook

# conn_reuse_mode: a client reuses a port, after segments with these flags from it and
# from the server (<FLAGS). If its SYN creates a new conn, that goes to the second dest,
# the only one with a weight by then.
port=5000
again() { # FLAGS…
	local flags
	port=$((port + 1))
	only "$first"
	for flags in S "$@"; do
		case $flags in
		'<'*) from_server "ip('$GS', '$GC', tcp(80, $port, '${flags#<}'))" ;;
		*) from_client "ip('$GC', '$VIP', tcp($port, 80, '$flags'))" ;;
		esac
	done
	only "$second"
	agent forget silent
	from_client "ip('$GC', '$VIP', tcp($port, 80, 'S'))" "ip('$GC', '$VIP', udp(5000, 80))"
	agent captured silent 1 udp >/dev/null
	observe "$label, S $*" received silent 0 tcp
}
only() { # DEST: sets the weight of the other dest to 0
	local rip lines=
	for rip in "$first" "$second"; do
		lines+="-e -t $VIPB:80 -r $rip $option -w $([ "$rip" = "$1" ] && echo 1 || echo 0)"$'\n'
	done
	vs -R <<<"${lines%$'\n'}"
}
reuse() { # TOPOLOGY OPTION
	local mode
	topology "$1"
	first=$GSB:80 second=$GSB:8080 option=$2
	[ "$2" = -m ] || second=$RIPB1:80
	agent capture silent silent eth0
	vs -A -u "$VIPB:80" -s rr
	vs -a -u "$VIPB:80" -r "$GSB:80" "$2"
	vs -A -t "$VIPB:80" -s rr
	vs -a -t "$VIPB:80" -r "$first" "$2"
	vs -a -t "$VIPB:80" -r "$second" "$2"
	for mode in 0 1 2 3; do
		setting director net.ipv4.vs.conn_reuse_mode=$mode
		label="IPv$FAMILY $2, conn_reuse_mode=$mode"
		if [ "$2" = -m ]; then
			again "<SA" A
			again "<SA" A FA
			again "<SA" A FA "<FA"
			again "<SA" A R
		else
			again A
			again A FA
			again A R
		fi
	done
	observe "IPv$FAMILY $2" connections
}
FAMILY=4
reuse nat -m
FAMILY=6 reuse dr -g

# sloppy_tcp: any segment except RST creates a conn.
FAMILY=4
topology nat
setting director net.ipv4.vs.sloppy_tcp=1
vs -A -t "$VIPB:80" -s rr
vs -a -t "$VIPB:80" -r "$GSB:80" -m
agent capture silent silent eth0
port=5000
for flags in A SA FA R P SR ""; do
	from_client "ip('$GC', '$VIP', tcp($((port++)), 80, '$flags', b'data'))"
done
from_client "ip('$GC', '$VIP', tcp(5099, 80, 'S'))"
agent captured silent 1 "5099 > 80" >/dev/null
observe "sloppy_tcp: at the server" received silent
observe "sloppy_tcp" connections

# snat_reroute: a reply is routed with the VIP as its source, here into a blackhole, or
# with the real server's address.
replies() {
	local to six=
	[ "$FAMILY" = 4 ] || six=-6
	vs -C
	vs -A -u "$VIPB:80" -s rr
	vs -a -u "$VIPB:80" -r "$RIPB1:80" -m
	# shellcheck disable=SC2086 # no word or one
	n director ip $six rule add from "$VIP" lookup 100
	# shellcheck disable=SC2086
	n director ip $six route add blackhole default table 100
	for to in 1 0 1; do
		setting director net.ipv4.vs.snat_reroute=$to
		observe "IPv$FAMILY, snat_reroute=$to" get udp "$VIP" 80 1 name 0.5
	done
}
topology nat
replies
FAMILY=6
addresses
replies
