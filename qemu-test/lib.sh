# Functions for the cases in bash. A case is a bash file in cases/; `suite` runs
# it under `set -eu` with this file loaded. A case creates machines (network
# namespaces) with `topology`, configures the director with `vs`, sends requests
# through it with `get` and checks results with `expect`. `observe` records
# results that must be the same under the C module. Every command is printed,
# so a failed case can be repeated by hand (`make shell`).
# shellcheck shell=bash

# --- running and printing

say() { printf '%s\n' "$*" >&2; }
fail() { say "FAILED: $*"; exit 1; }
# Ends a case that has nothing to test here. It counts neither as passed nor as
# failed.
skip() { say "SKIPPED: $*"; echo "$*" >"$SKIPPED"; exit; }

# n MACHINE COMMAND…: runs COMMAND in the network namespace MACHINE.
n() {
	local ns=$1
	shift
	say "[$ns] $*"
	nsenter --net="/run/netns/$ns" "$@"
}
client() { n client "$@"; }
director() { n director "$@"; }
vs() { n "${DIRECTOR:-director}" ipvsadm "$@"; }

# Adds rs1, rs2 and rs3 at PORT as dests of SERVICE.
dests() { # OPTION PORT SERVICE…
	local rip
	for rip in "$RIPB1" "$RIPB2" "$RIPB3"; do vs -a "${@:3}" -r "$rip:$2" "$1"; done
}

# agent FUNCTION ARGUMENTS…: calls a function of agent.py; one call at a time.
agent() {
	local answer
	say "[agent] $*"
	printf '%s\0' $# "$@" >&"$AGENT_IN"
	IFS= read -r -d '' -t $((120 * SLOW)) -u "$AGENT_OUT" answer || fail "the agent does not answer"
	[ "${answer%%$'\n'*}" = 0 ] || fail "agent ${answer#*$'\n'}"
	answer=${answer#*$'\n'}
	[ -z "$answer" ] || printf '%s\n' "$answer"
}
get() { agent get client "$@"; }           # PROTO ADDRESS PORT [COUNT] [WORD]

# expect WANTED COMMAND…: COMMAND must print WANTED.
expect() {
	local wanted=$1 got
	shift
	got=$("$@") || fail "$*"
	[ "$got" = "$wanted" ] || fail "$*"$'\n'"  expected: $wanted"$'\n'"  got:      $got"
	say "  = $got"
}

# refused COMMAND…: COMMAND must fail.
refused() {
	if "$@"; then fail "succeeded: $*"; fi
}

# Waits until COMMAND succeeds. Its output is not printed.
wait_for() {
	local deadline=$((SECONDS + ${DEADLINE:-20} * SLOW))
	until "$@" >/dev/null 2>&1; do
		[ "$SECONDS" -lt "$deadline" ] || { "$@" || true; fail "waited too long for: $*"; }
		sleep 0.05
	done
}

# The loaded IPVS modules; ip_vs, which the others use, comes last.
modules() { awk '/^(xt_)?ip_?vs/ { print $1 }' /proc/modules | sort -r; }
# Tries once to unload them; for wait_for.
unload() {
	# shellcheck disable=SC2046 # words
	rmmod $(modules)
	[ -z "$(modules)" ]
}

# The director's number of conns, and whether it is the number given.
count() { nsenter --net=/run/netns/director tail -n +2 /proc/net/ip_vs_conn | wc -l; }
is_left() { [ "$(count)" = "$1" ]; }

# --- observations, which must be the same under both modules

observe() { # LABEL COMMAND…
	local label=$1 got
	shift
	got=$("$@") || fail "$*"
	{
		printf '## %s\n' "$label"
		[ -z "$got" ] || printf '%s\n' "$got"
	} >>"$OBSERVED"
	# shellcheck disable=SC2001 # on every line
	sed 's/^/  | /' <<<"$got" >&2
}

# Sorts the services of a listing; the heading stays first. C hashes services
# with a random key, so their order has no meaning; the order of a service's
# dests has.
by_service() {
	awk '
		/^(TCP|UDP|SCTP|FWM|-A)/ { key = $0; n = 0 }
		key == "" { print; next }
		/^-a/ { key = "-A " $2 " " $3 }
		{ printf "%s\t%04d\t%s\n", key, n++, $0 }' | sort_listing
}
sort_listing() { # sorts keyed lines by key and number; other lines stay first
	awk -F '\t' 'NF == 3 { print | "LC_ALL=C sort -t \"\t\" -k 1,1 -k 2,2n | cut -f 3-"; next } { print }'
}

# The size of the conn table may differ.
listing() { vs -Ln "$@" | sed '1s/size=[0-9]*/size=N/' | by_service; }
saved() { vs -Sn | LC_ALL=C sort -s -k 2,3; }
proc_listing() { n "${DIRECTOR:-director}" cat /proc/net/ip_vs | sed '1s/size=[0-9]*/size=N/' | by_service; }
# Connections without their remaining time, which varies.
connections() { vs -Lnc | sed -E 's/ [0-9]{2}:[0-9]{2} +/ /' | { read -r a; read -r b; printf '%s\n%s\n' "$a" "$b"; sort; }; }
proc_connections() { n "${DIRECTOR:-director}" cat /proc/net/ip_vs_conn | sed -E 's/ +[0-9]+$//' | { read -r a; printf '%s\n' "$a"; sort; }; }

# The sums of the services' and of the dests' counters, and of the per-CPU
# counters. C shows the former from a copy that is up to two seconds old.
sums() {
	nsenter --net=/run/netns/director ipvsadm -Ln --stats --exact | awk '
		NR > 3 { for (i = 0; i < 5; i++) sum[$1 == "->", i] += $(3 + i) }
		END { for (d = 0; d < 2; d++) print sum[d, 0] + 0, sum[d, 1] + 0, sum[d, 2] + 0, sum[d, 3] + 0, sum[d, 4] + 0 }'
}
cpu_sums() {
	nsenter --net=/run/netns/director gawk --non-decimal-data '
		/^ *[0-9A-F]+( +[0-9A-F]+){5}$/ { for (i = 0; i < 5; i++) sum[i] += strtonum("0x" $(2 + i)) }
		END { print sum[0] + 0, sum[1] + 0, sum[2] + 0, sum[3] + 0, sum[4] + 0 }' /proc/net/ip_vs_stats_percpu
}
settled() {
	local all
	[ "$MODULE" = c ] || return 0
	all=$(cpu_sums)
	[ "$(sums)" = "$all"$'\n'"$all" ]
}

# Exact counters, for cases with a fixed number of packets. Nothing may have been
# deleted or zeroed before.
counts() {
	wait_for settled
	vs -Ln --stats --exact "$@" | by_service
}

# The module must have counted at least MINIMUM conns in total.
begun() {
	local all
	all=$(cpu_sums)
	[ "${all%% *}" -ge "$1" ]
}
served() { # MINIMUM
	wait_for begun "$1"
}

# --- machines

# netns NAME…: deletes all named network namespaces and creates new ones.
netns() { agent netns "$@"; }

# configure MACHINE: runs the `ip` commands on standard input, one a line.
configure() {
	local line lines=
	while read -r line; do
		say "[$1] ip $line"
		lines+=$line$'\n'
	done
	ip -n "$1" -batch - <<<"$lines"
}
# Makes the director accept packets to all addresses of 10.77.0.0/16 and
# 2001:db8:77::/64 and give them the mark 7.
marked_networks() {
	configure director <<-.
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
}
setting() { # MACHINE NAME=VALUE…
	n "$1" sysctl -qw "${@:2}"
}

# topology NAME: creates the machines of a network of topology.py and sets variables with
# their addresses of the family $FAMILY (default 4). With CONNTRACK=yes, existing machines
# of the same topology are kept and drop_invalid is added.
#   CIP client, VIP virtual service, DIP director, RIP1 RIP2 RIP3 real servers
#   GC GS addresses without a network stack, of a client and a real server;
#   packets to them arrive at the machines client and silent
# VIPB, RIPB1, GSB… are the same addresses as written before a port.
# from_client and from_server send crafted packets to the director.
topology() {
	local i variables
	if [ -n "${CONNTRACK-}" ] && [ "$1" = "${TOPOLOGY-}" ]; then
		say "--- the same machines, IPv$FAMILY, connection tracking"
		addresses
		agent end
		vs -C
		drop_invalid
		return
	fi
	say "--- topology $1, IPv${FAMILY:-4}${CONNTRACK:+, connection tracking}"
	TOPOLOGY=$1
	variables=$(agent topology "$1")
	eval "$variables"
	addresses
	for i in 1 2 3; do agent serve "rs$i" "rs$i" 80 8080; done
	[ -z "${CONNTRACK-}" ] || drop_invalid
}

# Sets the variables for the existing machines; to be called after a change of
# FAMILY.
addresses() {
	local i v
	for v in CIP VIP DIP RIP1 RIP2 RIP3 GC GS; do
		i=${v}_${FAMILY:-4}
		printf -v "$v" %s "${!i}"
		if [ "${FAMILY:-4}" = 6 ]; then i="[${!v}]"; else i=${!v}; fi
		case $v in G?) printf -v "${v}B" %s "$i" ;; *) printf -v "${v/IP/IPB}" %s "$i" ;; esac
	done
}

# shellcheck disable=SC2086 # words
from_client() { agent send $UPLINK "$@"; }
# shellcheck disable=SC2086
from_server() { agent send $DOWNLINK "$@"; }

# Adds connection tracking on the director and drops packets of state invalid.
# Conntrack does not handle the packets of IPVS, so for NAT it has no entry
# for the connections, and replies are invalid at every hook.
drop_invalid() { # [MACHINE]
	local hook hooks="prerouting input output postrouting forward" verdict=drop
	[ "$TOPOLOGY" != nat ] || hooks="input output"
	# With conntrack=1 a client's ACK is invalid where the director gets no reply.
	[ -z "${TRACKED-}" ] || [ "$TOPOLOGY" = nat ] || verdict=accept
	{
		echo "table inet drop_invalid {"
		for hook in $hooks; do
			echo "chain $hook { type filter hook $hook priority 0; ct state invalid counter $verdict; }"
		done
		echo "}"
	} | n "${1:-director}" nft -f -
}

# families COMMAND…: runs it for IPv4 and IPv6. variants COMMAND…: also without
# and with drop_invalid. The debug kernel is slow and checks for errors that do not
# depend on these combinations: it runs half of them, unless LONG is set.
families() {
	for FAMILY in 4 6; do "$@"; done
	FAMILY=4
}
variants() {
	for FAMILY in 4 6; do
		for CONNTRACK in '' yes; do
			case $KERNEL${LONG-}$FAMILY$CONNTRACK in debug4yes | debug6) ;; *) "$@" ;; esac
		done
	done
	FAMILY=4 CONNTRACK=
}

# in_turn COMMAND…: IPv4 without and IPv6 with drop_invalid, where family and
# connection tracking do not affect each other.
in_turn() {
	FAMILY=4 CONNTRACK=
	"$@"
	FAMILY=6 CONNTRACK=yes
	"$@"
	FAMILY=4 CONNTRACK=
}

# tracked COMMAND…: runs it with drop_invalid, on new machines. Conntrack passes
# only a client's TCP SYNs and ACKs, which may start a connection, and drops ICMP
# errors about packets that IPVS handled.
tracked() {
	CONNTRACK=yes TOPOLOGY=
	"$@"
	CONNTRACK=
}

# The incoming packets of a capture, or those of both directions, sorted, as two
# CPUs may reorder packets.
received() { agent captured "$1" "${2:-0}" "${3-}" | grep '^<' | LC_ALL=C sort; }
packets() { agent captured "$1" "${2:-0}" "${3-}" | LC_ALL=C sort; }

# The kinds of TCP packets in a capture. Real stacks merge and split segments
# depending on timing, so their number and sizes have no meaning, nor whether there is an
# ACK without data.
tcp_kinds() {
	agent captured "$1" 0 " tcp " | sed -E '/ A data=0 /d; s/data=[1-9][0-9]*/data=some/' | LC_ALL=C sort -u
}

# The common part of nat, dr and tun, after the director is configured. Checks
# which real servers answer, the client address of their packets, conns, counters, and
# the packets at the client and at rs2.
requests() {
	agent capture client client eth0
	agent capture rs2 rs2 eth0
	expect "rs3 rs2 rs1 rs3 rs2 rs1" get tcp "$VIP" 80 6
	expect "rs3 rs2 rs1 rs3 rs2 rs3 rs2 rs1 rs3 rs2" get udp "$VIP" 80 10
	observe "servers see" get tcp "$VIP" 80 3 who
	observe "servers see" get udp "$VIP" 80 3 who
	served 22
	observe listing listing
	# Dests that are added again keep their counters; the service does not.
	[ -n "$CONNTRACK" ] || observe "UDP counts" counts -u "$VIPB:80"
	observe connections connections
	observe /proc/net/ip_vs_conn proc_connections
	for host in client rs2; do
		observe "$host's UDP" packets "$host" 0 " udp "
		observe "$host's TCP" tcp_kinds "$host"
	done
}
