# Eight administrators at once, under traffic, while namespaces come and go:
# each request of theirs comes out as it should, what is configured at the end
# is what they know of, and nothing stays behind.
seconds=15
[ "$KERNEL" != debug ] || seconds=30
[ -z "${LONG-}" ] || seconds=60

# Nobody uses the modules but each other: C's schedulers need ip_vs, and are registered there.
unused() { awk '/^ip_vs/ { print; uses += $3 - 2 * gsub(",", "", $4) } END { exit uses != 0 }' /proc/modules; }

FAMILY=4
topology nat
wait_for unused
# Connections by datagrams end soon, and their dests are gone for good.
vs --set 900 2 2
for service in -t,192.168.1.110:80 -u,192.168.1.110:80 -u,[2001:db8:1::110]:80; do
	vs -A ${service/,/ } -s rr
done
dests -m 80 -t 192.168.1.110:80
n director ./administrators.py $seconds "${SEED:-1}"
# The shared ones are left, bare.
observe listing listing
dests -m 80 -t 192.168.1.110:80
expect "rs3 rs2 rs1" get tcp 192.168.1.110 80 3
vs -C
wait_for unused
wait_for unload
! grep -q ip_vs /proc/slabinfo || fail "a slab cache is left: $(grep ip_vs /proc/slabinfo)"
modprobe ip_vs
