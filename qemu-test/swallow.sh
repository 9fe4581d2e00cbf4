# For the cases that check which dests are chosen (choices.py): all real servers
# are behind a dummy device, which discards every packet.
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
.
marked_networks
