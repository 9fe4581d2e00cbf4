# Scripts and configurations as printed in LVS tutorials: shell scripts that set up
# director and real servers for direct routing, and keepalived configurations, with
# mail that cannot be delivered and keywords of old versions.
#
# Covers: src/ctl src/hook
FAMILY=4
LOG=/run/keepalived.log
finish() {
	local pid
	for pid in $(jobs -p); do kill "$pid" || true; done
	[ ! -e $LOG ] || sed 's/^/keepalived: /' $LOG | tail -n 60 >&2
}
trap finish EXIT

# --- the scripts of an LVS-DR how-to; busybox provides the net-tools
[ -x /sbin/ifconfig ] || ln -s "$(command -v busybox)" /sbin/ifconfig
[ -x /sbin/route ] || ln -s "$(command -v busybox)" /sbin/route
cat >/run/lvs_dr.sh <<'.'
#!/bin/bash
# description: start LVS of DirectorServer
GW=192.168.1.254
VIP=192.168.1.110
RIP1=192.168.1.11
RIP2=192.168.1.12

case "$1" in
start)
    echo " start LVS of DirectorServer"
    echo "0" >/proc/sys/net/ipv4/ip_forward
    echo "1" >/proc/sys/net/ipv4/conf/all/send_redirects
    echo "1" >/proc/sys/net/ipv4/conf/eth0/send_redirects
    # set the Virtual IP Address
    /sbin/ifconfig eth0:0 $VIP broadcast $VIP netmask 255.255.255.255 up
    /sbin/route add -host $VIP dev eth0:0
    # clear IPVS table
    /sbin/ipvsadm -C
    # set LVS
    /sbin/ipvsadm -A -t $VIP:80 -s rr
    /sbin/ipvsadm -a -t $VIP:80 -r $RIP1:80 -g
    /sbin/ipvsadm -a -t $VIP:80 -r $RIP2:80 -g
    # run LVS
    /sbin/ipvsadm
    ;;
stop)
    echo " stop LVS of DirectorServer"
    /sbin/ipvsadm -C
    /sbin/ifconfig eth0:0 down
    ;;
status)
    isLoOn=`/sbin/ifconfig eth0:0 | grep "$VIP"`
    if [ "$isLoOn" == "" ]; then
        echo "LVS-DR has to run....."
    else
        echo "LVS-DR is running....."
    fi
    exit 3
    ;;
*)
    echo "Usage: $0 {start|stop|status}"
    exit 1
esac
exit 0
.
cat >/run/realserver.sh <<'.'
#!/bin/bash
# description: Config realserver lo and apply noarp
SNS_VIP=192.168.1.110
case "$1" in
start)
    ifconfig lo:0 $SNS_VIP netmask 255.255.255.255 broadcast $SNS_VIP
    /sbin/route add -host $SNS_VIP dev lo:0
    echo "1" >/proc/sys/net/ipv4/conf/lo/arp_ignore
    echo "2" >/proc/sys/net/ipv4/conf/lo/arp_announce
    echo "1" >/proc/sys/net/ipv4/conf/all/arp_ignore
    echo "2" >/proc/sys/net/ipv4/conf/all/arp_announce
    sysctl -p >/dev/null 2>&1
    echo "RealServer Start OK"
    ;;
stop)
    ifconfig lo:0 down
    route del $SNS_VIP >/dev/null 2>&1
    echo "0" >/proc/sys/net/ipv4/conf/lo/arp_ignore
    echo "0" >/proc/sys/net/ipv4/conf/lo/arp_announce
    echo "0" >/proc/sys/net/ipv4/conf/all/arp_ignore
    echo "0" >/proc/sys/net/ipv4/conf/all/arp_announce
    echo "RealServer Stoped"
    ;;
*)
    echo "Usage: $0 {start|stop}"
    exit 1
esac
exit 0
.
# The same from a more recent tutorial
cat >/run/realserver-ip.sh <<'.'
#!/bin/sh
sysctl -w net.ipv4.conf.lo.arp_ignore=1
sysctl -w net.ipv4.conf.lo.arp_announce=2
sysctl -w net.ipv4.conf.all.arp_ignore=1
sysctl -w net.ipv4.conf.all.arp_announce=2
ip addr add 192.168.1.110/32 dev lo label lo:0
ip route add 192.168.1.110/32 dev lo
.
topology router
agent reset # stops the agent's servers
director ip addr del "$VIP/32" dev eth0
for i in 1 2; do
	mkdir -p /run/www/$i
	echo "<h1>rs$i</h1>" >/run/www/$i/index.html
	n rs$i busybox httpd -f -p 80 -h /run/www/$i &
done
n rs1 bash /run/realserver.sh start
n rs2 bash /run/realserver-ip.sh
started() { director bash /run/lvs_dr.sh start | sed "s/size=[0-9]*/size=N/"; }
observe "lvs_dr.sh start" started
observe "the director" listing
browse() { for i in 1 2 3 4; do client curl -sS --max-time 10 http://192.168.1.110/; done; }
observe "served" browse
browse >/tmp/served
expect "2 rs1 2 rs2" eval "grep -o 'rs.' /tmp/served | sort | uniq -c | xargs"
# All requests went through the director's IPVS.
connected() { vs -Lnc | awk '/ESTABLISHED|FIN_WAIT/ { n++ } END { exit n < 8 }'; }
wait_for connected
observe "lvs_dr.sh stop" n director bash /run/lvs_dr.sh stop
expect "" vs -Sn
refused client curl -sS --max-time 2 http://192.168.1.110/
n rs1 bash /run/realserver.sh stop

# --- keepalived
topology dr
director ip addr del "$VIP/32" dev eth0

# load FILE DESTS: starts keepalived and waits until DESTS dests are listed; checks may
# remove some soon after
load() {
	say "[director] keepalived -f $1"
	: >$LOG
	nsenter --net=/run/netns/director keepalived --dont-fork --log-console --log-detail --no-syslog --use-file="$1" \
		--pid=/run/keepalived.pid --checkers_pid=/run/keepalived-check.pid --vrrp_pid=/run/keepalived-vrrp.pid >>$LOG 2>&1 &
	keepalived=$!
	wait_for dests_are "$2"
	observe "$1" sed '1s/size=[0-9]*/size=N/' /run/listed
}
dests_are() { # NUMBER: whether this many are listed; the listing is in /run/listed
	nsenter --net=/run/netns/director ipvsadm -Ln >/run/listed
	[ "$(grep -c '^  -> [0-9[]' /run/listed)" = "$1" ]
}
# keepalived's warnings must be about the file, not about IPVS.
unload_config() {
	kill "$keepalived"
	wait "$keepalived" || fail "keepalived ended with $?"
	expect "" vs -Sn
	observe "complaints" complaints
}
complaints() {
	sed -E 's/^[A-Z][a-z]{2} [A-Z][a-z]{2} .* [0-9]{4}: //' $LOG |
		grep -iE 'line [0-9]+\)|unknown|deprecat|obsolete|warning|ipvs|not supported' | sort -u
}

# keepalived's own sample; its servers do not exist.
load /etc/keepalived/keepalived.conf.sample 5
unload_config

# The master of the pair of directors in most tutorials of LVS and keepalived
cat >/run/dr.conf <<'.'
! Configuration File for keepalived

global_defs {
   notification_email {
     acassen@firewall.loc
     failover@firewall.loc
     sysadmin@firewall.loc
   }
   notification_email_from Alexandre.Cassen@firewall.loc
   smtp_server 192.168.1.200
   smtp_connect_timeout 30
   router_id LVS_DEVEL  # different on MASTER and BACKUP
}

vrrp_instance VI_1 {
    state MASTER            # BACKUP on the other
    interface eth0
    virtual_router_id 51
    priority 100            # 90 on the other
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        192.168.1.110
    }
}

virtual_server 192.168.1.110 80 {
    delay_loop 6
    lb_algo rr
    lb_kind DR
    nat_mask 255.255.255.0
    persistence_timeout 0
    protocol TCP

    real_server 192.168.1.11 80 {
        weight 1
        TCP_CHECK {
            connect_timeout 3
            nb_get_retry 3
            delay_before_retry 3
            connect_port 80
        }
    }
    real_server 192.168.1.12 80 {
        weight 1
        TCP_CHECK {
            connect_timeout 3
            nb_get_retry 3
            delay_before_retry 3
            connect_port 80
        }
    }
    real_server 192.168.1.13 8081 {
        weight 1
        TCP_CHECK {
            connect_timeout 3
            nb_get_retry 3
            delay_before_retry 3
            connect_port 8081
        }
    }
}
.
load /run/dr.conf 3
is_master() { ip -n director addr show dev eth0 | grep -q 'inet 192.168.1.110/'; }
wait_for is_master
# No server listens on 8081. The mail about it cannot be delivered, without effect.
wait_for dests_are 2
observe "without the third" listing
observe "served" get tcp "$VIP" 80 4
wait_for grep -iq 'smtp' $LOG
unload_config
refused is_master

# A service group with a fwmark and a range, all kinds of health checks, keywords of
# keepalived's first versions, and sync daemons
cat >/run/old.conf <<'.'
global_defs {
   lvs_id LVS_MAIN
   notification_email_from keepalived@localhost
   smtp_server 127.0.0.1
   smtp_connect_timeout 30
}
vrrp_sync_group VG1 {
   group {
      RH_EXT
      RH_INT
   }
}
vrrp_instance RH_EXT {
    state MASTER
    interface eth0
    virtual_router_id 50
    priority 100
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass passw123
    }
    virtual_ipaddress {
        192.168.1.110/24 brd 192.168.1.255 dev eth0 label eth0:0
    }
}
vrrp_instance RH_INT {
    state MASTER
    interface eth0
    lvs_sync_daemon_interface eth0
    virtual_router_id 2
    priority 100
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass passw123
    }
    virtual_ipaddress {
        192.168.1.120
    }
}
virtual_server_group WEB {
    192.168.1.110 80
    192.168.1.121-123 80
    fwmark 1
}
virtual_server group WEB {
    delay_loop 10
    lvs_sched wlc
    lvs_method NAT
    persistence_timeout 600
    persistence_granularity 255.255.255.0
    protocol TCP
    ha_suspend
    alpha
    omega
    quorum 1
    virtualhost www.firewall.loc
    sorry_server 127.0.0.1 80
    real_server 192.168.1.11 80 {
        weight 1
        inhibit_on_failure
        notify_down "/usr/bin/true down"
        HTTP_GET {
            url {
                path /check.html
                digest 9b3a0c85a887a256d6939da88aabd8cd
            }
            connect_timeout 3
            nb_get_retry 3
            delay_before_retry 3
        }
    }
    real_server 192.168.1.12 80 {
        weight 2
        MISC_CHECK {
            misc_path "/usr/bin/false"
            misc_timeout 5
        }
    }
}
virtual_server 192.168.1.110 53 {
    delay_loop 10
    lb_algo wrr
    lb_kind TUN
    ops
    protocol UDP
    real_server 192.168.1.11 53 {
        weight 10
        uthreshold 1000
        lthreshold 500
    }
    real_server 192.168.1.13 53 {
        weight 20
        SMTP_CHECK {
            connect_timeout 3
            retry 2
            delay_before_retry 30
            helo_name localhost
        }
    }
}
.
load /run/old.conf 12
wait_for is_master
# The sync daemon follows the state of RH_INT: backup until that is master.
tells() { vs -L --daemon | grep -q '^master'; }
wait_for tells
observe "synchronisation" vs -L --daemon
unload_config
