# The dependencies of ip_vs and xt_ipvs. ip_vs does not need x_tables: the match `ipvs` has a
# module, which iptables loads, and which each rule with the match holds a reference to.
#
# Covers: src/companion src/xt_ipvs rust-out-of-tree/net/x_tables Makefile Kbuild

# The modules that a module depends on, as in the file and as loaded.
depends() { modinfo -F depends "$1" | tr , '\n' | sort; }
needed() {
	local holder
	for holder in /sys/module/*/holders/"$1"; do
		holder=${holder#/sys/module/}
		echo "${holder%%/*}"
	done
}
# Each module with its refcount and its users.
lsmod_ipvs() { lsmod | awk '/^(ip_vs|xt_ipvs) / { print $1, $3, $4 }' | sort; }
uses() { lsmod | awk -v m="$1" '$1 == m { print $3 }'; }
is_used() { [ "$(uses "$1")" = "$2" ]; }
in_use() { rmmod "$1" 2>&1 | grep -o 'Module .*'; }

for module in ip_vs xt_ipvs; do observe "modinfo -F depends $module" depends "$module"; done
for alias in xt_ipvs ipt_ipvs ip6t_ipvs; do observe "modprobe -R $alias" modprobe -R "$alias"; done

netns director
wait_for unload
modprobe ip_vs
observe "what ip_vs needs" needed ip_vs
observe lsmod lsmod_ipvs

for tables in iptables ip6tables; do
	n director $tables -A OUTPUT -m ipvs --ipvs
	observe "$tables: what xt_ipvs needs" needed xt_ipvs
	observe "$tables: one rule" lsmod_ipvs
	n director $tables -A OUTPUT -m ipvs --ipvs
	observe "$tables: two rules" lsmod_ipvs
	observe "$tables: rmmod xt_ipvs" in_use xt_ipvs
	observe "$tables: rmmod ip_vs" in_use ip_vs
	n director $tables -F
	wait_for is_used xt_ipvs 0
	observe "$tables: no rule" lsmod_ipvs
	rmmod xt_ipvs
	observe "$tables: without xt_ipvs" lsmod_ipvs
done

# By name, as scripts do. A rule outlives its namespace's name, but not the namespace.
modprobe xt_ipvs
n director iptables -A OUTPUT -m ipvs --ipvs
refused rmmod xt_ipvs
ip netns del director
wait_for is_used xt_ipvs 0
wait_for unload
modprobe ip_vs
observe "loaded again" lsmod_ipvs
