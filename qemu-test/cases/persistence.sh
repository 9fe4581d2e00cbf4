# Persistent services: a client, or a network of clients, stays with one real server
# as long as its template exists.
#
# Covers: src/hook/persist src/conn/template
# Needs: a fast kernel

. ./persistent.sh
FAMILY=4

# One template for each client, and one for each network
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
	observe "IPv$FAMILY: templates' time" left 300
	show "IPv$FAMILY: each"
	observe "IPv$FAMILY: /proc/net/ip_vs_conn" proc_connections
	observe "IPv$FAMILY: /proc/net/ip_vs" proc_listing
	observe "IPv$FAMILY: saved" saved

	# Other netmasks
	for p in t u; do vs -E -$p "$VIPB:80" -s rr -p 200 -M "$mask"; done
	for PROTO in tcp udp; do
		observe "IPv$FAMILY $PROTO: pairs" ask_from 254 200 253 201 253 254 200
	done
	show "IPv$FAMILY: pairs"
	vs -E -u "$VIPB:80" -s rr -p 1 -M "$holes"
	PROTO=udp
	observe "IPv$FAMILY $PROTO: holes" ask_from 254 253 201 200
	observe "IPv$FAMILY: holes" connections

	# No longer persistent: existing templates stay, new connections are scheduled.
	vs -E -u "$VIPB:80" -s rr
	observe "IPv$FAMILY $PROTO: not persistent" ask_from 254 254 254
}
families each

# A template is assured (IP_VS_CTPL_S_ASSURED) by a reply or by the TCP handshake.
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
# A client's SYN on a closed connection does not create a new conn.
from_client "ip('$GC', '$VIP', tcp(5000, 80, 'R'))" "ip('$GC', '$VIP', tcp(5000, 80, 'S'))"
wait_for in_packets 7
observe "again" connections

# All ports of an address; and FTP, with data connections to any port
ports() { # TOPOLOGY OPTION
	topology "$1"
	for i in 1 2 3; do agent serve rs$i rs$i 21; done
	vs -A -t "$VIPB:0" -s rr -p 100
	dests "$2" 0 -t "$VIPB:0"
	vs -A -u "$VIPB:0" -s rr -p 100
	dests "$2" 8080 -u "$VIPB:0"
	vs -A -u "$VIPB:21" -s rr -p 100
	dests "$2" 21 -u "$VIPB:21"
	observe "IPv$FAMILY $1: 80" get tcp "$VIP" 80 2
	observe "IPv$FAMILY $1: 8080" get tcp "$VIP" 8080 2
	observe "IPv$FAMILY $1: 8080" get udp "$VIP" 8080 2
	observe "IPv$FAMILY $1: 80" get udp "$VIP" 80 2
	observe "IPv$FAMILY $1: 21" get udp "$VIP" 21 2
	served 10
	show "IPv$FAMILY $1: ports"
	vs -C
	vs -A -t "$VIPB:21" -s rr -p 100
	dests "$2" 21 -t "$VIPB:21"
	observe "IPv$FAMILY $1: FTP" get tcp "$VIP" 21 2
	observe "IPv$FAMILY $1: FTP's data" get tcp "$VIP" 8080 2
	observe "IPv$FAMILY $1: not FTP" get tcp "$VIP" 80 1 name 0.3
	show "IPv$FAMILY $1: FTP"
}
ports nat -m
FAMILY=6 tracked ports dr -g
