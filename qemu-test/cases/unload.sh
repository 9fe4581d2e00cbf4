# Cycles of load, services, traffic, flush, and unload with open connections and
# arriving packets. Nothing may leak.
#
# Covers: rust-out-of-tree/module src/ip_vs.rs rust-out-of-tree/sync
# Needs: two CPUs
cycles=20
[ "$KERNEL" != debug ] || cycles=8
[ -z "${LONG-}" ] || cycles=200
topology nat
for ((i = 1; i <= cycles; i++)); do
	say "--- cycle $i"
	vs -A -t 192.168.1.110:80 -s rr
	vs -A -u '[2001:db8:1::110]:80' -s wrr
	for rs in 1 2; do
		vs -a -t 192.168.1.110:80 -r 10.1.1.1$rs:8080 -m
		vs -a -u '[2001:db8:1::110]:80' -r "[2001:db8:2::1$rs]:8080" -m
	done
	if [ $i = 1 ]; then
		agent load client tcp tcp 192.168.1.110 80 2
		agent load client udp udp 2001:db8:1::110 80 2
	fi
	served 10
	agent hold client "held$i-" tcp 192.168.1.110 80 2
	vs -C
	wait_for unload
	[ ! -e /proc/net/ip_vs ] || fail "/proc/net/ip_vs is left"
	! grep -q ip_vs /proc/slabinfo || fail "a slab cache is left: $(grep ip_vs /proc/slabinfo)"
	agent abort "held$i-*"
done
agent unload tcp
agent unload udp
modprobe ip_vs
# A namespace is deleted with services, connections and traffic.
vs -A -t 192.168.1.110:80 -s rr
vs -a -t 192.168.1.110:80 -r 10.1.1.11:8080 -m
agent load client tcp tcp 192.168.1.110 80 2
served 10
ip netns del director
agent unload tcp >/dev/null
wait_for unload
modprobe ip_vs
