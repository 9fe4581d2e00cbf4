# Eight processes configure the director concurrently, under traffic, while
# network namespaces are created and destroyed. Each request must have the expected
# result, the final configuration must match their models, and nothing may leak.
#
# Covers: src/ctl src/service src/sched rust-out-of-tree/sync
# Needs: two CPUs
seconds=15
[ "$KERNEL" != debug ] || seconds=30
[ -z "${LONG-}" ] || seconds=60

# Whether only the modules themselves use each other. Each of C's schedulers holds two
# references on ip_vs: it depends on it and is registered with it. C's xt_ipvs holds one.
unused() { awk '/^ip_vs/ { print; uses += $3 + ($4 ~ /xt_ipvs/) - 2 * gsub(",", "", $4) } END { exit uses != 0 }' /proc/modules; }

FAMILY=4
topology nat
wait_for unused
# UDP conns time out soon, so that removed dests are freed soon.
vs --set 900 2 2
for service in -t,192.168.1.110:80 -u,192.168.1.110:80 -u,[2001:db8:1::110]:80; do
	vs -A ${service/,/ } -s rr
done
dests -m 80 -t 192.168.1.110:80
n director ./administrators.py $seconds "${SEED:-1}"
# Only the shared services remain, without dests.
observe listing listing
dests -m 80 -t 192.168.1.110:80
expect "rs3 rs2 rs1" get tcp 192.168.1.110 80 3
vs -C
wait_for unused
wait_for unload
! grep -q ip_vs /proc/slabinfo || fail "a slab cache is left: $(grep ip_vs /proc/slabinfo)"
modprobe ip_vs
