#!/bin/bash
# In the guest: the cost of a new connection by scheduler and number of dests, and the
# cost of changes to many dests.
set -euo pipefail
. "$(dirname "$0")/lab.sh"

MARK=7 ELSEWHERE=10.77.0.0 # a fwmark service of many addresses, for schedulers that hash the destination
M=1400                     # connections; a figure is their mean
# More connections than dests; the connections measured afterwards do not make the conn
# table grow.
FILL=16400
CHANGED=4000 # dests

many_servers() {
	servers 10000 'if (i >= 1000) print "neighbour replace " a " lladdr 02:00:00:00:02:00 dev servers nud permanent"' |
		ip -batch -
	ip route add local ${ELSEWHERE}/16 dev lo
}

# servers COUNT STATEMENT: runs an awk statement for each server i with address a, the
# address that `server` prints. A fork for each would take minutes.
servers() {
	awk -v count="$1" "BEGIN { for (i = 0; i < count; i++) {
		a = sprintf(\"10.2.%d.%d\", i / 250, i % 250 + 1); $2 } }"
}

# Prints the ipvsadm option for the service of a scheduler.
named() { # SCHEDULER
	case $1 in
	dh | lblc | lblcr) echo "-f $MARK" ;;
	*) echo "-t ${VIP[4]}:$PORT" ;;
	esac
}

# Prints lines for ipvsadm. The weights are above the numbers of connections, to which
# ovf compares them.
dest_lines() { # -a|-e NAME COUNT OFFSET
	servers "$3" "printf \"$1 $2 -r %s:$PORT -g -w %d\n\", a, (i + $4) % 7 * 3000 + 40000"
}

# Turns two packets into one flow: the one from an even source port is a SYN; the one
# from the next odd port is sent from the even port as an ACK.
as_pairs() {
	chain rewrite netdev ingress -10 "ip protocol set 6
		@th,15,1 1 @th,96,16 set $ACK @th,0,16 set @th,0,16 & 0xfffe accept
		@th,96,16 set $SYN"
}

# Adds a service with established connections, spread evenly over all dests by rr, so
# that the weights give different loads.
prepare() { # NAME DESTS
	local dst=${VIP[4]}
	fresh
	if [[ $1 = -f* ]]; then
		dst=10.77.255.254
		chain marks ip prerouting -150 "ip daddr ${ELSEWHERE}/16 meta mark set $MARK"
	fi
	{
		echo "-A $1 -s rr"
		dest_lines -a "$1" "$2" 0
	} | ipvsadm -R
	as_pairs
	# pktgen increments the port before it sends.
	send $((2 * FILL)) < <(request 4 1023 $((1024 + 2 * FILL)); echo "dst $dst") >/dev/null
	[ "$(conns)" = $FILL ]
	as tcp 4 $SYN
	settle
}

# Prints pktgen lines for client addresses that no other round uses.
by_source() { # ROUND
	printf '%s\n' "src_min 10.3.$(($1 * 8)).0" "src_max 10.3.$(($1 * 8 + 7)).0"
}

# Prints the mean cost of M connections, each from another client, or for schedulers
# that hash the destination to another address.
scheduled() { # SCHEDULER ROUND
	local name conns
	name=$(named "$1") conns=$(conns)
	echo "-E $name -s $1" | ipvsadm -R
	send $M < <(
		request 4 40000 $((40000 + M + 1))
		if [[ $name = -f* ]]; then
			printf '%s\n' "dst_min 10.77.$(($2 * 8)).1" "dst_max 10.77.$(($2 * 8 + 7)).0"
		else
			by_source "$2"
		fi
	)
	[ "$(conns)" = $((conns + M)) ]
}

# The same after every 40th of COUNT dests was removed.
with_gaps() { # SCHEDULER ROUND COUNT
	local name
	name=$(named "$1")
	echo "-E $name -s $1" | ipvsadm -R
	servers "$3" "if (i % 40 == $2) printf \"-d $name -r %s:$PORT\n\", a" | ipvsadm -R
	scheduled "$1" "$2"
}

# Prints the mean cost of M connections that are refused, as COUNT dests have weight 0.
refused() { # SCHEDULER ROUND COUNT
	local name flags=
	name=$(named "$1")
	[ "$1" != sh ] || flags='-b sh-fallback'
	fresh
	{
		echo "-A $name -s $1 $flags"
		servers "$3" "printf \"-a $name -r %s:$PORT -g -w 0\n\", a"
	} | ipvsadm -R
	as tcp 4 $SYN
	drop_at output 4
	EXPECT=0 send $M < <(
		request 4 40000 $((40000 + M + 1))
		by_source "$2"
	)
}

# Under -icount a nanosecond is one instruction.
timed() { # COMMAND…: prints the time per dest
	local start
	start=$(date +%s%N)
	"$@" >&2
	echo $((($(date +%s%N) - start) / CHANGED))
}

# changed SCHEDULER [LABEL]: prints rows for adding dests one by one, for editing the
# weight of each, and for removing them.
changed() {
	local name what
	name=$(named "$1")
	dest_lines -a "$name" "$CHANGED" 0 >/tmp/add
	dest_lines -e "$name" "$CHANGED" 3 >/tmp/edit
	sed 's/^-a/-d/; s/-g.*//' /tmp/add >/tmp/remove
	echo "-A $name -s $1" | ipvsadm -R
	for what in add edit remove; do
		measure "changed-${2-$1}-$what" timed ipvsadm -R <"/tmp/$what"
	done
}

lab
many_servers
# shellcheck disable=SC2053,SC2086 # CASES is a pattern; words
for group in "rr wrr lc wlc sed nq sh mh fo ovf twos" "dh lblc lblcr"; do
	for count in 1 10 100 1000 10000; do
		# C's mh table, and ours of the default size, have fewer buckets.
		[ $count != 10000 ] || [ "$MODULE" = c ] || PARAMETERS=mh_tab_size=65521
		round=0
		for scheduler in $group; do
			[[ scheduled-$scheduler-$count = ${CASES:-*} ]] || continue
			[ $round != 0 ] || prepare "$(named $scheduler)" $count
			round=$((round + 1))
			[ $MODULE-$scheduler-$count != c-mh-10000 ] || continue
			measure scheduled-$scheduler-$count scheduled $scheduler $round
		done
		PARAMETERS=
	done
done
# shellcheck disable=SC2053
for count in 1000 10000; do
	for group in "lc wlc sed nq fo ovf twos" "lblc lblcr"; do
		round=0
		for scheduler in $group; do
			[[ gaps-$scheduler-$count = ${CASES:-*} ]] || continue
			[ $round != 0 ] || prepare "$(named "$scheduler")" $count
			round=$((round + 1))
			measure "gaps-$scheduler-$count" with_gaps "$scheduler" $round $count
		done
	done
done
# shellcheck disable=SC2053
for count in 1 1000 10000; do
	round=0
	for scheduler in rr wlc ovf twos sh; do
		[[ refused-$scheduler-$count = ${CASES:-*} ]] || continue
		round=$((round + 1))
		measure "refused-$scheduler-$count" refused "$scheduler" $round $count
	done
done
# shellcheck disable=SC2053,SC2086
for scheduler in rr wrr lc wlc sed nq dh sh mh lblc lblcr fo ovf twos; do
	[[ changed-$scheduler-add = ${CASES:-*} ]] || continue
	fresh
	changed $scheduler
done
# shellcheck disable=SC2053
if [ "$MODULE" = rust ] && [[ changed-mh131071-add = ${CASES:-*} ]]; then
	PARAMETERS=mh_tab_size=131071
	fresh
	# Each change fills the whole table again; 12,000 changes would take an hour.
	CHANGED=400 changed mh mh131071
fi
