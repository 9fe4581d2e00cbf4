#!/bin/bash
# In the guest: the cost of ipvsadm commands with many services and dests, in total and
# in the kernel; the cost of estimating the rates of many dests; and the memory of
# services and dests.
set -euo pipefail
. "$(dirname "$0")/lab.sh"

# configuration SERVICES DESTS: prints lines for ipvsadm.
configuration() {
	awk -v services="$1" -v dests="$2" 'BEGIN {
		for (s = 0; s < services; s++) {
			vip = sprintf("-t 10.%d.%d.%d:80", 64 + s / 62500, s / 250 % 250, s % 250 + 1)
			print "-A " vip " -s rr"
			for (d = 0; d < dests; d++) printf "-a %s -r 10.2.%d.%d:80 -g -w 1\n", vip, d / 250, d % 250 + 1
		}
	}'
}

# step NAME COMMAND…: prints rows for all its instructions, one per nanosecond, and for
# those in the kernel, as sampled by the tick.
step() {
	local TIMEFORMAT='%S' total kernel
	{
		read -r kernel
		read -r total
	} < <({
		start=${EPOCHREALTIME/./}
		time "${@:2}" >/tmp/said 2>/tmp/complaints
		echo $((${EPOCHREALTIME/./} - start))
	} 2>&1)
	[ ! -s /tmp/complaints ] || { cat /tmp/complaints >&2; return 1; }
	row "control-$1" "${total}000"
	row "control-$1-kernel" "$(awk -v s="$kernel" 'BEGIN { printf "%.0f", s * 1e9 }')"
}

lines() { # COUNT: the last step must have printed COUNT lines
	[ "$(wc -l </tmp/said)" = "$1" ] || { echo "control: $(wc -l </tmp/said) lines, not $1" >&2; return 1; }
}

# dump LABEL services|dests COUNT: measures only the kernel's part of a dump. ipvsadm
# adds a socket and two requests for each service.
dump() {
	local entries instructions
	read -r entries instructions < <(python3 bench.d/dump.py "$2")
	[ "$entries" = "$3" ] || { echo "control: $entries $2, not $3" >&2; return 1; }
	row "control-$1-dump_$2-kernel" "$instructions"
}

# commands LABEL SERVICES DESTS
commands() {
	fresh
	configuration "$2" "$3" >/tmp/configuration
	# Read the programs from disk before the measurement.
	ipvsadm -Sn >/tmp/said
	cat /proc/net/ip_vs >/tmp/said
	step "$1-restore" ipvsadm -R </tmp/configuration
	step "$1-list" ipvsadm -Ln
	lines $((3 + $2 * (1 + $3)))
	step "$1-save" ipvsadm -Sn
	lines $(($2 * (1 + $3)))
	dump "$1" services "$2"
	dump "$1" dests "$3"
	step "$1-proc" cat /proc/net/ip_vs
	lines $((3 + $2 * (1 + $3)))
	[ "$1" != 10000x10 ] || rates "$1"
	step "$1-flush" ipvsadm -C
}

# Measures the estimator threads over ten seconds in steps of 0.1 s: the mean per
# second, and the maximum of a step.
rates() { # LABEL
	local i
	sleep 8 # C first measures its limits
	for ((i = 0; i <= 100; i++)); do
		grep -l '^ipvs-e' /proc/[0-9]*/comm | sed 's/comm$/schedstat/' | xargs -r awk '{ ns += $1 } END { printf "%d\n", ns }'
		sleep 0.1
	done | awk 'NR > 1 { d = $1 - last; sum += d; if (d > most) most = d } { last = $1 }
		END { if (!sum) exit 1; printf "%d %d\n", sum / (NR - 1) * 10, most }' >/tmp/rates
	row "control-$1-rates" "$(cut -d' ' -f1 /tmp/rates)"
	row "control-$1-rates-most" "$(cut -d' ' -f2 /tmp/rates)"
}

free_bytes() {
	sleep 3
	echo 3 >/proc/sys/vm/drop_caches
	awk '$1 == "MemFree:" { print $2 * 1024 }' /proc/meminfo
}

# Bytes per service and per dest, as the mean of 10,000 of each.
memory() {
	local before services dests
	fresh
	configuration 1 1 | ipvsadm -R
	before=$(free_bytes)
	configuration 10001 0 | sed 1d | ipvsadm -R
	services=$(free_bytes)
	configuration 1 10001 | sed 1,2d | ipvsadm -R
	dests=$(free_bytes)
	row control-memory-service $(((before - services) / 10000))
	row control-memory-dest $(((services - dests) / 10000))
	row control-memory-cpus "$(awk -F- '{ print $NF + 1 }' /sys/devices/system/cpu/possible)"
	ipvsadm -C
}

# Instructions of a new connection, and of a packet of an established one, with
# SERVICES other services. Estimation is off, so that nothing else runs meanwhile.
beside() { # SERVICES
	fresh
	sysctl -qw net.ipv4.vs.run_estimation=0
	configuration "$1" 1 | ipvsadm -R
	service dr 4 tcp
	as tcp 4 $SYN
	send 20000 < <(request 4 1024 21024) >/dev/null
	settle
	row "control-beside-$1-new" "$(send 2000 < <(request 4 30000 32000))"
	as tcp 4 $ACK
	row "control-beside-$1-established" "$(send "$N" < <(request 4 30001))"
	nft flush ruleset
}

lab
ulimit -s 16384
memory
for services in 0 10000; do
	# shellcheck disable=SC2053 # CASES is a pattern.
	[[ control-beside-$services == ${CASES:-*} ]] || continue
	beside $services
done
for size in "100 10" "1000 10" "10000 10" "1 1000" "1 10000"; do
	# shellcheck disable=SC2086 # words
	set -- $size
	# shellcheck disable=SC2053 # CASES is a pattern.
	[[ control-$1x$2 == ${CASES:-*} ]] || continue
	commands "$1x$2" "$1" "$2"
done
