#!/bin/bash
# In the guest: what a new connection costs by scheduler and number of dests,
# and what the administrator's changes to many dests cost.
set -euo pipefail
. "$(dirname "$0")/lab.sh"

MARK=7 ELSEWHERE=10.77.0.0 # a service of many addresses, for those who go by destination
M=500                      # connections a figure is the mean of
# As many as keep the table from growing while those are opened.
declare -A FILL=([1]=1100 [10]=1100 [100]=1100 [1000]=1500 [10000]=10500)
CHANGED=4000 # dests

many_servers() {
	local i
	for ((i = 1000; i < 10000; i++)); do server 4 $i; echo; done |
		sed '/./!d; s/.*/neighbour replace & lladdr 02:00:00:00:02:00 dev servers nud permanent/' | ip -batch -
	ip route add local ${ELSEWHERE}/16 dev lo
}

by_destination() { [[ $1 = dh || $1 = lblc || $1 = lblcr ]]; }

# Prints how ipvsadm names the service.
named() { # SCHEDULER
	if by_destination "$1"; then echo "-f $MARK"; else echo "-t ${VIP[4]}:$PORT"; fi
}

# Each flow's two packets: the even source port's opens the connection, the odd
# one's, which becomes the even one, establishes it.
as_pairs() {
	chain rewrite netdev ingress -10 "ip protocol set 6
		@th,15,1 1 @th,96,16 set $ACK @th,0,16 set @th,0,16 & 0xfffe accept
		@th,96,16 set $SYN"
}

# Established connections, spread evenly over all dests by rr, so that their
# weights make all loads; then the scheduler takes over.
prepare() { # SCHEDULER DESTS
	local name least dst=${VIP[4]} fill=${FILL[$2]}
	name=$(named "$1")
	fresh
	if by_destination "$1"; then
		dst=10.77.255.254
		chain marks ip prerouting -150 "ip daddr ${ELSEWHERE}/16 meta mark set $MARK"
	fi
	# To ovf the weight is how many connections a dest can hold.
	if [ "$1" = ovf ]; then least=10000; else least=1; fi
	dests "$name" rr "$2" $least
	as_pairs
	# pktgen counts up before it sends.
	send $((2 * fill)) < <(request 4 1023 $((1024 + 2 * fill)); echo "dst $dst") >/dev/null
	[ "$(conns)" = "$fill" ]
	echo "-E $name -s $1" | ipvsadm -R
	as tcp 4 $SYN
	settle
}

dests() { # NAME SCHEDULER COUNT LEAST-WEIGHT
	local i
	{
		echo "-A $1 -s $2"
		for ((i = 0; i < $3; i++)); do echo "-a $1 -r $(server 4 $i):$PORT -g -w $((i % 7 + $4))"; done
	} | ipvsadm -R
}

# Each of the connections from a client of its own, or to an address of its own.
scheduled() { # SCHEDULER DESTS
	prepare "$@"
	send $M < <(
		request 4 40000 $((40000 + M))
		if by_destination "$1"; then
			printf '%s\n' "dst_min ${ELSEWHERE%.0}.1" "dst_max 10.77.200.0"
		else
			printf '%s\n' "src_min 10.3.1.0" "src_max 10.3.200.0"
		fi
	)
	[ "$(conns)" = $((FILL[$2] + M)) ]
}

# On one CPU that counts its instructions, a nanosecond is one.
timed() { # COMMAND…: prints what a dest took of the time
	local start
	start=$(date +%s%N)
	"$@" >&2
	echo $((($(date +%s%N) - start) / CHANGED))
}

# changed SCHEDULER [LABEL]: rows for adding so many dests one by one, for editing
# the weight of each, for removing them.
changed() {
	local what i name
	name=$(named "$1")
	for what in add edit remove; do
		for ((i = 0; i < CHANGED; i++)); do
			case $what in
			add) echo "-a $name -r $(server 4 $i):$PORT -g -w $((i % 7 + 1))" ;;
			edit) echo "-e $name -r $(server 4 $i):$PORT -g -w $(((i + 3) % 7 + 1))" ;;
			remove) echo "-d $name -r $(server 4 $i):$PORT" ;;
			esac
		done >"/tmp/$what"
	done
	echo "-A $name -s $1" | ipvsadm -R
	for what in add edit remove; do
		measure "changed-${2-$1}-$what" timed ipvsadm -R <"/tmp/$what"
	done
}

lab
many_servers
all=(rr wrr lc wlc sed nq dh sh mh lblc lblcr fo ovf twos)
for scheduler in "${all[@]}"; do
	for count in 1 10 100 1000 10000; do
		if [ $scheduler-$count = mh-10000 ]; then
			# C's table, and ours of its size, do not take so many.
			[ "$MODULE" = rust ] || continue
			PARAMETERS=mh_tab_size=65521
		fi
		measure scheduled-$scheduler-$count scheduled $scheduler $count
		PARAMETERS=
	done
done
for scheduler in "${all[@]}"; do
	fresh
	changed $scheduler
done
if [ "$MODULE" = rust ]; then
	PARAMETERS=mh_tab_size=131071
	fresh
	changed mh mh131071
fi
