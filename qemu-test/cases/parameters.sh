# The module's parameters for mh, which C has not: the table's size, and weights
# that lose nothing.
[ "$MODULE" = rust ] || skip "C's module has no parameters of mh"
FAMILY=4
topology nat
again() { # PARAMETER…: the module anew, with these
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
again
# C's, which distributions' files set: the kernel says that it ignores it.
again conn_tab_bits=20
dmesg | grep "ip_vs: unknown parameter 'conn_tab_bits' ignored" >&2 || fail "nobody said that conn_tab_bits is ignored"
