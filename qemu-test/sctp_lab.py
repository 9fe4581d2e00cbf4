"""The machines, the service and the packets of the cases about SCTP."""

import re

import agent
from case import configure, observe, output, wait_for
from packet import ip, sctp
from topology import NAT, build, inside

PORT, MAPPED = 80, 8080

# Set by `lay_out`: the topology, whether the family is IPv6, and its addresses. And the first of the client's ports of a
# part: conns of earlier parts still exist.
network, v6, here = NAT, False, {}
first = crafted = 10000
PORTS = 200


def lay_out(topology, family):
    """Creates the machines of a topology, with servers for SCTP on the real ones."""
    global network, v6, here, crafted
    agent.reset()
    crafted = 10000
    network, v6 = topology, family == 6
    here = {name: pair[v6] for name, pair in topology.addresses.items()}
    build(topology.machines)
    for name in ("rs1", "rs2", "rs3"):
        addr = here["VIP"] if topology is not NAT else here["RIP" + name[-1]]
        agent.serve_sctp(name, name, addr, PORT, MAPPED)


def at(name, port=PORT):
    """Returns an address with a port, as ipvsadm reads it."""
    return f"[{here[name]}]:{port}" if v6 else f"{here[name]}:{port}"


def service(*dests, option="-m", key=None, scheduler="rr"):
    """Adds the service and its dests, given as for `-r`."""
    key = key or f"--sctp-service {at('VIP')}"
    configure("director", [f"ipvsadm -A {key} -s {scheduler}",
                           *(f"ipvsadm -a {key} -r {dest} {option}" for dest in dests)])


def settings(**values):
    configure("director", [f"sysctl -w net.ipv4.vs.{name}={value}" for name, value in values.items()])


def begin(real=False):
    """Begins a part without services, for crafted packets or for real associations."""
    global first, crafted
    crafted += 0 if real else PORTS
    first = agent.next_port if real else crafted
    agent.end()
    configure("director", ["ipvsadm -C"])


def proc():
    """Returns the fields of each conn in /proc, templates among them."""
    with inside("director"), open("/proc/thread-self/net/ip_vs_conn") as f:
        return [line.split() for line in f][1:]


def lines():
    """Returns the fields of each of the part's conns in /proc."""
    return [fields for fields in proc() if first <= int(fields[2], 16) < first + PORTS]


def by_port():
    """Returns the states of the part's conns, by the client's port above the first."""
    return {int(fields[2], 16) - first: fields[7] for fields in lines()}


def conns():
    """Returns the part's conns, without their remaining times."""
    return "\n".join(sorted(" ".join(fields[:8]) for fields in lines()))


def templates():
    """Returns the templates of all parts, without their remaining times."""
    return "\n".join(sorted(" ".join(fields[:8]) for fields in proc() if fields[2] == "0000"))


def states():
    return " ".join(sorted(fields[7] for fields in lines()))


def listing():
    return "\n".join(output("director", "ipvsadm -Ln").split("\n")[3:])


def counters():
    """Returns the namespace's counters: conns, packets and bytes in both directions."""
    with inside("director"), open("/proc/thread-self/net/ip_vs_stats_percpu") as f:
        rows = [line.split() for line in f]
    sums = [0] * 5
    for row in rows:
        if len(row) == 6 and all(re.fullmatch("[0-9A-F]+", word) for word in row):
            sums = [a + int(b, 16) for a, b in zip(sums, row[1:])]
    return sums


def uplink(*packets):
    agent.send(*network.uplink.split(), *packets)


def downlink(*packets):
    agent.send(*network.downlink.split(), *packets)


def request(port, *chunks, to=PORT, **fields):
    """A packet from a client without a network stack, whose port counts from the part's first, to the service."""
    return ip(here["GC"], here["VIP"], sctp(first + port, to, *chunks, **fields))


def answer(port, *chunks, source=PORT, **fields):
    """A packet from a real server without a network stack to that client."""
    return ip(here["GS"], here["GC"], sctp(source, first + port, *chunks, **fields))


def capture(*names):
    for name in names:
        agent.capture(name, name, "eth0")


def last(port=PORT):
    """Sends a packet that starts a connection and waits for it at the real server: all before have been handled."""
    uplink(request(PORTS - 1, "INIT"))
    agent.captured("silent", 1, f"{first + PORTS - 1} > {port} ")


def received(name):
    """Returns the packets that a machine received."""
    return "\n".join(sorted(line for line in agent.captured(name).split("\n") if line.startswith("<")))


def begun(count, before):
    wait_for(f"{count} conns", lambda: counters()[0] == before[0] + count, instead=counters)


def tell(label, text):
    observe(f"IPv{6 if v6 else 4} {label}", text)


def become(wanted):
    wait_for(f"the states {wanted}", lambda: states() == wanted, instead=states)
