# Allocations of the module fail: only that request fails or that packet is lost,
# nothing else changes, and nothing leaks.
#
# Covers: rust-out-of-tree src/ctl
failslab=/sys/kernel/debug/failslab
[ "$KERNEL" = debug ] || skip "the $KERNEL kernel has no fault injection"
knob() { echo "$2" >"$failslab/$1" || fail "$failslab/$1: $2"; }
disarm() { knob probability 0; knob times 0; }
trap disarm EXIT

# Selects all allocations with the module's code in the call stack, whether they may
# sleep or not, to fail without a message.
within_module() {
	local text
	text=$(awk '$NF == "[ip_vs]" && $2 ~ /^[tT]$/ { print $1 }' /proc/kallsyms | LC_ALL=C sort | sed -n '1p;$p')
	disarm
	knob verbose 0
	knob task-filter N
	knob ignore-gfp-wait N
	knob cache-filter N
	knob space 0
	knob interval 1
	knob stacktrace-depth 32
	knob require-start "0x${text%%$'\n'*}"
	# The page in which the last function begins belongs only to the module.
	knob require-end "0x$(printf %x $((0x${text##*$'\n'} | 4095)))"
	# fail-nth would also count page allocations, even those that slab can do without.
	echo 1 >/sys/kernel/debug/fail_page_alloc/require-end
}
hit() { [ "$(<$failslab/times)" = 0 ]; }

# --- requests, by fail-nth, which affects one task

within_module
topology nat
vs -A -t "$VIP:8080" -s rr
vs -a -t "$VIP:8080" -r "$RIP1:8080" -m
agent load client beside tcp "$VIP" 8080 1
strict=
[ "$MODULE" = rust ] || strict=loose
# shellcheck disable=SC2086 # no word or one
director python3 failing.py $strict >&2
served 20
agent unload beside >/tmp/beside
expect rs1 awk '{ print $1 }' /tmp/beside
observe "after the requests" saved

# --- a connection's first packet, in softirq, without a task

# arm N: makes the N-th allocation from now on fail, and no other. The kernel counts
# allocations while a failure is pending; one fails when the interval divides the
# count.
counted=0
[ ! -e /run/failslab.counted ] || counted=$(</run/failslab.counted)
arm() {
	local interval=$((counted + $1))
	[ "$interval" = 1 ] || counted=$interval
	echo "$counted" >/run/failslab.counted
	knob interval "$interval"
	knob times 1
	knob probability 100
}
first_packet() { # PORT
	case $p in
	t) from_client "ip('$GC', '$VIP', tcp($1, 80, 'S'))" ;;
	u) from_client "ip('$GC', '$VIP', udp($1, 80, b'data'))" ;;
	esac
}
arrived() { # PORT [COUNT]
	[ "$(agent captured silent 0 "$1 > 80" | grep -c .)" -ge "${2:-1}" ]
}
arrived_or_hit() { hit || arrived "$1"; }
walk() { # OPTION of the dest; p is that of the service
	local n=0 lost=0 port=10000 times
	vs -A -$p "$VIPB:80" -s rr
	vs -a -$p "$VIPB:80" -r "$GSB:80" "$1"
	agent capture silent silent eth0
	while :; do
		n=$((n + 1)) port=$((port + 1)) times=1
		# An edit drops the dest's cached route, so that it is looked up again.
		vs -e -$p "$VIPB:80" -r "$GSB:80" "$1"
		arm $n
		first_packet $port
		wait_for arrived_or_hit $port
		hit || break
		if arrived $port; then times=2; else lost=$((lost + 1)); fi
		first_packet $port
		wait_for arrived $port $times
	done
	say "IPv$FAMILY -$p $1: $lost of $((n - 1)) failures lost the packet"
	[ "$lost" -gt 0 ] || fail "no packet was lost, so nothing was tested"
	# Use up the pending failure, so that the count is known.
	until hit; do
		port=$((port + 1))
		first_packet $port
	done
	first_packet $port
	wait_for arrived $port
	disarm
	# A lost packet may have created a conn, but its repetition no second one.
	expect "" repeated
	expect yes counts_agree
	vs -D -$p "$VIPB:80"
	agent end
}
clients() { # of the service under test
	nsenter --net=/run/netns/director awk -v p="${p^^}" -v family="$FAMILY" '
		$1 ~ "^" p && ($2 ~ /:/) == (family == 6) && $5 == "0050" { print $3 }' /proc/net/ip_vs_conn | LC_ALL=C sort
}
repeated() { clients | uniq -d; }
counts_agree() { # whether the dest's count is the number of conns
	local of_dest
	of_dest=$(nsenter --net=/run/netns/director ipvsadm -Ln | awk '$1 == "->" && $5 ~ /^[0-9]/ { print $5 + $6 }')
	[ "$of_dest" = "$(clients | wc -l)" ] && echo yes || echo "dest $of_dest, connections $(clients | wc -l)"
}
# Uses the same machines for both families, as creating them takes a minute on this
# kernel.
walks() { # OPTION
	addresses
	for p in u t; do walk "$1"; done
}
agent end
vs -C
families walks -m
topology dr
families walks -g

# --- no conn can be allocated; existing ones work

only_connections() {
	echo 1 >/sys/kernel/slab/ip_vs_conn/failslab
	knob cache-filter Y
	knob require-start 0
	knob require-end 0xffffffffffffffff
	knob interval 1
}
full() {
	addresses
	agent end
	vs -C
	for p in t u; do
		vs -A -$p "$VIPB:80" -s rr
		vs -a -$p "$VIPB:80" -r "$RIPB1:80" -m
		vs -a -$p "$VIPB:80" -r "$RIPB2:80" -m
	done
	agent hold client t tcp "$VIP" 80 2
	agent hold client u udp "$VIP" 80 2
	only_connections
	knob times -1
	knob probability 100
	for p in tcp udp; do
		observe "IPv$FAMILY $p: no new connection" get $p "$VIP" 80 2 name 0.5
		for i in 1 2; do
			observe "IPv$FAMILY $p: existing connection" agent use ${p:0:1}$i
		done
	done
	observe "IPv$FAMILY: connections" connections_here
	disarm
	# A lost SYN is retransmitted.
	knob times 1
	knob probability 100
	expect yes one_of_both tcp 1
	wait_for hit
	disarm
	for p in tcp udp; do expect yes one_of_both $p 4; done
	served 8
}
connections_here() { connections | grep -F "$VIP"; }
one_of_both() { # PROTO COUNT
	local answers
	answers=$(get "$1" "$VIP" 80 "$2")
	say "$answers"
	[ -z "$(tr ' ' '\n' <<<"$answers" | grep -v '^rs[12]$')" ] && echo yes
}
topology nat
families full
agent end
vs -C

# --- any allocation may fail at any time

within_module
for family in 4 6; do
	address=VIP_$family server=RIP1_$family
	address=${!address} server=${!server}
	[ $family = 4 ] || address="[$address]" server="[$server]"
	for p in t u; do
		vs -A -$p "$address:80" -s wlc
		vs -a -$p "$address:80" -r "$server:80" -m
	done
done
agent load client tcp4 tcp "$VIP_4" 80 2
agent load client tcp6 tcp "$VIP_6" 80 1
agent load client udp4 udp "$VIP_4" 80 1
agent load client udp6 udp "$VIP_6" 80 1
agent load director local tcp "$VIP_4" 80 1
served 20
knob times 100
knob probability 10
DEADLINE=60 wait_for hit
disarm
for load in tcp4 tcp6 udp4 udp6 local; do agent unload $load >&2; done
for p in tcp udp; do
	for address in "$VIP_4" "$VIP_6"; do expect "rs1 rs1 rs1" get $p "$address" 80 3; done
done

# --- nothing leaks

agent end
vs -C
wait_for unload
! grep ip_vs /proc/slabinfo || fail "a slab cache is left"
if ! ./kmemleak >&2; then
	[ "$MODULE" = c ] || fail "memory leak"
fi
modprobe ip_vs
