# Large transfers must be intact: as GSO packets with checksum offload, and as single
# packets with complete checksums.
#
# Covers: src/xmit/edit src/wire/csum
SIZE=1000000
[ "$KERNEL" != debug ] || SIZE=200000
each_link() { # COMMAND…: runs it with each machine and interface
	local ns interface
	for ns in client rs1; do "$@" $ns eth0; done
	for interface in eth0 eth1; do
		if [ -e "/run/netns/router" ]; then "$@" router $interface; else "$@" director $interface; fi
	done
	[ ! -e /run/netns/router ] || "$@" director eth0
}
offload() { # on|off NS INTERFACE
	n "$2" ethtool -K "$3" tx "$1" sg "$1" tso "$1" gso "$1" gro "$1" >/dev/null
}
transfer() { # OPTION
	local how=$1 state
	vs -A -t "$VIPB:80" -s rr
	vs -a -t "$VIPB:80" -r "$RIPB1:80" "$how"
	for state in on off; do
		each_link offload $state
		agent capture client client eth0
		agent capture rs1 rs1 eth0
		expect intact agent upload client "$VIP" 80 $SIZE
		expect intact agent download client "$VIP" 80 $SIZE
		observe "IPv$FAMILY $how, offload $state: super-packets" super_packets
		observe "checksums" checksums
	done
	served 4
}
super_packets() { for host in client rs1; do [ "$(agent largest $host)" -gt 1500 ] && echo "$host yes" || echo "$host no"; done; }
# Besides packets with partial checksums some may have complete ones: small packets
# and retransmissions.
checksums() {
	for host in client rs1; do
		echo "$host $(agent checksums $host)"
	done | sed -E 's/<ok (.*<partial)/\1/; s/>ok (.*>partial)/\1/'
}
nat() { topology nat; transfer -m; }
dr() { topology dr; transfer -g; }
tun() { topology tun; transfer -i; }
in_turn nat
in_turn dr
in_turn tun
