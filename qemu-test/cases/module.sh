# Loads the module and C's schedulers by name, as scripts do. modprobe finds our
# module first, which has all schedulers. It cannot be unloaded while a service exists.
#
# Covers: src/ip_vs.rs rust-out-of-tree/module Makefile Kbuild
loaded() { modules | sort | paste -sd ' '; }

netns director
wait_for unload
say modprobe -a ip_vs ip_vs_rr ip_vs_wrr ip_vs_sh
modprobe -a ip_vs ip_vs_rr ip_vs_wrr ip_vs_sh
case $MODULE in
rust)
	grep -q O /sys/module/ip_vs/taint
	expect ip_vs loaded
	;;
c)
	refused grep -q O /sys/module/ip_vs/taint
	expect "ip_vs ip_vs_rr ip_vs_sh ip_vs_wrr" loaded
	;;
esac

# A request for the netlink family loads the module.
wait_for unload
vs -A -t 192.168.1.110:80 -s rr
vs -A -u 192.168.1.110:53 -s wrr

in_use() { rmmod ip_vs 2>&1 | grep -o 'ip_vs is in use'; }
expect "ip_vs is in use" in_use
vs -D -t 192.168.1.110:80
expect "ip_vs is in use" in_use
vs -D -u 192.168.1.110:53
unload
refused test -e /proc/net/ip_vs

# A namespace's services are destroyed with it, and with them the last reference.
vs -A -t 192.168.1.110:80 -s rr
expect "ip_vs is in use" in_use
ip netns del director
wait_for unload
modprobe ip_vs
