# The output device of the routes to the real servers is deleted without traffic:
# no reference to it may remain, and the services stay.
#
# Covers: src/dest src/xmit/route rust-out-of-tree/net/notifier
deleted() { # TOPOLOGY OPTION
	local device pid
	topology "$1"
	vs -A -u "$VIPB:80" -s rr
	for rip in "$RIPB1" "$RIPB2"; do vs -a -u "$VIPB:80" -r "$rip:80" "$2"; done
	expect "rs2 rs1" get udp "$VIP" 80 2
	device=${DOWNLINK##* }
	# Set down first, or deleted while up
	[ "$FAMILY" = 4 ] || n director ip link set "$device" down
	say "[director] ip link del $device"
	nsenter --net=/run/netns/director ip link del "$device" &
	pid=$!
	ended() { ! kill -0 "$pid"; }
	wait_for ended
	observe "$1, IPv$FAMILY" listing
}
families deleted nat -m
families deleted dr -g
families deleted tun -i
