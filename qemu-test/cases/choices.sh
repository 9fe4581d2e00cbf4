# Who is chosen, in random histories of connections, their ends, changes of
# weights and thresholds, additions and removals: the same as C's module
# chooses, by every scheduler that leaves nothing to chance.
SEED=${SEED:-1}
sizes="1 2 7 50" count=200
[ "$KERNEL" != debug ] || { sizes="2 7" count=60; }
[ -z "${LONG-}" ] || { sizes="1 2 7 50 500" count=1000; }
FAMILY=4
topology nat
modprobe dummy
configure director <<-.
	link add servers type dummy
	addr add 10.255.255.254/9 dev servers
	addr add 2001:db8:99:0:ffff::1/64 dev servers
	link set servers up
	route add 10.98.0.0/16 dev servers
	route add 2001:db8:98::/64 dev servers
	route add local 10.77.0.0/16 dev lo
	route add local 2001:db8:77::/64 dev lo
.
n director nft -f - <<-.
	table inet marks {
		chain before {
			type filter hook prerouting priority mangle;
			ip daddr 10.77.0.0/16 meta mark set 7
			ip6 daddr 2001:db8:77::/64 meta mark set 7
		}
	}
.
say "seed $SEED"
for scheduler in ${CHOOSERS:-rr wrr lc wlc sed nq dh sh mh lblc lblcr fo ovf}; do
	for size in $sizes; do
		for vip in "$VIP_4" "$VIP_6"; do
			observe "$scheduler, $size dests, $vip" agent choices "$UPLINK" "$scheduler" "$size" "$vip" "$SEED" "$count"
		done
	done
done
