"""Two directors with the configurations of doc/pair-of-directors.md: keepalived, VRRP, sync daemons. 1,000 TCP
connections in mid-transfer under NAT, DR and TUN, while a director fails and comes back, loses its link,
and while both are masters."""
# Covers: src/sync src/conn/sync src/netns/receive src/ctl/daemon doc/pair-of-directors.md
# Needs: a fast kernel

import os
import re
import time

import agent
import pair_lab as lab
from case import DEBUG, SLOW, configure, expect, observe, say, wait_for
from pair_lab import GATEWAY, VIPS, Keepalived, daemons, dests, established, has, has_none
from transfers import Transfers

COUNT = 1000 if os.environ.get("LONG") else 100 if DEBUG else 334  # with each method
LATER = 100  # connections that begin while A is away
FLOATING = [*VIPS.values(), GATEWAY]
began = time.monotonic()


def told():
    return f"{lab.state()}\nA:\n{a.said()}\nB:\n{b.said()}"


def wait(what, is_so):
    wait_for(what, is_so, patience=60 * SLOW, instead=told)
    say(f"  {time.monotonic() - began:.0f} s: {what}")


def is_master(machine, other=None):
    """Whether the machine is the master, and the other the backup."""
    return (has(machine, *FLOATING) and daemons(machine) == "master"
            and (not other or has_none(other, *FLOATING) and daemons(other) == "backup"))


def outcome(event, patience=120):
    """Returns how many connections of each kind an event broke."""
    broken = transfers.after(patience=patience * SLOW)
    text = "\n".join(f"{label}: {sum(errors.values())} broken" for label, errors in broken.items())
    say(f"  {time.monotonic() - began:.0f} s: {event}: {broken}")
    return text


def both_start():
    """Starts both. A, of the higher priority, becomes the master."""
    for director in (a, b):
        director.start()
    wait("A is the master", lambda: is_master("director", "backup") and dests("director") == dests("backup") == 6)


def a_dies(kind):
    """A fails. Connections of this kind begin while it is away."""
    a.kill()
    wait("B is the master", lambda: is_master("backup"))
    text = outcome("A is dead")
    transfers.open(kind, "client", VIPS["NAT"], 80, LATER)
    return text


def a_returns():
    a.start()
    wait("A is the master", lambda: is_master("director", "backup"))


def apply(machine):
    """Applies the settings that the page has."""
    configure(machine, ["command sysctl -p /run/pair.sysctl"])


def split(is_split):
    """Drops the messages of VRRP on both, or no more."""
    rule = "{ chain in { type filter hook input priority 0; ip protocol vrrp drop; }; }"
    for machine in lab.DIRECTORS:
        configure(machine, [f"nft 'table ip split {rule}'" if is_split else "nft delete table ip split"])


agent.reset()
lab.lay_out()
a, b = (Keepalived(machine, text) for machine, text in zip(lab.DIRECTORS, lab.page("! /etc/keepalived/keepalived.conf")))
settings, = lab.page("# /etc/sysctl.d")
with open("/run/pair.sysctl", "w") as f:
    f.write(settings)
for machine in lab.DIRECTORS:
    apply(machine)
transfers = Transfers()
for i in (1, 2, 3, 4):
    transfers.serve(f"rs{i}", 80)

# --- as the page has it

both_start()
for label, vip in VIPS.items():
    transfers.open(label, "client", vip, 80, COUNT)
wait("B has all connections", lambda: established("backup") >= established("director") >= 3 * COUNT)
observe("kill -9 of keepalived", a_dies("later"))
lab.reboot()
apply("director")
a_returns()
observe("failback", outcome("failback"))

configure("outside", ["ip link set director down"])
wait("B is the master", lambda: is_master("backup"))
observe("the link is down", outcome("the link is down"))
configure("outside", ["ip link set director up"])
wait("A is the master", lambda: is_master("director", "backup"))
observe("failback", outcome("failback"))

split(True)
wait("both are masters", lambda: is_master("director") and is_master("backup"))
observe("split", outcome("split"))
split(False)
wait("A is the only master", lambda: is_master("director", "backup"))
observe("healed", outcome("healed"))

for director in (a, b):
    director.stop()
for machine in lab.DIRECTORS:
    expect(f"left on {machine}", (0, "", True), (dests(machine), daemons(machine), has_none(machine, *FLOATING)))
transfers.close()

# --- without the settings and the delay: A becomes the master again before it has received the connections that
# began while it was away

for machine in lab.DIRECTORS:
    configure(machine, ["command sysctl -w net.ipv4.vs.sync_threshold='3 50' net.ipv4.vs.sync_refresh_period=0"])
for director, text in zip((a, b), lab.page("! /etc/keepalived/keepalived.conf")):
    director.configure(re.sub(" +preempt_delay.*\n", "", text))
both_start()
a_dies("without settings")
a_returns()
# One whose server sends again what was lost, and whose client waits, is not reset but stands still.
outcome("failback", patience=20)
transfers.end()
for director in (a, b):
    director.stop()
agent.reset()
