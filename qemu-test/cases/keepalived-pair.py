"""Two directors with keepalived, VRRP and lvs_sync_daemon, as doc/pair-of-directors.md has them: 1,000 TCP connections
in mid-transfer under each of NAT, DR and TUN, while a director dies, loses its link, comes back, and while both are
master."""
# Covers: src/sync src/conn/sync src/netns/receive src/ctl/daemon doc/pair-of-directors.md

import time

import agent
import pair_lab as lab
from case import DEBUG, configure, expect, fail, observe, say, wait_for
from pair_lab import GATEWAY, VIPS, Keepalived, daemons, dests, established, has, has_none
from transfers import Transfers

COUNT = 100 if DEBUG else 1000  # of each method
FLOATING = [*VIPS.values(), GATEWAY]

agent.reset()
lab.lay_out()
a, b = (Keepalived(machine, text) for machine, text in zip(lab.DIRECTORS, lab.page_configurations("pair-of-directors.md")))
transfers = Transfers()
for i in (1, 2, 3, 4):
    transfers.serve(f"rs{i}", 80)


def told():
    return f"{lab.state()}\nA:\n{a.said()}\nB:\n{b.said()}"


def wait(what, is_so):
    wait_for(what, is_so, patience=60 * lab.SLOW, instead=told)
    say(f"  {what}, {time.monotonic() - began:.1f} s")


def is_master(machine, other):
    return (has(machine, *FLOATING) and daemons(machine) == "master"
            and (not other or has_none(other, *FLOATING) and daemons(other) == "backup"))


def a_is_master():
    return is_master("director", "backup")


def b_is_master():
    return is_master("backup", "director")


def synced():
    return established("backup") >= established("director") >= 3 * COUNT


def outcome(label, what=VIPS):
    """The number of connections that an event broke, of those that it found."""
    broken = transfers.after()
    say(f"  {time.monotonic() - began:.1f} s")
    text = "\n".join(f"{label}: {broken.get(label) or 'none broken'}" for label in broken)
    say(text)
    return text


began = time.monotonic()
a.start()
b.start()
wait("A to be the master", lambda: a_is_master() and dests("director") == dests("backup") == 6)
for label, vip in VIPS.items():
    transfers.open(label, "client", vip, 80, COUNT)
wait("B to have all connections", synced)
observe("at the start", outcome("start"))

a.kill()
wait("B to be the master", lambda: is_master("backup", None))
observe("kill -9", outcome("kill -9"))

a.start()
wait("A to be the master again", a_is_master)
observe("failback", outcome("failback"))

configure("outside", ["ip link set director down"])
wait("B to be the master", lambda: is_master("backup", None))
observe("link down", outcome("link down"))

configure("outside", ["ip link set director up"])
wait("A to be the master again", a_is_master)
observe("failback after link down", outcome("failback"))

for machine in lab.DIRECTORS:
    configure(machine, ["nft 'table ip split { chain in { type filter hook input priority 0; ip protocol vrrp drop; }; }'"])
wait("both to be masters", lambda: is_master("director", None) and is_master("backup", None))
observe("split", outcome("split"))
for machine in lab.DIRECTORS:
    configure(machine, ["nft delete table ip split"])
wait("A to be the only master", a_is_master)
observe("healed", outcome("healed"))

transfers.end()
a.stop()
b.stop()
for machine in lab.DIRECTORS:
    expect(f"left on {machine}", (0, "", True), (dests(machine), daemons(machine), has_none(machine, *FLOATING)))
agent.reset()
