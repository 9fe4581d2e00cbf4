# Fwmark services: several addresses, ports and protocols as one service.
#
# Covers: src/service src/spec

# by_iptables and by_nft mark packets to the VIP on the director, TCP and UDP: 1 for
# ports 80 and 8080, 2 for port 81.
by_iptables() {
	local tables=iptables
	[ "$FAMILY" = 4 ] || tables=ip6tables
	for p in tcp udp; do
		director $tables -t mangle -A PREROUTING -d "$VIP" -p $p -m multiport --dports 80,8080 -j MARK --set-mark 1
		director $tables -t mangle -A PREROUTING -d "$VIP" -p $p --dport 81 -j MARK --set-mark 2
	done
}
by_nft() {
	local ip=ip
	[ "$FAMILY" = 4 ] || ip=ip6
	director nft -f - <<-.
		table inet marks {
			chain prerouting {
				type filter hook prerouting priority mangle
				$ip daddr $VIP meta l4proto { tcp, udp } th dport { 80, 8080 } mark set 1
				$ip daddr $VIP meta l4proto { tcp, udp } th dport 81 mark set 2
			}
		}
	.
}
show() { # LABEL
	observe "$1: --persistent-conn" listing --persistent-conn
	observe "$1: -Lnc" connections
	observe "$1: /proc/net/ip_vs_conn" proc_connections
}
ask() { # LABEL
	observe "$1: tcp 80" get tcp "$VIP" 80 3
	observe "$1: tcp 8080" get tcp "$VIP" 8080 2
	observe "$1: udp 80" get udp "$VIP" 80 2
	observe "$1: udp 8080" get udp "$VIP" 8080 2
}
marked() { # TOPOLOGY OPTION BY
	topology "$1"
	"by_$3"
	local label="IPv$FAMILY $1 $3" six=
	[ "$FAMILY" = 4 ] || six=-6
	# shellcheck disable=SC2086 # words
	{
		vs -A -f 1 $six -s rr
		dests "$2" 0 -f 1 $six
		# Also by address: a packet with a mark of no service is for this one.
		vs -A -t "$VIPB:81" -s rr
		vs -a -t "$VIPB:81" -r "$RIPB1:$([ "$2" = -m ] && echo 8080 || echo 81)" "$2"
		vs -A -t "$VIPB:80" -s rr
	}
	ask "$label"
	[ "$2" = -g ] || observe "$label: by address" get tcp "$VIP" 81 2
	served 9
	observe "$label: -Lnc" connections
	# shellcheck disable=SC2086
	vs -E -f 1 $six -s rr -p 300
	ask "$label, persistent"
	show "$label, persistent"
	observe "$label, persistent: saved" saved
	observe "$label, persistent: /proc/net/ip_vs" proc_listing
	# Each family has its own services.
	observe "$label: the other family" other_family $six
	# shellcheck disable=SC2086
	vs -D -f 1 $six
	observe "$label: deleted" get udp "$VIP" 80 1 name 0.3
	# A new service with the same mark gets the old dests and templates.
	# shellcheck disable=SC2086
	vs -A -f 1 $six -s rr -p 300
	# shellcheck disable=SC2086
	dests "$2" 0 -f 1 $six
	ask "$label, again"
	show "$label, again"
}
other_family() {
	local status=0
	case ${1-} in
	-6) vs -D -f 1 2>&1 || status=$? ;;
	*) vs -D -f 1 -6 2>&1 || status=$? ;;
	esac
	echo "status $status"
}
for by in iptables nft; do
	FAMILY=4
	marked nat -m $by
	FAMILY=6
	tracked marked dr -g $by
done
