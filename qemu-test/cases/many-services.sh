# Thousands of services come, are edited in place and go, while connections old
# and new go to one that is left alone: none fails, no packet is lost, and who is
# connected is served by the dest that it began with.
count=400
[ -z "${LONG-}" ] || count=10000
[ "$KERNEL" != debug ] || count=200

# lines FIRST STEP TEXT: a line for ipvsadm of each service from FIRST on, with
# TEXT after its name; -a has a dest.
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
# What all that has come to: the numbers of services and of dests, and a digest of
# how they are configured; and those connected stay where they are.
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
# Which dests have answered each of them, and have its conn.
talking() { for p in tcp udp; do agent talked $p; done; }
staying() { connections | awk '$3 ~ /:400[0-9][0-9]$/'; }

topology nat
for p in t u; do
	vs -A -$p "$VIP:80" -s rr
	dests -m 80 -$p "$VIP:80"
done
director ip route add local 10.64.0.0/10 dev lo
expect "rs3 rs2 rs1" agent hold client held tcp "$VIP" 80 3
for p in tcp udp; do agent talk client $p $p "$VIP" 80 6; done
servers=$(talking)
observe "who serves whom" echo "$servers"
conns=$(staying)
observe "their connections" echo "$conns"
agent load client beside tcp "$VIP" 80 2
# Datagrams of one connection, of which nobody repeats any.
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
say "all but the one removed"
lines 0 1 "-D " | director ipvsadm -R
state "gone"
expect "rs3 rs2 rs1" held

touch /run/enough
wait $sent $heard
say "$(</run/sent) datagrams"
expect "$(</run/sent)" cat /run/heard
[ "$(</run/sent)" -gt 100 ] || fail "hardly anything was sent"
for p in tcp udp; do agent unload $p >&2; done
agent unload beside >/tmp/beside
cat /tmp/beside >&2
expect "rs1 rs2 rs3" xargs < <(awk '{ print $1 }' /tmp/beside)
served 20
