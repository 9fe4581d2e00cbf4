# Truncated packets, wrong lengths and fragments: the packets sent to the real
# server must be C's, and other traffic must not be affected. Hosts answer packets of
# SCTP and GRE otherwise once these modules are loaded: they always are.
#
# Covers: src/hook src/packet
modprobe -qa sctp gre || true
bad() { # OPTION
	local c=$GC v=$VIP label="IPv$FAMILY $1${CONNTRACK:+, tracked}"
	for p in t u; do
		vs -A -$p "$VIPB:80" -s rr
		vs -a -$p "$VIPB:80" -r "$GSB:80" "$1"
		vs -A -$p "$VIPB:81" -s rr
		vs -A -$p "$VIPB:8080" -s rr
		vs -a -$p "$VIPB:8080" -r "$RIPB1:8080" "$1"
	done
	agent load client beside tcp "$VIP" 8080 1
	agent capture client client eth0 "$GC"
	agent capture silent silent eth0
	local whole="udp(5000, 80, b'whole packet')" segment="tcp(5001, 80, 'S', b'whole packet')"
	from_client "ip('$c', '$v', $whole)" "ip('$c', '$v', $segment)"

	# Truncated anywhere, with a correct or a wrong length in the IP header
	from_client "[ip('$c', '$v', raw(17, $whole.bytes(address('$c'), address('$v'))[:n])) for n in range(0, 20)]" \
		"[ip('$c', '$v', raw(6, $segment.bytes(address('$c'), address('$v'))[:n])) for n in range(0, 32)]" \
		"[ip('$c', '$v', $whole)[:n] for n in range(1, 60)]" \
		"[ip('$c', '$v', $segment)[:n] for n in range(1, 60)]"
	# Wrong lengths
	from_client "[ip('$c', '$v', udp(5002, 80, b'data', length=n)) for n in (0, 7, 8, 11, 13, 65535)]" \
		"[ip('$c', '$v', tcp(5003, 80, 'S', b'data', doff=n)) for n in range(16)]" \
		"[ip('$c', '$v', udp(5004, 80, b'data'), length=n) for n in (0, 8, 19, 20, 21, 27, 28, 30, 33, 65535)]" \
		"[ip('$c', '$v', udp(5005, 80, b'data'), version=n) for n in (0, 5, 15)]"
	# Checksums
	from_client "ip('$c', '$v', udp(5006, 80, b'data', csum=1))" "ip('$c', '$v', udp(5007, 80, b'data', csum=0))" \
		"ip('$c', '$v', tcp(5008, 80, 'S', csum=1))"
	# Other protocols; no dest; no service; port 0; the VIP as the source
	from_client "[ip('$c', '$v', raw(n, bytes(40))) for n in (0, 2, 47, 50, 51, 59, 103, 132, 136, 255)]" \
		"ip('$c', '$v', udp(5009, 81))" "ip('$c', '$v', tcp(5009, 81, 'S'))" "ip('$c', '$v', udp(5009, 82))" \
		"ip('$c', '$v', udp(0, 80))" "ip('$c', '$v', udp(5010, 0))" "ip('$c', '$v', tcp(0, 80, 'S'))" "ip('$v', '$v', udp(5011, 80))"
	# Truncated ICMP; ICMP errors about truncated packets and about other traffic
	from_client "[ip('$c', '$v', raw($ICMP, $ECHO.bytes(address('$c'), address('$v'))[:n])) for n in range(12)]" \
		"[ip('$c', '$v', icmp($UNREACHABLE, ip('$v', '$c', udp(80, 5000, b'whole packet'))[:n])) for n in range(0, 60)]" \
		"ip('$c', '$v', icmp($UNREACHABLE, ip('$v', '$c', icmp($UNREACHABLE, ip('$c', '$v', $whole)))))" \
		"ip('$c', '$v', icmp($UNREACHABLE, ip('$v', '$c', udp(80, 5000), version=7)))" \
		"ip('$c', '$v', icmp($UNREACHABLE, ip('$v', '$c', udp(80, 5000), length=9)))" \
		"ip('$c', '$v', icmp($UNREACHABLE, inside(ip('$v', '$c', udp(80, 5000))).data))"
	"more_$FAMILY"
	# When the last packet arrives, all before it have been processed
	from_client "ip('$c', '$v', udp(5999, 80, b'last'))"
	agent captured silent 1 "5999 > 80" >/dev/null
	observe "$label: at the server" received silent
	observe "$label: at the client" received client 0 "$GC "
	# Errors that the director's own stack counted
	observe "$label: errors at the director" errors
	now=$(agent answered beside)
	enough() { [ "$(agent answered beside 2>/dev/null)" -ge $((now + 5)) ]; }
	wait_for enough
	agent unload beside >/tmp/beside
	expect rs1 awk '{ print $1 }' /tmp/beside
	observe "$label: connections" connections_of 5...
}
errors() {
	nsenter --net=/run/netns/director sh -c 'cat /proc/net/snmp /proc/net/snmp6' | awk '
		/^(Udp|Tcp):/ && !($1 in names) { names[$1] = $0; next }
		/^(Udp|Tcp):/ { split(names[$1], name); for (i = 2; i <= NF; i++) if (name[i] ~ /^In(Err|Csum)/) print $1, name[i], $i }
		/^Udp6In(Err|Csum)/ { print $1, $2 }'
}
# In C, two packets that two CPUs handle at the same time may each create a conn, and
# a listing may omit conns while others are created and freed. Hence two listings.
connections_of() { { connections; connections; } | grep -E ":$1 " | sort -u; }
more_4() {
	local c=$GC v=$VIP
	from_client "[ip('$c', '$v', udp(5020, 80, b'data'), ihl=n) for n in range(16)]" \
		"ip('$c', '$v', udp(5021, 80, b'data'), options=b'\\x07\\x07\\x04\\0\\0\\0\\0')" \
		"ip('$c', '$v', udp(5022, 80, b'data'), options=b'\\x94\\x04\\0\\0')" \
		"ip('$c', '$v', udp(5023, 80, b'data'), options=b'\\x83\\x07\\x04\\x0a\\x01\\x01\\x63\\0')" \
		"ip('$c', '$v', udp(5024, 80, b'data'), options=b'\\x07\\xff\\0\\0')" \
		"ip('$c', '$v', udp(5025, 80, b'data'), csum=1)"
}
more_6() {
	local c=$GC v=$VIP
	from_client "ip('$c', '$v', udp(5020, 80, b'data'), exthdr=bytes([17, 0, 1, 4, 0, 0, 0, 0]), nexthdr=60)" \
		"ip('$c', '$v', udp(5021, 80, b'data'), exthdr=bytes([17, 0, 1, 4, 0, 0, 0, 0]), nexthdr=0)" \
		"ip('$c', '$v', udp(5022, 80, b'data'), exthdr=bytes([17, 9, 1, 4, 0, 0, 0, 0]), nexthdr=60)" \
		"ip('$c', '$v', udp(5023, 80, b'data'), exthdr=bytes([60, 0, 1, 4, 0, 0, 0, 0] * 2 + [17, 0, 1, 4, 0, 0, 0, 0]), nexthdr=60)" \
		"ip('$c', '$v', udp(5024, 80, b'data'), exthdr=bytes([17, 0, 0, 0, 0, 0, 0, 0]), nexthdr=43)" \
		"ip('$c', '$v', udp(5025, 80, b'data'), exthdr=bytes([17, 0, 0, 0, 0, 0, 0, 9]), nexthdr=44)" \
		"ip('$c', '$v', udp(5026, 80, b'data'), exthdr=bytes([59, 0, 1, 4, 0, 0, 0, 0]), nexthdr=60)"
}
kinds() {
	ICMP=1 ECHO="echo(8, 1)" UNREACHABLE="3, 3"
	[ "$FAMILY" = 4 ] || ICMP=58 ECHO="echo(128, 1)" UNREACHABLE="1, 4"
	topology "$1"
	bad "$2"
}
families kinds nat -m
families kinds dr -g
FAMILY=4 CONNTRACK=
kinds tun -i
# Packets that conntrack accepts are forwarded.
FAMILY=6 tracked kinds nat -m
