# The time of templates at the ends of what a service's timeout can be: C keeps it
# as ticks in 32 bits, and shows what is left of it as milliseconds in 32 bits,
# over 1,000. Either may wrap.
FAMILY=4
# Ticks a second of the guest's kernels.
hz=250
[ "$KERNEL" != debug ] || hz=100
topology nat

# What the template of a service has left, by its port.
left_of() { nsenter --net=/run/netns/director awk -v p="$(printf %04X "$1")" '$3 == "0000" && $5 == p { print $9 }' /proc/net/ip_vs_conn; }
# How many milliseconds what is left is below those of the timeout.
below() { # PORT TICKS
	local left
	left=$(left_of "$1")
	[ -n "$left" ] || fail "no template for port $1"
	say "  $left s left"
	echo $((($2 * 1000 / hz - left * 1000) & 0xFFFFFFFF))
}
# The template of a time that is over lives on with its connection, for a minute
# at a time.
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
	agent persist director "$VIP" $port $seconds
	expect rs1 get udp "$VIP" $port 1
	ticks=$(((seconds * hz) & 0xFFFFFFFF))
	if [ $ticks -gt $((10 * SLOW * hz)) ]; then
		off=$(below $port $ticks)
		[ "$off" -le $(((3 * SLOW + 1) * 1000)) ] || fail "timeout $seconds: $off ms below it"
	else
		wait_for prolonged $port
		observe "timeout $seconds: prolonged" get udp "$VIP" $port 2
	fi
done
observe "persistent" listing --persistent-conn
