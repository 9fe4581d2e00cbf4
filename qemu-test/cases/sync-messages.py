"""Messages that a backup daemon receives: conns and templates of every kind, to dests that are configured, not configured or
configured later; malformed and mutated messages."""
# Covers: src/sync/message src/sync/backup src/netns/receive src/conn/sync

import random
import struct

import agent
import sync_lab as lab
from case import configure, expect, observe, wait_for
from sync_lab import REALS, conn, conn0, end, message, message0, proc, service, start, stop, tell
from topology import VIP

MASQ, LOCAL, TUNNEL, DROUTE, BYPASS = range(5)
NOOUTPUT, INACTIVE, SEQ, NO_CPORT, TEMPLATE, ONE_PACKET = 0x80, 0x100, 0x600, 0x800, 0x1000, 0x2000
TCP, UDP, SCTP = 6, 17, 132
SEQUENCES = struct.pack("!6I", 1, 2, 3, 4, 5, 6)
mark = 60000


def handled(send=tell):
    """Waits until the backup has handled all messages so far."""
    global mark
    mark += 1
    send(message(conn(cport=mark, flags=INACTIVE, timeout=1000)))
    lab.wait_for_conn("backup", mark)


def shown(label, keep=lambda fields: True, name="backup"):
    """Shows the backup's conns with their remaining times in steps of ten seconds, without those that `handled` made."""
    handled()
    rows = [fields for fields in proc(name) if not int(fields[2], 16) > 60000]
    observe(label, "\n".join(sorted(" ".join(fields[:9]) + f" {(int(fields[9]) + 9) // 10 * 10}" for fields in rows if keep(fields))))


def listing():
    return lab.listing("backup")


def begin(*services):
    configure("backup", ["ipvsadm -C"])
    stop("backup", "backup")
    lab.lay_out()
    for key, option, dests in services:
        service(key, *dests, option=option, machines=["backup"])
    start("backup", "backup")


lab.lay_out()
start("backup", "backup")

# --- conns and templates of every kind

dests = [end(real[0], 80) for real in REALS]
NAT = (f"-t {end(VIP[0], 80)}", "-m", dests)
begin(NAT, (f"-u {end(VIP[0], 80)}", "-m", dests), (f"-t {end(VIP[1], 80)}", "-g", [end(real[1], 80) for real in REALS]),
      ("-f 5", "-g", [end(REALS[0][0], 0), end(REALS[1][0], 80)]), ("-f 6", "-m", [end(REALS[0][0], 0)]))
kinds = [
    conn(cport=1), conn(cport=2, flags=INACTIVE, state=4), conn(cport=3, flags=DROUTE | NOOUTPUT), conn(cport=4, flags=0xFFFF0040),
    conn(UDP, cport=5, flags=INACTIVE, state=0), conn(UDP, cport=6, state=0), conn(UDP, cport=7, state=1),
    conn(SCTP, cport=8, vport=90, state=8), conn(SCTP, cport=9, state=14), conn(TCP, cport=10, state=10), conn(TCP, cport=11, state=11),
    conn(99, cport=12), conn(0, cport=13), conn(cport=14, flags=TEMPLATE, state=0), conn(cport=0, flags=TEMPLATE, state=1),
    conn(cport=15, flags=TEMPLATE, state=2), conn(UDP, cport=0, flags=TEMPLATE, state=1, dport=0, vport=0),
    conn(0, cport=0, service="0.0.0.5", vport=0, dport=0, flags=TEMPLATE | DROUTE, fwmark=5),
    conn(cport=16, flags=ONE_PACKET), conn(cport=17, flags=TEMPLATE | NO_CPORT), conn(cport=18, timeout=0), conn(cport=19, timeout=7),
    conn(UDP, cport=20, timeout=0, state=0), conn(cport=0, vport=8080, flags=TEMPLATE, state=1, timeout=0),
    conn(cport=21, params=struct.pack("BB", 1, 24) + SEQUENCES, flags=SEQ), conn(cport=22, params=b"\x47\x03abc"),
    conn(cport=23, params=b"\x07\x03abc"), conn(cport=24, params=b"\x02\x01x\x03\x05nosip"), conn(cport=25, params=b"\x02\x01x"),
    conn(cport=26, params=b"\x03\x05nosip"), conn(cport=27, timeout=0xFFFFFFFF),
    conn(cport=28, fwmark=5, dport=443, flags=DROUTE), conn(cport=29, fwmark=5, dport=443), conn(cport=30, fwmark=6, dport=443),
    conn(cport=31, fwmark=5, dest=REALS[1][0], flags=DROUTE), conn(cport=32, fwmark=77),
    conn(client=lab.GC[1], cport=33, service=VIP[1], dest=REALS[0][1]),
    conn(UDP, client=lab.GC[1], cport=34, service=VIP[1], dest=REALS[0][1], state=0, flags=TUNNEL | NOOUTPUT),
    conn(client=lab.GC[1], cport=0, service=VIP[1], dest=REALS[1][1], flags=TEMPLATE | INACTIVE, state=1),
    conn(cport=35, flags=BYPASS), conn(cport=36, flags=5), conn(cport=37, kind=3), conn(cport=38, dest="10.1.1.77"),
]
for kind in kinds:
    tell(message(kind))
shown("one conn a message", lambda fields: fields[2] != f"{27:04X}")
observe("listing", listing())
tell(message(conn(cport=40), conn(cport=41, client=lab.GC[1], service=VIP[1], dest=REALS[2][1]), conn(cport=42, params=b"\x47\x01x"),
             conn(cport=43)), group="224.0.0.81")
tell(message0(conn0(cport=50), conn0(UDP, cport=51, state=0, flags=INACTIVE), conn0(cport=52, flags=SEQ, seq=SEQUENCES),
              conn0(cport=53, flags=ONE_PACKET), conn0(cport=54, state=99), conn0(cport=0, vport=8081, flags=TEMPLATE), conn0(cport=55, state=4)))
shown("several conns a message", lambda fields: 40 <= int(fields[2], 16) < 60 or fields[4] == "1F91")
observe("listing, several", listing())

# --- updates

updates = [conn(cport=1, flags=INACTIVE, state=5, timeout=120), conn(cport=2, state=1), conn(cport=3, dest=REALS[1][0]),
           conn(cport=5, dest=REALS[2][0], flags=INACTIVE), conn(UDP, cport=6, flags=INACTIVE, state=0, dest=REALS[2][0]),
           conn(cport=40, dport=81, flags=INACTIVE, state=4), conn(cport=0, flags=TEMPLATE, state=0, timeout=50, dest=REALS[2][0])]
for update in updates:
    tell(message(update))
shown("updated", lambda fields: int(fields[2], 16) in (0, 1, 2, 3, 5, 6, 40))
observe("listing, updated", listing())

# --- dests that are configured later

begin()
later = [conn(cport=1), conn(cport=2, flags=INACTIVE, state=4), conn(cport=3, flags=DROUTE | NOOUTPUT), conn(cport=0, flags=TEMPLATE, state=1),
         conn(cport=4, dest=REALS[1][0])]
tell(message(*later))
shown("without a service")
service(*NAT[:1], *NAT[2], option="-m", machines=["backup"])
shown("not bound yet")
observe("listing, not bound yet", listing())
tell(message(*later))
shown("bound")
observe("listing, bound", listing())
configure("backup", [f"ipvsadm -d {NAT[0]} -r {dests[0]}"])
tell(message(*later))
shown("the dest was removed")
configure("backup", [f"ipvsadm -a {NAT[0]} -r {dests[0]} -g"])
tell(message(conn(cport=5, flags=0), conn(cport=1, state=4, flags=INACTIVE)))
shown("the dest came back")
observe("listing, came back", listing())
configure("backup", ["ipvsadm -C"])
tell(message(conn(cport=6), conn(cport=7, flags=DROUTE | NOOUTPUT)))
handled()
service(f"-t {end(VIP[0], 80)}", dests[0], option="-g", machines=["backup"])
tell(message(conn(cport=6), conn(cport=7)))
shown("bound by another method")
observe("listing, another method", listing())

# --- thresholds, sync ids, expiry

begin((f"-t {end(VIP[0], 80)}", "-m -x 2 -y 1", dests[:1]))
tell(message(*(conn(cport=port) for port in (1, 2, 3))))
shown("above the threshold")
tell(message(conn(cport=9), syncid=8), message(conn(cport=10), syncid=7), message0(conn0(cport=11), syncid=9))
tell(message(conn(cport=1, timeout=1), conn(cport=2, timeout=1), conn(cport=3, timeout=1)))
wait_for("the end of three conns", lambda: not any(0 < int(fields[2], 16) < 4 for fields in proc("backup")))
shown("by sync id")
stop("backup", "backup")
start("backup", "backup", "--syncid 0")
tell(message(conn(cport=12), syncid=8), message0(conn0(cport=13), syncid=255))
shown("any sync id")
stop("backup", "backup")
start("backup", "backup", "--mcast-group ff02::81 --syncid 7 --sync-maxlen 1024")


def tell6(*messages):
    tell(*messages, group="ff02::81")


tell6(message(*(conn(cport=20 + i) for i in range(28))), message(*(conn(cport=60 + i) for i in range(29))), message(conn(cport=14)))
handled(tell6)
observe("cut off", " ".join(sorted(str(int(fields[2], 16)) for fields in proc("backup") if int(fields[2], 16) < 60000)))
stop("backup", "backup")
start("backup", "backup")

# --- malformed and mutated messages

begin(NAT)
good = message(conn(cport=100), conn(UDP, cport=101, state=0), conn(cport=102, client=lab.GC[1], service=VIP[1], dest=REALS[0][1]),
               conn(cport=103, params=struct.pack("BB", 1, 24) + SEQUENCES, flags=SEQ), conn(cport=104))
for length in range(len(good)):
    tell(good[:length], good[:2] + struct.pack("!H", length) + good[4:length] if length >= 4 else b"")
shown("cut off anywhere")
seeded = random.Random(1)


def mutated(number):
    """A message with some wrong bytes. Its conns have ends of their own, and times that do not expire soon."""
    protocol = seeded.choice([6, 17, 132, 99])
    params = seeded.choice([b"", b"", struct.pack("BB", 1, 24) + SEQUENCES, b"\x47\x03abc", b"\x03\x03sip"])
    conns = [bytearray(conn(protocol, cport=1000 + number, state=seeded.choice([0, 1, 8, 10]), params=params, timeout=1 << 20,
                            flags=seeded.choice([0, 3, INACTIVE, TEMPLATE, TEMPLATE | 2])))
             for _ in range(seeded.randrange(1, 4))]
    for data in conns:
        for _ in range(seeded.choice([0, 1, 1, 2, 5])):
            at = seeded.randrange(len(data))
            data[at] = seeded.choice([0, 1, 2, 4, 0x40, 0x80, 0xFF, seeded.randrange(256)])
        # C handles these otherwise, see differences.md: templates of other protocols or with a client's port, conns without.
        data[6] &= ~0x08
        if data[6] & 0x10:
            data[1] = seeded.choice([0, 6, 17, 132])
            data[10:14] = bytes(2) + struct.pack("!H", 1000 + number)
        else:
            data[10] |= 1
            data[1] = 6 if data[1] in (50, 51) else data[1]
        data[20:24] = struct.pack("!I", 1 << 20)
    whole = bytearray(message(*map(bytes, conns)))
    if seeded.random() < 0.3:
        at = seeded.randrange(8)
        whole[at] = seeded.choice([0, 1, 2, 7, 8, 0xFF, seeded.randrange(256)])
    if seeded.random() < 0.2:
        del whole[seeded.randrange(4, len(whole)):]
        whole[2:4] = struct.pack("!H", len(whole))
    return bytes(whole)


for part in range(40):
    tell(*(mutated(part * 100 + i) for i in range(100)))
    handled()
# Others may expire at any time.
rows = sorted(" ".join(fields[:9]) for fields in proc("backup") if 0 <= (1 << 20) - int(fields[9]) < 600)
expect("conns of mutated messages", True, len(rows) > 500)
observe("mutated", "\n".join(rows))
configure("backup", ["ipvsadm -C"])
stop("backup", "backup")
agent.reset()
