# ICMP errors about the packets of a tunnel itself, from a router before the
# real server: the client is told, as if they were about its own.
FAMILY=4
topology tun
for p in t u; do
	vs -A -$p "$VIPB:80" -s rr
	vs -a -$p "$VIPB:80" -r "$GSB:80" -i
done
router=${GS%.*}.77
agent capture client client eth0
agent capture silent silent eth0
from_client "ip('$GC', '$VIP', udp(5000, 80, b'question'))" "ip('$GC', '$VIP', tcp(5001, 80, 'S'))"
agent captured silent 2 >/dev/null

about() { # CODE PACKET [MORE]: an error about that packet in a tunnel
	from_server "ip('$router', '$DIP', icmp($1, ip('$DIP', '$GS', inside($2)), 1300${3-}))"
}
for upper in "udp(5000, 80, b'question')" "tcp(5001, 80, 'A', b'some data')"; do
	packet="ip('$GC', '$VIP', $upper, ttl=63)"
	for code in "3, 0" "3, 1" "3, 3" "11, 0" "12, 0" "5, 1" "4, 0"; do about "$code" "$packet"; done
	# Who does not look for the path MTU is not told of it.
	about "3, 4" "$packet"
	about "3, 4" "ip('$GC', '$VIP', $upper, df=False)"
	# Cut to what a router must quote, with a wrong checksum
	about "3, 1" "$packet[:28]"
	about "3, 1" "$packet[:24]"
	about "3, 1" "$packet[:20]"
	about "3, 1" "$packet" ", csum=1"
	about "3, 1" "ip('$GC', '$VIP', $upper, options=bytes([1, 1, 1, 0]))"
	# No connection. (About one that is not forwarded by tunnel, which nobody can
	# have sent, C tells the client if the tunnel's end is some dest; ours does not.)
	about "3, 1" "${packet/500/700}"
done
packet="ip('$GC', '$VIP', udp(5000, 80, b'question'))"
# Another server's tunnel, a later fragment of one, and another protocol
from_server "ip('$router', '$DIP', icmp(3, 1, ip('$DIP', '$router', inside($packet))))" \
	"ip('$router', '$DIP', icmp(3, 1, ip('$DIP', '$GS', inside($packet), offset=64)))" \
	"ip('$router', '$DIP', icmp(3, 1, ip('$DIP', '$GS', raw(47, bytes(8)))))"
# A tunnel's header of another version, or shorter than one can be
for first in 0x65 0x42 0x44; do
	from_server "ip('$router', '$DIP', icmp(3, 1, bytes([$first]) + ip('$DIP', '$GS', inside($packet))[1:]))" \
		"ip('$router', '$DIP', icmp(3, 4, bytes([$first]) + ip('$DIP', '$GS', inside($packet))[1:], 1300))"
done
# The path's MTU is known now.
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
