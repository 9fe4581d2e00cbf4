#!/bin/bash
# In the guest, with the plugin: windows of 100 packets, each of another connection,
# and the symbols for them.
set -euo pipefail
. "$(dirname "$0")/lab.sh"

traced() { # METHOD FAMILY PROTO CASE
	open "${@:1:3}" 100
	case $4 in
	established) TRACE=1 send 100 < <(requests "$2" 100) ;;
	reply) TRACE=1 send 100 < <(reply "$2" 100) ;;
	new)
		as "$3" "$2" $SYN
		send 20000 < <(request "$2" 2000 22000) >/dev/null
		settle
		TRACE=1 send 100 < <(request "$2" 30000 30100)
		;;
	esac
	grep -i ' [tw] ' /proc/kallsyms >"$OUT/$3$2-$1-$4.symbols"
	grep pcpu /proc/vmallocinfo >"$OUT/$3$2-$1-$4.vmalloc" || true
}

sysctl -qw kernel.kptr_restrict=1 # real addresses for root
lab
for proto in udp tcp; do
	for method in dr nat; do
		for case in established reply new; do
			[ "$method-$case" != dr-reply ] || continue
			measure ${proto}4-$method-$case traced $method 4 $proto $case
		done
	done
done
for method in tun gue gre; do measure udp4-$method-established traced $method 4 udp established; done
for method in dr nat; do measure sctp4-$method-established traced $method 4 sctp established; done
