# One-packet scheduling: each datagram goes where the scheduler says, and no
# connection is kept. TCP is as ever.

show() { # LABEL
	observe "$1: --persistent-conn" listing --persistent-conn
	observe "$1: -Lnc" connections
}
# Datagrams from one port
same() { # NAME COUNT
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
	observe "IPv$FAMILY: not so" agent hold client beside udp "$VIP" 8080 1
	observe "IPv$FAMILY: not so" same beside1 3
	served 13
	show "IPv$FAMILY"
	observe "IPv$FAMILY: saved" saved
	observe "IPv$FAMILY: /proc/net/ip_vs" proc_listing
	observe "IPv$FAMILY: counts" counts -u "$VIPB:80"
	# On and off again
	vs -E -u "$VIPB:80" -s rr
	observe "IPv$FAMILY: off" same ops1 4
	vs -E -u "$VIPB:80" -s rr -o
	observe "IPv$FAMILY: its connection stays" same ops1 4
	observe "IPv$FAMILY: on" get udp "$VIP" 80 2
	# With persistence there is a template, for no connection.
	vs -E -u "$VIPB:80" -s rr -o -p 300
	agent hold client two udp "$VIP" 80 1
	observe "IPv$FAMILY: persistent" same two1 4
	observe "IPv$FAMILY: persistent" get udp "$VIP" 80 3
	show "IPv$FAMILY: persistent"
}
FAMILY=4
direct
FAMILY=6 tracked direct

# The template of none does not wait for it.
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

# Thresholds: a datagram counts while it passes, and then a server may be found to
# be full of the connections it has.
topology dr
vs -A -u "$VIPB:80" -s rr
dests -g 80 -u "$VIPB:80"
observe "thresholds: one each" agent hold client kept udp "$VIP" 80 3
vs -E -u "$VIPB:80" -s rr -o
vs -e -u "$VIPB:80" -r "$RIPB1:80" -g -x 1
vs -e -u "$VIPB:80" -r "$RIPB2:80" -g -x 2 -y 1
vs -e -u "$VIPB:80" -r "$RIPB3:80" -g -x 2 -y 2
observe "thresholds: -x 1, -x 2 -y 1, -x 2 -y 2" get udp "$VIP" 80 9
observe "thresholds: full of one" listing --thresholds
# All are full: whose connection goes is free, and a datagram alone fills none.
vs -e -u "$VIPB:80" -r "$RIPB3:80" -g -x 1
observe "thresholds: -x 1" get udp "$VIP" 80 3 name 0.3
vs --set 0 0 1
for i in 1 2 3; do agent use kept$i >/dev/null; done
wait_for is_left 0
observe "thresholds: free" get udp "$VIP" 80 6
observe "thresholds: free" listing --thresholds
vs --set 0 0 300

# Under NAT the server's answer is not translated: nobody knows of it.
topology nat
vs -A -u "$VIPB:80" -s rr -o
vs -a -u "$VIPB:80" -r "$GSB:8080" -m
agent capture silent silent eth0
agent capture client client eth0 "$GC"
from_client "ip('$GC', '$VIP', udp(5000, 80, b'data'))" "ip('$GC', '$VIP', udp(5000, 80, b'more'))"
agent captured silent 2 "5000 > 8080" >/dev/null
from_server "ip('$GS', '$GC', udp(8080, 5000, b'answer'))"
agent captured client 1 "8080 > 5000" >/dev/null
# An error about what is sent belongs to nothing.
from_server "ip('$GS', '$GC', icmp(3, 3, ip('$GC', '$GS', udp(5000, 8080, b'data'))))"
from_client "ip('$GC', '$VIP', udp(5999, 80, b'last'))"
agent captured silent 3 " > 8080" >/dev/null
observe "NAT: at the server" received silent
observe "NAT: at the client" received client 0 "$GC"
show "NAT"
observe "NAT: counts" counts -u "$VIPB:80"
