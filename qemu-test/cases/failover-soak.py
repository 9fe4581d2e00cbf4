"""Failover again and again under load: the addresses move between two directors and the roles of their daemons change,
as VRRP daemons do it. Connections that are held survive all of it; others begin and end at any time. At the end
nothing is left. LONG=1: 200 times."""
# Covers: src/sync src/conn src/netns/receive src/ctl/daemon
# Needs: two CPUs

import os
import socket
import struct
import subprocess
import time

import agent
import pair_lab
import sync_lab as lab
from case import DEBUG, configure, expect, fail, inside, observe, say, wait_for
from packet import address, icmp, ip
from pair_lab import daemons
from sync_lab import DIRECTORS, FLOATING, REALS, end, proc, settings, start, stop, take
from topology import VIP
from transfers import Transfers

ROUNDS = int(os.environ.get("ROUNDS") or (200 if os.environ.get("LONG") else 3 if DEBUG else 6))
HELD, SHORT = (6, 4) if DEBUG else (20, 10)  # of each family
LOADS = [(False, 80)] if DEBUG else [(v6, port) for v6 in (False, True) for port in (80, 81)]  # of UDP
GROUP = "--syncid 7 --mcast-group {} --mcast-port 8850"
began = time.monotonic()


def services(machine, option="-m"):
    """Creates the services: plain, persistent, and for one packet. `option` is for the ones where no connection is held."""
    lines = []
    for v6 in (False, True):
        for key, more, port, how in (("-t", "", 80, "-m"), ("-u", "", 80, "-m"), ("-t", "-p 5", 81, option), ("-u", "-o", 81, "-m")):
            lines.append(f"-A {key} {end(VIP[v6], port)} -s wlc {more}")
            lines += [f"-a {key} {end(VIP[v6], port)} -r {end(real[v6], port)} {how}" for real in REALS]
    with inside(machine):
        subprocess.run(["ipvsadm", "-R"], input="\n".join(lines) + "\n", text=True, check=True)


def start_one(machine, role, number):
    start(machine, role, GROUP.format(lab.GROUPS[number // 10 % 2]))


def held_are_on(machine):
    """Whether the machine has all connections that are held."""
    known = {int(fields[2], 16) for fields in proc(machine) if fields[7] == "ESTABLISHED"}
    return known >= {conn.sock.getsockname()[1] for conn in transfers.all if conn.label == "held"}


def announce(machine):
    """Announces the floating addresses to the neighbours, as a VRRP daemon does."""
    for name, (four, six) in (("eth0", VIP), ("eth1", lab.GATEWAY)):
        mac = agent.hardware(machine, name)
        arp = struct.pack("!HHBBH6s4s6s4s", 1, 0x800, 6, 4, 1, mac, address(four), bytes(6), address(four))
        advertisement = ip(six, "ff02::1", icmp(136, 0, address(six) + b"\x02\x01" + mac, rest=0x20000000), ttl=255)
        with inside(machine), socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sock:
            sock.sendto(arp, (name, 0x806, 0, 0, b"\xff" * 6))
            sock.sendto(advertisement, (name, 0x86DD, 0, 0, b"\x33\x33\0\0\0\1"))


def fail_over(number, old, new):
    """Makes `new` the master, as keepalived does it. Some rounds have something else in addition."""
    if number % 4 == 3:
        for machine in DIRECTORS:
            settings(machine, sync_ports=(1, 2, 4)[number % 3])
    started_again = number % 4 == 1  # as keepalived does when it starts: all services anew, later
    configure(old, [f"ip addr del {address.split()[0]} dev {name}" for address, name in FLOATING])
    stop(new, "backup")
    start_one(new, "master", number)
    take(new)
    announce(new)
    stop(old, "master")
    if started_again:
        configure(old, ["ipvsadm -C"])
    if number % 4 == 2:
        configure(old, ["ip link set eth2 down", "ip link set eth2 up"])
        agent.settle()
        # The IPv6 address went with the link.
        configure(old, [f"ip addr replace 2001:db8:9::{2 + DIRECTORS.index(old)}/64 dev eth2"])
    start_one(old, "backup", number)
    if started_again:
        services(old, "-g" if number % 8 == 1 else "-m")
    if number % 4 == 3:
        # A template that comes in a message of version 0 stays for three minutes.
        settings(new, sync_version=number // 4 % 2 if ROUNDS > 10 else 1)
        for v6 in (False, True):
            configure(new, [f"ipvsadm -E -t {end(VIP[v6], 80)} -s {('rr', 'sh', 'mh', 'lblcr')[number // 4 % 4]}"])


def replace_short():
    """Some connections end by RST, and others begin; their fate does not matter."""
    transfers.abort("short")
    for v6 in (False, True):
        for port in (80, 81):
            for _ in range(SHORT // 2):
                transfers.connect("short", "client", VIP[v6], port)


lab.lay_out()
agent.servers.reset()
transfers = Transfers()
for i in (1, 2, 3):
    for port in (80, 81):
        transfers.serve(f"rs{i}", port)
for machine in DIRECTORS:
    services(machine)
    settings(machine, sync_threshold="0 5", sync_refresh_period=2)
    configure(machine, [f"ipvsadm --set {60 * lab.SLOW} 5 5"])
start_one("director", "master", 0)
start_one("backup", "backup", 0)
for v6 in (False, True):
    transfers.open("held", "client", VIP[v6], 80, HELD)
for v6, port in LOADS:
    agent.load("client", f"udp{v6}{port}", "udp", VIP[v6], port, 1)
old, new = DIRECTORS
for number in range(1, ROUNDS + 1):
    replace_short()
    wait_for("the backup to have the connections that are held", lambda: held_are_on(new), instead=pair_lab.state)
    fail_over(number, old, new)
    broken = transfers.after("held", blocks=1)["held"]
    say(f"--- {time.monotonic() - began:.0f} s: {number} of {ROUNDS}, broken: {broken}")
    if broken:
        fail(f"connections are broken:\n{pair_lab.state()}")
    old, new = new, old

observe("broken", str(transfers.broken()["held"]))
for v6, port in LOADS:
    say(agent.unload(f"udp{v6}{port}").replace("\n", ", "))
transfers.abort("held", "short")
transfers.end()
wait_for("the connections to end", lambda: not any(proc(machine) for machine in DIRECTORS), patience=400 * lab.SLOW,
         instead=lambda: "\n".join(lab.conns(machine, 10) for machine in DIRECTORS))
for machine in DIRECTORS:
    for line in lab.listing(machine).split("\n"):
        if line.strip().startswith("->"):
            expect(f"active and inactive connections on {machine}", ["0", "0"], line.split()[-2:])
    for role in daemons(machine).split():
        stop(machine, role)
expect("threads", "", lab.threads())
