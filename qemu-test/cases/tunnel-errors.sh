# ICMP errors about tunnel packets, from a router between director and real server:
# they are relayed to the client as errors about its own packets.
#
# Covers: src/hook/icmp
FAMILY=4
topology tun
for p in t u; do
	vs -A -$p "$VIPB:80" -s rr
	vs -a -$p "$VIPB:80" -r "$GSB:80" -i
done
# A dest for each tunnel header that is too short: see overlaid.
short=("$GS" "192.17.1.2" "192.168.64.0" "69.4.0.28")
for i in 0 1 2 3; do
	vs -A -u "$VIPB:$((81 + i))" -s rr
	vs -a -u "$VIPB:$((81 + i))" -r "${short[i]}:$((81 + i))" -i
	[ $i = 0 ] || configure router <<<"route add blackhole ${short[i]}"
done
router=${GS%.*}.77
agent capture client client eth0
agent capture silent silent eth0
from_client "ip('$GC', '$VIP', udp(5000, 80, b'question'))" "ip('$GC', '$VIP', tcp(5001, 80, 'S'))"
agent captured silent 2 >/dev/null
# The address of the first dest is also a client's.
from_client "ip('$GS', '$VIP', udp(5000, 81, b'question'))" \
	"[ip('$GC', '$VIP', udp(5000, port, b'question')) for port in (82, 83, 84)]"
wait_for is_left 6

about() { # CODE PACKET [MORE]: sends an error about PACKET in a tunnel
	from_server "ip('$router', '$DIP', icmp($1, ip('$DIP', '$GS', inside($2)), 1300${3-}))"
}
for upper in "udp(5000, 80, b'question')" "tcp(5001, 80, 'A', b'some data')"; do
	packet="ip('$GC', '$VIP', $upper, ttl=63)"
	for code in "3, 0" "3, 1" "3, 3" "11, 0" "12, 0" "5, 1" "4, 0"; do about "$code" "$packet"; done
	# Without DF on the client's packet, "fragmentation needed" is not relayed.
	about "3, 4" "$packet"
	about "3, 4" "ip('$GC', '$VIP', $upper, df=False)"
	# Truncated to the minimum that a router must quote, and below; a wrong checksum; IP options
	about "3, 1" "$packet[:28]"
	about "3, 1" "$packet[:24]"
	about "3, 1" "$packet[:20]"
	about "3, 1" "$packet" ", csum=1"
	about "3, 1" "ip('$GC', '$VIP', $upper, options=bytes([1, 1, 1, 0]))"
	# No connection. (For a connection that does not use a tunnel, C relays the error
	# if the tunnel's end is any dest; ours does not. Such an error must be forged.)
	about "3, 1" "${packet/500/700}"
done
packet="ip('$GC', '$VIP', udp(5000, 80, b'question'))"
# A tunnel to another address, a later fragment of a tunnel packet, another protocol
from_server "ip('$router', '$DIP', icmp(3, 1, ip('$DIP', '$router', inside($packet))))" \
	"ip('$router', '$DIP', icmp(3, 1, ip('$DIP', '$GS', inside($packet), offset=64)))" \
	"ip('$router', '$DIP', icmp(3, 1, ip('$DIP', '$GS', raw(47, bytes(8)))))"
# Malformed tunnel headers: a wrong version, a length that is too short or beyond the
# end, or a truncated header. With a correct length there may be options.
tunnel="ip('$DIP', '$GS', inside($packet))"
malformed() { # QUOTED: sends errors that quote these
	local code
	for code in "3, 1" "3, 4"; do
		from_server "[ip('$router', '$DIP', icmp($code, quoted, 1300)) for quoted in $1]"
	done
}
malformed "[bytes([first]) + $tunnel[1:] for first in (0x05, 0x15, 0x55, 0x65, 0xf5)]"
malformed "[bytes([0x40 + words]) + $tunnel[1:] for words in (0, 1, 2, 3, 4, 6, 10, 12, 13, 15)]"
malformed "[$tunnel[:size] for size in (0, 1, 8, 19, 20, 28, 39, 40, 43)]"
malformed "[ip('$DIP', '$GS', inside($packet), ihl=words) for words in (6, 8, 15)]"
malformed "[ip('$DIP', '$GS', inside($packet), options=bytes([1]) * size) for size in (4, 12, 40)]"
malformed "[ip('$DIP', '$GS', inside($packet), options=bytes([1]) * 12)[:size] for size in (20, 31, 32, 51, 52, 56)]"
# Malformed inner headers
malformed "[ip('$DIP', '$GS', raw(4, bytes([first]) + $packet[1:])) for first in (0x05, 0x15, 0x55, 0x65, 0xf5)]"
malformed "[ip('$DIP', '$GS', raw(4, bytes([0x40 + words]) + $packet[1:])) for words in (0, 1, 2, 3, 4, 6, 7, 8, 15)]"
# With a header length of fewer than 5 words, the inner packet would begin within the
# tunnel header: its first bytes are also the rest of that header.
overlaid() { # WORDS HEADER CLIENT: the header inside, in hexadecimal, up to its addresses
	malformed "[bytes([0x40 + $1, 0, 0, 100, 0, 1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0][:4 * $1]) + bytes.fromhex('$2') + \
		address('$3') + address('$VIP') + struct.pack('!HHHH', 5000, $((80 + $1)), 16, 0) + b'question']"
}
overlaid 1 450000000004000040110000 "$GS"
overlaid 1 450000000004400040110000 "$GS"
overlaid 2 4504002400010000c0110102 "$GC"
overlaid 2 4504002400014000c0110102 "$GC"
overlaid 3 45000024c0a8400040110000 "$GC"
overlaid 4 4504001c0001000040110000 "$GC"
overlaid 4 4504001c0001400040110000 "$GC"
# The path MTU is known now.
for size in 1252 1253 1300; do
	from_client "ip('$GC', '$VIP', udp(5000, 80, bytes($size)))" "ip('$GC', '$VIP', udp(5000, 80, bytes($size)), df=False)"
done
from_client "ip('$GC', '$VIP', udp(5009, 80, b'last'))"
agent captured silent 1 "5009 > 80" >/dev/null
observe "at the client" received client
observe "at the server" received silent
observe "connections" connections
served 3
observe "counts" counts

# A dest that was removed since; another service still has one with this address.
for p in t u; do vs -d -$p "$VIPB:80" -r "$GSB:80"; done
agent capture client gone eth0
about "3, 1" "$packet"
from_server "ip('$router', '$DIP', icmp(3, 1, ip('$DIP', '${short[1]}', inside(ip('$GC', '$VIP', udp(5000, 82, b'question'))))))"
agent captured gone 1 "5000 > 82" >/dev/null
observe "at the client, of a removed dest" received gone
