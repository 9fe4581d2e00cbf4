"""Random valid and invalid requests (random_requests.py): by netlink, by socket
options, and by both in turn. The errno, the answer and the resulting configuration
must be C's. The observations are digests of a hundred requests each. The case's log
has a line for each request; `random_requests.py SOURCE SEED NUMBER` prints it."""
# Covers: src/ctl

import collections
import os
import subprocess

from case import enter, fail, netns, observe, run, say
from genl import *
from options import wait_for_daemons
from random_requests import Netlink, Sockopt, Values, digest

SEED = os.environ.get("SEED") or "1"
ROUNDS = 25 if os.environ.get("LONG") else 1
STEP = 100


def state(ipvs):
    """Returns the service and dest entries, and a digest of these, daemons and timeouts."""
    entries = sorted(b"".join(entry) for entry in services(ipvs))
    rest = ipvs.dump(command("GET_DAEMON")) + ipvs.call(command("GET_CONFIG"))
    return entries, digest(b"".join(entries) + b"".join(body for _, body in rest))


def listing(option):
    text = subprocess.run(["ipvsadm", option, "--sort"], capture_output=True, text=True, check=True).stdout
    return "\n".join(sorted(line for line in text.split("\n") if not line.startswith("IP Virtual Server")))


def play(name, number, **sources):
    """Makes `number` requests, each from a random one of `sources`, in the namespace `name`."""
    enter(name)
    run("ip link add d0 type dummy && ip addr add 192.168.9.1/24 dev d0 && ip link set d0 up")
    ipvs = Family()
    sockets = dict(netlink=ipvs, sockopt=socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW))
    turns, counts = Values(f"turns {SEED}"), collections.Counter()
    tally, outcomes, digests = collections.Counter(), [], []
    for n in range(1, number + 1):
        kind = turns.choice(sorted(sources))
        request = sources[kind].next()
        try:
            outcome = request.ask(sockets[kind])
        except TimeoutError:
            outcome = "no answer"
        if outcome.startswith("ok") and str(request).endswith(("NEW_DAEMON", "STARTDAEMON")):
            wait_for_daemons()
        outcomes.append(f"{kind} {counts[kind]} {request}: {outcome}")
        counts[kind] += 1
        tally[f"{request}: {outcome.split()[0]}"] += 1
        if n % STEP == 0:
            entries, now = state(ipvs)
            digests.append(f"{n - STEP}: outcomes {digest(chr(10).join(outcomes).encode())}, state {now}")
            say("\n".join(outcomes + [f"{len(entries)} services, {digests[-1]}"]))
            outcomes.clear()
    observe(f"{name}, {number} requests of seed {SEED}", "\n".join(digests))
    observe(f"{name}: outcomes", "\n".join(f"{what} {number}" for what, number in sorted(tally.items())))
    observe(f"{name}: -Ln", listing("-Ln"))
    observe(f"{name}: -Sn", listing("-Sn"))
    if not any(what.endswith(": ok") for what in tally):
        fail("no request succeeded")
    observe(f"{name}: flush", ipvs.outcome(command("FLUSH")))


run("modprobe dummy numdummies=0")
netns("netlink", "sockopt", "both")
play("netlink", 2500 * ROUNDS, netlink=Netlink(SEED))
play("sockopt", 1500 * ROUNDS, sockopt=Sockopt(SEED))
play("both", 1000 * ROUNDS, netlink=Netlink(f"{SEED} both"), sockopt=Sockopt(f"{SEED} both"))
