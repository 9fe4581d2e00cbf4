# keepalived: it detects that a real server fails or recovers, uses a sorry server
# below the quorum, reloads a changed configuration, and deletes its services when
# it ends. The services use NAT, DR and tunnels, addresses and fwmarks, and both
# families.
#
# Covers: src/ctl
CONFIG=/run/keepalived.conf LOG=/run/keepalived.log
finish() {
	local pid
	for pid in $(jobs -p); do kill "$pid" || true; done
	[ ! -e $LOG ] || sed 's/^/keepalived: /' $LOG | tail -n 80 >&2
}
trap finish EXIT

FAMILY=4
topology nat

# Web servers that are stopped and started; each serves its name.
declare -A web
start_web() { # MACHINE PORT WORD
	mkdir -p "/run/www/$3"
	echo "$3" >"/run/www/$3/index.html"
	say "[$1] serves $3 at port $2"
	nsenter --net="/run/netns/$1" busybox httpd -f -p "$2" -h "/run/www/$3" &
	web[$3]=$!
}
stop_web() { # WORD
	say "stops web server $1"
	kill "${web[$1]}"
	wait "${web[$1]}" || true
}
browse() { # COUNT: prints the servers of the next pages
	for ((i = 0; i < $1; i++)); do client curl -sS --max-time 10 "http://$VIP/"; done | xargs
}
for i in 1 2 3; do start_web rs$i 8000 rs$i; done
start_web rs3 8001 sorry

rm -f /run/quorum.log
cat >/run/quorum <<.
#!/bin/sh
echo "\$1" >>/run/quorum.log
.
chmod 755 /run/quorum

checked="delay_loop 1
	warmup 0
	connect_timeout 2
	retry 1
	delay_before_retry 0.5"
tcp_check="TCP_CHECK {
			connect_port 8000
		}"
cat >$CONFIG <<.
global_defs {
	router_id LVS_TEST
	script_user root
	enable_script_security
}

virtual_server $VIP 80 {
	$checked
	lb_algo rr
	lb_kind NAT
	protocol TCP
	quorum 3
	hysteresis 1
	quorum_up "/run/quorum up"
	quorum_down "/run/quorum down"
	sorry_server $RIP3_4 8001
	real_server $RIP1_4 8000 {
		weight 2
		HTTP_GET {
			url {
				path /index.html
				status_code 200
			}
		}
	}
	real_server $RIP2_4 8000 {
		weight 2
		HTTP_GET {
			url {
				path /
				digest $(echo rs2 | md5sum | cut -d ' ' -f 1)
			}
		}
	}
	real_server $RIP3_4 8000 {
		weight 1
		uthreshold 1000
		lthreshold 900
	}
}

virtual_server $VIP 8080 {
	$checked
	lb_algo wlc
	lb_kind NAT
	persistence_timeout 50
	persistence_granularity 255.255.255.0
	protocol TCP
	inhibit_on_failure
	real_server $RIP1_4 8080 {
		weight 1
	}
	real_server $RIP2_4 8080 {
		weight 3
		$tcp_check
	}
}

virtual_server $VIP 443 {
	$checked
	lb_algo sh
	lb_kind DR
	sh-port
	protocol TCP
	real_server $RIP1_4 443 {
	}
	real_server $RIP2_4 443 {
		$tcp_check
	}
}

virtual_server $VIP 53 {
	$checked
	lb_algo wlc
	lb_kind TUN
	ops
	protocol UDP
	real_server $RIP1_4 53 {
	}
	real_server $RIP2_4 53 {
		lvs_method TUN type gue port 6080 csum
		weight 5
	}
}

virtual_server fwmark 7 {
	$checked
	lb_algo wrr
	lb_kind NAT
	real_server $RIP1_4 0 {
	}
	real_server $RIP2_4 0 {
		$tcp_check
	}
}

virtual_server $VIP_6 80 {
	$checked
	lb_algo rr
	lb_kind NAT
	protocol TCP
	real_server $RIP1_6 8000 {
	}
	real_server $RIP2_6 8000 {
		$tcp_check
	}
}
.
# keepalived does not touch services that others have configured.
vs -A -t "$VIP:9999" -s rr

say "[director] keepalived --check"
: >$LOG
nsenter --net=/run/netns/director keepalived --check --dont-fork --log-console --log-detail --no-syslog \
	--use-file=$CONFIG --pid=/run/keepalived.pid --checkers_pid=/run/keepalived-check.pid >>$LOG 2>&1 &
keepalived=$!

# Whether NUMBER dests are listed, WEIGHTLESS of them with weight 0.
dests_are() { # NUMBER [WEIGHTLESS]
	nsenter --net=/run/netns/director ipvsadm -Sn | awk -v n="$1" -v m="${2-0}" '
		/^-a/ { dests++; for (i = 1; i < NF; i++) if ($i == "-w" && $(i + 1) == 0) weightless++ }
		END { exit dests != n || weightless + 0 != m }'
}
quorum_is() { [ "$(tail -n 1 /run/quorum.log)" = "$1" ]; }

wait_for dests_are 13
observe "all up" listing
observe "thresholds" listing --thresholds
observe "tunnels" listing --tun-info
observe "served" browse 6
observe "served, persistently" get tcp "$VIP" 8080 2

stop_web rs2
wait_for dests_are 9 1
observe "rs2 down" listing
observe "served" browse 3

# The quorum is a total weight of 3; 1 is left.
stop_web rs1
wait_for quorum_is down
wait_for dests_are 8 1
observe "the sorry server" listing
expect "sorry sorry" browse 2

start_web rs1 8000 rs1
start_web rs2 8000 rs2
wait_for quorum_is up
wait_for dests_are 13
observe "all up again" listing
observe "served" browse 6
observe "quorum" cat /run/quorum.log

# A changed configuration: an open connection keeps working.
kept=$(agent hold client kept tcp "$VIP" 8080)
observe "kept" echo "$kept"
sed -i -E -e "/virtual_server $VIP 53 /,/^}/d" \
	-e "/virtual_server $VIP 443 /,/^}/ { s/lb_algo sh/lb_algo rr/; /sh-port/d }" \
	-e "/virtual_server $VIP 80 /,/^}/ s/weight 2/weight 7/" \
	-e "/virtual_server $VIP 8080 /,/^}/ s/weight 3/weight 4/" $CONFIG
cat >>$CONFIG <<.
virtual_server $VIP 8443 {
	lb_algo mh
	lb_kind NAT
	protocol TCP
	real_server $RIP3_4 8080 {
	}
}
.
say "keepalived: SIGHUP"
kill -HUP "$keepalived"
reloaded() { vs -Ln -t "$VIP:8443" && dests_are 12; }
wait_for reloaded
observe "another configuration" listing
expect "$kept" agent use kept1
expect "$kept" agent use kept1
# curl's ports vary, so its connections are left out.
observe "connections" eval 'connections | grep ":8080 "'
expect "rs3" get tcp "$VIP" 8443
observe "served" browse 4

say "keepalived: SIGTERM"
kill "$keepalived"
wait "$keepalived" || fail "keepalived ended with $?"
expect "-A -t $VIP:9999 -s rr" vs -Sn
# Its messages about IPVS
complaints() { sed -E 's/^[A-Z][a-z]{2} [A-Z][a-z]{2} .* [0-9]{4}: //' $LOG | grep -iE 'ipvs|netlink|permission' | sort -u; }
observe "complaints" complaints
