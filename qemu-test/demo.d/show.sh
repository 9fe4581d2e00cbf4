# shellcheck shell=bash
# The demo for each method and family, with its checks.

declare -A forward=([nat]=Masq [dr]=Route [tun]=Tunnel) option=([nat]=-m [dr]=-g [tun]=-i)
failed=

tell() { echo "$*" >"$RESULTS"; }
title() { printf '\n━━━━ %s ━━━━\n\n' "$1"; }
note() { printf '\n# %s\n' "$*"; }

# wrong WHAT: makes this line of the summary fail, and the demo.
wrong() {
	faults+=("$1")
	failed=1
	echo "WRONG: $1"
	tell "wrong|${method:+${method^^} ${family:+$family: }}$1"
}

verdict() { # the last line; without it the demo has failed
	[ -n "$failed" ] || tell 'verdict|OK'
	[ -z "$failed" ]
}

# must WHAT TEST…: TEST must be true.
must() {
	local what=$1
	shift
	test "$@" || wrong "$what: not $*"
}

# wait_until WHAT COMMAND…: waits until COMMAND succeeds. There are no other pauses.
wait_until() {
	local what=$1 deadline=$((SECONDS + 30))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$deadline" ] || {
			wrong "$what: not within 30 s"
			return 1
		}
		sleep 0.05
	done
}

# Prints the path of a request and its reply.
path() {
	local front=client back=client
	[ "$LAB" != gateway ] || front='client → gateway' back='gateway → client'
	[ "$LAB" != router ] || front='client → router1' back='router2 → client'
	case $method in
	nat) echo "$front → director → real server → director → $back" ;;
	dr) echo "$front → director → real server → $back" ;;
	tun) echo "$front → director ═tunnel═ real server → $back" ;;
	esac
}

show_line() {
	local faults=() answered=(0 0 0 0) requests=0 per_second=- served=- lost=- counted=-
	local -a segments opened start_segments conns in out
	title "${method^^} $family: $(path)"
	set_up "$family"
	configure
	# The following steps need the answers.
	if show_curl; then
		show_wrk
		show_quiesce
	else
		show_tables
	fi
	check_counters
	at director 'ipvsadm -C'
	ask director 'ipvsadm -Ln'
	must 'lines listed after ipvsadm -C' "$(grep -c . <<<"$answer")" = 3
	tell "line|${method^^}|$family|$service|$requests of 12|${answered[1]}|${answered[2]}|${answered[3]}|$per_second|$served|$lost|$counted|$([ ${#faults[@]} = 0 ] && echo OK || echo FAIL)"
}

# The virtual service, and in real[] the real servers as ipvsadm has them.
configure() {
	local n
	case $family in
	IPv4) service=$vip:80 real=("${rip[@]/%/:80}") ;;
	IPv6) service=[$vip]:80 real=("${rip[@]/#/[}") real=("${real[@]/%/]:80}") ;;
	esac
	real[0]=$service
	at director "ipvsadm -A -t $service -s rr"
	for n in 1 2 3; do
		at director "ipvsadm -a -t $service -r ${real[n]} ${option[$method]}"
	done
	ports 10000 39999
	read_tcp
	start_segments=("${segments[@]}")
	[ "$LAB" != router ] || start_forwarded=("$(forwarded router1)" "$(forwarded router2)")
}

# Twelve requests, each on its own connection: four for each real server, in turn.
show_curl() {
	local name n turn=()
	note 'Which real server answers?'
	at client "curl -sS -m 10 --fail-early -H 'Connection: close' 'http://$target/?[1-12]' > answers"
	at client 'sort answers | uniq -c'
	while read -r name; do
		turn+=("$name")
		case $name in
		real[123]) answered[${name#real}]=$((answered[${name#real}] + 1)) ;;
		*) wrong "an answer by no real server: $name" ;;
		esac
	done <"$run/client/answers"
	requests=${#turn[@]}
	must 'requests answered' "$requests" = 12
	for n in 1 2 3; do must "requests answered by real$n" "${answered[n]}" = 4; done
	for ((n = 3; n < requests; n++)); do
		[ "${turn[n]}" = "${turn[n - 3]}" ] || wrong "request $((n + 1)) was answered out of turn"
	done
	[ "$requests" = 12 ]
}

show_wrk() {
	local n before
	note 'Load on long-lived connections, and the counters of the director'
	read_tcp
	before=("${opened[@]}")
	at client "wrk -t 1 -c 6 -d 60 --timeout 10 http://$target/ > load &"
	wait_until 'two connections at each real server' more_opened 2 1 2 3
	show_tables
	wait_until 'requests served under load' more_received 200
	stop_wrk
	read_wrk load
	must 'requests failed under load' "$wrk_failed" = 0
	must 'requests served under load' "$wrk_served" -ge 50
	per_second=$wrk_rate
	# C's module updates its figures every two seconds.
	wait_until 'packets counted' stats_match || wrong "$unmatched"
	# 12 by curl, 6 by wrk, and one by which wrk checks for the server.
	must 'connections counted' "${conns[0]}" = 19
	for n in 1 2 3; do must "connections counted for real$n" "${conns[n]}" -ge 6; done
	at director 'ipvsadm -Ln --stats'
}

# Stops wrk and shows its report.
stop_wrk() {
	# shellcheck disable=SC2016 # $! is the client's.
	at client 'kill -INT $!; wait $!; cat load'
}

# read_wrk FILE: reads requests served, failed and per second.
read_wrk() {
	read -r wrk_served wrk_failed wrk_rate < <(awk '
		/ requests in / { served = $1 }
		/Socket errors/ { gsub(",", ""); failed += $4 + $6 + $8 + $10 }
		/Non-2xx/ { failed += $NF }
		/^Requests\/sec/ { rate = $2 }
		END { printf "%d %d %d\n", served, failed, rate }' "$run/client/$1")
}

show_tables() {
	local n
	at director 'ipvsadm -Ln'
	for n in 1 2 3; do
		listed "$n" 1 || wrong "ipvsadm -Ln: real$n is not as configured"
	done
	at director 'ipvsadm -Lnc | grep ESTABLISHED'
	for n in 1 2 3; do
		connected "$n" || wrong "ipvsadm -Lnc: no connection of $source at real$n"
	done
}

# listed N WEIGHT [ACTIVE]: whether $answer of ipvsadm -Ln has real N so.
listed() {
	local address method_shown weight active
	while read -r _ address method_shown weight active _; do
		[ "$address $method_shown $weight ${3+$active}" != "${real[$1]} ${forward[$method]} $2 ${3-}" ] || return 0
	done <<<"$answer"
	return 1
}

# connected N: whether $answer of ipvsadm -Lnc has a connection to real N.
connected() {
	local state from to address
	while read -r _ _ state from to address; do
		case "$state $from $to $address" in
		"ESTABLISHED $source:"*" $service ${real[$1]}") return 0 ;;
		esac
	done <<<"$answer"
	return 1
}

# A new connection for each request. real2 must get none while its weight is 0, and no
# request may fail.
show_quiesce() {
	local before
	note 'real2 quiesced by weight 0 and restored, under load of new connections'
	at client "wrk -t 1 -c 4 -d 60 --timeout 10 -H 'Connection: close' http://$target/ > load &"
	read_tcp
	before=("${opened[@]}")
	wait_until 'real2 serves' more_opened 5 2
	at director "ipvsadm -e -t $service -r ${real[2]} ${option[$method]} -w 0"
	ports 40000 65000
	wait_until 'real2 is idle, weight 0' idle
	# Connections scheduled before the edit have arrived by then, on a slow guest too.
	read_tcp
	before=("${opened[@]}")
	wait_until 'real1 and real3 serve without real2' more_opened 5 1 3
	before=("${opened[@]}")
	wait_until 'real1 and real3 serve without real2' more_opened 20 1 3
	at director 'ipvsadm -Ln'
	must 'new connections at real2 with weight 0' "$((opened[2] - before[2]))" = 0
	at director "ipvsadm -e -t $service -r ${real[2]} ${option[$method]} -w 1"
	wait_until 'real2 serves again' more_opened 5 2
	stop_wrk
	read_wrk load
	served=$wrk_served lost=$wrk_failed
	must 'requests failed while real2 was quiesced and restored' "$lost" = 0
	must 'requests served while real2 was quiesced and restored' "$served" -ge 30
}

# ports FROM TO: sets the client's range of source ports. A port that is reused within
# two minutes goes to the same dest again, even with weight 0: with DR and TUN the
# director does not receive the end of the old connection (see conn_reuse_mode in the
# kernel's ipvs-sysctl.rst).
ports() {
	on client "echo $1 $2 > /proc/sys/net/ipv4/ip_local_port_range"
}

# more_opened COUNT N…: whether real N… each got COUNT connections more than $before.
more_opened() {
	local n count=$1
	shift
	read_tcp
	for n; do [ "$((opened[n] - before[n]))" -ge "$count" ] || return; done
}

# more_received COUNT: whether real1 received COUNT more packets.
more_received() {
	read_tcp
	[ "$((segments[1] - start_segments[1]))" -ge "$1" ]
}

idle() {
	ask director 'ipvsadm -Ln' && listed 2 0 0
}

# Reads segments received and connections accepted by the TCP of the real servers, and
# at index 0 by that of the client.
read_tcp() {
	local n host
	for n in 0 1 2 3; do
		host=real$n
		[ "$n" != 0 ] || host=client
		ask "$host" tcp
		read -r "opened[$n]" "segments[$n]" <<<"${answer//$'\n'/ }"
	done
}

# Reads the director's counters, index 0 for the service and 1 to 3 for the dests.
read_stats() {
	local n what packets_in packets_out opens
	ask director 'ipvsadm -Ln --stats --exact'
	conns=() in=() out=()
	while read -r _ what opens packets_in packets_out _; do
		for n in 0 1 2 3; do
			[ "$what" = "${real[n]}" ] || continue
			conns[n]=$opens in[n]=$packets_in out[n]=$packets_out
		done
	done <<<"$answer"
}

# stats_match: whether the director counted the packets that the real servers received,
# and for NAT also the replies.
stats_match() {
	local n received=() replies=0
	read_tcp
	read_stats
	for n in 0 1 2 3; do received[n]=$((segments[n] - start_segments[n])); done
	[ "$method" != nat ] || replies=${received[0]}
	received[0]=$((received[1] + received[2] + received[3]))
	unmatched="director: ${in[*]} in, ${out[*]} out; real servers: ${received[*]}, client: $replies"
	counted=${in[0]}
	[ "${in[*]}" = "${received[*]}" ] &&
		[ "${out[0]}" = "$replies" ] &&
		[ "${out[0]}" = "$((out[1] + out[2] + out[3]))" ] &&
		[ "${conns[0]}" = "$((conns[1] + conns[2] + conns[3]))" ]
}

check_counters() {
	local requests replies
	# Segments that are sent again later would count for the next family.
	wait_until 'all connections closed' closed
	wait_until 'all packets counted' stats_match || {
		counted=-
		wrong "$unmatched"
	}
	[ "$LAB" = router ] || return
	requests=$(($(forwarded router1) - start_forwarded[0]))
	replies=$(($(forwarded router2) - start_forwarded[1]))
	note "router1 forwarded $requests packets to the director, router2 $replies from the real servers"
	tell "note|$family: router1 forwarded $requests packets to the director, router2 $replies from the real servers"
	must 'packets forwarded by router1' "$requests" = "$counted"
	must 'packets forwarded by router2' "$replies" -ge 50
}

# closed: whether no host has a connection that can still send.
closed() {
	local host
	for host in client real1 real2 real3; do
		ask "$host" 'ss -Htan state connected exclude time-wait' || return
		[ -z "$answer" ] || return
	done
}

# forwarded HOST: prints the packets of $family that HOST forwarded.
forwarded() {
	case $family in
	IPv4) ask "$1" 'grep ^Ip: /proc/net/snmp' && awk '
		NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i }
		NR == 2 { print $column["ForwDatagrams"] }' <<<"$answer" ;;
	IPv6) ask "$1" 'grep Ip6OutForwDatagrams /proc/net/snmp6' && awk '{ print $2 }' <<<"$answer" ;;
	esac
}
