# The benchmark in the guest; its network is described in topology.py.
# shellcheck shell=bash

PORT=80
declare -A VIP=([4]=10.0.0.1 [6]=fd00::1)
declare -A RS=([4]=10.2.0.1 [6]=fd02::1)     # the first real server
declare -A CLIENT=([4]=10.3.0.1 [6]=fd03::1) # its network is also behind the dummy device, for replies
declare -A HEADER=([4]=ip [6]=ip6) SIZE=([4]=60 [6]=78)
SYN=0x5002 ACK=0x5010 # data offset and flags
# The chunks of SCTP packets: type, flags and length
INIT=0x01000004 COOKIE_ECHO=0x0a000004 COOKIE_ACK=0x0b000004 DATA=0x00000004

lab() {
	python3 topology.py bench
	modprobe pktgen
}

# Reloads the module, ours with PARAMETERS. C's conn table gets the size to which ours
# can grow.
fresh() {
	ipvsadm -C 2>/dev/null || true
	ipvsadm --stop-daemon master 2>/dev/null || true
	# shellcheck disable=SC2046 # words
	modprobe -rq $(awk '/^ip_vs_/ { print $1 }' /proc/modules) ip_vs || true
	nft flush ruleset
	if [ "$MODULE" = c ]; then
		modprobe ip_vs conn_tab_bits=20
	else
		# shellcheck disable=SC2086 # words
		modprobe ip_vs ${PARAMETERS-}
	fi
	[ -z "${TRACKED-}" ] || {
		sysctl -qw net.ipv4.vs.conntrack=1
		chain tracked ip prerouting 0 'ct state new counter'
	}
	[ -z "${MASTER-}" ] || {
		echo '3 0' >/proc/sys/net/ipv4/vs/sync_threshold
		# Ours: the daemon's thread does nothing meanwhile.
		[ "$MODULE" = c ] || echo 0 >/proc/sys/net/ipv4/vs/sync_resync
		ipvsadm --start-daemon master --mcast-interface lo
	}
}

# service METHOD FAMILY PROTO [SCHEDULER [DESTS]], weights 1 to 7
service() {
	local -A flag=([nat]=-m [dr]=-g [tun]=-i [gre]='-i --tun-type gre' [grecsum]='-i --tun-type gre --tun-csum'
		[gue]='-i --tun-type gue --tun-port 6080' [guecsum]='-i --tun-type gue --tun-port 6080 --tun-csum')
	local -A key=([tcp]=-t [udp]=-u [sctp]=--sctp-service)
	local vip="${key[$3]} $(address "$2" "${VIP[$2]}"):$PORT" port=$PORT i
	[ "$1" != nat ] || port=8080
	{
		echo "-A $vip -s ${4:-rr}"
		for ((i = 0; i < ${5:-1}; i++)); do
			echo "-a $vip -r $(server "$2" $i):$port ${flag[$1]} -w $((i % 7 + 1))"
		done
	} | ipvsadm -R
}

server() { # FAMILY INDEX
	if [ "$1" = 4 ]; then
		echo "10.2.$(($2 / 250)).$(($2 % 250 + 1))"
	else
		printf '[fd02::%x]' $(($2 + 1))
	fi
}

address() { # FAMILY ADDRESS: as written before a port
	[ "$1" = 4 ] && echo "$2" || echo "[$2]"
}

# chain TABLE FAMILY HOOK PRIORITY RULE: installs a table with this one rule.
chain() {
	local device=''
	[ "$2" != netdev ] || device='device "clients"'
	nft -f - <<-END
		table $2 $1
		delete table $2 $1
		table $2 $1 {
			chain only {
				type filter hook $3 $device priority $4
				$5
			}
		}
	END
}

# IPVS sends packets through LOCAL_OUT; the chain runs before the IPVS hooks there.
drop_at() { # HOOK FAMILY
	if [ "$1" = ingress ]; then
		chain stop netdev ingress 0 drop
	else
		chain stop "${HEADER[$2]}" "$1" -300 drop
	fi
}

# pktgen generates only UDP; a rule at the director's ingress changes it to TCP with the
# given flags, or to SCTP with the given chunk. Its cost is the same in the floor and in
# the cases.
as() { # PROTO FAMILY FLAGS|CHUNK
	local field='ip protocol'
	[ "$2" = 4 ] || field='ip6 nexthdr'
	case $1 in
	tcp) chain rewrite netdev ingress -10 "$field set 6 @th,96,16 set $3" ;;
	sctp) chain rewrite netdev ingress -10 "$field set 132 @th,96,32 set $3" ;;
	esac
}

# Prints lines for pktgen. Ports count from FIRST-PORT to LAST-PORT - 1.
request() { # FAMILY [FIRST-PORT LAST-PORT]
	printf '%s\n' "pkt_size ${SIZE[$1]}" "udp_dst_min $PORT" "udp_dst_max $PORT" \
		"udp_src_min ${2:-1024}" "udp_src_max ${3:-${2:-1024}}"
	between "$1" "${CLIENT[$1]}" "${VIP[$1]}"
}

reply() { # FAMILY [FLOWS]
	printf '%s\n' "pkt_size ${SIZE[$1]}" "udp_dst_min 1024" "udp_dst_max $((1024 + ${2:-0}))" \
		"udp_src_min 8080" "udp_src_max 8080"
	between "$1" "${RS[$1]}" "${CLIENT[$1]}"
}

between() { # FAMILY SOURCE DESTINATION
	if [ "$1" = 4 ]; then
		printf '%s\n' "src_min $2" "src_max $2" "dst $3"
	else
		printf '%s\n' "src6 $2" "dst6 $3"
	fi
}

# pktgen keeps a reference to the packets that it sends, so the IP stack clones each packet
# and the first writer copies it. WAY=pktgen measures that, like the first figures of
# C. With WAY=nic the receiver owns the packet, as with a network card.
#
# send COUNT <LINES: sends COUNT packets and prints the instructions per packet. COUNT
# packets, or EXPECT, must reach the dummy device. With TRACE, a window for the plugin
# is open meanwhile.
send() {
	local before after # packets
	before=$(</sys/class/net/servers/statistics/tx_packets)
	# shellcheck disable=SC2016
	ip netns exec client bash -euc '
		cd /proc/net/pktgen
		echo rem_device_all >kpktgend_0
		echo "add_device eth0" >kpktgend_0
		while read -r line; do echo "$line" >eth0; done
		${2:-tee} pgctrl <<<start >/dev/null
		awk -v count="$1" '\''
			/pkts-sofar/ { sent = $2 }
			/pps/ { rate = $1 + 0 }
			END { if (sent != count || !rate) exit 1; printf "%.0f\n", 1e9 / rate }'\'' eth0 || { cat eth0 >&2; exit 1; }
	' send "$1" "${TRACE:+$PWD/bench.d/marked}" \
		< <(printf '%s\n' "count $1" "clone_skb 0" "delay 0" "dst_mac 02:00:00:00:00:01"
			[ "$WAY" = pktgen ] || echo "flag !SHARED"
			[ -z "${CHECKSUM-}" ] || echo "flag UDPCSUM"
			cat)
	after=$(</sys/class/net/servers/statistics/tx_packets)
	# The director itself sends a few packets (MLD).
	if ((after - before < ${EXPECT:-$1} || after - before > ${EXPECT:-$1} + 5)); then
		echo "send: of $1 packets, ${EXPECT:-$1} should have arrived; $((after - before)) did" >&2
		return 1
	fi
}

conns() { echo $(($(wc -l </proc/net/ip_vs_conn) - 1)); }

# row CASE VALUE: sends a row to the host.
row() { echo "row $*" | tee "$RESULTS"; }

# The cases. Each reloads the module and prints one figure.

N=5000 # packets; a figure is their mean

floor() { # FAMILY PROTO
	fresh
	as_later "$2" "$1"
	drop_at ingress "$1"
	EXPECT=0 send "$N" < <(request "$1")
}

limit() { # FAMILY
	fresh
	chain forward netdev ingress 0 'fwd to "servers"'
	send "$N" < <(request "$1")
}

forward() { # FAMILY PROTO
	fresh
	as "$2" "$1" $ACK
	send "$N" < <(request "$1" | sed "s/^\(dst6*\) .*/\1 ${RS[$1]}/")
}

# open METHOD FAMILY PROTO [FLOWS]: established connections
open() {
	fresh
	service "${@:1:3}"
	if [ "$3" = sctp ]; then
		associate "$@"
	else
		as "$3" "$2" $SYN
		send "${4:-1}" < <(requests "$2" "${4:-1}") >/dev/null
	fi
	as_later "$3" "$2"
	send "${4:-1}" < <(requests "$2" "${4:-1}") >/dev/null
	[ "$(conns)" = "${4:-1}" ]
}

# The packets of an established connection.
as_later() { # PROTO FAMILY
	case $1 in
	tcp) as tcp "$2" $ACK ;;
	sctp) as sctp "$2" $DATA ;;
	esac
}

# As `open`, for SCTP over IPv4.
associate() { # METHOD FAMILY PROTO [FLOWS]
	local chunk
	for chunk in $INIT $COOKIE_ECHO; do
		as sctp "$2" "$chunk"
		send "${4:-1}" < <(requests "$2" "${4:-1}") >/dev/null
	done
	if [ "$1" = nat ]; then
		as sctp "$2" $COOKIE_ACK
		send "${4:-1}" < <(reply "$2" "${4:-0}") >/dev/null
	fi
	[ "$(grep -c ' ESTABLISHED ' /proc/net/ip_vs_conn)" = "${4:-1}" ]
}

requests() { # FAMILY FLOWS
	request "$1" 1024 $((1024 + $2))
}

established() { # METHOD FAMILY PROTO
	open "$@"
	send "$N" < <(request "$2")
}

replied() { # METHOD FAMILY PROTO
	open "$@"
	send "$N" < <(reply "$2")
}

# filling METHOD FAMILY PROTO [SCHEDULER [DESTS]]: the first 20,000 connections,
# including the growth of the table.
filling() {
	fresh
	service "$@"
	as "$3" "$2" $SYN
	send 20000 < <(request "$2" 1024 21024)
	[ "$(conns)" = 20000 ]
}

# The same, then 2,000 more without growth of the table.
new() {
	filling "$@" >/dev/null
	settle
	send 2000 < <(request "$2" 30000 32000)
	[ "$(conns)" = 22000 ]
}

# Waits for a resize of the tables, which runs in a workqueue.
settle() { sleep 1; }

# With CHECKSUM, the UDP packets have one.
dropped() { # HOOK METHOD FAMILY PROTO
	open "${@:2}"
	drop_at "$1" "$3"
	EXPECT=0 send "$N" < <(request "$3")
}

measure() { # NAME COMMAND…
	local value status
	# shellcheck disable=SC2053 # CASES is a pattern.
	[[ $1 == ${CASES:-*} ]] || return 0
	set +e
	value=$(set -e; "${@:2}")
	status=$?
	set -e
	[ "$status" = 0 ] || value=failed
	row "$1" "$value"
}
