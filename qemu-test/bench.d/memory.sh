#!/bin/bash
# In the guest: bytes per connection with 1,000,000 connections, and the cost of a
# packet with 1,000 and with 1,000,000. Needs slab_nomerge.
set -euo pipefail
. "$(dirname "$0")/lab.sh"

N=20000

# clients PORTS ADDRESSES: one connection for each pair. The numbers are coprime, so
# incrementing both together reaches every pair.
clients() {
	request 4 1024 $((1024 + $1))
	printf '%s\n' "src_min 10.3.1.0" "src_max 10.3.1.$(($2 - 1))"
}

at_random() {
	clients "$@"
	printf '%s\n' "flag IPSRC_RND" "flag UDPSRC_RND"
}

vmalloc() {
	awk '/pages=/ { match($0, /pages=[0-9]+/); pages += substr($0, RSTART + 6, RLENGTH - 6) } END { print "vmalloc", pages * 4096 }' /proc/vmallocinfo
}

# Waits until no memory waits for a grace period and no table, which is in vmalloc, is
# resized: until two readings two seconds apart are equal.
at_rest() {
	local before='' now i
	for ((i = 0; i < 20; i++)); do
		now=$(vmalloc; grep '^ip_vs' /proc/slabinfo || true)
		[ "$now" != "$before" ] || return 0
		before=$now
		sleep 2
	done
	echo "memory: not at rest after $i readings" >&2
	return 1
}

# Prints bytes in use: in total, in slabs, in vmalloc; and the objects of each slab cache.
memory() {
	at_rest
	echo 3 >/proc/sys/vm/drop_caches
	awk '$1 == "MemFree:" { print "total", -$2 * 1024 }' /proc/meminfo
	awk 'NR > 2 { print "objects-" $1, $2; slabs += $15 * $6 * 4096 } END { print "slab", slabs }' /proc/slabinfo
	vmalloc
}

# Prints the growth of each between two readings, per connection.
growth() { # BEFORE AFTER COUNT
	awk -v count="$3" 'NR == FNR { before[$1] = $2; next }
		{ grown = ($2 - before[$1]) / count; if ($1 !~ /^objects/ || grown > 0.5) printf "%s %.1f\n", $1, grown }' "$1" "$2"
}

# The packets are of 1,000 conns. They have had more than nine packets each, as the module counts
# the first nine.
hooks() { # PREFIX
	local hook
	send $N < <(at_random 125 8) >/dev/null
	row "$1-all" "$(send $N < <(at_random 125 8))"
	for hook in input output; do
		drop_at $hook 4
		row "$1-$hook" "$(EXPECT=0 send $N < <(at_random 125 8))"
		nft flush ruleset
	done
}

lab
for method in dr nat; do
	fresh
	service $method 4 udp
	send 1000 < <(clients 125 8) >/dev/null
	settle
	hooks lookup-$method-1k

	fresh
	service $method 4 udp
	send 1 < <(request 4) >/dev/null
	memory >/tmp/before
	row filling-$method-1m "$(send 1000000 < <(clients 15625 64))"
	memory >/tmp/after
	while read -r what bytes; do
		row memory-$method-"$what" "$bytes"
	done < <(growth /tmp/before /tmp/after 1000000)
	hooks lookup-$method-1m
done
