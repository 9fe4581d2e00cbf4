# Eight administrators at once, under traffic, while namespaces come and go:
# each request of theirs comes out as it should, what is configured at the end
# is what they know of, and nothing stays behind.
seconds=15
[ "$KERNEL" != debug ] || seconds=30
[ -z "${LONG-}" ] || seconds=60
FAMILY=4
topology nat
vs --set 5 2 2
for service in -t,192.168.1.110:80 -u,192.168.1.110:80 -u,[2001:db8:1::110]:80; do
	vs -A ${service/,/ } -s rr
done
dests -m 80 -t 192.168.1.110:80
agent load client tcp tcp 192.168.1.110 80 2
served 10
n director ./administrators.py $seconds "${SEED:-1}"
agent unload tcp
# The shared ones are left, bare.
observe listing listing
dests -m 80 -t 192.168.1.110:80
expect "rs3 rs2 rs1" get tcp 192.168.1.110 80 3
vs -C
wait_for unload
! grep -q ip_vs /proc/slabinfo || fail "a slab cache is left: $(grep ip_vs /proc/slabinfo)"
modprobe ip_vs
