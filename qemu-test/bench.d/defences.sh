#!/bin/bash
# In the guest: the cost of drop_entry with 1,000,000 conns. Each run of its work checks
# a 32nd of them. Rows for the longest run, and for the longest time for which another
# task of higher priority had to wait meanwhile, both in instructions.
set -euo pipefail
. "$(dirname "$0")/lab.sh"

T=/sys/kernel/tracing
MILLION=${MILLION:-1000000} # the variable is for a test of this script

# Ports and addresses as in memory.sh.
fill() { # PROTO
	fresh
	service dr 4 "$1"
	as "$1" 4 $SYN
	send "$MILLION" < <(request 4 1024 16649
		printf '%s\n' "src_min 10.3.1.0" "src_max 10.3.1.63") >/dev/null
	settle
}

# The longest of the runs in the trace, in nanoseconds, which are instructions. Times
# have microseconds.
longest_run() {
	awk '/workqueue_execute_start/ && /defense_work_handler|Job/ {
			for (i = 1; i <= NF; i++) if ($i ~ /^[0-9]+\.[0-9]+:$/) start = $i + 0
			running = 1
		}
		/workqueue_execute_end/ && /defense_work_handler|Job/ && running {
			for (i = 1; i <= NF; i++) if ($i ~ /^[0-9]+\.[0-9]+:$/) took = $i - start
			if (took > most) most = took
			runs++; running = 0
		}
		END { if (!runs) exit 1; printf "%.0f\n", most * 1e9 }' $T/trace
}

# runs NAME SECONDS: rows for the runs of some seconds. How much they drop depends on the
# conns.
runs() {
	local before
	before=$(conns)
	: >$T/trace
	sysctl -qw net.ipv4.vs.drop_entry=3
	sleep "$2"
	sysctl -qw net.ipv4.vs.drop_entry=0
	row "defence-$1-dropped" $((before - $(conns)))
	row "defence-$1-run" "$(longest_run)"
}

# The same, with a task that wakes up every 200 microseconds.
delays() { # NAME SECONDS
	sysctl -qw net.ipv4.vs.drop_entry=3
	row "defence-$1-delay" "$(python3 bench.d/delay.py "$2")"
	sysctl -qw net.ipv4.vs.drop_entry=0
}

lab
mount -t tracefs t $T 2>/dev/null || true
echo mono >$T/trace_clock
for event in start end; do echo 1 >$T/events/workqueue/workqueue_execute_$event/enable; done
python3 bench.d/delay.py 1 >/dev/null # reads it from disk
for proto in udp tcp; do
	fill $proto
	[ $proto = tcp ] || row defence-idle-delay "$(python3 bench.d/delay.py 2)"
	# TCP: half-open conns, of which each is dropped. UDP: none, as all are young.
	runs $proto 4
	delays $proto 4
done
