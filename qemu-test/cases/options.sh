# ipvsadm 1.31 with every option of its manual page: tables of command lines, with
# the output and exit status of each, and the saved configuration afterwards. The end
# checks against --help that no option is missing.
#
# Covers: src/ctl
typed=$(mktemp)

# rows [COMMAND…]: runs ipvsadm with the arguments of each line of standard input,
# started by COMMAND. Text after ` < ` is ipvsadm's standard input, with \n for a
# newline.
rows() {
	tee -a "$typed" | nsenter --net=/run/netns/director bash -fuc '
		while IFS= read -r row; do
			input=
			case $row in *" < "*) input=${row#* < } row=${row% < *} ;; esac
			echo "[director] ${*:+$* }ipvsadm $row" >&2
			status=0
			said=$("$@" ipvsadm $row 2>&1 <<<"${input@E}") || status=$?
			echo "# ${row:-(nothing)}: $status"
			case $said in
			"IP Virtual Server version"*) said="${said%%size=*}size=N)${said#*size=*)}" ;;
			esac
			case " $row " in
			# The order and the remaining time of connections vary.
			*" -c "* | *" -Lnc "* | *" --connection "*)
				said=$(sed -E "s/ [0-9]{2}:[0-9]{2} +/ /" <<<"$said" | { sed -u 2q; sort; }) ;;
			esac
			[ -z "$said" ] || echo "$said"
		done' rows "$@"
}
table() { # LABEL [COMMAND…]
	observe "$1" rows "${@:2}"
	observe "$1: saved" vs -S -n
}

FAMILY=4
topology nat

table services <<-.
	-A -t 192.168.1.110:80
	-A -t 192.168.1.110:80 -s rr
	--add-service --tcp-service 192.168.1.110:81 --scheduler rr
	-A -u 192.168.1.110:80 -s wrr
	--add-service --udp-service 192.168.1.110:81 -s rr
	-A --sctp-service 192.168.1.110:80 -s lc
	-A -t [2001:db8:1::110]:80 -s wlc
	-A -u [2001:db8:1::110]:80 -s sh
	-A --sctp-service [2001:db8:1::110]:80 -s rr
	-A -t localhost:http -s rr
	-A -t 192.168.1.110:https -s rr
	-A -f 1
	--add-service --fwmark-service 2 --scheduler rr
	-A -f 3 -6 -s rr
	-A -f 3 -s rr
	-A -f 4294967295 -s rr
.
# Several rows in one process: the errors of the kernel for each
observe "schedulers" rows <<-.
	-R < -A -t 192.168.1.111:1 -s rr\n-A -t 192.168.1.111:2 -s wrr\n-A -t 192.168.1.111:3 -s lc\n-A -t 192.168.1.111:4 -s wlc
	-R < -A -t 192.168.1.111:5 -s lblc\n-A -t 192.168.1.111:6 -s lblcr\n-A -t 192.168.1.111:7 -s dh\n-A -t 192.168.1.111:8 -s sh
	-R < -A -t 192.168.1.111:9 -s sed\n-A -t 192.168.1.111:10 -s nq\n-A -t 192.168.1.111:11 -s fo\n-A -t 192.168.1.111:12 -s ovf
	-R < -A -t 192.168.1.111:13 -s mh\n-A -t 192.168.1.111:14 -s twos\n-A -t 192.168.1.111:15 -s nosuch\n-A -t 192.168.1.111:16 -s averylongname
.
vs -S -n >/tmp/saved
expect 14 grep -c -- '-t 192.168.1.111:' /tmp/saved
table "persistence, flags, one packet" <<-.
	-A -t 192.168.1.112:80 -s rr -p
	-A -t 192.168.1.112:81 -s rr -p 50
	-A -t 192.168.1.112:82 -s rr --persistent 360
	-A -t 192.168.1.112:83 -s rr -p 2678400
	-A -t 192.168.1.112:0 -s rr -p 100
	-A -u 192.168.1.112 -s rr -p 100
	-A -t 192.168.1.113:80 -s rr -p 50 -M 255.255.255.0
	-A -t 192.168.1.113:81 -s rr -p 50 --netmask 255.255.0.0
	-A -t 192.168.1.113:82 -s rr -p 50 -M 0.0.0.0
	-A -t 192.168.1.113:83 -s rr -M 255.255.255.0
	-A -t [2001:db8:1::113]:80 -s rr -p 50 -M 64
	-A -t [2001:db8:1::113]:81 -s rr -p 50 -M 128
	-A -f 113 -6 -s rr -p 50 -M 48
	-A -f 114 -s rr -p 50 -M 255.255.255.0
	-A -u 192.168.1.114:80 -s rr -o
	-A -u 192.168.1.114:81 -s rr --ops
	-A -f 115 -s rr -o
	-A -u 192.168.1.114:83 -s rr -o -p 50
	-A -t 192.168.1.115:80 -s sh -b sh-port
	-A -t 192.168.1.115:81 -s mh --sched-flags mh-port,mh-fallback
	-A -t 192.168.1.115:82 -s rr -b flag-1,flag-2
	-A -t 192.168.1.116:80 -s rr --pe nosuch
	-A -t 192.168.1.117:80 -s rr -p 50 --pe sip
.
table edited <<-.
	-E -t 192.168.1.110:80 -s wrr
	--edit-service -u 192.168.1.110:80 --scheduler sed
	-E -t 192.168.1.112:80 -s rr
	-E -t 192.168.1.112:81 -s rr -p 60 -M 255.255.255.0
	-E -t 192.168.1.110:81 -s rr -p
	-E -t [2001:db8:1::113]:80 -s rr -p 60 -M 32
	-E -u 192.168.1.114:80 -s rr
	-E -u 192.168.1.110:81 -s rr -o
	-E -t 192.168.1.115:80 -s sh
	-E -t 192.168.1.115:81 -s mh -b mh-port
	-E -f 1 -s nq -p 70
	-E -f 3 -6 -s wlc
	-E -t 192.168.1.110:80 -s nosuch
	-E -t 192.168.1.110:80 -s rr --pe nosuch
	-E -t 192.168.1.119:80 -s rr
	-E -f 119 -s rr
.
table deleted <<-.
	-D -t 192.168.1.113:80
	--delete-service --udp-service 192.168.1.114:81
	-D -f 115
	-D -f 113
	-D -f 113 -6
	-D --sctp-service [2001:db8:1::110]:80
	-D -t 192.168.1.113:80
.

table dests <<-.
	-a -t 192.168.1.110:80 -r 10.1.1.11
	-a -t 192.168.1.110:80 -r 10.1.1.11:80 -g
	--add-server -t 192.168.1.110:80 --real-server 10.1.1.12 --gatewaying
	-a -t 192.168.1.110:80 -r 10.1.1.13:8080 -m
	-a -t 192.168.1.110:80 -r 10.1.1.14 --masquerading
	-a -t 192.168.1.110:80 -r 10.1.1.15 -i
	-a -t 192.168.1.110:80 -r 10.1.1.16 --ipip
	-a -t 192.168.1.110:80 -r 10.1.1.17:81 -g
	-a -t 192.168.1.110:80 -r localhost:http -m
	-a -t 192.168.1.110:80 -r 192.168.1.1 -g
	-a -u 192.168.1.110:80 -r 10.1.1.11 -m -w 5
	-a -u 192.168.1.110:80 -r 10.1.1.12 -m --weight 0
	-a -u 192.168.1.110:80 -r 10.1.1.13 -m -w 65535
	-a -u 192.168.1.110:80 -r 10.1.1.14 -m -w 65536
	-a -u 192.168.1.110:80 -r 10.1.1.14 -m -x 100 -y 50
	-a -u 192.168.1.110:80 -r 10.1.1.15 -m --u-threshold 100
	-a -u 192.168.1.110:80 -r 10.1.1.16 -m -x 100 --l-threshold 101
	-a -u 192.168.1.110:80 -r 10.1.1.17 -m --l-threshold 1
	-a -u 192.168.1.110:80 -r 10.1.1.17 -m -x 2147483647 -y 2147483647
	-a --sctp-service 192.168.1.110:80 -r 10.1.1.11:81 -m
	-a -f 1 -r 10.1.1.11 -m
	-a -f 1 -r 10.1.1.12:8080 -g
	-a -f 3 -6 -r [2001:db8:2::11]:0 -m
	-a -t [2001:db8:1::110]:80 -r [2001:db8:2::11]:8080 -m
	-a -t [2001:db8:1::110]:80 -r [2001:db8:2::12]:80
	-a -t [2001:db8:1::110]:80 -r 10.1.1.12 -i
	-a -t 192.168.1.110:80 -r [2001:db8:2::12]:80 -i
	-a -t 192.168.1.119:80 -r 10.1.1.11
.
table tunnels <<-.
	-a -t 192.168.1.110:81 -r 10.1.1.11 -i --tun-type ipip
	-a -t 192.168.1.110:81 -r 10.1.1.12 -i --tun-type gue --tun-port 6080
	-a -t 192.168.1.110:81 -r 10.1.1.13 -i --tun-type gue --tun-port 6080 --tun-nocsum
	-a -t 192.168.1.110:81 -r 10.1.1.14 -i --tun-type gue --tun-port 6080 --tun-csum
	-a -t 192.168.1.110:81 -r 10.1.1.15 -i --tun-type gue --tun-port 6080 --tun-remcsum
	-a -t 192.168.1.110:81 -r 10.1.1.16 -i --tun-type gre
	-a -t 192.168.1.110:81 -r 10.1.1.17 -i --tun-type gre --tun-nocsum
	-a -t 192.168.1.110:81 -r 10.1.1.18 -i --tun-type gre --tun-csum
	-a -t 192.168.1.110:81 -r [2001:db8:2::19]:81 -i --tun-type gre
	-a -f 2 -r 10.1.1.11 -i --tun-type gue --tun-port 6080
	-L -n -t 192.168.1.110:81 --tun-info
.
table "dests edited" <<-.
	-e -t 192.168.1.110:80 -r 10.1.1.11 -m
	--edit-server -t 192.168.1.110:80 -r 10.1.1.12 -i -w 7
	-e -t 192.168.1.110:80 -r 10.1.1.13:8080 -m -w 0
	-e -t 192.168.1.110:80 -r 10.1.1.14 -m -x 9 -y 3
	-e -t 192.168.1.110:80 -r 10.1.1.14 -m -x 3 -y 9
	-e -t 192.168.1.110:81 -r 10.1.1.12 -i
	-e -t 192.168.1.110:81 -r 10.1.1.13 -i --tun-type gre --tun-csum
	-e -t 192.168.1.110:81 -r 10.1.1.14 -i --tun-type gue --tun-port 6081 --tun-remcsum
	-e -t 192.168.1.110:81 -r 10.1.1.15 -g
	-e -f 1 -r 10.1.1.12:8080 -g -w 3
	-e -t [2001:db8:1::110]:80 -r 10.1.1.12 -i -w 4
	-e -t 192.168.1.110:80 -r 10.1.1.19 -m
	-e -t 192.168.1.119:80 -r 10.1.1.11 -m
.
table "dests deleted" <<-.
	-d -t 192.168.1.110:80 -r 10.1.1.12
	--delete-server -t 192.168.1.110:80 -r 10.1.1.13:8080
	-d -t 192.168.1.110:80 -r 10.1.1.13:8080
	-d -f 1 -r 10.1.1.11
	-d -t [2001:db8:1::110]:80 -r 10.1.1.12
	-d -t 192.168.1.119:80 -r 10.1.1.12
.

observe "lists" rows <<-.

	-L
	-L -n
	--list --numeric
	-Ln --nosort -t 192.168.1.110:80
	-Ln -t 192.168.1.110:80
	-Ln -u 192.168.1.110:80
	-Ln --sctp-service 192.168.1.110:80
	-l --sort -n -t [2001:db8:1::110]:80
	-Ln -f 1
	-Ln -f 3 --ipv6
	-Ln -t 192.168.1.119:80
	-Ln --stats
	-Ln --stats --exact
	-Ln --rate
	-Ln --thresholds
	-Ln --persistent-conn
	-Ln --tun-info
	-Ln --rate -t [2001:db8:1::110]:80
	-Ln --connection
	-Ln -c --persistent-conn
	-Ln --timeout
	-S -n
	--save --numeric
.

table timeouts <<-.
	--set 100 50 40
	-L --timeout
	--set 0 0 0
	--set 0 60 0
	-L --timeout
	--set 2678400 2678400 2678400
	-L --timeout
	--set 900 120 300
.

table "restored" <<-.
	-R < -A -t 192.168.1.117:80 -s rr\n-a -t 192.168.1.117:80 -r 10.1.1.11 -m
	--restore < ipvsadm -A -u 192.168.1.117:80 -s rr -p 50\nipvsadm -a -u 192.168.1.117:80 -r 10.1.1.11 -m -w 3
	-R < \n\n   -A   -t   192.168.1.118:80   -s   rr
	-R < -A -t 192.168.1.118:80 -s rr
	-R < -D -t 192.168.1.118:80\n-D -t 192.168.1.118:80
	-R < -D -t 192.168.1.118:80\n-A -t 192.168.1.118:80 -s rr
	-R < -R
.

# Counters and connections: three from a client to a persistent service
vs -C
vs -A -u "$VIP:80" -s rr -p 50
vs -a -u "$VIP:80" -r "$RIP1:80" -m
vs -A -u "$VIP:8080" -s rr
vs -a -u "$VIP:8080" -r "$RIP2:8080" -m
expect "rs1 rs1 rs1" get udp "$VIP" 80 3
expect "rs2" get udp "$VIP" 8080
served 4
wait_for settled
table "after traffic" <<-.
	-Ln --stats
	-Ln --stats --exact
	-Ln --stats -u 192.168.1.110:80
	-Ln --persistent-conn
	-Ln
	-Ln -c
	-L -n --connection --persistent-conn
	-Z -u 192.168.1.119:80
	-Z -u 192.168.1.110:80
	-Ln --stats --exact
.
vs -A -t "$VIP:80" -s rr
observe "all zeroed" rows <<-.
	--zero
	-Ln --stats --exact
.
observe "all zeroed: files" n director sh -c "sed -n 3p /proc/net/ip_vs_stats; grep '~' /proc/net/ip_vs_stats_percpu"
observe "cleared" rows <<-.
	-C
	--clear
.

# Daemons; only their configuration is tested.
table daemons <<-.
	--start-daemon master --mcast-interface nosuch
	--start-daemon master --mcast-interface eth0 --syncid 7 --sync-maxlen 1400 --mcast-group 224.0.0.99 --mcast-port 9000 --mcast-ttl 3
	-L --daemon
	--start-daemon master --mcast-interface eth0
	--start-daemon backup --mcast-interface eth1 --syncid 8
	-Ln --daemon
	--stop-daemon master
	--stop-daemon master
	-L --daemon
	--stop-daemon backup --syncid 9
	-L --daemon
	--start-daemon master
	--start-daemon backup --mcast-interface eth1 --mcast-group ff02::99 --mcast-port 65535 --mcast-ttl 255
	-L --daemon
	--stop-daemon backup
	--start-daemon backup --sync-maxlen 1
	-L --daemon
	--stop-daemon backup
	--stop-daemon master
	-A -t 192.168.1.110:80 -s rr
	-a -t 192.168.1.110:80 -r [2001:db8:2::11]:80 -i
	--start-daemon master
	-L --daemon
	-C
	--start-daemon master
	-A -t 192.168.1.110:80 -s rr
	-a -t 192.168.1.110:80 -r [2001:db8:2::11]:80 -i
	--stop-daemon master
	-a -t 192.168.1.110:80 -r [2001:db8:2::11]:80 -i
.

# Privileges: the user nobody, without and with CAP_NET_ADMIN; root without it; root of
# a user namespace, in this network namespace and in its own.
nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)
allowed() {
	cat <<-.
		-Ln
		-Lnc
		-A -t 192.168.1.111:80 -s rr
		-C
	.
}
may() { # LABEL COMMAND…
	vs -A -t 192.168.1.120:80 -s rr
	allowed | table "$@"
	vs -C
}
vs -C
may nobody "${nobody[@]}"
may "nobody with CAP_NET_ADMIN" "${nobody[@]}" --inh-caps +net_admin --ambient-caps +net_admin
may "root without CAP_NET_ADMIN" setpriv --bounding-set -net_admin --inh-caps -net_admin
may "root of a user namespace" unshare --user --map-root-user
may "root of a user namespace and its network" unshare --user --map-root-user --net

# -h and -v; and every option must have been used.
observe "help" rows <<-.
	-h
	--help
	-v
	--version
.
options() {
	ipvsadm --help | awk '/^  --/ { for (i = 1; $i ~ /^-/; i++) { n = split($i, names, "|"); while (n) print names[n--] } }'
}
words=" $(tr '\n' ' ' <"$typed") "
for option in $(options); do
	case $words in
	*" $option "*) ;;
	*) fail "no row has $option" ;;
	esac
done
[ "$(options | wc -w)" -ge 70 ] || fail "--help shows few options"
