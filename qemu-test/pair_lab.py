"""A pair of directors with keepalived, in one guest.

                 ┌── director, backup ──┐
  client ── outside       │      │     lan ── rs1 rs2   10.1.1.11, .12, gateway 10.1.1.1
  192.168.1.254  │        └ wire ┘      NAT
                 └── rs3 rs4   192.168.1.13, .14, DR and TUN

The directors are 192.168.1.2 and .3, 10.1.1.2 and .3, and 172.16.0.2 and .3 on the network of the sync messages. The
VIPs 192.168.1.110, .111, .112 and the gateway's address belong to the director that VRRP chooses.
"""

import os
import re
import signal
import subprocess

from case import configure, fail, inside, say, wait_for
from sync_lab import DIRECTORS, proc
from topology import CLIENT, FORWARD, NO_ARP, build, cable, interface, settle, switch

VIPS = {"NAT": "192.168.1.110", "DR": "192.168.1.111", "TUN": "192.168.1.112"}
GATEWAY = "10.1.1.1"
SWITCHES = "outside", "lan", "wire"  # to eth0, eth1, eth2 of the directors
NO_FILTER = "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.tunl0.rp_filter=0"
# A connection sends again after two seconds at most, so that it goes on soon after an outage.
SOON = "sysctl -w net.ipv4.tcp_rto_max_ms=2000"


def director(number):
    return [FORWARD, *interface("eth0", f"192.168.1.{number}/24"), *interface("eth1", f"10.1.1.{number}/24"),
            *interface("eth2", f"172.16.0.{number}/24")]


def lay_out():
    build({
        "outside": switch("client:eth0", "director:eth0", "backup:eth0", "rs3:eth0", "rs4:eth0"),
        "lan": switch("director:eth1", "backup:eth1", "rs1:eth0", "rs2:eth0"),
        "wire": switch("director:eth2", "backup:eth2"),
        "client": [SOON, f"ip link set eth0 address {CLIENT}", *interface("eth0", "192.168.1.254/24")],
        "director": director(2), "backup": director(3),
        **{f"rs{i}": [SOON, *interface("eth0", f"10.1.1.1{i}/24"), f"ip route add default via {GATEWAY}"] for i in (1, 2)},
        **{f"rs{i}": [SOON, NO_ARP, NO_FILTER, *interface("eth0", f"192.168.1.1{i}/24"),
                      f"ip addr add {VIPS['DR']}/32 dev lo", *interface("tunl0", f"{VIPS['TUN']}/32")] for i in (3, 4)},
    })


def reboot():
    """The director loses all state: a new machine takes its place."""
    configure("wire", ["ip netns del director"])
    for machine in SWITCHES:
        with inside(machine):
            wait_for("the old links to go", lambda: not os.path.exists("/proc/thread-self/net/dev_snmp6/director"))
    configure("wire", ["ip netns add director"])
    for number, machine in enumerate(SWITCHES):
        configure(machine, [cable("director", f"director:eth{number}"), "ip link set director master br0 up"])
    configure("director", director(2))
    settle()


# --- keepalived


def page(start):
    """Returns the files that doc/pair-of-directors.md prints and that start so."""
    with open("/test/doc/pair-of-directors.md") as f:
        return re.findall(rf"^```\n({re.escape(start)}.*?)^```$", f.read(), re.M | re.S)


class Keepalived:
    """keepalived on a director."""

    def __init__(self, machine, text):
        self.machine = machine
        self.config, self.log = f"/run/{machine}.conf", f"/run/{machine}.log"
        self.configure(text)
        open(self.log, "w").close()
        self.process = None

    def start(self):
        """Starts it. The files of its processes have names of their own: the directors share one file system."""
        command = ["keepalived", "--dont-fork", "--log-console", "--log-detail", "--no-syslog", f"--use-file={self.config}",
                   *(f"--{name}=/run/{self.machine}-{name}" for name in ("pid", "checkers_pid", "vrrp_pid", "bfd_pid"))]
        say(f"[{self.machine}] {' '.join(command)}")
        with inside(self.machine), open(self.log, "a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)

    def processes(self):
        """The process and its children."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as f:
            return [self.process.pid, *map(int, f.read().split())]

    def kill(self):
        """Kills the process and its children at once: nothing is cleaned up."""
        say(f"[{self.machine}] kill -9")
        for process in self.processes():
            os.kill(process, signal.SIGKILL)
        self.process.wait()

    def configure(self, text):
        with open(self.config, "w") as f:
            f.write(text)

    def stop(self):
        say(f"[{self.machine}] keepalived: SIGTERM")
        self.process.terminate()
        if self.process.wait() != 0:
            fail(f"keepalived on {self.machine} ended with {self.process.returncode}:\n{self.said()}")

    def said(self, lines=60):
        """The last lines of its log."""
        with open(self.log) as f:
            return "".join([line for line in f if "gratuitous ARP" not in line][-lines:])


def addresses(machine):
    with inside(machine):
        lines = subprocess.run(["ip", "-o", "-4", "addr"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return re.findall(r"inet ([\d.]+)/", lines)


def has(machine, *wanted):
    return set(wanted) <= set(addresses(machine))


def has_none(machine, *wanted):
    return not set(wanted) & set(addresses(machine))


def daemons(machine):
    """Returns the roles of the sync daemons that run."""
    with inside(machine):
        listing = subprocess.run(["ipvsadm", "-L", "--daemon"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return " ".join(re.findall(r"^(master|backup)", listing, re.M))


def dests(machine):
    with inside(machine):
        listing = subprocess.run(["ipvsadm", "-Sn"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return listing.count("\n-a") + listing.startswith("-a")


def established(machine):
    return sum(fields[7] == "ESTABLISHED" for fields in proc(machine))


def state():
    return "\n".join(f"{machine}: {addresses(machine)}, {daemons(machine)}, {dests(machine)} dests, "
                     f"{established(machine)} established" for machine in DIRECTORS)
