# Random histories: connections open and close, dests are added, removed and change
# weights and thresholds. Every deterministic scheduler must choose the same dests
# as in C.
#
# Covers: src/sched
# Needs: a fast kernel
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
