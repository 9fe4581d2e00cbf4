# The module's parameters for mh, which C does not have: the table size, and exact
# weights.
#
# Covers: src/ip_vs.rs src/sched/mh
[ "$MODULE" = rust ] || skip "C's module has no parameters of mh"
FAMILY=4
topology nat
again() { # PARAMETER…: reloads the module with these
	vs -C
	wait_for unload
	modprobe ip_vs "$@"
}
for wrong in 7 0 65537 4294967296 x; do refused again mh_tab_size=$wrong; done
again mh_tab_size=131071 mh_exact=1
vs -A -t "$VIPB:80" -s mh -b mh-port
for i in 1 2 3; do vs -a -t "$VIPB:80" -r "10.1.1.1$i:80" -m -w $((i * 1000)); done
shares() { get tcp "$VIP" 80 30 | tr ' ' '\n' | sort | uniq -c | awk '{ n += $1; all = all " " $2 } END { print n all }'; }
expect "30 rs1 rs2 rs3" shares

# As in C, the weights 1000 and 1 are scaled to 62 and 1; mh_exact keeps them. Of
# 4,000 clients about 63 or 4 go to the light dest.
light() { # LEAST MOST PARAMETER…
	local on
	again "${@:3}"
	vs -A -u "$VIPB:80" -s mh -b mh-port
	vs -a -u "$VIPB:80" -r "$GSB:80" -m -w 1000
	vs -a -u "$VIPB:80" -r "$GSB:81" -m -w 1
	from_client "[ip('$GC', '$VIP', udp(port, 80)) for port in range(10000, 14000)]"
	wait_for is_left 4000
	on=$(director awk 'NR > 1 && $7 == "0051" { n++ } END { print n + 0 }' /proc/net/ip_vs_conn)
	say "  $on of 4000"
	[ "$on" -ge "$1" ] && [ "$on" -le "$2" ] || fail "$on of 4000, not $1 to $2: ${*:3}"
}
light 40 110
light 1 20 mh_exact=1
light 40 110 mh_exact=0

# A service with mh may have as many dests as the table has buckets.
again mh_tab_size=251
vs -A -t "$VIPB:80" -s rr
for i in {1..252}; do echo "-a -t $VIPB:80 -r 10.1.2.$i:80 -m"; done | vs -R
refused vs -E -t "$VIPB:80" -s mh
vs -d -t "$VIPB:80" -r 10.1.2.9:80
vs -E -t "$VIPB:80" -s mh
scheduler() { proc_listing | awk '$1 == "TCP" { print $3 }'; }
expect mh scheduler

again
# C's parameter, which files of distributions set: the kernel logs that it is ignored.
again conn_tab_bits=20
dmesg | grep "ip_vs: unknown parameter 'conn_tab_bits' ignored" >&2 || fail "the kernel did not log that conn_tab_bits is ignored"
