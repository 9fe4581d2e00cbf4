"""Random requests to IPVS from a seed: some valid, most of the others with one
fault, the rest with more. There are few addresses and ports, so that services
and dests often exist and remain few.

There are two sources, Netlink and Sockopt, with independent streams. `next`
makes a request. Its `ask` sends it and returns the result: the errno, or `ok`
with a digest of the answers, in which services are sorted.

    random_requests.py netlink|sockopt SEED NUMBER…   prints requests of a stream
"""

import ctypes
import errno
import os
import random
import socket
import struct
import zlib

from genl import *

VIPS = "192.168.1.110", "192.168.1.111", "2001:db8:1::110"
RIPS = "10.1.1.11", "10.1.1.12", "10.1.1.13", "2001:db8:2::11", "2001:db8:2::12"
STRANGE_ADDRESSES = "0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "::1", "ff02::1", "fe80::1"
PORTS = 80, 80, 80, 0
PROTOCOLS = 6, 6, 17
# mh is slow.
SCHEDULERS = "rr wrr lc wlc sed nq dh sh lblc lblcr fo ovf twos none".split() * 2 + ["mh"]
EXTREMES = (0, 1, 2, 3, 4, 5, 7, 8, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF,
            0x7FFFFFFF // 250, 0x7FFFFFFF // 250 + 1)
# Daemons can start on d0.
DEVICES = "d0", "d0", "d0", "nosuch", "lo", "", "x" * 15
DAEMON = "- STATE MCAST_IFN SYNC_ID SYNC_MAXLEN MCAST_GROUP MCAST_GROUP6 MCAST_PORT MCAST_TTL".split()


def digest(data):
    return f"{zlib.crc32(data):08x}"


class Values(random.Random):
    """Random values for services, dests and daemons."""

    def often(self, usual, strange, part=0.02):
        """Returns one of `usual`, or with probability `part` one of `strange`."""
        return self.choice(strange if self.random() < part else usual)

    def number(self, *usual):
        return self.often(usual, EXTREMES)

    def vip(self):
        return self.often(VIPS, RIPS + STRANGE_ADDRESSES, 0.01)

    def rip(self):
        return self.often(RIPS, VIPS + STRANGE_ADDRESSES)

    def protocol(self):
        return self.often(PROTOCOLS, (0, 1, 47, 51, 58, 132, 132, 255, 262, 0xFFFF), 0.04)

    def scheduler(self):
        return self.often(SCHEDULERS, ("nosuch", "", "RR", "../rr", "rr ", "%s", "a" * 15))

    def flags(self):
        return self.often((0, 0, 0, 1, 1, 4, 8, 0x38), (2, 0x40, 0xFFFFFFF8, 0xFFFFFFFF))

    def weight(self):
        return self.often((0, 1, 1, 2, 100, 65535), (65536, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF))

    def thresholds(self):
        return self.often(((0, 0), (0, 0), (10, 5), (5, 0)), ((5, 10), (0, 1), (0x80000000, 0), (0x7FFFFFFF,) * 2))

    def device(self):
        return self.choice(DEVICES)


# --- generic netlink

class Attr:
    """An attribute; its length and flag bits may be wrong."""

    def __init__(self, kind, value):
        self.kind, self.value, self.length = kind, value, None
        self.bits = NESTED if isinstance(value, list) else 0

    def encode(self):
        data = encode(self.value) if isinstance(self.value, list) else self.value
        length = 4 + len(data) if self.length is None else self.length
        return struct.pack("=HH", length, self.kind | self.bits) + data + b"\0" * (-len(data) % 4)


def encode(attrs):
    return b"".join(attr.encode() for attr in attrs)


def named(names, fields):
    return [Attr(names.index(name), value) for name, value in fields.items()]


# The relative frequency of each command before faults are added.
WEIGHTS = dict(NEW_SERVICE=14, SET_SERVICE=8, DEL_SERVICE=3, GET_SERVICE=8, NEW_DEST=24, SET_DEST=14, DEL_DEST=8, GET_DEST=6,
               NEW_DAEMON=2, DEL_DAEMON=2, GET_DAEMON=2, SET_CONFIG=4, GET_CONFIG=2, SET_INFO=1, GET_INFO=1, ZERO=3, FLUSH=.1)


class Netlink:
    def __init__(self, seed):
        self.random = Values(f"netlink {seed}")

    def next(self):
        r = self.random
        name = r.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        request = NetlinkRequest(name, self.body(name), name == "GET_DEST" or name == "GET_DAEMON" or
                                 name == "GET_SERVICE" and r.random() < 0.3)
        faults = r.choices((0, 1, r.randint(2, 6)), (60, 25, 15))[0]
        for _ in range(faults):
            self.spoil(request)
        return request

    # Valid requests

    def body(self, name):
        r = self.random
        if name in ("NEW_SERVICE", "SET_SERVICE"):
            return [Attr(1, self.service() + self.service_spec())]
        if name in ("NEW_DEST", "SET_DEST", "DEL_DEST"):
            af, fields = self.dest()
            if name == "DEL_DEST" and r.random() < 0.8:
                fields = {name: fields[name] for name in ("ADDR", "PORT", "ADDR_FAMILY") if name in fields}
            return [Attr(1, self.service(af if r.random() < 0.9 else None)), Attr(2, named(DEST, fields))]
        if name == "ZERO" and r.random() < 0.2 or name == "GET_SERVICE" and r.random() < 0.2:
            return []
        if name in ("DEL_SERVICE", "GET_SERVICE", "ZERO", "GET_DEST"):
            return [Attr(1, self.service())]
        if name in ("NEW_DAEMON", "DEL_DAEMON"):
            return [Attr(3, named(DAEMON, self.daemon()))]
        if name == "SET_CONFIG":
            return [Attr(kind, u32(r.number(0, 1, 60, 900))) for kind in (4, 5, 6) if r.random() < 0.6]
        return []

    def service(self, af=None):
        """Returns a service's key attributes, of family `af` if given."""
        r = self.random
        if r.random() < 0.12:
            return named(SVC, dict(AF=u16(af or r.choice((V4, V6))), FWMARK=u32(r.number(1, 2))))
        vip = r.vip()
        while af and family_of(vip) != af:
            vip = r.vip()
        return named(SVC, dict(AF=u16(family_of(vip)), PROTOCOL=u16(r.protocol()), ADDR=self.address(vip),
                               PORT=be16(r.choice(PORTS))))

    def address(self, addr):
        """4 or 16 bytes for IPv4; clients send both."""
        return pton(addr) + (bytes(12) if ":" not in addr and self.random.random() < 0.3 else b"")

    def service_spec(self):
        r = self.random
        fields = dict(SCHED_NAME=string(r.scheduler()), FLAGS=flags(r.flags(), r.number(0xFFFFFFFF, 0xFFFFFFFF, 1)),
                      TIMEOUT=u32(r.number(0, 0, 300)), NETMASK=u32(r.number(128, 64, 24)))
        if r.random() < 0.02:
            fields["PE_NAME"] = string(r.choice(("", "nosuch", "a" * 16, "a" * 17)))
        return named(SVC, fields)

    def dest(self):
        r = self.random
        rip = r.rip()
        af = family_of(rip)
        upper, lower = r.thresholds()
        fields = dict(ADDR=self.address(rip), PORT=be16(r.choice(PORTS)), FWD_METHOD=u32(r.number(0, 0, 2, 2, 3, 1)),
                      WEIGHT=u32(r.weight()), U_THRESH=u32(upper), L_THRESH=u32(lower))
        if r.random() < 0.5:
            fields["ADDR_FAMILY"] = u16(r.often((af, af, 0), (1, 99, 0xFFFF, V4, V6)))
        if r.random() < 0.15:
            fields["TUN_TYPE"] = u8(r.choice((0, 1, 1, 2, 3, 255)))
            fields["TUN_PORT"] = be16(r.choice((0, 6080, 6080, 0xFFFF)))
            fields["TUN_FLAGS"] = u16(r.choice((0, 1, 2, 3, 0xFFFF)))
        return af, fields

    def daemon(self):
        r = self.random
        fields = dict(STATE=u32(r.number(1, 2)), MCAST_IFN=string(r.device()), SYNC_ID=u32(r.number(0, 1, 255)))
        for name, values in dict(SYNC_MAXLEN=(u16(0), u16(1000), u16(0xFFFF)), MCAST_GROUP=(pton("224.0.0.81"), pton("10.0.0.1")),
                                 MCAST_GROUP6=(pton("ff02::81"), pton("2001::1")), MCAST_PORT=(u16(0), u16(8848)),
                                 MCAST_TTL=(u8(0), u8(1), u8(255))).items():
            if r.random() < 0.3:
                fields[name] = r.choice(values)
        return fields

    # Faults

    def spoil(self, request):
        r = self.random
        places = list(lists_of(request.attrs))
        place = r.choice(places)
        attr = r.choice(place) if place else None
        fault = r.choice(("drop", "double", "bytes", "number", "cut", "longer", "empty", "kind", "bits", "add", "shuffle",
                          "length", "command", "dump", "message", "drop", "bytes", "number", "nest"))
        if fault == "add" or attr is None:
            place.insert(r.randint(0, len(place)), Attr(r.choice((0, r.randint(0, 20), 0x3FFF)), r.randbytes(r.choice((0, 1, 4, 8)))))
        elif fault == "drop":
            place.remove(attr)
        elif fault == "double":
            copy = Attr(attr.kind, attr.value)
            if isinstance(attr.value, bytes) and r.random() < 0.5:
                copy.value = r.randbytes(len(attr.value))
            place.insert(r.randint(0, len(place)), copy)
        elif fault == "shuffle":
            r.shuffle(place)
        elif fault == "kind":
            attr.kind = r.choice((0, r.randint(0, 20), 0x3FFF))
        elif fault == "bits":
            attr.bits ^= r.choice((NESTED, NESTED, 0x4000))
        elif fault == "length":
            attr.length = r.choice((0, 1, 3, 4, 5, r.randint(0, 40), 200, 0xFFFF))
        elif fault == "nest":
            attr.value, attr.bits = [Attr(r.randint(0, 16), r.randbytes(r.choice((0, 2, 4))))], NESTED
        elif fault == "command":
            # Any command but FLUSH, which would delete everything too often.
            request.command = r.choice((r.randint(0, 16), r.randint(1, 16), r.randint(18, 255)))
        elif fault == "dump":
            request.flags ^= NLM_F_DUMP
        elif fault == "message":
            self.spoil_message(request)
        elif isinstance(attr.value, list):
            attr.value = encode(attr.value)
        elif fault == "bytes":
            attr.value = r.randbytes(len(attr.value))
        elif fault == "number":
            attr.value = u64(r.choice(EXTREMES))[:r.choice((1, 2, 4, 8))]
        elif fault == "cut":
            attr.value = attr.value[:-r.randint(1, 4)]
        elif fault == "longer":
            attr.value += r.randbytes(r.choice((1, 2, 4, 12)))
        else:
            attr.value = b""

    def spoil_message(self, request):
        r = self.random
        fault = r.randint(0, 4)
        if fault == 0:
            request.tail = r.randbytes(r.randint(1, 12))
        elif fault == 1:
            request.cut = r.randint(1, 60)
        elif fault == 2:
            request.header = r.choice((b"", b"\x0f", struct.pack("=BBH", request.command, r.randint(0, 255), r.choice((0, 1)))))
        elif fault == 3:
            request.attrs = [Attr(r.randint(0, 8), r.randbytes(r.randint(0, 16))) for _ in range(r.randint(0, 4))]
        else:
            request.length = r.choice((0, 15, 16, 19, 20, r.randint(16, 80)))


def family_of(addr):
    return V6 if ":" in addr else V4


def lists_of(attrs):
    yield attrs
    for attr in attrs:
        if isinstance(attr.value, list):
            yield from lists_of(attr.value)


class NetlinkRequest:
    def __init__(self, name, attrs, is_dump):
        self.command, self.attrs = COMMANDS.index(name), attrs
        self.flags = NLM_F_DUMP if is_dump else 0
        self.tail, self.cut, self.header, self.length = b"", 0, None, None

    def body(self):
        body = encode(self.attrs) + self.tail
        return body[:-self.cut] if self.cut else body

    def __str__(self):
        name = COMMANDS[self.command] if self.command < len(COMMANDS) else str(self.command)
        return f"{name}{' dump' if self.flags & NLM_F_DUMP else ''}"

    def details(self):
        return f"{self} header {self.header} length {self.length}\n{text(self.body(), indent=1)}\n  {self.body().hex()}"

    def ask(self, ipvs):
        """Sends the request on `ipvs`, a Family, and returns the result."""
        flags = self.flags | NLM_F_ACK
        if self.length is not None:
            flags &= ~NLM_F_DUMP
        ipvs.send(self.command, self.body(), flags, header=self.header, length=self.length)
        mine = last = ipvs.sequence
        if self.length is not None:
            # The request may be ignored, or the data beyond its end be parsed as another message. The
            # answer to this second request marks the end.
            ipvs.send(command("GET_CONFIG"))
            last = ipvs.sequence
        errors, answers = [], []
        while True:
            for kind, sequence, message in received(ipvs.sock.recv(1 << 20)):
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    if sequence == mine and (name := error(message)):
                        errors.append(name)
                    if sequence == last:
                        return f"{' '.join(errors) or 'ok'} {told(answers)}".rstrip()
                elif sequence == mine:
                    answers.append(message)


def told(messages):
    """Returns the number and a digest of the messages, without the conn table's size, which may differ."""
    if not messages:
        return ""
    size = attr(INFO.index("CONN_TAB_SIZE"), b"....")[:4]
    plain = [m[:m.index(size)] if m[0] == COMMANDS.index("SET_INFO") and size in m else m for m in messages]
    services = [m for m in plain if m[0] == COMMANDS.index("NEW_SERVICE")]
    return f"{len(messages)} {digest(b''.join(sorted(services)) + b''.join(m for m in plain if m not in services))}"


# --- socket options

BASE = 1152
SET = "NONE INSERT ADD EDIT DEL FLUSH LIST ADDDEST DELDEST EDITDEST TIMEOUT STARTDAEMON STOPDAEMON RESTORE SAVE ZERO".split()
GET = "VERSION INFO SERVICES SERVICE DESTS DEST TIMEOUT DAEMON".split()
SET_WEIGHTS = dict(NONE=1, INSERT=1, ADD=14, EDIT=8, DEL=3, FLUSH=.1, LIST=1, ADDDEST=24, DELDEST=8, EDITDEST=14, TIMEOUT=4,
                   STARTDAEMON=2, STOPDAEMON=2, RESTORE=1, SAVE=1, ZERO=3)
GET_WEIGHTS = dict(VERSION=1, INFO=2, SERVICES=4, SERVICE=6, DESTS=6, DEST=1, TIMEOUT=2, DAEMON=2)
SERVICE_ENTRY, DEST_ENTRY, ROOM = 104, 96, 1 << 16
libc = ctypes.CDLL(None, use_errno=True)


class Sockopt:
    def __init__(self, seed):
        self.random = Values(f"sockopt {seed}")

    def next(self):
        r = self.random
        if r.random() < 0.75:
            name = r.choices(list(SET_WEIGHTS), list(SET_WEIGHTS.values()))[0]
            request = SockoptRequest("set", SET.index(name), self.argument(name))
        else:
            name = r.choices(list(GET_WEIGHTS), list(GET_WEIGHTS.values()))[0]
            request = SockoptRequest("get", GET.index(name), self.room(name))
            if name == "SERVICES":
                request.services = r.choice((0, 0, 0, 1, 5))
        for _ in range(r.choices((0, 1, r.randint(2, 4)), (60, 25, 15))[0]):
            self.spoil(request)
        return request

    def argument(self, name):
        r = self.random
        if name in ("ADD", "EDIT", "DEL", "ZERO"):
            return self.service() if name != "ZERO" or r.random() < 0.8 else bytes(44)
        if name in ("ADDDEST", "DELDEST", "EDITDEST"):
            upper, lower = r.thresholds()
            return self.service() + self.ipv4(r.rip) + be16(r.choice(PORTS)) + bytes(2) + struct.pack(
                "=IIII", r.number(0, 0, 2, 3, 1), r.weight(), upper, lower)
        if name == "TIMEOUT":
            return b"".join(u32(r.number(0, 1, 60, 900)) for _ in range(3))
        if name in ("STARTDAEMON", "STOPDAEMON"):
            return u32(r.number(1, 2)) + r.device().encode().ljust(16, b"\0") + u32(r.number(0, 1, 255))
        return b""

    def ipv4(self, choose):
        addr = choose()
        while ":" in addr:
            addr = choose()
        return pton(addr)

    def service(self):
        r = self.random
        fwmark = r.number(1, 2) if r.random() < 0.12 else 0
        return self.name(fwmark) + r.scheduler().encode().ljust(16, b"\0") + struct.pack(
            "=III", r.flags(), r.number(0, 0, 300), r.number(0xFFFFFFFF, 0xFFFFFF))

    def name(self, fwmark):
        """Returns protocol, address, port and fwmark."""
        r = self.random
        return u16(r.protocol()) + bytes(2) + self.ipv4(r.vip) + be16(r.choice(PORTS)) + bytes(2) + u32(fwmark)

    def room(self, name):
        """Returns the buffer for the answer; the kernel reads a part of it."""
        r = self.random
        fwmark = r.number(1, 2) if r.random() < 0.12 else 0
        if name == "SERVICE":
            return self.name(fwmark).ljust(SERVICE_ENTRY, b"\0")
        if name == "DESTS":
            number = r.choice((0, 1, 2, 10, 10, 10))
            return self.name(fwmark) + u32(number) + bytes(4 + DEST_ENTRY * number)
        return bytes(dict(VERSION=64, INFO=12, SERVICES=8, TIMEOUT=12, DAEMON=48).get(name, 0))

    def spoil(self, request):
        r = self.random
        data, fault = request.data, r.randint(0, 7)
        at = r.randint(0, len(data))
        if fault == 0:
            request.command = r.choice((r.randint(-2, 18), r.randint(0, 15)))
        elif fault == 1:
            request.way = "get" if request.way == "set" else "set"
        elif fault == 2:
            request.data = data[:-r.randint(1, 8)]
        elif fault == 3:
            request.data = data + r.randbytes(r.choice((1, 2, 4, 24)))
        elif fault == 4:
            request.length = r.choice((-1, 0, 1, len(data) - 1, len(data) + 1, 0x7FFFFFFF, -0x80000000))
        elif fault == 5:
            request.data = data[:at] + u32(r.choice(EXTREMES)) + data[at + 4:]
        elif fault == 6:
            request.data = data[:at] + r.randbytes(min(4, len(data) - at)) + data[at + 4:]
        else:
            request.is_nowhere = True


class SockoptRequest:
    def __init__(self, way, command, data):
        self.way, self.command, self.data = way, command, data
        self.length = None
        # Whether NULL is passed as the buffer.
        self.is_nowhere = False
        # GET_SERVICES: the number of entries in the buffer above the number of services. It is never
        # below, as the services that C would return then vary.
        self.services = None

    def __str__(self):
        names = SET if self.way == "set" else GET
        return f"{self.way} {names[self.command] if 0 <= self.command < len(names) else self.command}"

    def details(self):
        return f"{self} length {self.length} nowhere {self.is_nowhere} services {self.services}\n  {self.data.hex()}"

    def ask(self, sock):
        data = self.data
        if self.services is not None and len(data) == 8:
            data = u32(self.services + how_many(sock)) + bytes(4)
        buffer = ctypes.create_string_buffer(data, ROOM)
        length = len(data) if self.length is None else self.length
        if self.services is not None and len(data) == 8 and self.length is None:
            length += SERVICE_ENTRY * struct.unpack("=I", data[:4])[0]
        address = None if self.is_nowhere else buffer
        command, size = ctypes.c_int(BASE + self.command), ctypes.c_int(length)
        ctypes.set_errno(0)
        if self.way == "set":
            refused = libc.setsockopt(sock.fileno(), 0, command, address, size)
        else:
            refused = libc.getsockopt(sock.fileno(), 0, command, address, ctypes.byref(size))
        if refused:
            return errno.errorcode.get(ctypes.get_errno(), str(ctypes.get_errno()))
        return "ok" if self.way == "set" else f"ok {size.value} {digest(self.plain(buffer.raw[:min(size.value, ROOM)]))}"

    def plain(self, answer):
        """Returns the answer without table sizes and the order of services, which may differ."""
        if self.command == GET.index("VERSION"):
            return answer.split(b"size=")[0]
        if self.command == GET.index("INFO"):
            return answer[:4] + answer[8:]
        if self.command == GET.index("SERVICES"):
            entries = [answer[at:at + SERVICE_ENTRY] for at in range(8, len(answer), SERVICE_ENTRY)]
            return answer[:8] + b"".join(sorted(entries))
        if self.command == GET.index("SERVICE") and os.environ.get("KERNEL") == "debug":
            # C does not clear the bytes after the scheduler's name, except without FORTIFY_SOURCE, where
            # strscpy() writes whole words.
            name = answer[16:32].split(b"\0")[0]
            return answer[:16] + name.ljust(16, b"\0") + answer[32:]
        return answer


def how_many(sock):
    """Returns the number of IPv4 services, 0 on error."""
    try:
        return struct.unpack("=III", sock.getsockopt(socket.SOL_IP, BASE + GET.index("INFO"), 12))[2]
    except OSError:
        return 0


SOURCES = dict(netlink=Netlink, sockopt=Sockopt)

if __name__ == "__main__":
    import sys
    source, wanted = SOURCES[sys.argv[1]](sys.argv[2]), {int(n) for n in sys.argv[3:]}
    for n in range(max(wanted) + 1):
        request = source.next()
        if n in wanted:
            print(n, request.details())
