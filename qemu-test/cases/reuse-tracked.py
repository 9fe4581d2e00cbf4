"""A client's port is reused while the conntrack entry of its last connection is still there: the rules of the nat and raw tables
treat the new connection as a new one. C drops its first SYN, the client sends it again; this module serves it at once."""
# Covers: src/hook/reuse.rs rust-out-of-tree/net/conntrack

import os
import select
import socket
import struct

import agent
from case import SLOW, configure, entries, expect, observe, output, say
from topology import NAT, build, inside

OURS = os.environ["MODULE"] == "rust"
LINGER, TCP_REPAIR = struct.pack("ii", 1, 0), 19
OTHER = "192.168.1.111"  # another address of the director
v6, here, tables, dest = False, {}, "", ""


def director(command):
    return output("director", command)


def at(name):
    return f"[{here[name]}]:80" if v6 else f"{here[name]}:80"


def rules(kind):
    """Returns the rules of a variant."""
    marks = f"-d {here['VIP']} -p tcp --dport 80 -j MARK --or-mark 0x4000"
    masquerades = "-t nat -A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE"
    return {
        "plain": (),
        # As kube-proxy: one rule marks new connections, one masquerades what has the mark.
        "mark": (f"-t nat -A PREROUTING {marks}", masquerades),
        "director": (f"-t nat -A OUTPUT {marks}", masquerades),
        "zone": ("-t raw -A PREROUTING -j CT --zone 5", "-t nat -A POSTROUTING -m ipvs --ipvs -j MASQUERADE",
                 "-A INPUT -m conntrack --ctstate INVALID -j DROP", "-A FORWARD -m conntrack --ctstate INVALID -j DROP"),
        "dnat": (f"-t nat -A PREROUTING -d {OTHER} -p tcp --dport 80 -j DNAT --to-destination {here['VIP']}:80",),
    }[kind]


def begin(kind="plain", family=4, local=False):
    """A new network, with a service of one dest, rs1 or the director itself, and the rules of a variant."""
    global v6, here, tables, dest
    v6, tables = family == 6, "ip6tables" if family == 6 else "iptables"
    here = {name: pair[v6] for name, pair in NAT.addresses.items()}
    dest = f"-t {at('VIP')} -r {at('VIP')} -g" if local else f"-t {at('VIP')} -r {at('RIP1')} -m"
    agent.reset()
    build(NAT.machines)
    configure("director", ["sysctl -w net.ipv4.vs.conntrack=1", f"ip addr add {OTHER}/24 dev eth0",
                           # Connections are tracked in a namespace that has a rule about them.
                           "nft 'table inet track { chain in { type filter hook input priority 0; ct state new counter; }; }'",
                           *(f"{tables} {rule}" for rule in rules(kind)),
                           f"ipvsadm -A -t {at('VIP')} -s rr", f"ipvsadm -a {dest}"])


def sent_again(machine):
    """Returns the number of segments that a machine has sent again."""
    with inside(machine), open("/proc/thread-self/net/snmp") as file:
        names, values = [line.split() for line in file if line.startswith("Tcp:")]
    return int(values[names.index("RetransSegs")])


def listen(name):
    with inside(name):
        sock = socket.create_server(("", 80), family=socket.AF_INET6 if v6 else socket.AF_INET)
    sock.settimeout(10 * SLOW)
    return name, sock


def connect(machine, source, port, target=None):
    with inside(machine):
        sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.settimeout(30 * SLOW)
    sock.bind((here[source] if source in here else source, port))
    sock.connect((target or here["VIP"], 80))
    return sock


def reset(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
    sock.close()


def seen_by(servers):
    """Accepts a connection; returns it and the client's address as its server sees it."""
    ready, _, _ = select.select([sock for _, sock in servers], [], [], 10 * SLOW)
    name, sock = next((name, sock) for name, sock in servers if sock in ready)
    conn, peer = sock.accept()
    return conn, f"{name} sees {peer[0]}"


def reset_by_server(client, conn):
    reset(conn)
    try:
        expect("a reset", None, client.recv(1))
    except ConnectionResetError:
        client.close()


def abandoned(client, conn):
    """The client's socket goes without a packet, as that of a client that starts anew; then the dest gets no new connections."""
    client.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    client.close()
    configure("director", ["sysctl -w net.ipv4.vs.expire_nodest_conn=1", f"ipvsadm -e {dest} -w 0",
                           f"ipvsadm -a -t {at('VIP')} -r {at('RIP2')} -m"])


def reuse(label, machine="client", source="CIP", target=None, end=reset_by_server, servers=("rs1",), times=2, dropped=False):
    """Connects twice from one port, and returns what the servers see. At least one of the ports must be served at once: a
    machine that stands still sends its SYN again."""
    servers, told, again = [listen(name) for name in servers], [], []
    for port in range(30001, 30001 + times):
        client = connect(machine, source, port, target)
        conn, first = seen_by(servers)
        end(client, conn)
        old = entries("director", f"-f ipv{6 if v6 else 4} -p tcp --orig-port-src {port}")
        expect("the old entry", True, f"sport={port} " in old)
        before = sent_again(machine)
        client = connect(machine, source, port, target)
        again.append(sent_again(machine) - before)
        conn, second = seen_by(servers)
        told.append(f"{first}, {second}")
        reset_by_server(client, conn)
    for _, sock in servers:
        sock.close()
    say(f"{label}: sent again: {again}")
    if OURS:
        expect(f"{label}: a SYN is dropped", dropped, min(again) > 0)
    return "\n".join(told)


def matched(chain="PREROUTING"):
    """Returns how many connections the rule that marks has seen as new."""
    return director(f"{tables} -t nat -nvL {chain}").split("\n")[2].split()[0]


def tell(label, *machine_and_source, **options):
    observe(label, reuse(label, *machine_and_source, **options))


begin()
tell("plain")

for family in (4, 6):
    begin("mark", family)
    tell(f"mark, IPv{family}")
    observe(f"mark, IPv{family}: new connections", matched())

begin("zone")
tell("zone")

begin("dnat")
# The entry's translation leads straight to rs1 from the second packet on.
tell("DNAT", target=OTHER)
if OURS:  # C's SYN finds the old entry each time, and rs2's answer has the service's address
    begin("dnat", local=True)
    seen = reuse("DNAT, weight 0", target=OTHER, end=abandoned, servers=("director", "rs2"), times=1, dropped=True)
    expect("DNAT, weight 0", "director sees 192.168.1.254, rs2 sees 192.168.1.254", seen)

begin("mark")
tell("weight 0", end=abandoned, servers=("rs1", "rs2"), times=1)
observe("weight 0: new connections", matched())

begin("director")
tell("from the director", "director", "192.168.1.1")
observe("from the director: new connections", matched("OUTPUT"))
