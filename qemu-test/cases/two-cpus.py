"""Dests of one service are removed and added from random CPUs. Objects that a change replaces are freed on
the CPU that made the change, so the order of freeing differs from the order of changes. No dest may be
lost or freed while in use."""
# Covers: rust-out-of-tree/sync src/service src/sched
# Needs: two CPUs

import os
import random

from case import enter, expect, netns, observe, run
from genl import *

VIP, DESTS, TURNS = "192.168.1.110", 12, 6000
SLOW = int(os.environ["SLOW"])
KEY = ident(VIP)


def rip(number):
    return f"10.1.1.{number + 1}"


def listed(ipvs):
    """Returns the numbers of the listed dests, newest first."""
    entries = ipvs.dump(command("GET_DEST"), service(**KEY))
    bodies = [dict(attributes(body))[2] for _, body in entries]
    return [dict(attributes(body))[DEST.index("ADDR")][3] - 1 for body in bodies]


netns("director")
enter("director")
run(f"ip addr add {VIP}/32 dev lo && ip addr add 10.1.1.1/24 dev lo")
ipvs, choose, there = Family(), random.Random(1), []
ipvs.call(command("NEW_SERVICE"), service(**whole(VIP)))
cpus = sorted(os.sched_getaffinity(0))
expect("at least two CPUs", True, len(cpus) >= 2)
for turn in range(TURNS // SLOW):
    os.sched_setaffinity(0, {choose.choice(cpus)})
    number = choose.randrange(DESTS)
    if number in there:
        there.remove(number)
        action, fields = "DEL_DEST", dict(ADDR=pton(rip(number)), PORT=be16(80))
    else:
        there.insert(0, number)
        action, fields = "NEW_DEST", server(rip(number))
    ipvs.call(command(action), service(**KEY) + real(**fields))
    if turn % 100 == 0:
        expect(f"dests after turn {turn}", there, listed(ipvs))
expect("dests", there, listed(ipvs))
ipvs.call(command("FLUSH"))
expect("dests without a service", "ESRCH", ipvs.outcome(command("NEW_DEST"), service(**KEY) + real(**server(rip(0)))))
observe("all turns", "done")
