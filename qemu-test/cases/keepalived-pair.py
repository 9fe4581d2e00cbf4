"""Two directors with the configurations of doc/pair-of-directors.md: keepalived, VRRP, sync daemons. 1,000 TCP
connections in mid-transfer under NAT, DR and TUN, while a director fails and comes back, loses its link,
and while both are masters."""
# Covers: src/sync src/conn/sync src/netns/receive src/ctl/daemon doc/pair-of-directors.md
# Needs: a fast kernel

import os

import agent
import pair_lab as lab
from case import DEBUG, configure
from pair_lab import DIRECTORS, Director, Pair
from sync_lab import OURS

COUNT = 1000 if os.environ.get("LONG") else 100 if DEBUG else 334  # with each method
LATER = 100  # connections that begin while A is away

agent.reset()
lab.lay_out()
pair = Pair(*map(Director, DIRECTORS))
a, b = pair.a, pair.b

# --- as the page has it

pair.start()
pair.open_all(COUNT)
a.kill()
pair.wait_for_b()
pair.observe("kill -9 of keepalived")
pair.open("later", LATER)
lab.reboot()
a.apply()
pair.start_a()
pair.observe("failback")

configure("outside", ["ip link set director down"])
pair.wait_for_b()
pair.observe("the link is down")
configure("outside", ["ip link set director up"])
pair.wait_for_a()
pair.observe("failback")

pair.split(True)
pair.observe("split")
pair.split(False)
pair.observe("healed")

# --- with default preemption, without the settings and the delay: A becomes the master again after some three seconds.
# Only a director of ours has received all connections by then.

for director in a, b:
    configure(director.machine, ["command sysctl -w net.ipv4.vs.sync_threshold='3 50' net.ipv4.vs.sync_refresh_period=0"])
a.preempt_by_default()
a.kill()
pair.wait_for_b()
pair.observe("failover")
pair.open("without settings", LATER)
lab.reboot()
a.start()
pair.wait_for_a()
# A connection whose server retransmits while its client waits is not reset, but stalls.
if OURS:
    pair.check("failback with default preemption")
else:
    pair.broken("failback with default preemption", patience=20)
pair.transfers.end()
pair.stop()
agent.reset()
