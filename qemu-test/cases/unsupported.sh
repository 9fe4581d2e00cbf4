# Features that can be configured but are not implemented yet: their packets are
# dropped and counted, with one warning for each load of the module. (C implements
# them.)
#
# Covers: src/hook/unsupported
[ "$MODULE" = rust ] || skip "C has SCTP"
. ./kernel-log.sh
SCTP="SCTP is not supported yet"
DAEMONS="sync daemons do not send or receive yet"

counted() { echo $((16#$(director awk 'NR == 3 { print $2 }' /proc/net/ip_vs_stats))); }
# Prints all such warnings since the module was loaded.
warnings() { log_since_mark | sed -n '/ yet$/s/.*ip_vs: //p; /WARNING/p'; }
load() {
	netns director
	wait_for unload
	mark_log "$1"
	modprobe ip_vs
	expect "" warnings
}
lines() { printf '%s\n' "$@"; }

sctp() { from_client "ip('$CIP', '$VIP', raw(132, bytes((0x13, $1, 0, 80)) + bytes(28)))"; }

# unsupported FEATURE WARNINGS…: uses the features in this order; WARNINGS are those
# logged so far.
unsupported() {
	local before round=0 i
	topology nat
	vs -A -u "$VIPB:99" -s rr
	vs -a -u "$VIPB:99" -r "$RIPB1:99" -m
	vs -A --sctp-service "$VIPB:80" -s rr
	vs -a --sctp-service "$VIPB:80" -r "$RIPB1:80" -m
	before=$(counted)
	agent capture client client eth0
	agent capture rs1 server eth0
	while [ $# -gt 0 ]; do
		round=$((round + 1))
		# New connections, and one more packet of a connection.
		for i in 1 2 3 3; do "$1" $i; done
		# When a packet of a working service arrives, the others have been processed.
		from_client "ip('$CIP', '$VIP', udp(599$round, 99, b'last'))"
		agent captured server $round "> 99 " >/dev/null
		expect $((before + 5 * round)) counted
		expect "$2" warnings
		shift 2
	done
	expect $round eval 'received server | grep -c .'
	expect $round eval 'received server | grep -c "599[0-9] > 99"'
	expect "" eval 'received client | grep -v "599[0-9]" || true'
	# Packets to no service are not counted.
	from_client "ip('$CIP', '$VIP', raw(132, bytes((0x13, 9, 0, 81)) + bytes(28)))"
	agent captured client 1 icmp >/dev/null
	expect $((before + 5 * round)) counted
	vs -C
}
daemons() {
	local i
	for i in 1 2; do
		vs --start-daemon master --mcast-interface eth0
		vs --start-daemon backup --mcast-interface eth0
		vs --stop-daemon master
		vs --stop-daemon backup
	done
}

load "unsupported, first"
FAMILY=4
unsupported sctp "$SCTP" sctp "$SCTP"
daemons
all=$(lines "$SCTP" "$DAEMONS")
expect "$all" warnings
# No further warnings in other namespaces, with the other family and more daemons.
FAMILY=6
unsupported sctp "$all"
daemons
expect "$all" warnings

load "unsupported, second"
FAMILY=4
unsupported sctp "$SCTP"
daemons
expect "$all" warnings
