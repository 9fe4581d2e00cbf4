# Dests that are removed and added again: within two minutes the same dest returns
# from the trash, with its conns and counters. Also thresholds.
#
# Covers: src/dest/trash src/ctl/dests
# Needs: two CPUs

# With UDP each request is one packet in and one packet out.
state() { # LABEL
	observe "$1: -Ln" listing
	observe "$1: --thresholds" listing --thresholds
	[ -z "$CONNTRACK" ] || return 0 # counters are tested without it
	# C's counters are up to two seconds old. After some were zeroed or removed,
	# they cannot be checked for being current.
	[ "$MODULE" = rust ] || sleep 2.5
	observe "$1: --stats" listing --stats --exact
	observe "$1: of all services" n director awk 'NR == 3' /proc/net/ip_vs_stats
}

FAMILY=4 CONNTRACK=
is_back() {
	topology nat
	vs -A -u "$VIPB:80" -s rr
	vs -a -u "$VIPB:80" -r "$RIPB1:80" -m
	vs -a -u "$VIPB:80" -r "$RIPB2:80" -m
	expect "rs2 rs1" agent hold client held udp "$VIP" 80 2
	expect "rs2 rs1 rs2" get udp "$VIP" 80 3
	state "before"

	# Its conns remain.
	vs -d -u "$VIPB:80" -r "$RIPB1:80"
	expect "rs2 rs2" get udp "$VIP" 80 2
	state "removed"
	vs -a -u "$VIPB:80" -r "$RIPB1:80" -m -w 3
	state "added again"
	expect "rs1" agent use held2
	expect "rs2" agent use held1
	state "used"
	# Edits keep the counters.
	vs -E -u "$VIPB:80" -s wlc -p 60
	vs -E -u "$VIPB:80" -s rr
	vs -e -u "$VIPB:80" -r "$RIPB2:80" -m -w 5 -x 9
	state "edited"
	# A removed dest counts nothing.
	vs -d -u "$VIPB:80" -r "$RIPB2:80"
	expect "timeout" agent use held1
	state "removed, with a packet"
	vs -a -u "$VIPB:80" -r "$RIPB2:80" -m
	expect "rs2" agent use held1
	state "added again, with a packet"
}
is_back

# A removed dest keeps its zero points.
vs -Z -u "$VIPB:80"
state "zeroed"
expect "rs1" agent use held2
vs -d -u "$VIPB:80" -r "$RIPB1:80"
vs -a -u "$VIPB:80" -r "$RIPB1:80" -m
state "added again after zero"

# A new service with the same key starts with zero counters, and so does its dest, which
# still has its conns.
vs -D -u "$VIPB:80"
vs -A -u "$VIPB:80" -s wlc
vs -a -u "$VIPB:80" -r "$RIPB1:80" -m
state "new service"
expect "rs1" agent use held2
state "new service, used"

# A removed dest of another service is not used.
vs -A -u "$VIPB:8080" -s rr
vs -a -u "$VIPB:8080" -r "$RIPB2:80" -m
state "other service"
vs -a -u "$VIPB:80" -r "$RIPB2:80" -m
expect "rs2" agent use held1
state "both services"
vs -C

# A removed dest without conns returns with its counters, too.
vs --set 0 0 1
vs -A -u "$VIPB:80" -s rr
vs -a -u "$VIPB:80" -r "$RIPB3:80" -m
expect "rs3 rs3" get udp "$VIP" 80 2
idle() { [ "$(nsenter --net=/run/netns/director ipvsadm -Ln | awk '$2 ~ /^[0-9]/ && $1 == "->" { print $5 + $6 }')" = 0 ]; }
wait_for idle
state "idle"
vs -d -u "$VIPB:80" -r "$RIPB3:80"
vs -a -u "$VIPB:80" -r "$RIPB3:80" -m
state "idle, added again"
vs -C

# A dest is overloaded from its upper threshold until it is below its lower one.
# full LABEL ACTIVE: observes the listing once ACTIVE connections are open.
full() {
	wait_for active "$2"
	observe "$1: -Ln" listing
	observe "$1: --thresholds" listing --thresholds
}
active() {
	[ "$(director ipvsadm -Ln | awk '/^  ->/ { sum += $5 } END { print sum + 0 }')" = "$1" ]
}

thresholds() {
	vs -A -t "$VIPB:80" -s rr
	vs -a -t "$VIPB:80" -r "$RIPB3:80" -m
	vs -a -t "$VIPB:80" -r "$RIPB1:8080" -m -x 3 -y 2
	observe "to three" agent hold client three tcp "$VIP" 80 8
	full "to three" 8
	vs -e -t "$VIPB:80" -r "$RIPB1:8080" -m -x 5 -y 2
	observe "to five" agent hold client five tcp "$VIP" 80 6
	full "to five" 14
	vs -e -t "$VIPB:80" -r "$RIPB1:8080" -m -x 4
	observe "from four" agent hold client four tcp "$VIP" 80 2
	vs -e -t "$VIPB:80" -r "$RIPB1:8080" -m
	observe "without" agent hold client without tcp "$VIP" 80 4
	full "without" 20
	served 20
}
thresholds

# The trash may have two dests with the same key: an IPv4 and an IPv6 fwmark service,
# which the key does not distinguish, have the same real server by tunnel. The dest
# removed last is used first, whichever service it is added to, and whether it was
# removed alone or with its service. The number of conns identifies the dest.
twins() {
	local first last asks="" other how label wanted service order
	topology tun
	vs --set 0 0 3600
	director nft -f - <<-.
		table inet marks {
			chain prerouting {
				type filter hook prerouting priority mangle
				udp dport 81-82 mark set udp dport map { 81 : 1, 82 : 2 }
			}
		}
	.
	for service in "-f 1" "-f 1 -6" "-f 2" "-t $VIP:80" "-u $VIP:80"; do
		# shellcheck disable=SC2086 # words
		{
			vs -A $service -s rr
			vs -a $service -r "$GS" -i
		}
	done
	from_client "[ip('$GC', '$VIP', udp(5000 + i, 81, b'x')) for i in range(2)]" \
		"[ip('$GC_6', '$VIP_6', udp(5000 + i, 81, b'xyz')) for i in range(3)]" \
		"[ip('$GC', '$VIP', udp(5000 + i, 82, b'')) for i in range(4)]" \
		"[ip('$GC', '$VIP', udp(5000 + i, 80, b'x')) for i in range(5)]" \
		"[ip('$GC', '$VIP', tcp(5000, 80, flags)) for flags in ('S', 'A')]"
	served 15
	wait_for is_left 15
	state "twins"
	for first in "" " -6"; do
		last=$([ -n "$first" ] || echo " -6")
		for how in "-d -d" "-d -D" "-D -d" "-D -D"; do
			other=$asks
			asks=$([ -n "$other" ] || echo " -6")
			wanted=$(conns_of "-f 1$last")
			{
				remove "${how% *}" "-f 1$first"
				remove "${how#* }" "-f 1$last"
				echo "-a -f 1$asks -r $GS -i"
			} >/run/commands
			label="$(xargs -d '\n' printf '%s; ' </run/commands)"
			director ipvsadm -R </run/commands
			expect "$wanted" conns_of "-f 1$asks"
			observe "$label" listing
			# shellcheck disable=SC2086 # words
			vs -a -f 1 $other -r "$GS" -i
		done
	done
	state "twins, at the end"

	# Dests of another mark or protocol have other keys, in any order of removal.
	for order in sort "sort -r"; do
		printf '%s\n' "-f 1" "-f 1 -6" "-f 2" "-t $VIP:80" "-u $VIP:80" | $order >/run/services
		sed "s/.*/-d & -r $GS/" /run/services | director ipvsadm -R
		sed "s/.*/-a & -r $GS -i/" /run/services | director ipvsadm -R
		state "all, by $order"
	done
}
remove() { # -d|-D SERVICE: prints lines for ipvsadm; -D also adds the service again
	if [ "$1" = -d ]; then
		echo "-d $2 -r $GS"
	else
		echo "-D $2"
		echo "-A $2 -s rr"
	fi
}
conns_of() { # SERVICE
	# shellcheck disable=SC2086 # words
	nsenter --net=/run/netns/director ipvsadm -Ln $1 | awk '$1 == "->" && NR > 3 { print $6 }'
}
twins

again() {
	is_back
	vs -C
	thresholds
}
tracked again
