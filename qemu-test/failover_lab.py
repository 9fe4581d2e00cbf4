"""Two directors in two guests: connections in mid-transfer go on when the addresses move from the one to the other, and
back. The addresses are those of sync_lab.py, and so are the names, but the backup is in the second guest.

  first guest                                        network     second guest
  client ─────────── outside ──────────────────────────── 1 ─── eth0
                        └ director ─┬─ wire ── watcher ── 3 ─── eth2  backup
  silent ── rs1, 2, 3 ─── lan ──────┘  ────────────────── 2 ─── eth1

The real servers are on the network `lan` with NAT, on `outside` with DR and TUN.
"""

import hashlib
import resource
import time

import agent
import peer
import sync_lab
from case import DEBUG, SLOW, configure, observe, wait_for
from sync_lab import DIRECTORS, FLOATING, REALS, end, service, settings, start, stop, take
from topology import CLIENT, NO_ARP, SILENT, VIP, build, interface, pair, prefixed, reals, switch

SECOND = b"\2\0\0\0\1\2"  # the hardware address of the second guest, see run
NUMBER = 100 if DEBUG else 1000
PORT = 80
OPTIONS = {"NAT": "-m", "DR": "-g", "TUN": "-i"}
NO_FILTER = "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.tunl0.rp_filter=0"
HAS_VIP = {
    "DR": [f"ip addr add {VIP[0]}/32 dev lo", f"ip addr add {VIP[1]}/128 dev lo"],
    "TUN": [NO_FILTER, *interface("tunl0", f"{VIP[0]}/32"), *interface("ip6tnl0", f"{VIP[1]}/128")],
}


def on(machine, function, *arguments):
    """Calls a function of this file in the guest of a director."""
    if machine == "backup":
        return peer.call(f"failover_lab.{function}", machine, *arguments)
    return globals()[function](machine, *arguments)


# --- machines


def lay_out(method):
    """Creates the machines in both guests. No director has the floating addresses."""
    agent.reset()
    is_nat = method == "NAT"
    ends = [f"rs{i}:eth0" for i in (1, 2, 3)]
    build({
        "outside": switch("client:eth0", "director:eth0", *([] if is_nat else ends)),
        "lan": switch("director:eth1", "silent:eth0", *(ends if is_nat else [])),
        "wire": switch("director:eth2", "watcher:eth0"),
        "client": [f"ip link set eth0 address {CLIENT}", *interface("eth0", *prefixed("192.168.1", 254))],
        "director": sync_lab.director(2),
        **(reals("10.1.1", 1) if is_nat else reals("192.168.1", 1, NO_ARP, *HAS_VIP[method])),
        "silent": [f"ip link set eth0 address {SILENT} up"],
        "watcher": interface("eth0", "172.16.0.9/24", "2001:db8:9::9/64"),
    })
    peer.join_switches("outside", "lan", "wire")
    peer.call("peer.build_one", "backup", sync_lab.director(3))
    for i in (1, 2, 3):
        agent.serve(f"rs{i}", f"rs{i}", PORT)


def configured(machine, commands):
    configure(machine, commands)


def stand_by(machine, method):
    """Makes a director with the services, without the addresses, that receives conns."""
    dests = REALS if method == "NAT" else [pair("192.168.1", 10 + i) for i in (1, 2, 3)]
    for v6 in (False, True):
        service(f"-t {end(VIP[v6], PORT)}", *(end(dest[v6], PORT) for dest in dests), option=OPTIONS[method], machines=[machine])
    # By default a conn that was received is sent with its fiftieth packet.
    if machine == "backup":
        settings(machine, sync_threshold="0 1")
    start(machine, "backup")


def serve(machine):
    """Makes a director serve that stood by."""
    stop(machine, "backup")
    start(machine, "master")
    take(machine)


def leave(machine):
    """Ends a director that served. Its conns are freed with the module."""
    stop(machine, "master")
    configure(machine, [f"ip addr del {address.split()[0]} dev {name}" for address, name in FLOATING])
    forget(machine)


def forget(machine):
    configure(machine, ["ipvsadm -C"])
    sync_lab.reload()


def established(machine):
    """Returns the number of established connections of a director."""
    return sum(fields[7] == "ESTABLISHED" for fields in sync_lab.proc(machine))


def forget_neighbours():
    """Sends what stands for the gratuitous ARP of a VRRP daemon."""
    for machine in "client", "rs1", "rs2", "rs3":
        configure(machine, ["ip neigh flush all"])


# --- connections


class Connection:
    """A connection of the client, on which it sends data in two parts. The server answers with their hash."""

    def __init__(self, number):
        agent.enter("client")
        addr = VIP[number % 2]
        self.number, self.sock = number, agent.client_socket("tcp", addr, 60)
        self.sock.connect((addr, PORT))

    def begin(self, part):
        data = b"%d, part %d\n" % (self.number, part) * 100
        self.rest, self.hash = data[600:], hashlib.sha1(data).hexdigest()
        self.sock.sendall(b"hash %d\n" % len(data) + data[:600])

    def finish(self):
        self.sock.sendall(self.rest)

    def is_intact(self, deadline):
        self.sock.settimeout(max(0.01, deadline - time.monotonic()))
        return agent.line_from(self.sock) == self.hash


def tried(function, *arguments):
    try:
        return function(*arguments) is not False
    except OSError:
        return False


def broken(connections):
    """Finishes the transfers. Returns the number of those that fail."""
    started = [tried(each.finish) for each in connections]
    deadline = time.monotonic() + 60 * SLOW
    return [ok and tried(each.is_intact, deadline) for ok, each in zip(started, connections)].count(False)


def failover(method):
    lay_out(method)
    for machine in DIRECTORS:
        on(machine, "stand_by", method)
    serve("director")
    connections = [Connection(number) for number in range(NUMBER)]
    for role, machine, other in ("failover", "director", "backup"), ("failback", "backup", "director"):
        for each in connections:
            each.begin(role == "failback")
        wait_for(f"{NUMBER} conns at the other director", lambda: on(other, "established") == NUMBER, 60 * SLOW,
                 lambda: on(other, "established"))
        on(machine, "leave")
        on(other, "serve")
        forget_neighbours()
        observe(f"{method}: broken by {role}", f"{broken(connections)} of {NUMBER}")
        on(machine, "stand_by", method)
    for each in connections:
        each.sock.close()
    wait_for("their ends", lambda: established("director") == 0)
    stop("director", "master")
    peer.call("sync_lab.stop", "backup", "backup")
    for machine in DIRECTORS:
        on(machine, "forget")


def main():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    for method in OPTIONS:
        failover(method)
    agent.reset()
