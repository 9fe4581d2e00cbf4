# Thousands of services are added, edited and deleted, while old and new connections
# use a service that is not changed: none may fail, no packet may be lost, and each
# connection must stay with its dest.
#
# Covers: src/service src/ctl rust-out-of-tree/net/genetlink
count=120
[ -z "${LONG-}" ] || count=10000
[ "$KERNEL" != debug ] || count=100

# lines FIRST STEP "COMMAND REST": prints a line for ipvsadm for every STEP-th service
# from FIRST on, with REST after the service.
lines() {
	awk -v first="$1" -v step="$2" -v count="$count" -v command="${3%% *}" -v rest="${3#* }" 'BEGIN {
		for (i = first; i < count; i += step)
			printf "%s -t 10.%d.%d.%d:80 %s\n", command, 64 + i / 62500, i / 250 % 250, i % 250 + 1, rest
	}'
}
change() { # as lines
	say "$3, by $2 from $1"
	lines "$@" | director ipvsadm -R
}
# state LABEL: observes the number of services and of dests and a digest of their
# configuration; the open connections must not have moved.
state() { # LABEL
	observe "$1" configured
	expect "$servers" talking
	expect "$conns" staying
}
configured() {
	saved >/run/saved
	awk '{ n[$1]++ } END { print n["-A"] + 0, n["-a"] + 0 }' /run/saved
	sha256sum </run/saved
}
# The dests that answered each open connection, and those of the conns.
talking() { for p in tcp udp; do agent talked $p; done; }
# Read from the file, as ipvsadm takes long with the thousands of conns of the load.
staying() {
	nsenter --net=/run/netns/director gawk --non-decimal-data '
		{ port = ("0x" $3) + 0 } port >= 40000 && port < 40100 { NF--; print }' /proc/net/ip_vs_conn | LC_ALL=C sort
}

topology nat
for p in t u; do
	vs -A -$p "$VIP:80" -s rr
	dests -m 80 -$p "$VIP:80"
done
director ip route add local 10.64.0.0/10 dev lo
expect "rs3 rs2 rs1" agent hold client held tcp "$VIP" 80 3
for p in tcp udp; do agent talk client $p $p "$VIP" 80 6; done
servers=$(talking)
observe "servers of the open connections" echo "$servers"
conns=$(staying)
observe "their connections" echo "$conns"
agent load client beside tcp "$VIP" 80 2
# Datagrams of one connection, without retransmission.
vs -A -u "$VIP:7777" -s rr
vs -a -u "$VIP:7777" -r "$RIP1:7777" -m
rm -f /run/enough
n rs1 python3 -c '
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
sock.bind(("", 7777))
print(sum(1 for _ in iter(lambda: sock.recv(9), b"end")))' >/run/heard &
heard=$!
wait_for n rs1 grep -q ':1E61 ' /proc/net/udp
n client python3 -c '
import os, socket, sys, time
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.connect((sys.argv[1], 7777))
sent = 0
while not os.path.exists("/run/enough"):
    sock.send(b"data")
    sent += 1
    time.sleep(.001)
time.sleep(1)
sock.send(b"end")
print(sent)' "$VIP" >/run/sent &
sent=$!
held() { for i in 1 2 3; do agent use held$i; done 2>/dev/null | xargs; }

change 0 1 "-A -s rr"
change 0 1 "-a -r $RIP1:80 -m"
state "added"
for round in wlc "sh -b sh-port" "rr -p 60"; do
	change 0 1 "-E -s $round"
	state "edited: $round"
	expect "rs3 rs2 rs1" held
done
change 0 1 "-e -r $RIP1:80 -g -w 7"
state "dests edited"
change 0 2 "-D "
change 1 2 "-d -r $RIP1:80"
state "half removed, the others without dests"
change 0 2 "-A -s lc"
change 0 1 "-a -r $RIP2:80 -m -w 3"
state "added again"
expect "rs3 rs2 rs1" held
say "-D, by 1 from 0"
lines 0 1 "-D " | director ipvsadm -R
state "all deleted"
expect "rs3 rs2 rs1" held

touch /run/enough
wait $sent $heard
say "$(</run/sent) datagrams"
expect "$(</run/sent)" cat /run/heard
[ "$(</run/sent)" -gt 100 ] || fail "too few datagrams were sent"
for p in tcp udp; do agent unload $p >&2; done
agent unload beside >/tmp/beside
cat /tmp/beside >&2
expect "rs1 rs2 rs3" xargs < <(awk '{ print $1 }' /tmp/beside)
served 20
