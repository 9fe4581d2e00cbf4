"""NAT with conntrack=1 and MASQUERADE after it, as kube-proxy and one-armed set-ups have it: large segments, fragments, ICMP
errors, path MTUs, and data for other users of connection tracking: events, the original destination, and marks."""
# Covers: src/xmit/output src/xmit/icmp src/hook/icmp rust-out-of-tree/net/conntrack

import hashlib
import re
import signal
import subprocess

import agent
from case import configure, entries, observe, output, wait_for
from topology import NAT, build, inside


def director(command):
    return output("director", command)


def large(vip, size):
    """Sends a request of many fragments, and gets an answer of as many."""
    with inside("client"), agent.client_socket("udp", vip) as sock:
        sock.connect((vip, 80))
        request = b"hash " + b"x" * size
        sock.send(request)
        answer = sock.recv(65536).decode()
        sock.send(b"bytes %d" % size)
        return answer == hashlib.sha1(request).hexdigest(), sock.recv(65536) == agent.PATTERN[:size]


def without_ports(text):
    return re.sub(r"\b4\d{4}\b", "PORT", text)


class Events:
    """conntrack -E of the director, for TCP."""

    def __init__(self, family):
        self.file = "/run/events"
        with inside("director"):
            self.process = subprocess.Popen(
                ["conntrack", "-E", "-p", "tcp", "-f", family, "-o", "id"], stdout=open(self.file, "w"), stderr=subprocess.DEVNULL)

    def lines(self):
        with open(self.file) as file:
            return [" ".join(re.sub(r"(?<= 6) \d+(?= )| id=\d+| secctx=\S+", "", line).split()) for line in file]

    def end(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


def go(six):
    vip, dip, rip = (NAT.addresses[name][six] for name in ("VIP", "DIP", "RIP1"))
    version, tables = ("6", "ip6tables") if six else ("4", "iptables")
    left, right = ("[", "]") if six else ("", "")
    agent.reset()
    build(NAT.machines)
    for i in (1, 2, 3):
        agent.serve(f"rs{i}", f"rs{i}", 80)
    director("sysctl -qw net.ipv4.vs.conntrack=1")
    for service in f"-t {left}{vip}{right}:80", f"-u {left}{vip}{right}:80", f"-t {left}{vip}{right}:81", f"-u {left}{vip}{right}:81":
        director(f"ipvsadm -A {service} -s rr")
        director(f"ipvsadm -a {service} -r {left}{rip}{right}:{service[-2:]} -m")
    director(f"{tables} -t nat -A POSTROUTING -m ipvs --vaddr {vip} --vdir ORIGINAL --vmethod MASQ -j MASQUERADE")
    rules = (f"--ctorigdst {vip} --ctorigdstport 80 --ctdir ORIGINAL", f"--ctorigdst {vip} --ctorigdstport 80 --ctdir REPLY",
             f"--ctreplsrc {rip} --ctreplsrcport 80", f"--ctrepldst {dip}", "--ctstate SNAT", "--ctstate DNAT",
             "--ctstate INVALID", "--ctstatus ASSURED", "--ctstate ESTABLISHED")
    for chain in "INPUT", "OUTPUT", "FORWARD":
        for rule in rules:
            director(f"{tables} -A {chain} -p tcp -m conntrack {rule}")
    # A connection's mark comes back with its replies.
    director(f"{tables} -t mangle -A PREROUTING -d {vip} -p tcp -j CONNMARK --set-mark 7")
    director(f"{tables} -t mangle -A FORWARD -p tcp --sport 80 -m connmark --mark 7")

    events = Events(f"ipv{version}")
    # It listens once a connection of its own is reported. So the ports are not the same in every run.
    wait_for("events", lambda: agent.get("client", "tcp", vip, 80, 1) == "rs1" and events.lines())
    observe(f"IPv{version}: the address that servers see", without_ports(agent.get("client", "tcp", vip, 80, 1, "who")))
    agent.hold("client", "held", "tcp", vip, 80, 1)
    port = agent.held["held1"].getsockname()[1]
    observe(f"IPv{version}: entries", without_ports(entries("director", f"-f ipv{version} -p tcp --orig-port-src {port}")))
    agent.close("held*")

    def seen():
        return [line for line in events.lines() if f"sport={port}" in line]

    wait_for("the last event", lambda: any("TIME_WAIT" in line for line in seen()), instead=events.lines)
    # The states between these depend on timing.
    observe(f"IPv{version}: events of a connection", without_ports("\n".join(
        line for line in seen() if re.search("SYN_|ESTABLISHED|TIME_WAIT", line))))
    events.end()
    for chain in "INPUT", "OUTPUT", "FORWARD":
        lines = director(f"{tables} -nvL {chain}").split("\n")[2:]
        observe(f"IPv{version}: -m conntrack in {chain}", "\n".join(
            f"{rule}: {'matched' if line.split()[0] != '0' else 'not matched'}" for rule, line in zip(rules, lines)))
    matched = director(f"{tables} -t mangle -nvL FORWARD").split("\n")[2].split()[0]
    observe(f"IPv{version}: marked replies", "some" if matched != "0" else "none")

    observe(f"IPv{version}: fragments", str(large(vip, 4000)))
    observe(f"IPv{version}: a download", agent.download("client", vip, 80, 3000000))
    observe(f"IPv{version}: an upload", agent.upload("client", vip, 80, 1000000))
    # Nothing listens there.
    observe(f"IPv{version}: a closed port, UDP", agent.get("client", "udp", vip, 81, 2))
    observe(f"IPv{version}: a closed port, TCP", agent.get("client", "tcp", vip, 81, 2))
    # A smaller MTU behind the director, then before it, which its ICMP errors report.
    for interface, far in ("eth1", rip), ("eth0", NAT.addresses["CIP"][six]):
        configure("director", [f"ip route add {far} dev {interface} mtu 1400"])
        observe(f"IPv{version}: smaller MTU of {interface}", " ".join((
            agent.upload("client", vip, 80, 300000), agent.download("client", vip, 80, 300000))))
        configure("director", [f"ip route del {far} dev {interface} mtu 1400"])
    wait_for("the conns to be counted", lambda: int(director("cat /proc/net/ip_vs_stats").split("\n")[2].split()[0], 16) >= 14)


for six in (0, 1):
    go(six)
