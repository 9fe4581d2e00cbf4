# Direct routing: the real servers have the VIP on lo and answer through a router.
# The director receives only the requests.
#
# Covers: src/xmit src/hook.rs src/conn
dr() {
	topology dr
	vs -A -t "$VIPB:80" -s rr
	vs -A -u "$VIPB:80" -s wrr
	for rip in "$RIPB1" "$RIPB2" "$RIPB3"; do
		vs -a -t "$VIPB:80" -r "$rip:80" -g
		vs -a -u "$VIPB:80" -r "$rip:80" -g -w 2
	done
	vs -e -u "$VIPB:80" -r "$RIPB1:80" -g -w 1
	requests
}
variants dr
