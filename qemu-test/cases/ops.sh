# One-packet scheduling: each datagram is scheduled, and no conn is kept. TCP is not
# affected.
#
# Covers: src/hook/schedule src/conn

show() { # LABEL
	observe "$1: --persistent-conn" listing --persistent-conn
	observe "$1: -Lnc" connections
}
# same NAME COUNT: sends datagrams from one port
same() {
	local i answers=
	for ((i = 0; i < $2; i++)); do answers+=" $(agent use "$1")"; done
	echo "${answers# }"
}
direct() {
	topology dr
	vs -A -u "$VIPB:80" -s rr -o
	dests -g 80 -u "$VIPB:80"
	vs -A -u "$VIPB:8080" -s rr
	dests -g 8080 -u "$VIPB:8080"
	observe "IPv$FAMILY: the first" agent hold client ops udp "$VIP" 80 1
	observe "IPv$FAMILY: from its port" same ops1 7
	observe "IPv$FAMILY: from others" get udp "$VIP" 80 4
	observe "IPv$FAMILY: without -o" agent hold client beside udp "$VIP" 8080 1
	observe "IPv$FAMILY: without -o" same beside1 3
	served 13
	show "IPv$FAMILY"
	observe "IPv$FAMILY: saved" saved
	observe "IPv$FAMILY: /proc/net/ip_vs" proc_listing
	observe "IPv$FAMILY: counts" counts -u "$VIPB:80"
	# Switched off and on
	vs -E -u "$VIPB:80" -s rr
	observe "IPv$FAMILY: off" same ops1 4
	vs -E -u "$VIPB:80" -s rr -o
	observe "IPv$FAMILY: its connection stays" same ops1 4
	observe "IPv$FAMILY: on" get udp "$VIP" 80 2
	# With persistence there is a template but no conn.
	vs -E -u "$VIPB:80" -s rr -o -p 300
	agent hold client two udp "$VIP" 80 1
	observe "IPv$FAMILY: persistent" same two1 4
	observe "IPv$FAMILY: persistent" get udp "$VIP" 80 3
	show "IPv$FAMILY: persistent"
}
FAMILY=4
direct
FAMILY=6 tracked direct

# A template without conns expires after its own timeout.
topology dr
vs -A -u "$VIPB:80" -s rr -o -p 1
dests -g 80 -u "$VIPB:80"
observe "short" get udp "$VIP" 80 2
wait_for is_left 0
show "none"
# Fwmark services: datagrams and TCP
vs -C
director nft -f - <<-.
	table ip marks {
		chain prerouting {
			type filter hook prerouting priority mangle
			ip daddr $VIP meta l4proto { tcp, udp } mark set 1
		}
	}
.
vs -A -f 1 -s rr -o
for rip in "$RIPB1" "$RIPB2" "$RIPB3"; do vs -a -f 1 -r "$rip" -g; done
observe "fwmark: held" agent hold client mark udp "$VIP" 80 1
observe "fwmark: udp" same mark1 5
observe "fwmark: tcp" agent hold client tcp tcp "$VIP" 80 2
observe "fwmark: tcp" same tcp1 3
served 10
show "fwmark"

# Thresholds: a datagram counts as a conn while it is processed, and then a dest may be
# found to be overloaded by its other conns.
topology dr
vs -A -u "$VIPB:80" -s rr
dests -g 80 -u "$VIPB:80"
observe "thresholds: one each" agent hold client kept udp "$VIP" 80 3
vs -E -u "$VIPB:80" -s rr -o
vs -e -u "$VIPB:80" -r "$RIPB1:80" -g -x 1
vs -e -u "$VIPB:80" -r "$RIPB2:80" -g -x 2 -y 1
vs -e -u "$VIPB:80" -r "$RIPB3:80" -g -x 2 -y 2
observe "thresholds: -x 1, -x 2 -y 1, -x 2 -y 2" get udp "$VIP" 80 9
observe "thresholds: overloaded" listing --thresholds
# All dests are overloaded until their conns end; a datagram alone overloads none.
vs -e -u "$VIPB:80" -r "$RIPB3:80" -g -x 1
observe "thresholds: -x 1" get udp "$VIP" 80 3 name 0.3
vs --set 0 0 1
for i in 1 2 3; do agent use kept$i >/dev/null; done
wait_for is_left 0
observe "thresholds: free" get udp "$VIP" 80 6
observe "thresholds: free" listing --thresholds
vs --set 0 0 300

# With NAT the server's answer is not translated, as there is no conn.
topology nat
vs -A -u "$VIPB:80" -s rr -o
vs -a -u "$VIPB:80" -r "$GSB:8080" -m
agent capture silent silent eth0
agent capture client client eth0 "$GC"
from_client "ip('$GC', '$VIP', udp(5000, 80, b'data'))" "ip('$GC', '$VIP', udp(5000, 80, b'more'))"
agent captured silent 2 "5000 > 8080" >/dev/null
from_server "ip('$GS', '$GC', udp(8080, 5000, b'answer'))"
agent captured client 1 "8080 > 5000" >/dev/null
# An ICMP error about a datagram matches no conn.
from_server "ip('$GS', '$GC', icmp(3, 3, ip('$GC', '$GS', udp(5000, 8080, b'data'))))"
from_client "ip('$GC', '$VIP', udp(5999, 80, b'last'))"
agent captured silent 3 " > 8080" >/dev/null
observe "NAT: at the server" received silent
observe "NAT: at the client" received client 0 "$GC"
show "NAT"
observe "NAT: counts" counts -u "$VIPB:80"
