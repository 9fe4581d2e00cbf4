#!/bin/bash
# In the guest: instructions per packet, one row for each case.
set -euo pipefail
. "$(dirname "$0")/lab.sh"

lab
for family in 4 6; do
	for proto in udp tcp; do
		p=$proto$family
		measure $p-floor floor $family $proto
		[ $proto = tcp ] || measure $p-limit limit $family
		measure $p-forward forward $family $proto
		for method in dr nat tun; do
			measure $p-$method-established established $method $family $proto
			[ $method != nat ] || measure $p-nat-reply replied nat $family $proto
			measure $p-$method-new new $method $family $proto
		done
		for method in dr nat; do
			for hook in prerouting input output postrouting; do
				measure $p-$method-drop-$hook dropped $hook $method $family $proto
				[ $proto = tcp ] || CHECKSUM=yes measure ${p}sum-$method-drop-$hook dropped $hook $method $family $proto
			done
		done
	done
done
measure sctp4-floor floor 4 sctp
for method in dr nat; do
	measure sctp4-$method-established established $method 4 sctp
	[ $method != nat ] || measure sctp4-nat-reply replied nat 4 sctp
	for hook in input output; do measure sctp4-$method-drop-$hook dropped $hook $method 4 sctp; done
done
for family in 4 6; do
	for method in gue guecsum gre grecsum; do
		measure udp$family-$method-established established $method $family udp
		for hook in input output; do measure udp$family-$method-drop-$hook dropped $hook $method $family udp; done
	done
done
# With connection tracking, net.ipv4.vs.conntrack=1.
export TRACKED=yes
for method in dr nat; do
	measure udp4ct-$method-established established $method 4 udp
	measure udp4ct-$method-new new $method 4 udp
	for hook in input output; do measure udp4ct-$method-drop-$hook dropped $hook $method 4 udp; done
done
unset TRACKED
# While a master daemon runs that sends a connection with its third packet only: packets that are not sent.
export MASTER=yes
for p in udp tcp; do
	for method in dr nat; do
		measure ${p}4sync-$method-established established $method 4 $p
		for hook in input output; do measure ${p}4sync-$method-drop-$hook dropped $hook $method 4 $p; done
	done
done
unset MASTER
measure udp4-dr-filling filling dr 4 udp
measure udp4-nat-filling filling nat 4 udp
for scheduler in rr wrr wlc; do
	for dests in 1 100 1000; do
		measure udp4-dr-new-$scheduler-$dests new dr 4 udp $scheduler $dests
	done
done
