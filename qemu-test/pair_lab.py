"""A pair of directors with keepalived, in one guest or in two.

                 ┌── director, backup ──┐
  client ── outside       │      │     lan ── rs1 rs2   10.1.1.11, .12, gateway 10.1.1.1
  192.168.1.254  │        └ wire ┘      NAT
                 └── rs3 rs4   192.168.1.13, .14, DR and TUN

The directors are 192.168.1.2 and .3, 10.1.1.2 and .3, and 172.16.0.2 and .3 on the network of the sync messages. The
VIPs 192.168.1.110, .111, .112 and the gateway's address belong to the director that VRRP chooses. With two guests the
backup is in the second one.
"""

import os
import math
import re
import signal
import subprocess
import time

from case import SLOW, configure, expect, fail, inside, observe, say, wait_for
from sync_lab import DIRECTORS, proc
from topology import CLIENT, FORWARD, NO_ARP, build, cable, interface, settle, switch
from transfers import Transfers

VIPS = {"NAT": "192.168.1.110", "DR": "192.168.1.111", "TUN": "192.168.1.112"}
GATEWAY = "10.1.1.1"
FLOATING = {*VIPS.values(), GATEWAY}
SWITCHES = "outside", "lan", "wire"  # to eth0, eth1, eth2 of the directors
NO_FILTER = "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.tunl0.rp_filter=0"
# A connection sends again after two seconds at most, so that it goes on soon after an outage.
SOON = "sysctl -w net.ipv4.tcp_rto_max_ms=2000"


def director(machine):
    number = 2 + DIRECTORS.index(machine)
    return [FORWARD, *interface("eth0", f"192.168.1.{number}/24"), *interface("eth1", f"10.1.1.{number}/24"),
            *interface("eth2", f"172.16.0.{number}/24")]


def lay_out(*directors):
    """Creates the machines, of the directors both or those that are named."""
    directors = directors or DIRECTORS
    outside, lan, wire = ([f"{machine}:eth{number}" for machine in directors] for number in (0, 1, 2))
    build({
        "outside": switch("client:eth0", *outside, "rs3:eth0", "rs4:eth0"),
        "lan": switch(*lan, "rs1:eth0", "rs2:eth0"),
        "wire": switch(*wire),
        "client": [SOON, f"ip link set eth0 address {CLIENT}", *interface("eth0", "192.168.1.254/24")],
        **{machine: director(machine) for machine in directors},
        **{f"rs{i}": [SOON, *interface("eth0", f"10.1.1.1{i}/24"), f"ip route add default via {GATEWAY}"] for i in (1, 2)},
        **{f"rs{i}": [SOON, NO_ARP, NO_FILTER, *interface("eth0", f"192.168.1.1{i}/24"),
                      f"ip addr add {VIPS['DR']}/32 dev lo", *interface("tunl0", f"{VIPS['TUN']}/32")] for i in (3, 4)},
    })


def reboot(meanwhile=lambda: None):
    """The director loses all state: a new machine takes its place. `meanwhile` is called while there is none."""
    configure("wire", ["ip netns del director"])
    for machine in SWITCHES:
        with inside(machine):
            wait_for("the old links to go", lambda: not os.path.exists("/proc/thread-self/net/dev_snmp6/director"))
    meanwhile()
    configure("wire", ["ip netns add director"])
    for number, machine in enumerate(SWITCHES):
        configure(machine, [cable("director", f"director:eth{number}"), "ip link set director master br0 up"])
    configure("director", director("director"))
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


def state_of(machine):
    return f"{machine}: {addresses(machine)}, {daemons(machine)}, {dests(machine)} dests, {established(machine)} established"


def state():
    return "\n".join(map(state_of, DIRECTORS))


# --- a pair as in doc/pair-of-directors.md


class Director(Keepalived):
    """A director with the configuration and the settings of the page."""

    def __init__(self, machine):
        self.text = page("! /etc/keepalived/keepalived.conf")[DIRECTORS.index(machine)]
        super().__init__(machine, self.text)
        self.apply()

    def apply(self):
        """Applies the settings."""
        file = f"/run/{self.machine}.sysctl"
        with open(file, "w") as f:
            f.write(*page("# /etc/sysctl.d"))
        configure(self.machine, [f"command sysctl -p {file}"])

    def delay_preemption(self, seconds):
        """Preempts after so many seconds, or after those of the page if they are more. This needs a start of keepalived."""
        self.configure(re.sub(r"(?<=preempt_delay )\d+", lambda delay: str(max(int(delay[0]), seconds)), self.text))

    def preempt_by_default(self):
        self.configure(re.sub(" +preempt_delay.*\n", "", self.text))

    def is_master(self):
        return has(self.machine, *FLOATING) and daemons(self.machine) == "master"

    def is_backup(self):
        return has_none(self.machine, *FLOATING) and daemons(self.machine) == "backup"

    def dests(self):
        return dests(self.machine)

    def established(self):
        return established(self.machine)

    def hear(self, hears):
        """Drops the messages of VRRP, or no more."""
        rule = "{ chain in { type filter hook input priority 0; ip protocol vrrp drop; }; }"
        configure(self.machine, ["nft delete table ip split" if hears else f"nft 'table ip split {rule}'"])

    def stop(self):
        super().stop()
        wanted = (0, "", True)
        expect(f"left on {self.machine}", wanted, (self.dests(), daemons(self.machine), has_none(self.machine, *FLOATING)))

    def told(self):
        return f"{state_of(self.machine)}\n{self.said()}"


class Pair:
    """Two directors, A with the higher priority, and connections in mid-transfer."""

    def __init__(self, a, b):
        self.a, self.b = a, b
        self.began = time.monotonic()
        self.transfers = Transfers()
        for i in (1, 2, 3, 4):
            self.transfers.serve(f"rs{i}", 80)

    def say(self, text):
        say(f"  {time.monotonic() - self.began:.0f} s: {text}")

    def wait(self, what, is_so):
        wait_for(what, is_so, patience=120 * SLOW, instead=lambda: f"\nA: {self.a.told()}\nB: {self.b.told()}")
        self.say(what)

    def wait_for_a(self):
        self.wait("A is the master, B the backup", lambda: self.a.is_master() and self.b.is_backup())

    def wait_for_b(self):
        """Waits until B is the master. A may be dead."""
        self.wait("B is the master", self.b.is_master)

    def start(self):
        for director in (self.a, self.b):
            director.start()
        self.wait_for_a()
        self.wait("the services are there", lambda: self.a.dests() == self.b.dests() == 6)

    def stop(self):
        for director in (self.a, self.b):
            director.stop()

    def start_a(self):
        """Starts A again, and waits until it is the master. Before, it must have heard of each connection. One with
        traffic is sent every ten seconds. Where a connection is slow, A waits for longer than the page says."""
        began = time.monotonic()
        self.transfers.after()
        self.a.delay_preemption(math.ceil(12 + time.monotonic() - began))
        self.a.start()
        self.wait_for_a()

    def open(self, label, count, vip=VIPS["NAT"]):
        self.transfers.open(label, "client", vip, 80, count)

    def open_all(self, count):
        """Opens so many connections with each method, and waits until B knows them."""
        for label, vip in VIPS.items():
            self.open(label, count, vip)
        self.wait("B has all connections", lambda: self.b.established() >= self.a.established() >= count * len(VIPS))

    def broken(self, event, patience=120):
        """Returns for each label how many connections are broken, and by what."""
        broken = self.transfers.after(patience=patience * SLOW)
        self.say(f"{event}: {broken}")
        return broken

    def check(self, event):
        """Returns the labels of the connections. The event must not have broken any of them."""
        broken = self.broken(event)
        expect(f"connections that are broken: {event}", {label: {} for label in broken}, broken)
        return list(broken)

    def observe(self, event):
        observe(event, "\n".join(f"{label}: 0 broken" for label in self.check(event)))

    def split(self, is_split):
        """Neither hears the other, or both do again."""
        for director in (self.a, self.b):
            director.hear(not is_split)
        if is_split:
            self.wait("both are masters", lambda: self.a.is_master() and self.b.is_master())
        else:
            self.wait_for_a()
