# A client that opens a connection from a port whose last connection was reset, with
# conntrack=1 and direct routing: the director does not get the replies, so the conntrack
# entry of the last connection is still there. C drops the SYN, and the client sends it
# again a second later; this module serves it at once.
#
# Covers: src/hook.rs rust-out-of-tree/net/conntrack
connect() { # COUNT: connections from 100 ports in turn; prints how many segments were sent again
	n client python3 -c '
import socket, struct, sys
def sent_again():
    with open("/proc/net/snmp") as f:
        names, values = [line.split() for line in f if line.startswith("Tcp:")]
    return int(values[names.index("RetransSegs")])
before, count = sent_again(), int(sys.argv[2])
for i in range(count):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        s.settimeout(60)
        s.bind(("", 30000 + i % min(100, count // 2)))
        s.connect((sys.argv[1], 80))
        s.sendall(b"name\n")
        s.recv(100)
print(sent_again() - before)' "$VIP" "$1"
}
topology dr
setting director net.ipv4.vs.conntrack=1
director nft 'table ip track { chain in { type filter hook input priority 0; ct state new counter; }; }'
vs -A -t "$VIPB:80" -s rr
dests -g 80 -t "$VIPB:80"
# A machine that stands still for a second sends some again by itself.
if [ "$MODULE" = c ]; then
	again=$(connect 20)
	say "$again of 10 sent again"
	[ "$again" -ge 8 ] || fail "C served them at once"
else
	count=2000
	[ "$KERNEL" != debug ] || count=400
	[ -z "${LONG-}" ] || count=10000
	again=$(connect $count)
	say "$again of $count sent again"
	[ "$again" -le $((count / 100)) ] || fail "connections were delayed"
fi
served 20
# Nothing is left of the connections but one entry a port.
[ "$(n director conntrack -C)" -le 110 ] || fail "entries were leaked"
