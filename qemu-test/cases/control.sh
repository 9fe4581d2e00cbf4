# ipvsadm commands: output and exit status, and afterwards the listing, the saved
# configuration and /proc/net/ip_vs.
#
# Covers: src/ctl src/spec
try() {
	local said status=0
	said=$(nsenter --net=/run/netns/director ipvsadm "$@" 2>&1) || status=$?
	say "[director] ipvsadm $*"
	observe "ipvsadm $*" printf '%s\n' "status $status${said:+$'\n'}$said"
}
table() {
	observe "-Ln" listing
	observe "-Sn" saved
	observe "/proc/net/ip_vs" proc_listing
}

netns director
# Until lo is up, no address in the namespace is of type unicast.
ip -n director link set lo up
table

# Services
try -A -t 192.168.1.110:80 -s rr
try -A -t 192.168.1.110:80 -s wrr
try -A -u 192.168.1.110:80 -s wrr
try -A -t '[2001:db8:1::110]:80' -s wlc
try -A -t 192.168.1.110:443
try -A -t 192.168.1.111:80 -s nosuch
try -A -t 192.168.1.110:0 -s rr
table
try -E -t 192.168.1.110:80 -s wlc
try -E -t 192.168.1.112:80 -s wlc
try -E -t 192.168.1.110:80 -s nosuch
try -D -t 192.168.1.112:80
try -D -t 192.168.1.110:443
try -D -t 192.168.1.110:443
table

# Dests: newest first; all kinds of addresses and ports
for rip in 10.1.1.11:80 10.1.1.12:8080 10.1.1.13; do
	try -a -t 192.168.1.110:80 -r "$rip" -m
	try -a -u 192.168.1.110:80 -r "${rip%:*}:80" -g -w 3
done
try -a -t 192.168.1.110:80 -r 10.1.1.14 -i -w 65535
try -a -t 192.168.1.110:80 -r 10.1.1.14 -m
try -a -t 192.168.1.110:80 -r 10.1.1.15:81 -g
try -a -t 192.168.1.110:80 -r 127.0.0.1 -m
try -a -t 192.168.1.110:80 -r 224.0.0.1 -m
try -a -t 192.168.1.110:80 -r 255.255.255.255 -m
try -a -t 192.168.1.110:80 -r 0.0.0.0 -m
try -a -t 192.168.1.112:80 -r 10.1.1.11 -m
try -a -t '[2001:db8:1::110]:80' -r '[2001:db8:2::11]:8080' -m
try -a -t '[2001:db8:1::110]:80' -r '[2001:db8:2::12]:80' -i -w 0
try -a -t '[2001:db8:1::110]:80' -r '[ff02::1]:80' -g
try -a -t '[2001:db8:1::110]:80' -r '[fe80::1]:80' -g
try -a -t '[2001:db8:1::110]:80' -r '[::1]:80' -m
try -a -t '[2001:db8:1::110]:80' -r 10.1.1.11 -m
try -a -t '[2001:db8:1::110]:80' -r 10.1.1.11 -i
table
[ "$(listing | grep -c -- '-> 10\.1\.1\.1[1-5]:')" -ge 8 ] || fail "dests were refused"
try -e -t 192.168.1.110:80 -r 10.1.1.12:8080 -m -w 7
try -e -t 192.168.1.110:80 -r 10.1.1.11:80 -g
try -e -t 192.168.1.110:80 -r 10.1.1.13:80 -m -w 0
try -e -t 192.168.1.110:80 -r 10.1.1.19:80 -m
try -e -t 192.168.1.110:80 -r 10.1.1.12:8080 -m -w -1
try -e -t 192.168.1.110:80 -r 10.1.1.12:8080 -m -x 10 -y 5
try -e -t 192.168.1.110:80 -r 10.1.1.12:8080 -m -x 5 -y 10
table
observe "thresholds" listing --thresholds
try -d -t 192.168.1.110:80 -r 10.1.1.11:80
try -d -t 192.168.1.110:80 -r 10.1.1.11:80
try -d -t 192.168.1.110:80 -r 10.1.1.12
table
# A change of the scheduler keeps the dests.
for scheduler in rr wrr wlc; do
	try -E -t 192.168.1.110:80 -s $scheduler
	table
done

# One service, other formats
observe "one" listing -t 192.168.1.110:80
try -Ln -t 192.168.1.112:80
observe "--stats" listing --stats
observe "--rate" listing --rate
observe "-Lnc" connections
observe "-Lnc" proc_connections

# Timeouts
try -Ln --timeout
try --set 60 30 20
try -Ln --timeout
try --set 0 0 0
try --set 0 31 0
try -Ln --timeout
try --set 4294967 1 1
try -Ln --timeout

# Zero, save, flush, restore
try -Z -t 192.168.1.110:80
try -Z -t 192.168.1.112:80
try -Z
before=$(saved)
try -C
table
say "[director] ipvsadm -R <<."
say "$before"
n director ipvsadm -R <<<"$before"
expect "$before" saved
table
try -R <<<'-A -t 192.168.1.110:80 -s rr'
try -R <<<'-a -t 192.168.1.119:80 -r 10.1.1.1 -m'
try -D -u 192.168.1.110:80
table
try -C
try -C
table
