# Times of templates at the limits of a service's timeout. C stores the timeout as
# jiffies in 32 bits, and shows the remaining time as milliseconds in 32 bits, divided
# by 1,000. Both may wrap.
#
# Covers: src/conn
FAMILY=4
# HZ of the guest's kernels.
hz=250
[ "$KERNEL" != debug ] || hz=100
topology nat

# Prints the remaining seconds of the template of the service on this port.
left_of() { nsenter --net=/run/netns/director awk -v p="$(printf %04X "$1")" '$3 == "0000" && $5 == p { print $9 }' /proc/net/ip_vs_conn; }
# Prints the difference of timeout and remaining time in milliseconds.
below() { # PORT TICKS
	local left
	left=$(left_of "$1")
	[ -n "$left" ] || fail "no template for port $1"
	say "  $left s left"
	echo $((($2 * 1000 / hz - left * 1000) & 0xFFFFFFFF))
}
# An expired template that still controls a conn is prolonged by a minute at a time.
prolonged() { # PORT
	local left
	left=$(left_of "$1")
	[ "$left" -le 60 ] && [ "$left" -gt $((60 - 10 * SLOW)) ]
}

vs --set 0 0 300
port=1000
for seconds in 0 1 2 300 4294966 4294967 4294968 8589934 8589935 10000000 17179868 17179869 17179870 21474836 21474837 \
	42949672 42949673 2147483648 4294967295; do
	port=$((port + 1))
	vs -A -u "$VIPB:$port" -s rr -p 300
	vs -a -u "$VIPB:$port" -r "$RIPB1:80" -m
	since=$SECONDS
	agent persist director "$VIP" $port $seconds
	expect rs1 get udp "$VIP" $port 1
	ticks=$(((seconds * hz) & 0xFFFFFFFF))
	if [ $ticks -gt $((10 * SLOW * hz)) ]; then
		off=$(below $port $ticks)
		[ "$off" -le $(((SECONDS - since + 2) * 1000)) ] || fail "timeout $seconds: $off ms below it"
	else
		wait_for prolonged $port
		observe "timeout $seconds: prolonged" get udp "$VIP" $port 2
	fi
done
observe "persistent" listing --persistent-conn
