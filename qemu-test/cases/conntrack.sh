# Connection tracking of IPVS's connections (net.ipv4.vs.conntrack=1), masquerading, and
# the match `ipvs` of iptables.
#
# Covers: src/xmit/output src/xt_ipvs rust-out-of-tree/net/conntrack rust-out-of-tree/net/x_tables src/conn.rs
# The debug kernel is slow, and finds other faults: one family there.
each() { # FAMILY COMMAND…
	if [ "$KERNEL" = debug ] && [ -z "${LONG-}" ]; then
		FAMILY=$1
		"${@:2}"
	else
		families "${@:2}"
	fi
}
track() { # TOPOLOGY
	local hook
	topology "$1"
	setting director net.ipv4.vs.conntrack=1
	{
		echo "table inet states {"
		for hook in input forward output postrouting; do
			echo "chain $hook { type filter hook $hook priority 0; meta l4proto != { tcp, udp } accept;"
			for state in new established invalid untracked; do echo "ct state $state counter comment $state;"; done
			echo "}"
		done
		echo "}"
	} | n director nft -f -
}
# The states that packets had at each hook. Their number depends on how TCP joins them.
states() {
	n director nft list table inet states |
		awk '/hook/ { hook = $4 } $5 == "packets" && $6 { print hook, $NF }'
}
# The entries, without times and reference counts.
entries() {
	n director conntrack -L -f "ipv$FAMILY" 2>/dev/null | grep -v 'ipv6-icmp\|^icmp' |
		sed -E 's/^([a-z]+ +[0-9]+) [0-9]+/\1/; s/ use=[0-9]+//; s/(secctx|zone)=[^ ]+ //' | LC_ALL=C sort
}
no_entries() { [ -z "$(entries 2>/dev/null)" ]; }
methods() { # TOPOLOGY OPTION
	track "$1"
	for p in t u; do
		vs -A -$p "$VIPB:80" -s rr
		dests "$2" 80 -$p "$VIPB:80"
	done
	observe "IPv$FAMILY $1: held" agent hold client held tcp "$VIP" 80 3
	observe "IPv$FAMILY $1: udp" agent hold client udp udp "$VIP" 80 3
	served 6
	observe "IPv$FAMILY $1: entries" entries
	observe "IPv$FAMILY $1: again" agent use held1
	observe "IPv$FAMILY $1: states" states
	# The entries go with the conns.
	vs --set 1 1 1
	for i in 1 2 3; do agent use udp$i >/dev/null; done
	agent abort 'held*'
	wait_for is_left 0
	[ "$1" = tun ] || wait_for no_entries
	vs --set 900 120 300
}
each 4 methods nat -m
each 6 methods dr -g
each 4 methods tun -i

tables() { case $FAMILY in 4) n director iptables "$@" ;; 6) n director ip6tables "$@" ;; esac; }
rules() { tables -t nat -nvL POSTROUTING | awk 'NR > 2 { print $1, $3 }'; }
# One-armed: packets to the real servers have the director's address.
masqueraded() {
	track nat
	for p in t u; do
		vs -A -$p "$VIPB:80" -s rr
		dests -m 80 -$p "$VIPB:80"
	done
	tables -t nat -A POSTROUTING -m ipvs --vaddr "$VIP" --vport 80 --vdir ORIGINAL --vmethod MASQ -j MASQUERADE
	observe "IPv$FAMILY masqueraded: tcp" get tcp "$VIP" 80 6 who
	observe "IPv$FAMILY masqueraded: udp" get udp "$VIP" 80 6 who
	served 12
	observe "IPv$FAMILY masqueraded: rules" rules
	observe "IPv$FAMILY masqueraded: udp entries" entries
}
each 6 masqueraded

# Each option, and each inverted.
counted() { tables -nvL "$1" | awk 'NR > 2 { print $1, $3, $NF }'; }
matches() {
	track nat
	vs -A -t "$VIPB:80" -s rr
	dests -m 80 -t "$VIPB:80"
	vs -A -u "$VIPB:80" -s rr -p 300
	dests -m 80 -u "$VIPB:80"
	for chain in INPUT OUTPUT FORWARD; do
		for option in "--ipvs" "! --ipvs" "--vproto 6" "! --vproto 6" "--vaddr $VIP" "! --vaddr $VIP" \
			"--vport 80" "! --vport 80" "--vport 81" "--vdir ORIGINAL" "--vdir REPLY" "--vmethod MASQ" "--vmethod GATE" \
			"! --vmethod MASQ" "--vportctl 80" "! --vportctl 80"; do
			# shellcheck disable=SC2086 # words
			tables -A $chain -m ipvs $option -m comment --comment "${option// /_}"
		done
	done
	observe "IPv$FAMILY match: udp" agent hold client udp udp "$VIP" 80 3
	observe "IPv$FAMILY match: tcp" agent hold client tcp tcp "$VIP" 80 3
	served 6
	for chain in INPUT OUTPUT FORWARD; do observe "IPv$FAMILY match: $chain" counted $chain; done
}
each 4 matches

# A real server that is its own client by the VIP, and one in the client's network: both
# need the director's address as the source.
hairpin() {
	track nat
	for p in t u; do
		vs -A -$p "$VIPB:80" -s rr
		vs -a -$p "$VIPB:80" -r "$RIPB1:80" -m
	done
	tables -t nat -A POSTROUTING -o eth1 -d "$RIP1" -j MASQUERADE
	for proto in tcp udp; do
		observe "IPv$FAMILY hairpin: $proto" agent get rs1 $proto "$VIP" 80 2 who
		observe "IPv$FAMILY hairpin: from the next server, $proto" agent get rs2 $proto "$VIP" 80 2 who
		observe "IPv$FAMILY hairpin: from the director, $proto" agent get director $proto "$VIP" 80 2 who
	done
	served 12
	observe "IPv$FAMILY hairpin: entries" entries
}
each 6 hairpin

# Switched off and on under traffic: each conn keeps what it began with. Entries that are
# flushed, and packets without tracking, do no harm.
switched() {
	track nat
	vs -A -t "$VIPB:80" -s rr
	dests -m 80 -t "$VIPB:80"
	agent hold client on tcp "$VIP" 80 1
	setting director net.ipv4.vs.conntrack=0
	agent hold client off tcp "$VIP" 80 1
	setting director net.ipv4.vs.conntrack=1
	agent hold client late tcp "$VIP" 80 1
	expect "rs3 rs2 rs1" xargs < <(for i in on1 off1 late1; do agent use $i; done)
	observe "IPv$FAMILY switched: entries" entries
	n director conntrack -F
	expect "rs3 rs2 rs1" xargs < <(for i in on1 off1 late1; do agent use $i; done)
	n director nft -f - <<-.
		table inet raw {
			chain pre { type filter hook prerouting priority raw; notrack; }
			chain out { type filter hook output priority raw; notrack; }
		}
	.
	expect "rs3 rs2 rs1" xargs < <(for i in on1 off1 late1; do agent use $i; done)
	observe "IPv$FAMILY switched: untracked" get tcp "$VIP" 80 2
	served 5
}
FAMILY=4 switched
