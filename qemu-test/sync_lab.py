"""The machines, the messages and the listings of the cases about connection synchronisation.

  client           ──┐                              ┌── rs1 rs2 rs3, silent
  192.168.1.254    outside ── director, backup ── lan   10.1.1.11, .12, .13
  VIP 192.168.1.110             │      │                gateway 10.1.1.1
                                └ wire ┘── watcher

The VIP and the gateway's address belong to one of the two directors. IPv6:
2001:db8:1::/64 and 2001:db8:2::/64, with the same last numbers. The watcher is on
the network of the sync messages.
"""

import os
import socket
import struct
import subprocess
import time

import agent
from case import SLOW, configure, fail, output, run, wait_for
from packet import ip, tcp, udp
from topology import CLIENT, FORWARD, SILENT, VIP, build, enter, ghost, inside, interface, pair, prefixed, reals, switch

OURS = os.environ["MODULE"] == "rust"
DIRECTORS = "director", "backup"
GATEWAY = pair("10.1.1", 1)
GC, GS = pair("192.168.1", 99), pair("10.1.1", 99)  # hosts without a network stack
REALS = [pair("10.1.1", 10 + i) for i in (1, 2, 3)]
GROUPS, PORT = ("224.0.0.81", "ff02::81"), 8848


def director(number):
    return [FORWARD, "sysctl -w net.ipv4.conf.all.arp_notify=1",
            *interface("eth0", *prefixed("192.168.1", number)), *interface("eth1", *prefixed("10.1.1", number)),
            *interface("eth2", f"172.16.0.{number}/24", f"2001:db8:9::{number}/64"),
            *ghost("192.168.1", "eth0", CLIENT), *ghost("10.1.1", "eth1", SILENT)]


# The floating addresses, each with its prefix and options and its interface.
FLOATING = [(f"{VIP[0]}/32", "eth0"), (f"{VIP[1]}/128 preferred_lft 0", "eth0"),
            (f"{GATEWAY[0]}/24", "eth1"), (f"{GATEWAY[1]}/64", "eth1")]


def take(machine):
    configure(machine, [f"ip addr add {address} dev {name}" for address, name in FLOATING])


def lay_out():
    """Creates the machines. The director has the floating addresses."""
    agent.reset()
    build({
        "outside": switch("client:eth0", "director:eth0", "backup:eth0"),
        "lan": switch("director:eth1", "backup:eth1", "rs1:eth0", "rs2:eth0", "rs3:eth0", "silent:eth0"),
        "wire": switch("director:eth2", "backup:eth2", "watcher:eth0"),
        "client": [f"ip link set eth0 address {CLIENT}", *interface("eth0", *prefixed("192.168.1", 254))],
        "director": director(2), "backup": director(3),
        **{name: commands for name, commands in reals("10.1.1", 1).items()},
        "silent": [f"ip link set eth0 address {SILENT} up"],
        "watcher": interface("eth0", "172.16.0.9/24", "2001:db8:9::9/64"),
    })
    take("director")
    for i in (1, 2, 3):
        agent.serve(f"rs{i}", f"rs{i}", 80, 81)


def move():
    """Moves the floating addresses to the backup, as a VRRP daemon does."""
    configure("director", [f"ip addr del {address.split()[0]} dev {name}" for address, name in FLOATING])
    take("backup")
    for machine in ("client", "rs1", "rs2", "rs3"):
        configure(machine, ["ip neigh flush all"])


def reload():
    """Unloads the module and loads it again. It is not in use."""
    modules = "$(awk '/^(xt_)?ip_?vs/ { print $1 }' /proc/modules | sort -r)"
    wait_for("the end of the module", lambda: subprocess.run(f"rmmod {modules}", shell=True).returncode == 0)
    run("modprobe ip_vs")


def both(*commands):
    for machine in DIRECTORS:
        configure(machine, list(commands))


def settings(machine="director", **values):
    configure(machine, [f"sysctl -w net.ipv4.vs.{name}={value}" if " " not in str(value) else
                        f"echo {value} >/proc/sys/net/ipv4/vs/{name}" for name, value in values.items()])


def without_resync(*machines):
    """Switches off the resync, which C does not have."""
    for machine in machines if OURS else ():
        settings(machine, sync_resync=0)


def end(addr, port):
    return f"[{addr}]:{port}" if ":" in addr else f"{addr}:{port}"


def service(key, *dests, option="-m", scheduler="rr", machines=DIRECTORS):
    for machine in machines:
        configure(machine, [f"ipvsadm -A {key} -s {scheduler}",
                            *(f"ipvsadm -a {key} -r {dest} {option}" for dest in dests)])


def start(machine, role, options="--syncid 7"):
    configure(machine, [f"ipvsadm --start-daemon {role} --mcast-interface eth2 {options}"])


def stop(machine, role):
    configure(machine, [f"ipvsadm --stop-daemon {role}"])


def proc(machine, name="ip_vs_conn_sync"):
    with inside(machine), open(f"/proc/thread-self/net/{name}") as f:
        return [line.split() for line in f][1:]


def conns(machine, columns=9):
    """Returns the conns of a machine, up to their origins, without their remaining times."""
    return "\n".join(sorted(" ".join(fields[:columns]) for fields in proc(machine)))


def listing(machine):
    return "\n".join(sorted(output(machine, "ipvsadm -Ln").split("\n")[3:]))


def threads():
    """Returns the names of the daemons' threads, without the number of the namespace."""
    names = output("director", "cat /proc/[0-9]*/comm 2>/dev/null | grep '^ipvs-[mb]:' || true").split("\n")
    return " ".join(sorted(f"{name[:6]}:{name.split(':')[2]}" for name in names if name))


# --- crafted packets


def up(*packets):
    agent.send("client", "eth0", "director", "eth0", *packets)


def down(*packets):
    agent.send("silent", "eth0", "director", "eth1", *packets)


def datagrams(port, count, v6=False, to=53):
    up(*[ip(GC[v6], VIP[v6], udp(port, to, b"x"))] * count)


def segment(port, flags, v6=False, to=80):
    return ip(GC[v6], VIP[v6], tcp(port, to, flags))


def answer(port, flags, v6=False, source=80):
    return ip(GS[v6], GC[v6], tcp(source, port, flags))


# --- messages

FIELDS = "kind protocol size flags state cport vport dport fwmark timeout".split()


class Watcher:
    """A socket that receives the messages sent to the groups."""

    def __init__(self, port=PORT):
        enter("watcher")
        index = socket.if_nametoindex("eth0")
        self.sockets = []
        for group in GROUPS:
            v6 = ":" in group
            sock = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if v6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, socket.inet_pton(socket.AF_INET6, group) + struct.pack("=i", index))
            else:
                sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group) + struct.pack("=4xi", index))
            sock.bind(("::" if v6 else "", port))
            sock.setblocking(False)
            self.sockets.append(sock)

    def messages(self):
        for sock in self.sockets:
            while True:
                try:
                    data, peer = sock.recvfrom(65536)
                except BlockingIOError:
                    break
                yield data, peer

    def until(self, is_last):
        """Returns the conns received until one for which `is_last` is true."""
        seen, deadline = [], time.monotonic() + 30 * SLOW
        while time.monotonic() < deadline:
            for data, _ in self.messages():
                seen += decode(data)
            if any(is_last(conn) for conn in seen):
                return seen
            time.sleep(0.05)
        fail("the last message did not arrive, but:\n" + "\n".join(map(show, seen)))


def decode(data):
    """Returns the conns in a message, as dictionaries. Every field of the header must be right."""
    count, syncid, size = struct.unpack("!BBH", data[:4])
    if size != len(data):
        fail(f"size {size} of a message with {len(data)} bytes")
    found = []
    if count:
        at = 4
        for _ in range(count):
            protocol, cport, vport, dport, caddr, vaddr, daddr, flags, state = struct.unpack("!xBHHH4s4s4sHH", data[at:at + 24])
            at += 24
            found.append(dict(version=0, syncid=syncid, protocol=protocol, cport=cport, vport=vport, dport=dport, caddr=caddr,
                              vaddr=vaddr, daddr=daddr, flags=flags, state=state, timeout=0, fwmark=0))
    else:
        count, version, spare = struct.unpack("!BBH", data[4:8])
        if (version, spare) != (1, 0):
            fail(f"version {version}, spare {spare}")
        at = 8
        for _ in range(count):
            at += -at % 4
            conn = dict(zip(FIELDS, struct.unpack("!BBHIHHHHII", data[at:at + 24])), version=1, syncid=syncid)
            length = 16 if conn["kind"] else 4
            caddr, vaddr, daddr = (data[at + 24 + length * i:at + 24 + length * (i + 1)] for i in range(3))
            found.append({**conn, "caddr": caddr, "vaddr": vaddr, "daddr": daddr})
            at += conn["size"]
    if at != len(data) and not notice(data):
        fail(f"{len(data) - at} bytes after the last conn of a message")
    return found


def notice(data):
    """Returns the notice at the end of a message, which only ours sends: kind, request, answer, total, number."""
    fields = struct.unpack("!4sB3xIIII", data[-24:]) if len(data) >= 32 else [b""]
    return fields[1:] if fields[0] == b"rsyn" else None


def show(conn):
    def ends(addr, port):
        return end(socket.inet_ntop(socket.AF_INET if len(conn[addr]) == 4 else socket.AF_INET6, conn[addr]), conn[port])
    return (f"v{conn['version']} {conn['syncid']} {conn['protocol']} {ends('caddr', 'cport')} {ends('vaddr', 'vport')} "
            f"{ends('daddr', 'dport')} flags {conn['flags']:x} state {conn['state']} timeout {conn['timeout']} "
            f"fwmark {conn['fwmark']} size {conn.get('size', 24)}")


def conn(protocol=6, client=GC[0], cport=1000, service=VIP[0], vport=80, dest=REALS[0][0], dport=80, flags=0, state=1, fwmark=0,
         timeout=3600, params=b"", version=0, kind=None, size=None):
    """Returns a conn of a message of version 1, padded."""
    v6 = ":" in client
    addrs = b"".join(map(agent.packet.address, (client, service, dest)))
    kind = int(v6) if kind is None else kind
    size = 24 + len(addrs) + len(params) if size is None else size
    head = struct.pack("!BBHIHHHHII", kind, protocol, version << 12 | size, flags, state, cport, vport, dport, fwmark, timeout)
    data = head + addrs + params
    return data + bytes(-len(data) % 4)


def message(*conns, syncid=7, count=None, size=None, version=1, spare=0, reserved=0):
    body = b"".join(conns)
    size = 8 + len(body) if size is None else size
    return struct.pack("!BBHBBH", reserved, syncid, size, len(conns) if count is None else count, version, spare) + body


def conn0(protocol=6, client=GC[0], cport=1000, service=VIP[0], vport=80, dest=REALS[0][0], dport=80, flags=0, state=1, seq=b""):
    """Returns a conn of a message of version 0."""
    client, service, dest = map(agent.packet.address, (client, service, dest))
    return struct.pack("!xBHHH4s4s4sHH", protocol, cport, vport, dport, client, service, dest, flags, state) + seq


def message0(*conns, syncid=7, count=None, size=None):
    body = b"".join(conns)
    size = 4 + len(body) if size is None else size
    return struct.pack("!BBH", len(conns) if count is None else count, syncid, size) + body


def tell(*messages, group=GROUPS[0], port=PORT):
    """Sends messages from the watcher to the group."""
    enter("watcher")
    v6 = ":" in group
    with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        index = socket.if_nametoindex("eth0")
        if v6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("=4x4xi", index))
        for data in messages:
            sock.sendto(data, (group, port))


def wait_for_conn(machine, cport, what="a conn", **more):
    wait_for(f"{what} from port {cport}", lambda: any(int(fields[2], 16) == cport for fields in proc(machine)),
             instead=lambda: conns(machine), **more)
