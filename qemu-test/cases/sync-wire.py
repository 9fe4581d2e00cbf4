"""The sync messages of a director and of C's for the same packets, byte by byte: conns and templates of every kind, in both
versions."""
# Needs: two guests, C in the second
# Covers: src/sync/due src/sync/message src/sync/master src/conn/sync

import peer  # in the second guest, to the end
import socket
import struct
import time

import agent
import failover_lab
import sync_lab as lab
from case import SLOW, expect, fail, observe
from failover_lab import on
from packet import ip, sctp, tcp, udp
from sync_lab import DIRECTORS, GC, GS, end, show
from topology import VIP, enter

# The packets of a connection; < is a reply.
SEGMENTS = "S", "<SA", "A", "PA", "PA", "PA", "PA", "<FA", "PA", "FA", "<A", "A", "R"
CHUNKS = ("INIT", "<INIT-ACK", "COOKIE-ECHO", "<COOKIE-ACK", "DATA", "DATA", "DATA", "DATA", "SHUTDOWN", "<SHUTDOWN-ACK",
          "SHUTDOWN-COMPLETE")
CALL = b"OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c\r\nCall-ID: call%d@example\r\n\r\n"
MARK = 700  # the port of the service whose conns are sent last
port, marked = 10000, 70  # of the client


def send(v6, *uppers, is_reply=False):
    """Sends packets to both directors, from the client or from the real server."""
    ns, interface = ("silent", "eth1") if is_reply else ("client", "eth0")
    packets = [ip(GS[v6], GC[v6], upper) if is_reply else ip(GC[v6], VIP[v6], upper) for upper in uppers]
    agent.send(ns, "eth0", "director", interface, *packets)
    enter(ns)
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sock:
        for data in packets:
            sock.sendto(data, ("eth0", 0x86DD if v6 else 0x0800, 0, 0, failover_lab.SECOND))


def connections(v6, to):
    """Sends the packets of a connection of each protocol to a port."""
    global port
    port += 1
    send(v6, *[udp(port, to, b"x")] * 8)
    for flags in SEGMENTS:
        is_reply = flags[0] == "<"
        send(v6, tcp(*((to, port) if is_reply else (port, to)), flags.strip("<")), is_reply=is_reply)
    for kind in CHUNKS:
        is_reply = kind[0] == "<"
        send(v6, sctp(*((to, port) if is_reply else (port, to)), kind.strip("<")), is_reply=is_reply)


def calls(v6):
    """Sends requests of three SIP calls, each from two ports."""
    global port
    port += 6
    send(v6, *[udp(port - at, 5060, CALL % (at % 3)) for at in range(6)])


def conns(data):
    """Returns the bytes of each conn of a message."""
    if data[0]:
        return [data[at:at + 24] for at in range(4, len(data), 24)]
    found, at = [], 8
    while at < len(data):
        at += -at % 4
        size = struct.unpack("!H", data[at + 2:at + 4])[0] & 0xFFF
        found.append(data[at:at + size])
        at += size
    return found


def sent():
    """Returns the messages that each of the directors sent since the last call: for each conn its fields and its bytes."""
    global marked
    marked += 1
    send(False, *[udp(marked, MARK, b"x")] * 3)
    seen, deadline = {"172.16.0.2": [], "172.16.0.3": []}, time.monotonic() + 30 * SLOW
    while not all(any(f":{marked} " in text for text in texts) for texts in seen.values()):
        if time.monotonic() > deadline:
            fail(f"the last conn did not arrive from both, but {seen}")
        for data, (addr, *_) in watcher.messages():
            seen[addr] += [f"{show(fields)}: {raw.hex()}" for fields, raw in zip(lab.decode(data), conns(data), strict=True)]
        time.sleep(0.05)
    return ["\n".join(text for text in texts if f":{MARK} " not in text) for texts in seen.values()]


def services(v6):
    """Returns the commands for the services."""
    protocols = "-t", "-u", "--sctp-service"
    kinds = [(f"{protocol} {end(VIP[v6], to)}", scheduler, end(GS[v6], to), method)
             for to, scheduler, method in ((80, "rr", "-m"), (81, "rr -p 300", "-m"), (84, "rr", "-g"), (85, "rr", "-i"))
             for protocol in protocols]
    kinds += [(f"-f 5 {'-6' * v6}", "rr -p 200", end(GS[v6], 0), "-m"),
              (f"-u {end(VIP[v6], 5060)}", "rr -p 60 --pe sip", end(GS[v6], 5060), "-m"),
              (f"-u {end(VIP[v6], MARK)}", "rr", end(GS[v6], MARK), "-m")]
    return [command for key, scheduler, dest, method in kinds
            for command in (f"ipvsadm -A {key} -s {scheduler}", f"ipvsadm -a {key} -r {dest} {method}")]


failover_lab.lay_out("NAT")
watcher = lab.Watcher()
lab.without_resync("director")  # the other has C's module
for machine in DIRECTORS:
    on(machine, "configured", [
        f"ip addr add {VIP[0]}/32 dev lo", f"ip addr add {VIP[1]}/128 dev lo",
        "nft 'table inet marks { chain before { type filter hook prerouting priority mangle; "
        "meta l4proto { tcp, udp, sctp } th dport 82 meta mark set 5; }; }'",
        *services(False), *services(True),
        "ipvsadm --start-daemon master --mcast-interface eth2 --syncid 7"])
for version in 1, 0:
    for machine in DIRECTORS:
        on(machine, "configured", [f"sysctl -w net.ipv4.vs.sync_version={version}"])
    for v6 in False, True:
        for to, what in (80, "NAT"), (81, "persistent"), (82, "fwmark"), (84, "DR"), (85, "TUN"), (5060, "sip"):
            calls(v6) if to == 5060 else connections(v6, to)
            first, second = sent()
            label = f"version {version}, IPv{6 if v6 else 4}, {what}"
            observe(label, first)
            expect(f"{label}: the same from both", first, second)
for machine in DIRECTORS:
    on(machine, "configured", ["ipvsadm --stop-daemon master", "ipvsadm -C"])
agent.reset()
