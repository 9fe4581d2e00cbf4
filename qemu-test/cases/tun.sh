# Tunnels, IPIP and 6-in-6: the real servers have the VIP on the tunnel device and
# answer through a router.
#
# Covers: src/xmit/tun
tun() {
	topology tun
	vs -A -t "$VIPB:80" -s rr
	vs -A -u "$VIPB:80" -s wrr
	for rip in "$RIPB1" "$RIPB2" "$RIPB3"; do
		vs -a -t "$VIPB:80" -r "$rip:80" -i
		vs -a -u "$VIPB:80" -r "$rip:80" -i -w 2
	done
	vs -e -u "$VIPB:80" -r "$RIPB1:80" -i -w 1
	requests
}
variants tun
