"""Limits of the values of services and dests over netlink, without the checks of
ipvsadm: the result must be C's, also where C accepts a value, and so must the
value shown afterwards."""
# Covers: src/conn/table src/ctl

import struct

from case import enter, netns, observe
from genl import *

V4, V6 = socket.AF_INET, socket.AF_INET6
VIP = dict(AF=u16(V4), PROTOCOL=u16(17), ADDR=socket.inet_pton(V4, "192.168.1.110"), PORT=be16(80))
VIP6 = dict(AF=u16(V6), PROTOCOL=u16(17), ADDR=socket.inet_pton(V6, "2001:db8:1::110"), PORT=be16(80))
FWM = dict(AF=u16(V4), FWMARK=u32(7))
PERSISTENT, ONEPACKET = 1, 4


def command(name):
    return COMMANDS.index(name)


def service(ident, **more):
    fields = dict(SCHED_NAME=string("rr"), FLAGS=struct.pack("=II", PERSISTENT, 0xFFFFFFFF), TIMEOUT=u32(300),
                  NETMASK=u32(64 if ident is VIP6 else 0xFFFFFFFF))
    fields.update(more)
    return attr(1, svc(**ident, **fields))


def server(**more):
    fields = dict(ADDR=socket.inet_pton(V4, "10.1.1.11"), PORT=be16(80), FWD_METHOD=u32(0), WEIGHT=u32(1),
                  U_THRESH=u32(0), L_THRESH=u32(0))
    fields.update(more)
    return attr(2, dest(**fields))


def shown():
    """Returns the listing in /proc and the attributes that were set."""
    with open("/proc/thread-self/net/ip_vs") as f:
        lines = [line.rstrip("\n") for line in f][3:]
    for _, entry in ipvs.dump(command("GET_SERVICE")):
        lines += [line for line in text(entry).split("\n") if any(w in line for w in ("FLAGS", "TIMEOUT", "NETMASK"))]
    return "\n".join(lines)


def dest_shown():
    lines = []
    for _, entry in ipvs.dump(command("GET_DEST"), attr(1, svc(**VIP))):
        lines += [line for line in text(entry).split("\n") if any(w in line for w in ("WEIGHT", "THRESH"))]
    return "\n".join(lines)


netns("director")
enter("director")
ipvs = Family()

for ident, name in ((VIP, "IPv4"), (VIP6, "IPv6"), (FWM, "fwmark")):
    observe(f"{name}: new", ipvs.outcome(command("NEW_SERVICE"), service(ident)))
    # 31 days; INT_MAX and 32 bits of ticks, at HZ of 250, 300 and 1000
    for timeout in (0, 1, 2678400, 2678401, 2147483, 2147484, 4294967, 4294968, 7158278, 7158279, 8589934, 8589935,
                    14316557, 14316558, 17179869, 17179870, 1 << 31, (1 << 32) - 1):
        observe(f"{name}: timeout {timeout}", ipvs.outcome(command("SET_SERVICE"), service(ident, TIMEOUT=u32(timeout))) +
                "\n" + shown())
    for netmask in (0, 1, 64, 128, 129, 0x00FF00FF, 0x01000080, 0xFFFFFFFF):
        observe(f"{name}: netmask {netmask:08x}",
                ipvs.outcome(command("SET_SERVICE"), service(ident, NETMASK=u32(netmask))) + "\n" + shown())
    for flags, mask in ((ONEPACKET, ONEPACKET), (0, PERSISTENT), (0xFFFFFFFF, 0xFFFFFFFF), (0, 0xFFFFFFFF)):
        observe(f"{name}: flags {flags:x} {mask:x}",
                ipvs.outcome(command("SET_SERVICE"), service(ident, FLAGS=struct.pack("=II", flags, mask))) + "\n" + shown())
    observe(f"{name}: deleted", ipvs.outcome(command("DEL_SERVICE"), attr(1, svc(**ident))))

ipvs.call(command("NEW_SERVICE"), service(VIP))
ipvs.call(command("NEW_DEST"), attr(1, svc(**VIP)) + server())
for weight in (0, 65535, 65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF):
    observe(f"weight {weight:x}", ipvs.outcome(command("SET_DEST"), attr(1, svc(**VIP)) + server(WEIGHT=u32(weight))) +
            "\n" + dest_shown())
for upper, lower in ((0, 1), (5, 10), (10, 5), (10, 10), (0x7FFFFFFF, 0), (0x7FFFFFFF, 0x7FFFFFFF), (0x80000000, 0),
                     (0xFFFFFFFF, 0xFFFFFFFF), (0x80000000, 0xFFFFFFFF), (0, 0)):
    observe(f"thresholds {upper:x} {lower:x}", ipvs.outcome(
        command("SET_DEST"), attr(1, svc(**VIP)) + server(U_THRESH=u32(upper), L_THRESH=u32(lower))) + "\n" + dest_shown())
observe("flush", ipvs.outcome(command("FLUSH")))
