"""The netlink family in every byte: its description by nlctrl, dumps and replies,
and a table of wrong requests. Each must fail with C's errno, and a failed
request must change nothing."""
# Covers: src/ctl/genl rust-out-of-tree/net/netlink rust-out-of-tree/net/genetlink

import os
import re
import struct

from case import enter, fail, netns, observe
from genl import *

netns("director", "other")
enter("director")
ctrl, ipvs = Family(None), Family()


def snapshot():
    """Returns all services with their dests, sorted by service. Counters are constant without traffic."""
    return sorted(services(ipvs))


def state():
    return "\n".join(text(e, indent=i > 0) for entry in snapshot() for i, e in enumerate(entry))


# --- the family's description by nlctrl

(_, told), = ctrl.call(3, attr(2, string("IPVS")))
told = dict(attributes(told))
observe("family", "\n".join(f"{k} {told[k].hex()}" for k in sorted(told) if k not in (1, 6)) + "\noperations" +
        "".join(f"\n  {dict(attributes(op))[1].hex()} {dict(attributes(op))[2].hex()}" for _, op in attributes(told[6])) +
        f"\ngroups {'yes' if 7 in told else 'no'}")
try:
    observe("policy", "\n".join(
        re.sub(f"^id 2 {u16(ipvs.id).hex()}$", "id 2 ID", text(p, ["-", "id", *map(str, range(2, 20))]), flags=re.M)
        for _, p in ctrl.dump(10, attr(2, string("IPVS")))))
except Refused as e:
    observe("policy", str(e))

# --- some entries, and how they are shown

for fields in (whole(), whole(protocol=17, SCHED_NAME=string("wrr")), whole("2001:db8:1::110", SCHED_NAME=string("wlc")),
               whole(port=81, SCHED_NAME=string("wlc"), FLAGS=flags(0x38, 0x38))):
    observe("new service", ipvs.outcome(command("NEW_SERVICE"), service(**fields)))
for to, fields in ((ident(), server()), (ident(), server("10.1.1.12", 8080, FWD_METHOD=u32(3), WEIGHT=u32(0))),
                   (ident(), server("10.1.1.13", 0, FWD_METHOD=u32(2), WEIGHT=u32(65536))),
                   (ident(), server("10.1.1.14", ADDR_FAMILY=u16(V4), U_THRESH=u32(9), L_THRESH=u32(3))),
                   (ident("2001:db8:1::110"), server("2001:db8:2::11", ADDR_FAMILY=u16(V6))),
                   (ident("2001:db8:1::110"), server("2001:db8:2::12", FWD_METHOD=u32(2)))):
    observe("new dest", ipvs.outcome(command("NEW_DEST"), service(**to) + real(**fields)))
observe("dump", state())
(reply, body), = ipvs.call(command("GET_SERVICE"), service(**ident()))
observe("one service", f"reply {COMMANDS[reply]}\n{text(body)}")
(reply, body), = ipvs.call(command("GET_INFO"))
body = body.replace(dict(attributes(body))[2], b"SIZE")
observe("info", f"reply {COMMANDS[reply]}\n{text(body, INFO)}")
(reply, body), = ipvs.call(command("GET_CONFIG"))
observe("config", f"reply {COMMANDS[reply]}\n{text(body)}")
observe("no dests", str(len(ipvs.dump(command("GET_DEST"), service(**ident(protocol=17))))))

# --- wrong requests

NO_SERVICE, NO_DEST, NO_FIELD = b"", b"", None
outcomes = []
before = snapshot()


def wrong(what, name, body=b"", flags=NLM_F_ACK, **lies):
    """Makes one request; deletes again what it adds."""
    global before
    number = COMMANDS.index(name) if isinstance(name, str) else name
    outcome = ipvs.outcome(number, body, flags, **lies)
    after = snapshot()
    if after != before:
        outcome += ", changed"
        if name in ("NEW_SERVICE", "NEW_DEST"):
            outcome += ", deleted " + ipvs.outcome(number + 2, body)
            after = snapshot()
    before = after
    outcomes.append(f"{name}, {what}: {outcome}")


# For each request, each attribute is missing, too short, too long or has an unusual
# value.
requests = {
    "NEW_SERVICE": (whole(port=99), None), "SET_SERVICE": (whole(), None), "DEL_SERVICE": (ident(port=98), None),
    "GET_SERVICE": (ident(), None), "ZERO": (ident(), None), "GET_DEST": (ident(), None),
    "NEW_DEST": (ident(), server("10.1.1.99")), "SET_DEST": (ident(), server()), "DEL_DEST": (ident(), server("10.1.1.98")),
}


def request(name, service_fields, dest_fields):
    return name, service(**service_fields) + (b"" if dest_fields is None else real(**dest_fields))


def dump_flag(name):
    return NLM_F_DUMP if name == "GET_DEST" else NLM_F_ACK


for name, (s, d) in requests.items():
    wrong("no attributes", name, flags=dump_flag(name))
    wrong("empty service", name, attr(1, []), dump_flag(name))
    for which, fields in (("service", s), ("dest", d)):
        if fields is None:
            continue

        def variant(changed):
            both = {"service": s, "dest": d, which: changed}
            return request(name, both["service"], both["dest"])

        for field, value in fields.items():
            wrong(f"without {field}", *variant({**fields, field: None}), dump_flag(name))
            if field == "SCHED_NAME":
                continue
            wrong(f"{field} cut by one", *variant({**fields, field: value[:-1]}), dump_flag(name))
            wrong(f"{field} empty", *variant({**fields, field: b""}), dump_flag(name))
            wrong(f"{field} longer by four", *variant({**fields, field: value + b"\0\0\0\0"}), dump_flag(name))
    if d is not None:
        wrong("without a dest", name, service(**s))
        wrong("empty dest", name, service(**s) + attr(2, []))

for what, fields in {
    "unknown family": whole(AF=u16(99)), "family 0": whole(AF=u16(0)),
    "unknown scheduler": whole(port=99, SCHED_NAME=string("nosuch")),
    "empty scheduler": whole(port=99, SCHED_NAME=string("")),
    "scheduler of 15": whole(port=99, SCHED_NAME=string("a" * 15)),
    "scheduler of 16": whole(port=99, SCHED_NAME=string("a" * 16)),
    "scheduler of 17": whole(port=99, SCHED_NAME=string("a" * 17)),
    "scheduler unterminated": whole(port=99, SCHED_NAME=b"rr"),
    "scheduler with a path": whole(port=99, SCHED_NAME=string("../rr")),
    "protocol 0": whole(port=99, protocol=0), "protocol 47": whole(port=99, protocol=47),
    "protocol 262": whole(port=99, protocol=262),
    "port 0": whole(port=0), "address 0": whole("0.0.0.0", 99), "broadcast": whole("255.255.255.255", 99),
    "netmask 0": whole(port=99, NETMASK=u32(0)), "netmask with holes": whole(port=99, NETMASK=u32(0x00FF00FF)),
    "prefix 0": whole("2001:db8:1::99", NETMASK=u32(0)), "prefix 129": whole("2001:db8:1::99", NETMASK=u32(129)),
    "prefix all": whole("2001:db8:1::99", NETMASK=u32(0xFFFFFFFF)),
    "timeout all": whole(port=99, TIMEOUT=u32(0xFFFFFFFF)),
    "flags all": whole(port=99, FLAGS=flags(0xFFFFFFF8)),
    "hashed flag": whole(port=99, FLAGS=flags(2)),
    "unknown engine": whole(port=99, PE_NAME=string("nosuch")),
    "engine of 17": whole(port=99, PE_NAME=string("a" * 17)),
    "statistics": whole(port=99, STATS=b"x" * 40),
    "4-byte v6 address": {**whole("2001:db8:1::99"), "ADDR": b"\x20\x01\x0d\xb8"},
    "16-byte v4 address": {**whole(port=99), "ADDR": pton("192.168.1.110") + b"\xff" * 12},
    "17-byte address": {**whole(port=99), "ADDR": b"\1" * 17},
}.items():
    wrong(what, "NEW_SERVICE", service(**fields))
    there = {"ADDR": pton("2001:db8:1::110"), "PORT": be16(80)} if fields["AF"] == u16(V6) else {"PORT": be16(81)}
    wrong(what, "SET_SERVICE", service(**{**fields, **there}))
wrong("again", "NEW_SERVICE", service(**whole()))
wrong("not there", "SET_SERVICE", service(**whole(port=97)))
wrong("not there", "DEL_SERVICE", service(**ident(port=97)))
wrong("not there", "GET_SERVICE", service(**ident(port=97)))
wrong("not there", "ZERO", service(**ident(port=97)))
wrong("not there", "GET_DEST", service(**ident(port=97)), NLM_F_DUMP)

for what, fields in {
    "again": server(), "weight -1": server("10.1.1.99", WEIGHT=u32(-1)),
    "weight max": server("10.1.1.99", WEIGHT=u32(0x7FFFFFFF)), "weight min": server("10.1.1.99", WEIGHT=u32(0x80000000)),
    "low over high": server("10.1.1.99", U_THRESH=u32(1), L_THRESH=u32(2)),
    "high too high": server("10.1.1.99", U_THRESH=u32(0x80000000)),
    "low too high": server("10.1.1.99", L_THRESH=u32(0x80000000)),
    "method 1": server("10.1.1.99", FWD_METHOD=u32(1)), "method 4": server("10.1.1.99", FWD_METHOD=u32(4)),
    "method 8": server("10.1.1.99", FWD_METHOD=u32(8)), "method all": server("10.1.1.99", FWD_METHOD=u32(0xFFFFFFF8)),
    "the other family": server("10.1.1.99", ADDR_FAMILY=u16(V6)), "family 99": server("10.1.1.99", ADDR_FAMILY=u16(99)),
    "v6 by tunnel": server("2001:db8:2::99", ADDR_FAMILY=u16(V6), FWD_METHOD=u32(2)),
    "v6 by routing": server("2001:db8:2::99", ADDR_FAMILY=u16(V6), FWD_METHOD=u32(3)),
    "v6 without family": server("2001:db8:2::99"), "4-byte v6": server("10.1.1.99", ADDR_FAMILY=u16(V6), FWD_METHOD=u32(2)),
    "17-byte address": server("10.1.1.99", ADDR=b"\1" * 17),
    "address 0": server("0.0.0.0"), "multicast": server("224.0.0.1"), "broadcast": server("255.255.255.255"),
    "loopback": server("127.0.0.1"), "its network's broadcast": server("127.255.255.255"), "port 0": server("10.1.1.99", 0),
    "tunnel type 0": server("10.1.1.99", FWD_METHOD=u32(2), TUN_TYPE=u8(0)),
    "tunnel type 3": server("10.1.1.99", FWD_METHOD=u32(2), TUN_TYPE=u8(3)),
    "tunnel type 1 without port": server("10.1.1.99", FWD_METHOD=u32(2), TUN_TYPE=u8(1)),
    "tunnel flags": server("10.1.1.99", FWD_METHOD=u32(2), TUN_FLAGS=u16(0xFFFF)),
    "tunnel type of 2 bytes": server("10.1.1.99", FWD_METHOD=u32(2), TUN_TYPE=u16(0)),
    "tunnel port of 1": server("10.1.1.99", FWD_METHOD=u32(2), TUN_PORT=b"\1"),
    "counts": server("10.1.1.99", ACTIVE_CONNS=u32(7), INACT_CONNS=u32(7), PERSIST_CONNS=u32(7)),
    "statistics": server("10.1.1.99", STATS=b"x" * 40),
}.items():
    wrong(what, "NEW_DEST", service(**ident()) + real(**fields))
    wrong(what, "SET_DEST", service(**ident()) + real(**{**fields, "ADDR": pton("10.1.1.14")}))
for address in ("ff02::1", "fe80::1", "::", "::1", "2001:db8::1"):
    wrong(address, "NEW_DEST", service(**ident("2001:db8:1::110")) + real(**server(address)))
wrong("a dest not there", "SET_DEST", service(**ident()) + real(**server("10.1.1.97")))
wrong("a dest not there", "DEL_DEST", service(**ident()) + real(**server("10.1.1.97")))
wrong("of no service", "NEW_DEST", service(**ident(port=97)) + real(**server()))
wrong("of no service", "SET_DEST", service(**ident(port=97)) + real(**server()))
wrong("of no service", "DEL_DEST", service(**ident(port=97)) + real(**server()))

# Timeouts
for what, body in {
    "nothing": b"", "tcp 0": attr(4, u32(0)), "tcp 60": attr(4, u32(60)), "fin 30": attr(5, u32(30)), "udp 20": attr(6, u32(20)),
    "tcp of 3 bytes": attr(4, b"abc"), "tcp of 8": attr(4, u64(61)), "tcp all": attr(4, u32(0xFFFFFFFF)),
    "fin all": attr(5, u32(0xFFFFFFFF)), "udp all": attr(6, u32(0xFFFFFFFF)), "tcp 2^31/HZ": attr(4, u32(0x7FFFFFFF // 250)),
    "tcp 2^31/HZ + 1": attr(4, u32(0x7FFFFFFF // 250 + 1)), "one good, one bad": attr(4, u32(62)) + attr(6, u32(0x80000000)),
}.items():
    wrong(what, "SET_CONFIG", body)
    (_, answer), = ipvs.call(command("GET_CONFIG"))
    outcomes.append(text(answer, indent=1))

# Malformed messages
wrong("unknown attribute", "NEW_SERVICE", service(**whole()) + attr(7, u32(1)))
wrong("attribute 100", "GET_INFO", attr(100, u32(1)))
wrong("attribute 0", "GET_INFO", attr(0, u32(1)))
wrong("unknown inside", "GET_SERVICE", attr(1, svc(**ident()) + [attr(13, u32(1)), attr(99, b"")]))
wrong("service not marked nested", "GET_SERVICE", attr(1, b"".join(svc(**ident()))))
wrong("service twice", "GET_SERVICE", service(**ident(port=97)) + service(**ident()))
wrong("attribute longer than its message", "GET_SERVICE", attr(1, svc(**ident()), length=200))
wrong("attribute shorter than its header", "GET_SERVICE", attr(1, svc(**ident()), length=3))
wrong("inner attribute too long", "GET_SERVICE", attr(1, [attr(1, u16(V4), length=100)]))
wrong("inner attribute too short", "GET_SERVICE", attr(1, [attr(1, u16(V4), length=2)]))
wrong("trailing bytes", "GET_SERVICE", service(**ident()) + b"\0\0")
wrong("without a header", "GET_INFO", header=b"")
wrong("header cut", "GET_INFO", header=b"\x0f\1")
wrong("version 0", "GET_INFO", header=b"\x0f\0\0\0")
wrong("version 99", "GET_INFO", header=b"\x0f\x63\0\0")
wrong("reserved set", "GET_INFO", header=b"\x0f\1\1\0")
for number in (0, 14, 18, 19, 20, 99, 255):
    wrong("", number)
    wrong("as a dump", number, flags=NLM_F_DUMP)
for name in COMMANDS[1:9] + COMMANDS[12:17]:
    wrong("dumped, no attributes", name, flags=NLM_F_DUMP)
    if name not in ("FLUSH", "NEW_SERVICE"):
        wrong("dumped", name, service(**ident()), NLM_F_DUMP)
wrong("not dumped, no attributes", "GET_DEST")
wrong("not dumped", "GET_DEST", service(**ident()))
wrong("dumped with an empty service", "GET_SERVICE", attr(1, []), NLM_F_DUMP)
wrong("dumped with another attribute", "GET_SERVICE", attr(2, []), NLM_F_DUMP)
wrong("dumped, service broken", "GET_DEST", attr(1, [attr(1, b"x")]), NLM_F_DUMP)
wrong("dumped, message broken", "GET_DEST", b"\x03\0\1\0", NLM_F_DUMP)

# --- without privileges

enter("director")
read_end, write_end = os.pipe()
if os.fork() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    user = Family()
    for name in COMMANDS[1:]:
        for how, mode in (("", NLM_F_ACK), (", dumped", NLM_F_DUMP)):
            os.write(write_end, f"{name}{how}: {user.outcome(COMMANDS.index(name), service(**whole()), mode)}\n".encode())
    os._exit(0)
os.wait()
told = os.read(read_end, 65536).decode()
if os.fork() == 0:
    # Root of a new user namespace with its own network namespace.
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
    owner = Family()
    for name in COMMANDS[1:]:
        os.write(write_end, f"{name}: {owner.outcome(COMMANDS.index(name), service(**whole()))}\n".encode())
    os._exit(0)
os.wait()
observe("an unprivileged user", told)
observe("root of a user namespace", os.read(read_end, 65536).decode())
if snapshot() != before:
    fail("a request without privileges changed something")
enter("other")
elsewhere = Family()
observe("another namespace", "\n".join([
    str(len(elsewhere.dump(command("GET_SERVICE")))), elsewhere.outcome(command("GET_SERVICE"), service(**ident())),
    elsewhere.outcome(command("FLUSH")), elsewhere.outcome(command("ZERO"))]))
if snapshot() != before:
    fail("another namespace changed something")

observe("wrong requests", "\n".join(outcomes))
observe("final state", state())

# --- dumps of several messages

enter("director")
ipvs.call(command("FLUSH"))
for port in range(1, 301):
    ipvs.call(command("NEW_SERVICE"), service(**whole(port=port)))
for n in range(500):
    ipvs.call(command("NEW_DEST"), service(**ident(port=1)) + real(**server(f"10.2.{n >> 8}.{n & 255}")))
ports = sorted(struct.unpack("!H", dict(attributes(dict(attributes(e))[1]))[4])[0] for _, e in ipvs.dump(command("GET_SERVICE")))
observe("300 services", f"{len(ports)} {ports == list(range(1, 301))}")
addresses = [socket.inet_ntop(V4, dict(attributes(dict(attributes(e))[2]))[1][:4])
             for _, e in ipvs.dump(command("GET_DEST"), service(**ident(port=1)))]
observe("500 dests, newest first", f"{len(addresses)} {addresses[:2]} {addresses == [f'10.2.{n >> 8}.{n & 255}' for n in range(499, -1, -1)]}")
observe("flush", ipvs.outcome(command("FLUSH")) + f" {len(ipvs.dump(command('GET_SERVICE')))}")
