"""Connection tracking beside IPVS while others use it: dumps and flushes under traffic, a full table, zones, a clash of
translations, and DNAT before IPVS. Nothing may remain in the table when the conns have expired."""
# Covers: src/xmit/output src/conn rust-out-of-tree/net/conntrack

import subprocess

import agent
from case import entries, expect, observe, output, wait_for
from topology import NAT, build

VIP, DIP = NAT.addresses["VIP"][0], NAT.addresses["DIP"][0]
REALS = [NAT.addresses[f"RIP{i}"][0] for i in (1, 2, 3)]


def director(command):
    return output("director", command)


def begin(*reals):
    """A new network with a TCP and a UDP service of these real servers."""
    agent.reset()
    build(NAT.machines)
    for i in (1, 2, 3):
        agent.serve(f"rs{i}", f"rs{i}", 80)
    director("sysctl -qw net.ipv4.vs.conntrack=1")
    # Connections are tracked in a namespace that has a rule about them.
    director("nft 'table inet track { chain in { type filter hook input priority 0; ct state new counter; }; }'")
    for option in ("-t", "-u"):
        director(f"ipvsadm -A {option} {VIP}:80 -s rr")
        for real in reals:
            director(f"ipvsadm -a {option} {VIP}:80 -r {real}:80 -m")


def number():
    return int(director("conntrack -C"))


def end(what, patterns):
    """All conns expire; the table, in which there was something, must be empty then."""
    expect(f"{what}: entries", True, number() > 0)
    director("ipvsadm --set 1 1 1")
    agent.abort(*patterns)
    wait_for(f"{what}: all conns to expire", lambda: director("wc -l </proc/net/ip_vs_conn") == "1",
             instead=lambda: director("cat /proc/net/ip_vs_conn"))
    wait_for(f"{what}: an empty table", lambda: number() == 0, instead=entries)


# --- dumps and flushes under traffic

begin(*REALS)
agent.talk("client", "tcp", "tcp", VIP, 80, 3)
agent.talk("client", "udp", "udp", VIP, 80, 3)
agent.load("client", "new", "tcp", VIP, 80, 1)
expect("entries of traffic", True, number() > 0)
for _ in range(8):
    director("conntrack -L -o xml,timestamp,id >/dev/null 2>&1")
    director("conntrack -L -o extended,labels >/dev/null 2>&1")
    director("conntrack -F 2>/dev/null")
    for name in ("tcp", "udp"):
        agent.talked(name)
for name in ("tcp", "udp"):
    observe(f"{name} while the table is flushed", agent.talked(name))
    agent.unload(name)
answers = agent.unload("new")
expect("answers to new connections", [], [line for line in answers.split("\n") if not line.startswith("rs")])
director("conntrack -F 2>/dev/null")
agent.close("*")

# --- a full table

begin(*REALS)
director("conntrack -F 2>/dev/null")
# The limit is one for all namespaces, and belongs to the first.
SYSCTL = ["nsenter", "--net=/proc/1/ns/net", "sysctl"]
most = subprocess.run([*SYSCTL, "-n", "net.netfilter.nf_conntrack_max"], check=True, capture_output=True, text=True).stdout.strip()


def limit(value):
    subprocess.run([*SYSCTL, "-qw", f"net.netfilter.nf_conntrack_max={value}"], check=True)


observe("before the table is full", agent.hold("client", "first", "tcp", VIP, 80, 4))
try:
    limit(4)
    observe("a full table: established", " ".join(agent.use(f"first{i}") for i in (1, 2, 3, 4)))
    observe("a full table: new", agent.hold("client", "late", "tcp", VIP, 80, 1))
    observe("a full table: from the director", agent.hold("director", "own", "udp", VIP, 80, 1))
    # It would send its SYN again.
    agent.close("late*", "own*")
finally:
    limit(most)
observe("after the table was full", agent.hold("client", "second", "tcp", VIP, 80, 2))
observe("after the table was full: established", " ".join(agent.use(f"first{i}") for i in (1, 2, 3, 4)))
end("full", ["first*", "second*"])

# --- a zone

begin(*REALS)
director("nft 'table ip raw { chain pre { type filter hook prerouting priority raw; ct zone set 5; }; }'")
observe("zone: held", agent.hold("client", "zone", "tcp", VIP, 80, 3))
observe("zone: entries", entries("director"))
observe("zone: again", " ".join(agent.use(f"zone{i}") for i in (1, 2, 3)))

# --- translations that clash: one port for two connections with the same real server

begin(REALS[0])
director(f"iptables -t nat -A POSTROUTING -p tcp -m ipvs --vaddr {VIP} --vport 80 -j SNAT --to-source {DIP}:5000")
observe("clash: the first", agent.hold("client", "one", "tcp", VIP, 80, 1))
observe("clash: the second", agent.hold("client", "two", "tcp", VIP, 80, 1))
observe("clash: the first again", agent.use("one1"))
observe("clash: entries", "\n".join(line for line in entries("director").split("\n") if "ESTABLISHED" in line))

# --- DNAT before IPVS

begin(*REALS)
director("ip addr add 192.168.1.111/24 dev eth0")
director(f"iptables -t nat -A PREROUTING -d 192.168.1.111 -p tcp --dport 8080 -j DNAT --to-destination {VIP}:80")
observe("DNAT: new", agent.hold("client", "dnat", "tcp", "192.168.1.111", 8080, 3))
observe("DNAT: entries", entries("director"))
