# ipvsadm's listings: --sort and --nosort, and how scheduler flags are entered and
# shown. (`control` has its other output.)
#
# Covers: src/ctl
raw() { # OPTION…: without the size of the conn table and the remaining time
	nsenter --net=/run/netns/director ipvsadm "$@" 2>&1 | sed -E 's/size=[0-9]+/size=N/; s/ [0-9]{2}:[0-9]{2} / /'
}
show() { observe "ipvsadm $*" raw "$@"; }
FAMILY=4
topology nat
vs -A -t "$VIPB:80" -s sh -b sh-fallback,sh-port
for rip in 10.1.1.13:80 10.1.1.11:80 10.1.1.12:8080 10.1.1.99:80; do
	vs -a -t "$VIPB:80" -r $rip -m -w 3 -x 100 -y 50
done
for order in --sort --nosort; do
	for what in "" --thresholds --persistent-conn "-t $VIPB:80"; do
		# shellcheck disable=SC2086 # words
		show -Ln $what $order
	done
	show -Sn $order
done
# The order of several services is not C's, but the sorted order is.
vs -R <<-.
	-A -t $VIPB:443 -s rr
	-A -u $VIPB:80 -s rr
	-A -t 192.168.1.9:443 -s rr
	-A -t [2001:db8::9]:80 -s rr
	-A --sctp-service $VIPB:80 -s rr
	-a --sctp-service $VIPB:80 -r 10.1.1.11 -g
	-A -f 9 -s rr
	-A -f 9 -6 -s rr
	-a -f 9 -r 10.1.1.13 -g
	-a -f 9 -r 10.1.1.11 -g
	-a -f 9 -r 10.1.1.12 -g
.
show -Ln --sort
show -Ln --sort --thresholds
vs -C
# Only configuration of SCTP: add, edit, zero, delete
try() {
	local status=0
	nsenter --net=/run/netns/director ipvsadm "$@" 2>&1 || status=$?
	echo "status $status"
}
sctp() { observe "ipvsadm $1 --sctp-service ${*:2}" try "$1" --sctp-service "$VIPB:80" "${@:2}"; }
sctp -A -s rr
sctp -A -s rr
sctp -a -r 10.1.1.11 -m
sctp -e -r 10.1.1.11 -m -w 5
sctp -E -s wlc -p 100
sctp -Z
show -Sn
observe "/proc/net/ip_vs" proc_listing
sctp -d -r 10.1.1.11
sctp -D
sctp -D
# Flags
for scheduler in mh sh; do
	for flag in mh-fallback mh-port sh-fallback sh-port flag-1 flag-2 flag-3 flag-1,flag-3 nonsense; do
		observe "$scheduler $flag" try -A -t "$VIPB:80" -s $scheduler -b $flag
		show -Ln
		show -Sn
		try -D -t "$VIPB:80" >/dev/null
	done
done
