#!/bin/bash
# The demo in the guest: loads the module, then runs each method and family.
cd "$(dirname "$0")" || exit
. ./hosts.sh
. ./show.sh

# Our module is out-of-tree, which sets the taint flag O; the kernel's is not.
load_module() {
	local taint module
	modprobe ip_vs || {
		wrong 'modprobe ip_vs failed'
		return 1
	}
	taint=$(</sys/module/ip_vs/taint)
	# shellcheck disable=SC2153 # The runner sets it.
	case $MODULE$taint in
	rust*O*) module="the Rust ip_vs (out-of-tree)" ;;
	rust*) wrong "the in-tree ip_vs was loaded, not ours" ;;
	c*O*) wrong "an out-of-tree ip_vs was loaded, not the kernel's" ;;
	c*) module="the kernel's own C ip_vs" ;;
	esac
	module="${module:-unknown ip_vs} on Linux $(uname -r)"
	tell "module|$module"
	title "$module"
	[ -z "$failed" ]
}

methods=${METHODS:-nat dr tun}
[ "$LAB" != router ] || methods=dr

load_module || exit
# Namespaces start without duplicate address detection, which takes time.
sysctl -qw net.core.devconf_inherit_init_net=1 net.ipv6.conf.default.accept_dad=0
for method in $methods; do
	boot "$method"
	web_servers
	for family in IPv4 IPv6; do
		show_line
	done
	power_off
done
verdict
