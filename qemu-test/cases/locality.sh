# net.ipv4.vs.lblc_expiration and lblcr_expiration: the values they accept and show,
# in namespaces of root and of an unprivileged user, and their effect. A set of lblcr
# loses a dest at once, tested here and in `choices`. An address expires only after
# half an hour, tested by `make test-long` (and by the host tests of
# sched/tests/c_lblc.rs, which set the time).
#
# Covers: src/sched/locality src/sched/lblc
netns director other
DIRECTOR=director
vs -A -f 7 -s lblc
vs -A -f 8 -s lblcr
observe "both" listing

file() { echo "/proc/sys/net/ipv4/vs/$1_expiration"; }
try() { # NAMESPACE SCHEDULER VALUE: writes VALUE and prints the new value
	n "$1" sh -c 'echo "$1" >"$2" || echo refused; cat "$2"' sh "$3" "$(file "$2")" 2>/dev/null
}
for scheduler in lblc lblcr; do
	for ns in director other; do
		observe "$scheduler, $ns" n $ns cat "$(file $scheduler)"
		observe "$scheduler, $ns, mode" n $ns stat -c %a "$(file $scheduler)"
	done
	for value in 5 0 -1 8589934 8589935 2147483647 -2147483648 4294967296 1.5 x "3 4" ""; do
		observe "$scheduler, '$value'" try director $scheduler "$value"
	done
	observe "$scheduler, other, as before" n other cat "$(file $scheduler)"
done

# The files exist only in namespaces of the initial user namespace.
seen() { unshare --user --map-root-user --net ls /proc/sys/net/ipv4/vs | grep -c expiration || true; }
observe "in a user's namespace" seen

# The scheduler's state is freed with a change of the scheduler and with the service.
vs -E -f 7 -s lblcr
vs -E -f 8 -s lblc
observe "the other way" listing
vs -C

FAMILY=4
. ./swallow.sh
# to ADDRESS FIRST COUNT: prints the dests of COUNT new flows to ADDRESS, sent in
# sequence from the ports FIRST and up.
to() {
	local port
	for ((port = $2; port < $2 + $3; port++)); do from_client "ip('$GC', '$1', tcp($port, 80))"; done
	wait_for all_seen "$@"
	flows "$@" | xargs
}
all_seen() { [ "$(flows "$@" | wc -l)" = "$3" ]; }
flows() {
	# shellcheck disable=SC2086 # four numbers
	nsenter --net=/run/netns/director gawk --non-decimal-data -v addr="$(printf %02X ${1//./ })" -v first="$2" -v count="$3" '
		$4 == addr { port = strtonum("0x" $3); if (port >= first && port < first + count) print port, $6 }' \
		/proc/net/ip_vs_conn | sort -n | cut -d ' ' -f 2
}
# Two dests of weight 1, both soon overloaded, so that an address has a set of both.
# Its flows go to both until one is removed from the set.
vs -A -f 7 -s lblcr
vs -a -f 7 -r 10.128.0.1 -m
vs -a -f 7 -r 10.128.0.2 -m
observe "lblcr: a set of two" to 10.77.0.1 10000 8
sleep 1.5
observe "lblcr: after 1.5 s, expiration a day" to 10.77.0.1 10100 4
setting director net.ipv4.vs.lblcr_expiration=1
sleep 1.5
observe "lblcr: after 1.5 s, expiration 1 s" to 10.77.0.1 10200 7
[ -n "${LONG-}" ] || exit 0

# Every half hour C removes addresses that were not used for the expiration time. All
# addresses belong to the busier of two dests; a new address would go to the other.
vs -C
vs --set 7200 0 0
setting director net.ipv4.vs.lblc_expiration=60 net.ipv4.vs.lblcr_expiration=60
director nft -f - <<-.
	table inet more_marks {
		chain after {
			type filter hook prerouting priority mangle + 1;
			ip daddr 10.77.8.0/24 meta mark set 8
		}
	}
.
vs -A -f 7 -s lblc
vs -A -f 8 -s lblcr
begin=$SECONDS
for mark in 7 8; do
	vs -a -f $mark -r 10.128.$mark.1 -m -w 100
	vs -a -f $mark -r 10.128.$mark.2 -m -w 0
	for i in 1 2 3; do observe "mark $mark: address $i" to 10.77.$mark.$i ${i}0000 2; done
	from_client "[ip('$GC', '10.77.$mark.1', tcp(port, 80, 'A')) for port in (10000, 10001)]"
	vs -e -f $mark -r 10.128.$mark.2 -m -w 100
	observe "mark $mark: a new address" to 10.77.$mark.4 10000 1
done
until_second() {
	local left=$((begin + $1 - SECONDS))
	[ $left -le 0 ] || sleep $left
}
until_second $((28 * 60))
for mark in 7 8; do observe "mark $mark: address 2 after 28 minutes" to 10.77.$mark.2 20010 1; done
# Address 3 is in use.
for ((i = 1; i <= 14; i++)); do
	until_second $((28 * 60 + 15 * i))
	for mark in 7 8; do to 10.77.$mark.3 $((30010 + i)) 1 >/dev/null; done
done
for mark in 7 8; do
	for i in 1 2 3; do observe "mark $mark: address $i after half an hour" to 10.77.$mark.$i ${i}1000 1; done
done
