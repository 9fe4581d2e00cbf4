"""Adjustments of sequence numbers in sync messages: they are applied to the packets of an FTP control connection, and sent
on."""
# Covers: src/wire/seq src/conn/sync src/conn/ext src/xmit/app src/sync/message

import socket
import struct
import time

import agent
import sync_lab as lab
from case import SLOW, configure, fail, observe, wait_for
from packet import ip, tcp
from sync_lab import GC, GS, OURS, conn, conn0, end, message, message0, service, settings, start, stop, tell, without_resync
from topology import VIP, enter

OUT, IN = 0x200, 0x400
# The sequence number of a changed segment, the addends after it and before it: from the client, and to it.
ADJUSTMENTS = 5000, 7, 3, 9000, 0xFFFFFFFB, 0
port = 20000


def capture(ns):
    enter(ns)
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    sock.bind(("eth0", 3))
    sock.settimeout(10 * SLOW)
    return sock


def arrived(sock, v6):
    """Returns the sequence number and the acknowledgement of the next TCP packet."""
    while True:
        data, where = sock.recvfrom(2048)
        if where[1] != (0x86DD if v6 else 0x0800) or where[2] == socket.PACKET_OUTGOING or data[6 if v6 else 9] != 6:
            continue
        text = agent.packet.show(data)
        seq, ack = struct.unpack("!II", data[44:52] if v6 else data[24:32])
        checksum = text.partition("csum=")[2].split()[0]
        # C does not update the checksum.
        if OURS and checksum != "ok":
            fail(f"the checksum is wrong: {text}")
        return f"{seq} {ack}"


def passed(v6):
    """Sends packets with numbers around the adjusted ones; returns those that arrive."""
    lines = []
    for seq, ack in (4999, 8995), (5000, 8996), (5001, 9000), (6000, 9500), (5007, 5008):
        for is_reply in False, True:
            sock = client if is_reply else server
            if is_reply:
                lab.down(ip(GS[v6], GC[v6], tcp(21, port, "A", seq=ack, ack=seq)))
            else:
                lab.up(ip(GC[v6], VIP[v6], tcp(port, 21, "A", seq=seq, ack=ack)))
            lines.append(f"{'reply' if is_reply else 'request'} {arrived(sock, v6)}")
    return "\n".join(lines)


lab.lay_out()
settings(conntrack=1)
without_resync("director")
configure("director", ["modprobe ip_vs_ftp"])
for v6 in False, True:
    service(f"-t {end(VIP[v6], 21)}", end(GS[v6], 21), machines=["director"])
    service(f"-t {end(VIP[v6], 80)}", end(GS[v6], 80), machines=["director"])
server, client = capture("silent"), capture("client")
watcher = lab.Watcher()

# --- received

start("director", "backup")
params = struct.pack("!BB6I", 1, 24, *ADJUSTMENTS)
for v6 in False, True:
    for flags in 0, OUT, IN, OUT | IN:
        port += 1
        tell(message(conn(client=GC[v6], cport=port, service=VIP[v6], vport=21, dest=GS[v6], dport=21, flags=flags, params=params)))
        lab.wait_for_conn("director", port)
        observe(f"IPv{6 if v6 else 4}, flags {flags:x}", passed(v6))
port += 1
tell(message0(conn0(client=GC[0], cport=port, vport=21, dest=GS[0], dport=21, flags=OUT | IN, seq=struct.pack("=6I", *ADJUSTMENTS))))
lab.wait_for_conn("director", port)
observe("version 0", passed(False))
# A later message changes them.
for flags, more in (0, b""), (IN, b""), (IN | OUT, struct.pack("!BB6I", 1, 24, *[2 * value & 0xFFFFFFFF for value in ADJUSTMENTS])):
    tell(message(conn(cport=port, vport=21, client=GC[0], dest=GS[0], dport=21, flags=flags, params=more),
                 conn(cport=port, vport=80, client=GC[0], dest=GS[0], flags=flags, params=more, timeout=100 + flags)))
    wait_for("the message", lambda: any(fields[4] == "0050" and int(fields[9]) > 99 + flags - 60 for fields in lab.proc("director")))
    observe(f"later, flags {flags:x}", passed(False))

# --- sent on

stop("director", "backup")
settings(sync_threshold="0 1")
start("director", "master")
for version in 1, 0:
    settings(sync_version=version)
    for to in 21, 80:
        lab.up(ip(GC[0], VIP[0], tcp(port, to, "A", seq=1, ack=1)))
    deadline, texts = time.monotonic() + 30 * SLOW, set()
    while len(texts) < 2:
        if time.monotonic() > deadline:
            fail(f"too few conns: {texts}")
        for data, _ in watcher.messages():
            # All conns have the same size: 36 bytes and 26, padded, or 24 and 24.
            size, start_at = (48, 4) if data[0] else (64, 8)
            texts |= {data[at:at + size - 2 * (not data[0])].hex() for at in range(start_at, len(data), size)}
        time.sleep(0.05)
    observe(f"sent with version {version}", "\n".join(sorted(texts)))
stop("director", "master")
configure("director", ["ipvsadm -C"])
agent.reset()
