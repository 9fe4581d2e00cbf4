# For the cases of persistent services: creates services and sends requests.
# shellcheck shell=bash

show() { # LABEL
	observe "$1: --persistent-conn" listing --persistent-conn
	observe "$1: -Lnc" connections
}
# ask_from LAST…: one request from each client address with these last numbers
ask_from() {
	local last answers=
	for last; do
		agent source "${CIP%254}$last"
		answers+=" $(get "$PROTO" "$VIP" "${PORT:-80}")"
	done
	agent source ""
	echo "${answers# }"
}
clients() { # adds addresses to the client
	configure client <<-.
		addr add ${CIP%254}253/$1 dev eth0
		addr add ${CIP%254}201/$1 dev eth0
		addr add ${CIP%254}200/$1 dev eth0
	.
}
services() { # OPTIONS…
	for p in t u; do
		vs -A -$p "$VIPB:80" -s rr "$@"
		dests -m 80 -$p "$VIPB:80"
	done
}
# left NUMBER…: the templates' remaining time in seconds, rounded up to a known
# number if the difference is not more than the time since the case began
left() {
	director awk 'NR > 1 && $3 == "0000" { print $7, $8, $9 }' /proc/net/ip_vs_conn | while read -r port state left; do
		for known in 1 2 3 60 "$@"; do [ "$left" -gt "$known" ] || break; done
		[ $((known - left)) -ge 0 ] && [ $((known - left)) -le "$SECONDS" ] || known="$left, not $known"
		echo "$port $state $known"
	done | sort
}
