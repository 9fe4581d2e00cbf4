# The effect of net.ipv4.vs.conn_max, conn_lfactor and svc_lfactor.
#
# Covers: rust-out-of-tree/sync/rcu_hash src/conn/table

# conn_max: the maximum number of conns, including templates. The last client comes
# after the limit was raised.
port=5000
# A last packet goes to the server directly: when it arrives, all have been processed.
clients() { # NUMBER
	local i packets=()
	for ((i = 0; i < $1; i++)); do packets+=("ip('$GC', '$VIP', udp($((++port)), 80, b'data'))"); done
	from_client "${packets[@]}" "ip('$GC', '$GS', udp($port, 9))"
	agent captured silent 1 "$port > 9" >/dev/null
}
room() { # LABEL CONN_MAX NUMBER: with NUMBER clients
	setting director net.ipv4.vs.conn_max="$2"
	agent forget silent
	clients "$3"
	setting director net.ipv4.vs.conn_max=1000
	clients 1
	observe "IPv$FAMILY, $1, conn_max=$2" received silent
	observe "IPv$FAMILY, $1, conn_max=$2" connections
}
crowd() { # LABEL OPTION…
	vs -C
	vs -A -u "$VIPB:80" -s rr "${@:2}"
	vs -a -u "$VIPB:80" -r "$GSB:80" -m
	room "$1" 3 5
	room "$1" 3 2
	room "$1" 7 5
	room "$1" 0 2
}
FAMILY=4
topology nat
agent capture silent silent eth0
crowd one-packet -o
crowd plain
FAMILY=6
topology nat
agent capture silent silent eth0
crowd persistent -p 300

# conn_lfactor, svc_lfactor: the tables are resized and keep their entries.
factors() { nsenter --net=/run/netns/director sed -n 's/.* lfactor \(.*\))/\1/p' /proc/net/ip_vs_status | xargs; }
are() { [ "$(factors)" = "$1" ]; }
vs -C
vs -A -u "$VIPB:80" -s rr
dests -m 80 -u "$VIPB:80"
for i in {1..40}; do echo "-A -u $VIPB:$((1000 + i)) -s rr"; done | vs -R
observe "load factors" factors
agent hold client load udp "$VIP" 80 60 >/dev/null
for factor in -8 8 -2; do
	setting director net.ipv4.vs.conn_lfactor=$factor net.ipv4.vs.svc_lfactor=$factor
	wait_for are "$factor $factor"
	observe "load factors $factor" get udp "$VIP" 80 3
	for i in 1 30 60; do observe "load factors $factor" agent use load$i; done
	observe "load factors $factor" listing
	observe "load factors $factor" count
done
