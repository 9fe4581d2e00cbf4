# Who is chosen, in random histories of connections, their ends, changes of
# weights and thresholds, additions and removals: the same as C's module
# chooses, by every scheduler that leaves nothing to chance.
SEED=${SEED:-1}
sizes="1 2 7 50" count=200
[ "$KERNEL" != debug ] || { sizes="2 7" count=60; }
[ -z "${LONG-}" ] || { sizes="1 2 7 50 500" count=1000; }
FAMILY=4
. ./swallow.sh
say "seed $SEED"
for scheduler in ${CHOOSERS:-rr wrr lc wlc sed nq dh sh mh lblc lblcr fo ovf}; do
	for size in $sizes; do
		for vip in "$VIP_4" "$VIP_6"; do
			observe "$scheduler, $size dests, $vip" agent choices "$UPLINK" "$scheduler" "$size" "$vip" "$SEED" "$count"
		done
	done
done
