# The device by which the way to the real servers leaves is deleted while
# nothing is sent: nobody holds on to it, and the services stay.
deleted() { # TOPOLOGY OPTION
	local device pid
	topology "$1"
	vs -A -u "$VIPB:80" -s rr
	for rip in "$RIPB1" "$RIPB2"; do vs -a -u "$VIPB:80" -r "$rip:80" "$2"; done
	expect "rs2 rs1" get udp "$VIP" 80 2
	device=${DOWNLINK##* }
	# Closed first, or deleted as it is
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
