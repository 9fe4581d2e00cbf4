# NAT with mapped ports; the director is the real servers' gateway.
#
# Covers: src/xmit src/hook.rs src/conn
nat() {
	topology nat
	vs -A -t "$VIPB:80" -s rr
	vs -A -u "$VIPB:80" -s wrr
	for rip in "$RIPB1:80" "$RIPB2:8080" "$RIPB3:8080"; do
		vs -a -t "$VIPB:80" -r "$rip" -m
		vs -a -u "$VIPB:80" -r "$rip" -m -w 2
	done
	vs -e -u "$VIPB:80" -r "$RIPB1:80" -m -w 1
	requests
}
variants nat

# A UDP checksum of 0 is sent as 65535, as 0 means no checksum. Two bytes of data,
# equal to the checksum without them, make it 0.
zero() {
	topology nat
	vs -A -u "$VIPB:80" -s rr
	vs -a -u "$VIPB:80" -r "$GSB:8080" -m
	agent capture client client eth0
	agent capture silent silent eth0
	from_client "ip('$GC', '$VIP', udp(5000, 80, udp(5000, 8080, bytes(2)).bytes(address('$GC'), address('$GS'))[6:8]))"
	agent captured silent 1 "5000 > 8080" >/dev/null
	from_server "ip('$GS', '$GC', udp(8080, 5000, udp(80, 5000, bytes(2)).bytes(address('$VIP'), address('$GC'))[6:8]))"
	agent captured client 1 "80 > 5000" >/dev/null
	observe "IPv$FAMILY, checksum 0: at the server" received silent
	observe "IPv$FAMILY, checksum 0: at the client" received client
}
families zero
