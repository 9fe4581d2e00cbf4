# The state of a connection after every sequence of segments up to some length, from
# both sides for NAT, from the client alone for DR. All states are read together, from
# /proc/net/ip_vs_conn, with the dests' counts.
#
# Covers: src/proto/tcp src/wire/tcp
states() { # TOPOLOGY OPTION LENGTH CLIENT'S SERVER'S
	local part
	for ((part = 1; part <= parts; part++)); do states_of "$part/$parts" "$@"; done
}
states_of() { # PART TOPOLOGY OPTION LENGTH CLIENT'S SERVER'S
	local many all attempt
	for attempt in 1 2 3; do
		TOPOLOGY= # new machines, without connections
		topology "$2"
		vs -A -t "$VIPB:80" -s rr
		vs -a -t "$VIPB:80" -r "$GSB:80" "$3"
		many=$(agent sequences "$UPLINK" "$DOWNLINK" "$GC" "$VIP" "$GS" "$4" "$5" "${6-}" "$1")
		served "$many"
		all=$(counted)
		echo "attempt $attempt: counted $all connections of $many sequences"
		# C may keep a connection that a SYN replaced for another minute: its timer
		# fires while the packet holds a reference (expire_later), which depends on
		# the moment. Ours never does.
		[ "$MODULE" = c ] && [ "$all" -gt "$many" ] || break
	done
	observe "IPv$FAMILY $3${CONNTRACK:+, tracked}: $many sequences, part $1" agent states director
	expect "$many" echo "$all"
}
counted() {
	ip netns exec director ipvsadm -Ln | awk '$1 == "->" && $5 ~ /^[0-9]+$/ { print $5 + $6 }'
}

# The states of a part have to be read before its first closed conn expires, in 10 s.
longest=4 parts=2
[ "$KERNEL" != debug ] || longest=3 parts=6
nat() { states nat -m $((longest - 1)) "S A FA R" "SA A FA R"; }
dr() { states dr -g "$longest" "S A FA R SA"; }
families nat
FAMILY=4 CONNTRACK=
dr
# Segments in conntrack's state invalid have no effect.
longest=3
tracked nat
FAMILY=6 tracked dr

# Segments that cannot begin a connection create no conn.
topology nat
vs -A -t "$VIPB:80" -s rr
vs -a -t "$VIPB:80" -r "$GSB:80" -m
agent capture client client eth0
agent capture silent silent eth0
port=5000
for flags in A SA FA R F P SF SR SFRPAU ""; do
	from_client "ip('$GC', '$VIP', tcp($((port++)), 80, '$flags', b'data'))"
done
from_client "ip('$GC', '$VIP', tcp(5099, 80, 'S'))"
agent captured silent 1 "5099 > 80" >/dev/null
observe "first packets, at the server" received silent
observe "first packets, at the client" received client
observe "first packets" connections
