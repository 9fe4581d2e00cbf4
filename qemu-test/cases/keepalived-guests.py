"""A pair with keepalived as in doc/pair-of-directors.md, B with C's module: TCP connections in mid-transfer under NAT, DR
and TUN while keepalived dies, A loses its link, is rebooted, and while both are masters."""
# Needs: two guests, C in the second
# Covers: src/sync src/conn/sync src/netns/receive src/ctl/daemon doc/pair-of-directors.md

import peer  # in the second guest, to the end
import os

import agent
import pair_lab as lab
import sync_lab
from case import configure
from pair_lab import Director, Pair

COUNT = 1000 if os.environ.get("LONG") else 100  # with each method
LATER = 100  # connections that begin while A is away

agent.reset()
lab.lay_out("director")
peer.join_switches(*lab.SWITCHES)
peer.call("peer.build_one", "backup", lab.director("backup"))
pair = Pair(Director("director"), peer.Remote("pair_lab.Director", "backup"))
a = pair.a
pair.start()
pair.open_all(COUNT)

a.kill()
pair.wait_for_b()
pair.observe("kill -9 of keepalived")
pair.open("later", LATER)
pair.start_a()
pair.observe("keepalived is started again")

configure("outside", ["ip link set director down"])
pair.wait_for_b()
pair.observe("the link is down")
configure("outside", ["ip link set director up"])
pair.wait_for_a()
pair.observe("the link is up")

a.stop()
pair.wait_for_b()
pair.observe("shutdown")
lab.reboot(meanwhile=sync_lab.reload)
a.apply()
pair.start_a()
pair.observe("reboot")

pair.split(True)
pair.observe("split")
pair.split(False)
pair.observe("healed")

pair.transfers.end()
pair.stop()
agent.reset()
