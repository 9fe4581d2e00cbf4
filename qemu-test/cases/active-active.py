"""Four active directors behind a router with equal-cost routes. Each is master and backup at once, so that a connection
goes on when the router sends it to another director. Without synchronisation: how many connections go on with mh alone."""
# Covers: src/sync src/conn/sync src/netns/receive src/sched/mh
# Needs: a fast kernel

import hashlib
import re

import agent
from case import configure, expect, observe, output, say, wait_for
from packet import ip, udp
from sync_lab import proc
from topology import CLIENT, FORWARD, NO_ARP, VIP, build, client, default, ghost, interface, pair, prefixed, reals, switch

D = [f"d{i}" for i in (1, 2, 3, 4)]
HELD = 60
FLOWS = 300  # crafted ones
SERVICE, GHOST = f"{VIP[0]}:80", pair("172.16.1", 99)[0]
SETS = (2, 3, 4), (1,), (4, 3), (1, 2, 3, 4)


def lay_out(scheduler):
    agent.reset()
    build({
        "client": client("172.16.1", "router:eth0"),
        "lan": switch("router:eth1", *(f"{name}:eth0" for name in D), "rs1:eth0", "rs2:eth0", "rs3:eth0"),
        "router": [FORWARD, "sysctl -w net.ipv4.fib_multipath_hash_policy=1", *interface("eth0", *prefixed("172.16.1", 1)),
                   *interface("eth1", *prefixed("192.168.1", 254)), *ghost("172.16.1", "eth0", CLIENT)],
        **{name: [FORWARD, NO_ARP, *interface("eth0", *prefixed("192.168.1", i)), f"ip addr add {VIP[0]}/32 dev lo",
                  *default("192.168.1", 254)] for i, name in enumerate(D, 1)},
        **reals("192.168.1", 254, NO_ARP, f"ip addr add {VIP[0]}/32 dev lo"),
    })
    for i in (1, 2, 3):
        agent.serve(f"rs{i}", f"rs{i}", 80)
    for name in D:
        configure(name, ["nft 'table ip seen { set ports { type inet_service; flags dynamic; }; chain before { "
                         f"type filter hook prerouting priority -300; ip daddr {VIP[0]} tcp dport 80 add @ports {{ tcp sport }}; }}; }}'"])
        configure(name, [f"ipvsadm -A -{protocol} {SERVICE} -s {scheduler}" for protocol in "tu"] +
                  [f"ipvsadm -a -{protocol} {SERVICE} -r 192.168.1.1{i} -g -w {i}" for protocol in "tu" for i in (1, 2, 3)])
    hops(1, 2, 3, 4)


def hops(*numbers):
    """The router sends packets to the VIP to these directors."""
    configure("router", [f"ip route replace {VIP[0]}/32 " + " ".join(f"nexthop via 192.168.1.{i}" for i in numbers)])


def ways():
    """Returns the director to which the router has sent each held connection since the last call."""
    at = {}
    for name in D:
        for port in re.findall(r"\d+", output(name, "nft list set ip seen ports | grep -A99 elements || true")):
            at[int(port)] = name
        configure(name, ["nft flush set ip seen ports"])
    return [at[agent.held[f"flow{i}"].getsockname()[1]] for i in range(1, HELD + 1)]


def hold():
    """Opens the connections. Returns the server of each, and its director."""
    agent.hold("client", "flow", "tcp", VIP[0], 80, HELD)
    ways()
    servers = [agent.use(f"flow{i}") for i in range(1, HELD + 1)]
    return servers, ways()


def after(numbers, servers, before):
    """Changes the next hops. Returns the numbers of the connections that moved, and of those that broke."""
    hops(*numbers)
    broken = [i for i in range(HELD) if agent.use(f"flow{i + 1}") != servers[i]]
    now = ways()
    moved = [i for i in range(HELD) if now[i] != before[i]]
    say(f"  next hops {numbers}: {len(moved)} connections moved, {len(broken)} broken")
    return now, moved, broken


# --- synchronised

lay_out("wrr")
for name in D:
    configure(name, ["echo 0 1 >/proc/sys/net/ipv4/vs/sync_threshold",
                     *(f"ipvsadm --start-daemon {role} --mcast-interface eth0 --syncid 7" for role in ("master", "backup"))])
servers, here = hold()
expect("directors in use", 4, len(set(here)))
conns = lambda: [len([fields for fields in proc(name, "ip_vs_conn") if fields[0] == "TCP"]) for name in D]
wait_for("all conns on all directors", lambda: conns() == [HELD] * 4, instead=conns)
breaks, moves = [], 0
for numbers in SETS:
    here, moved, broken = after(numbers, servers, here)
    breaks.append(len(broken))
    moves += len(moved)
    expect("new connections", 6, len(re.findall("rs[123]", agent.get("client", "tcp", VIP[0], 80, 6))))
observe("synchronised: broken after each change", " ".join(map(str, breaks)))
if moves < HELD:
    raise SystemExit(f"only {moves} connections moved")
for name in D:
    configure(name, [f"ipvsadm --stop-daemon {role}" for role in ("master", "backup")])
agent.close("*")

# --- mh alone

lay_out("mh -b mh-port")
for name in D:
    configure(name, ["sysctl -w net.ipv4.vs.sloppy_tcp=1"])
    agent.send("router", "eth1", name, "eth0", *(ip(GHOST, VIP[0], udp(port, 80, b"x")) for port in range(1000, 1000 + FLOWS)))


def chosen(name):
    """Returns the dest of each crafted flow."""
    wait_for("the flows", lambda: sum(fields[0] == "UDP" for fields in proc(name, "ip_vs_conn")) == FLOWS)
    return {int(fields[2], 16): fields[5] for fields in proc(name, "ip_vs_conn") if fields[0] == "UDP"}


maps = [chosen(name) for name in D]
different = sum(len({one[port] for one in maps}) > 1 for port in maps[0])
observe("mh: flows for which the directors choose different dests", str(different))
observe("mh: the dests", hashlib.sha256(repr(sorted(maps[0].items())).encode()).hexdigest())
servers, here = hold()
breaks = []
for numbers in SETS:
    here, _, broken = after(numbers, servers, here)
    breaks.append(len(broken))
observe("mh, sloppy_tcp: broken after each change", " ".join(map(str, breaks)))

# A director with one dest less.
configure("d2", [f"ipvsadm -d -u {SERVICE} -r 192.168.1.13", "ipvsadm -C", f"ipvsadm -A -u {SERVICE} -s mh -b mh-port",
                 *(f"ipvsadm -a -u {SERVICE} -r 192.168.1.1{i} -g -w {i}" for i in (1, 2))])
agent.send("router", "eth1", "d2", "eth0", *(ip(GHOST, VIP[0], udp(port, 80, b"x")) for port in range(2000, 2000 + FLOWS)))
agent.send("router", "eth1", "d1", "eth0", *(ip(GHOST, VIP[0], udp(port, 80, b"x")) for port in range(2000, 2000 + FLOWS)))


def more(name):
    return {int(fields[2], 16): fields[5] for fields in proc(name, "ip_vs_conn") if fields[0] == "UDP" and int(fields[2], 16) >= 2000}


for name in ("d1", "d2"):
    wait_for("the flows", lambda: len(more(name)) == FLOWS, instead=lambda: len(more(name)))
one, other = more("d1"), more("d2")
observe("mh: flows with another dest on a director with one dest less", f"{sum(one[port] != other[port] for port in one)} of {FLOWS}")
agent.close("*")

# Without sloppy_tcp, each connection that moves breaks.
lay_out("mh -b mh-port")
servers, here = hold()
_, moved, broken = after((2, 3, 4), servers, here)
expect("broken: those that moved", moved, broken)
agent.close("*")
agent.reset()
