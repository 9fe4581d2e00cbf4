"""Configuration files of a pair of directors as printed in tutorials of LVS and keepalived, with the keywords, comments
and odd ends that they have. Each is loaded as it stands on both directors; then the master ends and comes back."""
# Covers: src/ctl src/sync src/netns/receive
# Needs: a fast kernel

import os
import re
import subprocess

import agent
import pair_lab as lab
from case import SLOW, observe, output, say, wait_for
from pair_lab import Keepalived, daemons, dests, has, has_none

DR = r"""
! Configuration File for keepalived

global_defs {
   notification_email {
     root@localhost
   }
   notification_email_from keepalived@localhost
   smtp_server 127.0.0.1
   smtp_connect_timeout 30
   router_id LVS_01               # LVS_02 on the other
}

vrrp_instance VI_1 {
    state MASTER                  # BACKUP on the other
    interface eth0
    virtual_router_id 51
    priority 100                  # 90 on the other
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass 1111
    }
    virtual_ipaddress {
        192.168.1.111/24 dev eth0 label eth0:1
    }
}

virtual_server 192.168.1.111 80 {
    delay_loop 6
    lb_algo rr
    lb_kind DR
    nat_mask 255.255.255.0
    persistence_timeout 50
    protocol TCP
    sorry_server 127.0.0.1 80

    real_server 192.168.1.13 80 {
        weight 1
        TCP_CHECK {
            connect_timeout 10
            nb_get_retry 3
            delay_before_retry 3
            connect_port 80
        }
    }
    real_server 192.168.1.14 80 {
        weight 1
        TCP_CHECK {
            connect_timeout 10
            nb_get_retry 3
            delay_before_retry 3
            connect_port 80
        }
    }
}
"""

# Two instances in a group, since the gateway moves too; the daemon is one of an instance.
NAT = r"""
! Configuration File for keepalived
global_defs {
  lvs_id LVS1
}

vrrp_sync_group VG1 {
  group {
    VI_1
    VI_GATEWAY
  }
}

vrrp_instance VI_1 {
  state MASTER
  interface eth0
  lvs_sync_daemon_interface eth1
  virtual_router_id 51
  priority 150
  advert_int 1
  smtp_alert
  authentication {
    auth_type PASS
    auth_pass example
  }
  virtual_ipaddress {
    192.168.1.110
  }
}

vrrp_instance VI_GATEWAY {
  state MASTER
  interface eth1
  lvs_sync_daemon_inteface eth1
  virtual_router_id 52
  priority 150
  advert_int 1
  smtp_alert
  authentication {
    auth_type PASS
    auth_pass example
  }
  virtual_ipaddress {
    10.1.1.1
  }
}

virtual_server 192.168.1.110 80 {
  delay_loop 15
  lb_algo wlc
  lb_kind NAT
  nat_mask 255.255.255.0
  persistence_timeout 50
  protocol TCP

  real_server 10.1.1.11 80 {
    weight 1
    inhibit_on_failure
    TCP_CHECK {
      connect_timeout 5
    }
  }
  real_server 10.1.1.12 80 {
    weight 1
    TCP_CHECK {
      connect_timeout 5
    }
  }
  sorry_server 10.1.1.12 81
}
"""

# Scripts, both of state BACKUP, no preemption, garp settings.
SCRIPTS = r"""
! Configuration File for keepalived
global_defs {
   router_id LVS_PROD
   lvs_flush
   vrrp_garp_master_repeat 2
   vrrp_garp_master_delay 3
   vrrp_garp_interval 0.005
   vrrp_gna_interval 0
   lvs_sync_daemon eth0 LVS_APP_01 id 1
}

vrrp_script chk_ipvs {
    script "/usr/bin/test -e /proc/net/ip_vs"
    interval 2
    timeout 3
    fall 2
    rise 2
    weight -40
}

vrrp_instance LVS_APP_01 {
    state BACKUP
    interface eth0
    dont_track_primary
    virtual_router_id 1
    priority 100
    nopreempt
    advert_int 1
    authentication {
        auth_type PASS
        auth_pass felix
    }
    virtual_ipaddress {
        192.168.1.111/24 brd 192.168.1.255 dev eth0 label eth0:1
    }
    virtual_routes {
        192.168.77.0/24 via 192.168.1.254 dev eth0
    }
    track_script {
        chk_ipvs
    }
    notify_master "/run/notify.sh master"
    notify_backup "/run/notify.sh backup"
    notify_fault "/run/notify.sh fault"
    notify_stop "/run/notify.sh stop"
    notify "/run/notify.sh"
}

virtual_server_group APP {
    192.168.1.111 80
}

virtual_server group APP {
    delay_loop 3
    lb_algo wrr
    lb_kind DR
    persistence_timeout 300
    persistence_granularity 255.255.255.0
    protocol TCP
    alpha
    quorum 1
    hysteresis 0
    quorum_up "/run/notify.sh quorum up"
    real_server 192.168.1.13 80 {
        weight 1
        TCP_CHECK {
            connect_timeout 3
            retry 3
            delay_before_retry 2
        }
    }
    real_server 192.168.1.14 80 {
        weight 2
        notify_up "/run/notify.sh real server up"
        TCP_CHECK {
            connect_timeout 3
            delay_before_retry 3
        }
    }
}
"""

NOTIFY = """#!/bin/sh
echo "$(ip netns identify $$): $*" >>/run/notify.log
"""


def on_the_other(text):
    """The file with the changes in its comments for the second director."""
    for here, there in (("state MASTER ", "state BACKUP "), ("state MASTER\n", "state BACKUP\n"), ("priority 100", "priority 90"),
                        ("priority 150", "priority 100"), ("LVS_01", "LVS_02"), ("LVS1", "LVS2")):
        text = text.replace(here, there)
    return text


def notified():
    with open("/run/notify.log") as f:
        return "\n".join(sorted(set(f.read().splitlines())))


def configuration(machine):
    return "\n".join(sorted(output(machine, "ipvsadm -Sn").split("\n")))


def complaints(director):
    """The messages of keepalived about the file."""
    lines = [re.sub(r"^\w{3} \w{3} .* \d{4}: ", "", line) for line in director.said(1000).splitlines() if "chk_ipvs" not in line]
    return "\n".join(sorted({line for line in lines if re.search(
        r"line \d+\)|unknown|deprecat|obsolete|warning|ipvs|not supported", line, re.I)}))


def fail_over(name, text, vip, number, comes_back):
    """Loads the file on both; ends A, and starts it again. `comes_back`: A is the master then."""
    a, b = Keepalived("director", text), Keepalived("backup", on_the_other(text))

    def wait(what, is_so):
        wait_for(what, is_so, patience=60 * SLOW, instead=lambda: f"{lab.state()}\nA:\n{a.said()}\nB:\n{b.said()}")

    def is_master(machine, other):
        return has(machine, vip) and has_none(other, vip) and "backup" not in daemons(machine)

    # Without preemption, the first one stays the master.
    a.start()
    wait("A is the master", lambda: is_master("director", "backup") and dests("director") == number)
    b.start()
    wait("B is the backup", lambda: dests("backup") == number and "master" not in daemons("backup"))
    wait("B's daemon", lambda: bool(daemons("backup")) == bool(daemons("director")))
    for machine in lab.DIRECTORS:
        observe(f"{name}: {machine}", configuration(machine) + "\n" + output(machine, "ipvsadm -L --daemon"))
    server = agent.hold("client", name, "tcp", vip, 80, 3)
    observe(f"{name}: held", " ".join(["the same server" if len(set(server.split())) == 1 else server]))
    if daemons("backup"):
        # Three connections and their template.
        wait("B has the connections", lambda: len(lab.proc("backup")) >= 4)
    a.stop()
    wait("B is the master", lambda: is_master("backup", "director"))
    wait("A has ended", lambda: dests("director") == 0)
    used = [agent.use(f"{name}{i + 1}") for i in range(3)]
    observe(f"{name}: held, after the failover", " ".join("the same" if answer == server.split()[0] else answer for answer in used))
    again = agent.get("client", "tcp", vip, 80, 3)
    if daemons("backup"):
        observe(f"{name}: the client's server", "the same" if set(again.split()) == set(server.split()) else again)
    observe(f"{name}: the other director", configuration("backup") + "\n" + output("backup", "ipvsadm -L --daemon"))
    a.start()
    master = lab.DIRECTORS if comes_back else lab.DIRECTORS[::-1]
    wait("A has come back", lambda: is_master(*master) and dests("director") == number)
    observe(f"{name}: after the return", configuration("director") + "\n" + output(master[0], "ipvsadm -L --daemon"))
    say(agent.get("client", "tcp", vip, 80, 3))
    agent.close("*")
    for director in (a, b):
        director.stop()
        observe(f"{name}: {director.machine}'s complaints", complaints(director))
    for machine in lab.DIRECTORS:
        observe(f"{name}: left on {machine}", configuration(machine) + output(machine, "ipvsadm -L --daemon"))


def lay_out():
    agent.reset()
    lab.lay_out()
    for i in (1, 2, 3, 4):
        agent.serve(f"rs{i}", f"rs{i}", 80)


with open("/run/notify.sh", "w") as f:
    f.write(NOTIFY)
os.chmod("/run/notify.sh", 0o755)
open("/run/notify.log", "w").close()
subprocess.run(["chmod", "666", "/run/notify.log"], check=True)
for name, text, vip, comes_back in (("DR", DR, "192.168.1.111", True), ("NAT", NAT, "192.168.1.110", True),
                                    ("scripts", SCRIPTS, "192.168.1.111", False)):
    lay_out()
    fail_over(name, text, vip, 2, comes_back)
observe("scripts", notified())
agent.reset()
