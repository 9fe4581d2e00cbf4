# For the cases that look at who is chosen (choices.py): machines, with all real
# servers behind a device that swallows everything.
# shellcheck shell=bash

topology nat
modprobe dummy
configure director <<-.
	link add servers type dummy
	addr add 10.255.255.254/9 dev servers
	addr add 2001:db8:99:0:ffff::1/64 dev servers
	link set servers up
	route add 10.98.0.0/16 dev servers
	route add 2001:db8:98::/64 dev servers
	route add local 10.77.0.0/16 dev lo
	route add local 2001:db8:77::/64 dev lo
.
n director nft -f - <<-.
	table inet marks {
		chain before {
			type filter hook prerouting priority mangle;
			ip daddr 10.77.0.0/16 meta mark set 7
			ip6 daddr 2001:db8:77::/64 meta mark set 7
		}
	}
.
