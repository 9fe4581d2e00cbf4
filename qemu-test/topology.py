"""The networks of the cases, the demo and the benchmark.

A network is a dictionary. A key is a machine's name, which is also the name of its
network namespace. The value is the list of the commands that set the machine up, as
they are typed there. `build` runs and prints them: the `ip` commands of a machine in
one process, `sysctl -w` without a process.

    from topology import NAT, build     in a case in Python; then: build(NAT.machines)
    topology nat                        in a case in bash, see lib.sh
    python3 topology.py nat             at the prompt of `make shell`
"""

import contextlib
import fcntl
import itertools
import os
import socket
import struct
import subprocess
import sys
import time
from typing import NamedTuple

SLOW = float(os.environ.get("SLOW", "1"))  # factor of timeouts, for slower kernels
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP, IFF_RUNNING = 0x8913, 0x8914, 0x1, 0x40


def say(text):
    print(text, file=sys.stderr, flush=True)


# --- building


def enter(machine):
    """Sockets and files of /proc are those of the machine from now on."""
    with open(f"/run/netns/{machine}") as f:
        os.setns(f.fileno(), os.CLONE_NEWNET)


@contextlib.contextmanager
def inside(machine):
    """The same for a `with` block."""
    with open("/proc/thread-self/ns/net") as home:
        enter(machine)
        try:
            yield
        finally:
            os.setns(home.fileno(), os.CLONE_NEWNET)


def ip(commands):
    """Runs `ip` commands in one process."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True)


def netns(*machines):
    """Deletes all named network namespaces and creates new ones."""
    ip([f"netns del {name}" for name in os.listdir("/run/netns")] + [f"netns add {name}" for name in machines])
    if os.environ.get("TRACKED"):
        for machine in machines:
            with inside(machine):
                track()


def track():
    """Switches on connection tracking of IPVS's connections, if the module is loaded. The rule gives
    the packets conntrack entries."""
    try:
        sysctl(["sysctl -w net.ipv4.vs.conntrack=1"])
    except FileNotFoundError:
        return
    rule = "table inet tracked { chain in { type filter hook prerouting priority 0; ct state new counter; }; }"
    subprocess.run(["nft", rule], check=True)


def sysctl(commands):
    """Writes the values of commands `sysctl -w NAME=VALUE…`."""
    for assignment in itertools.chain(*(command.split()[2:] for command in commands)):
        name, value = assignment.split("=")
        with open("/proc/sys/" + name.replace(".", "/"), "w") as f:
            f.write(value)


def configure(machine, commands):
    """Prints commands and runs them on a machine."""
    say("\n".join(f"[{machine}] {command}" for command in commands))
    with inside(machine):
        for program, group in itertools.groupby(commands, lambda command: command.split()[0]):
            if program == "ip":
                ip(command.removeprefix("ip ") for command in group)
            elif program == "sysctl":
                sysctl(group)
            else:
                for command in group:
                    subprocess.run(command, shell=True, check=True)


def build(machines):
    """Creates a network in place of the one before."""
    netns(*machines)
    for machine, commands in machines.items():
        configure(machine, commands)
    settle()


def settle():
    """Brings every lo up, waits until each interface that is up is also running,
    and removes the rate limits on ICMP errors, with which their number would
    depend on timing."""
    for machine in os.listdir("/run/netns"):
        with inside(machine), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sysctl(["sysctl -w net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0"])
            deadline = time.monotonic() + 10 * SLOW
            fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("=16sH14x", b"lo", IFF_UP))
            for _, name in socket.if_nameindex():
                while not is_settled(sock, name):
                    if time.monotonic() > deadline:
                        raise RuntimeError(f"{machine}: {name} does not come up")
                    time.sleep(0.005)


def is_settled(sock, name):
    ifreq = fcntl.ioctl(sock, SIOCGIFFLAGS, struct.pack("16s16x", name.encode()))
    flags, = struct.unpack("=16xH14x", ifreq)
    return not flags & IFF_UP or flags & IFF_RUNNING


# --- parts of networks

FORWARD = "sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
# No ARP for the VIP, which a real server has on lo or a tunnel device.
NO_ARP = "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2"
index = itertools.count(101)


def cable(interface, end):
    """Returns the command for a cable from an interface of the machine to an end,
    "MACHINE:INTERFACE". The ends have different ifindexes, or the kernel takes a
    second until they are up."""
    machine, peer = end.split(":")
    return f"ip link add {interface} index {next(index)} type veth peer name {peer} index {next(index)} netns {machine}"


def switch(*ends):
    """Returns the commands for a bridge with a cable to each end. A port has the name
    of the machine at its other end."""
    commands = ["ip link add br0 up type bridge mcast_snooping 0"]
    for end in ends:
        port = end.split(":")[0]
        commands += [cable(port, end), f"ip link set {port} master br0 up"]
    return commands


def interface(name, *addresses):
    """Returns the commands for an interface that is up and has these addresses, each
    with its prefix and options."""
    return [f"ip addr add {address} dev {name}" for address in addresses] + [f"ip link set {name} up"]


# --- the networks of the cases

# The IPv6 network that goes with each IPv4 network.
SIX = {"172.16.1": "2001:db8:3:", "192.168.1": "2001:db8:1:", "10.1.1": "2001:db8:2:"}
VIP = "192.168.1.110", "2001:db8:1::110"
CLIENT, SILENT = "02:00:00:00:00:01", "02:00:00:00:00:02"  # hardware addresses


def pair(net, number):
    """Returns the IPv4 and the IPv6 address with this last number."""
    return f"{net}.{number}", f"{SIX[net]}:{number}"


def prefixed(net, number):
    four, six = pair(net, number)
    return f"{four}/24", f"{six}/64"


def default(net, number):
    return [f"ip route add default via {address}" for address in pair(net, number)]


def ghost(net, name, mac):
    """Returns the commands by which packets to address 99 go to the machine with this
    hardware address, which does not have the address 99."""
    return [f"ip neigh add {address} lladdr {mac} dev {name}" for address in pair(net, 99)]


class Topology(NamedTuple):
    machines: dict
    addresses: dict  # of a name such as RIP1: the IPv4 and the IPv6 address
    uplink: str = ""  # the interface from which a client's crafted packets are sent, and the director's
    downlink: str = ""  # the same for a real server's

    def assignments(self):
        """Returns the addresses and links as assignments of a shell: CIP_4=…, CIP_6=…."""
        lines = [f"UPLINK='{self.uplink}' DOWNLINK='{self.downlink}'"]
        return "\n".join(lines + [f"{name}_4={four} {name}_6={six}" for name, (four, six) in self.addresses.items()])


def addresses(clients, servers):
    """Returns the addresses of a topology with clients and real servers in these networks."""
    reals = {f"RIP{i}": pair(servers, 10 + i) for i in (1, 2, 3)}
    return {"CIP": pair(clients, 254), "VIP": VIP, "DIP": pair(servers, 1), **reals,
            "GC": pair(clients, 99), "GS": pair(servers, 99)}


def client(net, end):
    return [cable("eth0", end), f"ip link set eth0 address {CLIENT}", *interface("eth0", *prefixed(net, 254)), *default(net, 1)]


def reals(net, gateway, *more):
    return {f"rs{i}": [*interface("eth0", *prefixed(net, 10 + i)), *default(net, gateway), *more] for i in (1, 2, 3)}


def nat():
    """NAT as in the LVS documentation: the director is the real servers' gateway.

      client                    director                     rs1 rs2 rs3
      192.168.1.254 ──── 192.168.1.1   10.1.1.1 ──┬── 10.1.1.11, .12, .13
                     VIP 192.168.1.110           lan     gateway 10.1.1.1

    IPv6: 2001:db8:1::/64 and 2001:db8:2::/64, with the same last numbers. The VIP is
    deprecated, as keepalived does it, so it is never selected as a source."""
    director = [
        FORWARD,
        *interface("eth0", *prefixed("192.168.1", 1), f"{VIP[0]}/24", f"{VIP[1]}/64 preferred_lft 0"),
        *interface("eth1", *prefixed("10.1.1", 1)),
        *ghost("192.168.1", "eth0", CLIENT), *ghost("10.1.1", "eth1", SILENT)]
    return Topology({
        "client": client("192.168.1", "director:eth0"),
        "lan": switch("director:eth1", "rs1:eth0", "rs2:eth0", "rs3:eth0", "silent:eth0"),
        "director": director,
        **reals("10.1.1", 1),
        "silent": [f"ip link set eth0 address {SILENT} up"],
    }, addresses("192.168.1", "10.1.1"), "client eth0 director eth0", "silent eth0 director eth1")


def router(*more):
    """DR and TUN: director and real servers are on one network behind a router.
    Replies go from the real servers directly to the router.

      client               router                      director       192.168.1.1
      172.16.1.254 ─── 172.16.1.1  192.168.1.254 ──┬── VIP            192.168.1.110
                                                  lan  rs1 rs2 rs3    192.168.1.11, .12, .13

    IPv6: 2001:db8:3::/64 and 2001:db8:1::/64, with the same last numbers. `more` are
    more commands of each real server."""
    director = [
        FORWARD,
        *interface("eth0", *prefixed("192.168.1", 1), f"{VIP[0]}/32", f"{VIP[1]}/128 preferred_lft 0"),
        *default("192.168.1", 254), *ghost("192.168.1", "eth0", SILENT)]
    return Topology({
        "client": client("172.16.1", "router:eth0"),
        "lan": switch("router:eth1", "director:eth0", "rs1:eth0", "rs2:eth0", "rs3:eth0", "silent:eth0"),
        "router": [
            FORWARD,
            *interface("eth0", *prefixed("172.16.1", 1)), *interface("eth1", *prefixed("192.168.1", 254)),
            *ghost("172.16.1", "eth0", CLIENT)],
        "director": director,
        **reals("192.168.1", 254, *more),
        "silent": [f"ip link set eth0 address {SILENT} up"],
    }, addresses("172.16.1", "192.168.1"), "router eth1 director eth0", "silent eth0 director eth0")


def two():
    """Two separate networks with the same addresses."""
    machines = {}
    for i in (1, 2):
        machines[f"client{i}"] = [cable("eth0", f"director{i}:eth0"), *interface("eth0", *prefixed("192.168.1", 254))]
        machines[f"director{i}"] = [
            FORWARD, cable("eth1", f"rs{i}:eth0"), *interface("eth0", *prefixed("192.168.1", 110)),
            *interface("eth1", *prefixed("10.1.1", 1))]
        machines[f"rs{i}"] = [*interface("eth0", *prefixed("10.1.1", 11)), *default("10.1.1", 1)]
    return Topology(machines, {})


NAT, ROUTER = nat(), router()
DR = router(NO_ARP, f"ip addr add {VIP[0]}/32 dev lo", f"ip addr add {VIP[1]}/128 dev lo")
TUN = router(
    NO_ARP, "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.tunl0.rp_filter=0",
    *interface("tunl0", f"{VIP[0]}/32"), *interface("ip6tnl0", f"{VIP[1]}/128"))
TOPOLOGIES = {"nat": NAT, "router": ROUTER, "dr": DR, "tun": TUN, "two": two()}


# --- the networks of the demo

FAMILIES = {
    "IPv4": {"net": "/24", "host": "/32", "far": "198.51.100.", "iptables": "iptables",
             "forward": "sysctl -qw net.ipv4.ip_forward=1",
             "no_arp": "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
             "tunnel": "ipip", "device": "tunl0", "no_filter": "sysctl -qw net.ipv4.conf.tunl0.rp_filter=0"},
    # With preferred_lft 0 the VIP is never the source of a tunnel; a real server would drop
    # packets from its own address. Neighbour discovery never answers for an address on lo.
    "IPv6": {"net": "/64", "host": "/128 preferred_lft 0", "far": "2001:db8:51::", "iptables": "ip6tables",
             "forward": "sysctl -qw net.ipv6.conf.all.forwarding=1",
             "no_arp": "", "tunnel": "ip6_tunnel", "device": "ip6tnl0", "no_filter": ""},
}
# The addresses of EXAMPLE 1 and section IPv6 of ipvsadm(8) for NAT, those of
# linuxvirtualserver.org for the others; `lan` is the start of the addresses on the
# director's network, `route` the route to the VIP.
SIX_REALS = ["2001:db8::a0a0", "2001:db8::b0b0", "2001:db8::c0c0"]
ADDRESSES = {
    ("nat", "IPv4"): {"lan": "207.175.44.", "vip": "207.175.44.110", "gateway": "192.168.10.254", "route": "",
                      "rips": ["192.168.10.1", "192.168.10.2", "192.168.10.3"]},
    ("nat", "IPv6"): {"lan": "2001:db8:44::", "vip": "2001:db8::80", "gateway": "2001:db8::1", "rips": SIX_REALS,
                      "route": "ip route add 2001:db8::/64 via 2001:db8:44::1"},
    ("lan", "IPv4"): {"lan": "172.26.20.", "vip": "172.26.20.110", "route": "",
                      "rips": ["172.26.20.112", "172.26.20.113", "172.26.20.114"]},
    ("lan", "IPv6"): {"lan": "2001:db8::", "vip": "2001:db8::80", "route": "", "rips": SIX_REALS},
}
METHODS = {
    # The director is the real servers' gateway and translates requests and replies.
    "nat": """
        reals# ip addr add {rip}{net} dev eth0
        reals# ip route add default via {gateway}
        director# ip addr add {lan}1{net} dev eth0
        director# ip addr add {vip}{host} dev eth0
        director# ip addr add {gateway}{net} dev eth1
        director# {forward}""",
    # The real servers have the VIP, do not answer ARP requests for it, and answer the
    # client directly.
    "dr": """
        reals# {no_arp}
        reals# ip addr add {vip}{host} dev lo
        reals# ip addr add {rip}{net} dev eth0
        director# ip addr add {lan}111{net} dev eth0
        director# ip addr add {vip}{host} dev eth0""",
    "tun": """
        reals# ip addr add {rip}{net} dev eth0
        reals# modprobe {tunnel}
        reals# {no_arp}
        reals# {no_filter}
        reals# ip link set {device} up
        reals# ip addr add {vip}{host} dev {device}
        director# ip addr add {lan}111{net} dev eth0
        director# ip addr add {vip}{host} dev eth0""",
}

# The client's path to the director: on the director's network, behind a firewall with
# NAT, or behind a router that is not the real servers'. For each the interfaces on the
# director's network, those on the client's, the address that the client requests, its
# address in packets at the director, and the commands.
FRONTS = {
    "base": ("client:eth0", "", "{vip}", "{lan}9", """
        client# ip addr add {lan}9{net} dev eth0
        client# {route}"""),
    "gateway": ("gateway:eth1", "client:eth0 gateway:eth0", "{far}1", "{lan}9", """
        client# ip addr add {far}9{net} dev eth0
        gateway# ip addr add {far}1{net} dev eth0
        gateway# ip addr add {lan}9{net} dev eth1
        gateway# {route}
        gateway# {forward}
        gateway# {iptables} -t nat -A PREROUTING -d {far}1 -p tcp --dport 80 -j DNAT --to-destination {service}
        gateway# {iptables} -t nat -A POSTROUTING -d {vip} -p tcp --dport 80 -j SNAT --to-source {lan}9"""),
    "router": ("router1:eth1 router2:eth1", "client:eth0 router1:eth0 router2:eth0", "{vip}", "{far}9", """
        client# ip addr add {far}9{net} dev eth0
        client# ip route add default via {far}1
        router1# ip addr add {far}1{net} dev eth0
        router1# ip addr add {lan}1{net} dev eth1
        router1# {forward}
        router2# ip addr add {far}2{net} dev eth0
        router2# ip addr add {lan}2{net} dev eth1
        router2# {forward}
        reals# ip route add default via {lan}2"""),
}


def demo_switches(method, lab):
    """Returns the ends at each switch of the demo."""
    near, far = FRONTS[lab][:2]
    reals = "real1:eth0 real2:eth0 real3:eth0"
    if method == "nat":
        return {"outside": f"director:eth0 {near}", "inside": f"director:eth1 {reals}", "internet": far}
    return {"lan": f"director:eth0 {reals} {near}", "internet": far}


def demo_lines(method, family, lab):
    """Returns the lines of the demo for a family: assignments for its shell, then each
    command, "MACHINE# COMMAND"."""
    addresses = ADDRESSES["nat" if method == "nat" else "lan", family]
    written = "{}" if family == "IPv4" else "[{}]"  # before a port
    names = {**addresses, **FAMILIES[family], "service": written.format(addresses["vip"]) + ":80"}
    _, _, target, source, more = (text.format(**names) for text in FRONTS[lab])
    rips = names["rips"]
    lines = [f"vip={names['vip']} rip=('' {' '.join(rips)}) target={written.format(target)} source={written.format(source)}"]
    for line in (METHODS[method] + more).split("\n"):
        machine, _, command = line.strip().partition("# ")
        for each, rip in zip(["real1", "real2", "real3"] if machine == "reals" else [machine], rips):
            typed = command.format(**names, rip=rip)
            if typed:
                lines.append(f"{each}# {typed}")
    return lines


def demo(method, lab, directory):
    """Creates the machines and cables of the demo and prints the machines' names. Writes
    a file of lines for each family."""
    switches = {name: ends.split() for name, ends in demo_switches(method, lab).items()}
    hosts = {}
    for end in itertools.chain(*switches.values()):
        host, name = end.split(":")
        hosts.setdefault(host, []).append(f"ip link set {name} up")
    build({name: switch(*ends) for name, ends in switches.items()} | hosts)
    print(*hosts)
    for family in FAMILIES:
        with open(f"{directory}/{family}", "w") as f:
            print(*demo_lines(method, family, lab), sep="\n", file=f)


# --- the network of the benchmark


def bench():
    """A client is connected to the director, which is the machine itself, by a veth
    pair; behind the director, a dummy device with permanent neighbours discards all
    packets. On one CPU, pktgen, the director and the dummy device run as one sequence
    of instructions."""
    netns("client")
    ip([f"netns attach director {os.getpid()}"])
    configure("director", [
        FORWARD, "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0",
        cable("clients", "client:eth0"), "ip link set clients address 02:00:00:00:00:01",
        "ip link add servers type dummy", "ip addr add 10.0.0.1/32 dev lo", "ip addr add fd00::1/128 dev lo",
        *interface("clients", "10.1.255.254/16", "fd01::ffff/64 nodad"),
        *interface("servers", "10.2.255.254/16", "fd02::ffff/64 nodad"),
        "ip route add 10.3.0.0/16 via 10.2.255.1", "ip route add fd03::/64 via fd02::fffe"])
    configure("client", [
        "sysctl -w net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1",
        "ip link set eth0 address 02:00:00:00:00:02 up"])
    servers = ["10.2.255.1", "fd02::fffe", "fd02::1", *(f"10.2.{i // 250}.{i % 250 + 1}" for i in range(1000))]
    ip(f"neigh add {server} lladdr 02:00:00:00:02:00 dev servers nud permanent" for server in servers)


if __name__ == "__main__":
    if sys.argv[1] == "demo":
        demo(*sys.argv[2:])
    elif sys.argv[1] == "bench":
        bench()
    else:
        build(TOPOLOGIES[sys.argv[1]].machines)
