#!/bin/bash
# In the guest: instructions per packet, one row a case. CASES (a pattern of
# names) restricts them.
set -euo pipefail
. "$(dirname "$0")/lab.sh"

N=5000

wanted() {
	# shellcheck disable=SC2053 # CASES is a pattern.
	[[ $1 == ${CASES:-*} ]]
}

floor() { # FAMILY PROTO
	fresh
	as "$2" "$1" $ACK
	drop_at ingress "$1"
	EXPECT=0 send $N < <(request "$1")
}

limit() { # FAMILY
	fresh
	chain forward netdev ingress 0 'fwd to "servers"'
	send $N < <(request "$1")
}

forward() { # FAMILY PROTO
	fresh
	as "$2" "$1" $ACK
	send $N < <(request "$1" | sed "s/^\(dst6*\) .*/\1 ${RS[$1]}/")
}

# open METHOD FAMILY PROTO: one established connection
open() {
	fresh
	service "$@"
	as "$3" "$2" $SYN
	send 1 < <(request "$2") >/dev/null
	as "$3" "$2" $ACK
	send 1 < <(request "$2") >/dev/null
	[ "$(conns)" = 1 ]
}

established() { # METHOD FAMILY PROTO
	open "$@"
	send $N < <(request "$2")
}

replied() { # METHOD FAMILY PROTO
	open "$@"
	send $N < <(reply "$2")
}

# new METHOD FAMILY PROTO [SCHEDULER [DESTS]]: 2,000 connections, when the
# table holds 20,000 and has grown to them.
new() {
	fresh
	service "$@"
	as "$3" "$2" $SYN
	send 20000 < <(request "$2" 1024 21024) >/dev/null
	settle
	send 2000 < <(request "$2" 30000 32000)
	[ "$(conns)" = 22000 ]
}

# The same, the first 20,000 with the growth of the table.
filling() { # METHOD FAMILY PROTO
	fresh
	service "$@"
	as "$3" "$2" $SYN
	send 20000 < <(request "$2" 1024 21024)
	[ "$(conns)" = 20000 ]
}

# Tables grow in the background: a table at rest costs nothing.
settle() { sleep 1; }

dropped() { # HOOK METHOD FAMILY PROTO
	open "${@:2}"
	drop_at "$1" "$3"
	EXPECT=0 send $N < <(request "$3")
}

measure() { # NAME COMMAND…
	local value status
	wanted "$1" || return 0
	set +e
	value=$(set -e; "${@:2}")
	status=$?
	set -e
	[ "$status" = 0 ] || value=failed
	row "$1" "$value"
}

lab
for family in 4 6; do
	for proto in udp tcp; do
		p=$proto$family
		measure $p-floor floor $family $proto
		[ $proto = tcp ] || measure $p-limit limit $family
		measure $p-forward forward $family $proto
		for method in dr nat tun; do
			measure $p-$method-established established $method $family $proto
			[ $method != nat ] || measure $p-nat-reply replied nat $family $proto
			measure $p-$method-new new $method $family $proto
		done
		for method in dr nat; do
			for hook in prerouting input output postrouting; do
				measure $p-$method-drop-$hook dropped $hook $method $family $proto
			done
		done
	done
done
measure udp4-dr-filling filling dr 4 udp
measure udp4-nat-filling filling nat 4 udp
for scheduler in rr wrr wlc; do
	for dests in 1 100 1000; do
		measure udp4-dr-new-$scheduler-$dests new dr 4 udp $scheduler $dests
	done
done
