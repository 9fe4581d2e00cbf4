# Persistent services: a client, or a network of them, stays with one real
# server as long as its template lives.

FAMILY=4
show() { # LABEL
	observe "$1: --persistent-conn" listing --persistent-conn
	observe "$1: -Lnc" connections
}
# ask_from LAST… : a request from each of these client addresses
ask_from() {
	local last answers=
	for last; do
		agent source "${CIP%254}$last"
		answers+=" $(get "$PROTO" "$VIP" "${PORT:-80}")"
	done
	agent source ""
	echo "${answers# }"
}
clients() { # more addresses of the client
	configure client <<-.
		addr add ${CIP%254}253/$1 dev eth0
		addr add ${CIP%254}201/$1 dev eth0
		addr add ${CIP%254}200/$1 dev eth0
	.
}
dests() { # FLAG SERVICE OPTION PORT
	local rip
	for rip in "$RIPB1" "$RIPB2" "$RIPB3"; do vs -a "$1" "$2" -r "$rip${4:+:$4}" "$3"; done
}
services() { # OPTIONS…
	for p in t u; do
		vs -A -$p "$VIPB:80" -s rr "$@"
		dests -$p "$VIPB:80" -m 80
	done
}

# Each client for itself, and clients by the network
each() {
	topology nat
	case $FAMILY in
	4) clients 24; mask=255.255.255.254 holes=255.0.255.1 ;;
	6) clients 64; mask=127 holes=112 ;;
	esac
	services -p 300
	agent hold client held tcp "$VIP" 80 1
	for PROTO in tcp udp; do
		observe "IPv$FAMILY $PROTO: each" ask_from 254 253 201 200 254 254 200 201 253
	done
	served 10
	show "IPv$FAMILY: each"
	observe "IPv$FAMILY: /proc/net/ip_vs_conn" proc_connections
	observe "IPv$FAMILY: /proc/net/ip_vs" proc_listing
	observe "IPv$FAMILY: saved" saved
	observe "IPv$FAMILY: templates' time" left 300

	# Other networks from now on
	for p in t u; do vs -E -$p "$VIPB:80" -s rr -p 200 -M "$mask"; done
	for PROTO in tcp udp; do
		observe "IPv$FAMILY $PROTO: pairs" ask_from 254 200 253 201 253 254 200
	done
	show "IPv$FAMILY: pairs"
	vs -E -u "$VIPB:80" -s rr -p 1 -M "$holes"
	PROTO=udp
	observe "IPv$FAMILY $PROTO: holes" ask_from 254 253 201 200
	observe "IPv$FAMILY: holes" connections

	# No longer persistent: what is there stays, new ones are spread.
	vs -E -u "$VIPB:80" -s rr
	observe "IPv$FAMILY $PROTO: not persistent" ask_from 254 254 254
}
# What templates have left, rounded up to one of these numbers
left() {
	director awk 'NR > 1 && $3 == "0000" { print $7, $8, $9 }' /proc/net/ip_vs_conn | while read -r port state left; do
		for known in 1 2 3 60 "$@"; do [ "$left" -gt "$known" ] || break; done
		echo "$port $state $known"
	done | sort
}
families each
FAMILY=4

# A template is assured by a reply, or TCP's handshake.
topology nat
for p in t u; do
	vs -A -$p "$VIPB:80" -s rr -p 300
	vs -a -$p "$VIPB:80" -r "$GSB:80" -m
done
from_client "ip('$GC', '$VIP', tcp(5000, 80, 'S'))" "ip('$GC', '$VIP', udp(5000, 80))"
served 2
show "asked"
from_server "ip('$GS', '$GC', tcp(80, 5000, 'SA'))" "ip('$GS', '$GC', udp(80, 5000))"
counted() { cpu_sums | awk -v n="$1" '{ exit $3 < n }'; }
wait_for counted 2
observe "answered" connections
from_client "ip('$GC', '$VIP', tcp(5000, 80, 'A'))" "ip('$GC', '$VIP', udp(5000, 80))" "ip('$GC', '$VIP', udp(5001, 80))"
in_packets() { cpu_sums | awk -v n="$1" '{ exit $2 < n }'; }
wait_for in_packets 5
show "confirmed"
# A client's SYN on a connection that is over does not make a new one.
from_client "ip('$GC', '$VIP', tcp(5000, 80, 'R'))" "ip('$GC', '$VIP', tcp(5000, 80, 'S'))"
wait_for in_packets 7
observe "again" connections

# Every port of an address; FTP, whose data connections come to any port
ports() { # TOPOLOGY OPTION
	topology "$1"
	for i in 1 2 3; do agent serve rs$i rs$i 21; done
	vs -A -t "$VIPB:0" -s rr -p 100
	dests -t "$VIPB:0" "$2" 0
	vs -A -u "$VIPB:0" -s rr -p 100
	dests -u "$VIPB:0" "$2" 8080
	vs -A -u "$VIPB:21" -s rr -p 100
	dests -u "$VIPB:21" "$2" 21
	observe "IPv$FAMILY $1: 80" get tcp "$VIP" 80 2
	observe "IPv$FAMILY $1: 8080" get tcp "$VIP" 8080 2
	observe "IPv$FAMILY $1: 8080" get udp "$VIP" 8080 2
	observe "IPv$FAMILY $1: 80" get udp "$VIP" 80 2
	observe "IPv$FAMILY $1: 21" get udp "$VIP" 21 2
	served 10
	show "IPv$FAMILY $1: ports"
	vs -C
	vs -A -t "$VIPB:21" -s rr -p 100
	dests -t "$VIPB:21" "$2" 21
	observe "IPv$FAMILY $1: FTP" get tcp "$VIP" 21 2
	observe "IPv$FAMILY $1: FTP's data" get tcp "$VIP" 8080 2
	observe "IPv$FAMILY $1: not FTP" get tcp "$VIP" 80 1 name 0.3
	show "IPv$FAMILY $1: FTP"
}
ports nat -m
FAMILY=6 ports dr -g

# Servers that are quiesced, removed and come back
topology nat
clients 24
PROTO=tcp
services -p 300
observe "before" ask_from 254 253
vs -e -t "$VIPB:80" -r "$RIPB3:80" -m -w 0
observe "weight 0" ask_from 254 253 201 200
vs -d -t "$VIPB:80" -r "$RIPB2:80"
observe "removed" ask_from 254 253 201 200
show "removed"
vs -a -t "$VIPB:80" -r "$RIPB2:80" -m
observe "back" ask_from 254 253 201 200
show "back"
vs -C
show "flushed"
services -p 300
observe "all back" ask_from 254 253 201 200
show "all back"
# By sysctl templates do not lead to servers of weight 0, and all that is left
# of a removed server goes with it.
count() { nsenter --net=/run/netns/director tail -n +2 /proc/net/ip_vs_conn | wc -l; }
is_left() { [ "$(count)" = "$1" ]; }
none_to() { ! nsenter --net=/run/netns/director grep -qi " $1 " /proc/net/ip_vs_conn; }
setting director net.ipv4.vs.expire_quiescent_template=1
vs -e -t "$VIPB:80" -r "$RIPB3:80" -m -w 0
observe "quiescent" ask_from 254 253 201 200
show "quiescent"
setting director net.ipv4.vs.expire_nodest_conn=1
vs -d -t "$VIPB:80" -r "$RIPB2:80"
wait_for none_to 0A01010C
show "no dest"
vs -C
wait_for is_left 0
show "none of all"

# Templates outlive their connections by their own timeout, and last as long
# as these do.
topology nat
vs --set 0 0 1
vs -A -u "$VIPB:80" -s rr -p 2
dests -u "$VIPB:80" -m 80
vs -A -u "$VIPB:8080" -s rr -p 300
dests -u "$VIPB:8080" -m 8080
vs -A -u "$VIPB:81" -s rr -p 1
vs -a -u "$VIPB:81" -r "$RIPB1:8080" -m
observe "short" get udp "$VIP" 80 3
observe "longer" get udp "$VIP" 8080
wait_for is_left 1
show "a template alone"
vs --set 0 0 300
observe "long" get udp "$VIP" 81
prolonged() { director awk '$3 == "0000" && $5 == "0051" && $9 > 10 { found = 1 } END { exit !found }' /proc/net/ip_vs_conn; }
wait_for prolonged
observe "prolonged" left
observe "long" get udp "$VIP" 81
observe "prolonged again" left
show "prolonged"

# Namespace and module go with their templates.
ip netns del director
modules() { awk '/^ip_vs/ { print $1 }' /proc/modules | sort -r; }
unload() {
	# shellcheck disable=SC2046 # words
	rmmod $(modules)
	[ -z "$(modules)" ]
}
wait_for unload
modprobe ip_vs
