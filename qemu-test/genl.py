"""Raw generic netlink: requests that may be wrong in every detail, and answers as
text, with the attributes in the order received."""

import errno
import os
import socket
import struct

NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 1, 4, 0x300
NLMSG_ERROR, NLMSG_DONE, GENL_ID_CTRL = 2, 3, 16
NETLINK_GENERIC, NESTED = 16, 0x8000
V4, V6 = socket.AF_INET, socket.AF_INET6

# Numbers of include/uapi/linux/ip_vs.h, by name.
COMMANDS = ("UNSPEC NEW_SERVICE SET_SERVICE DEL_SERVICE GET_SERVICE NEW_DEST SET_DEST DEL_DEST GET_DEST "
            "NEW_DAEMON DEL_DAEMON GET_DAEMON SET_CONFIG GET_CONFIG SET_INFO GET_INFO ZERO FLUSH").split()
CMD = "- SERVICE DEST DAEMON TIMEOUT_TCP TIMEOUT_TCP_FIN TIMEOUT_UDP".split()
SVC = "- AF PROTOCOL ADDR PORT FWMARK SCHED_NAME FLAGS TIMEOUT NETMASK STATS PE_NAME STATS64".split()
DEST = ("- ADDR PORT FWD_METHOD WEIGHT U_THRESH L_THRESH ACTIVE_CONNS INACT_CONNS PERSIST_CONNS STATS ADDR_FAMILY "
        "STATS64 TUN_TYPE TUN_PORT TUN_FLAGS").split()
DAEMON = "- STATE MCAST_IFN SYNC_ID SYNC_MAXLEN MCAST_GROUP MCAST_GROUP6 MCAST_PORT MCAST_TTL".split()
STATS = "- CONNS INPKTS OUTPKTS INBYTES OUTBYTES CPS INPPS OUTPPS INBPS OUTBPS PAD".split()
INFO = "- VERSION CONN_TAB_SIZE".split()
NESTS = {"SERVICE": SVC, "DEST": DEST, "DAEMON": DAEMON, "STATS": STATS, "STATS64": STATS}


def attr(kind, value, length=None):
    """Encodes one attribute; `length` replaces its length field."""
    data = b"".join(value) if isinstance(value, list) else value
    nested = NESTED if isinstance(value, list) else 0
    return struct.pack("=HH", 4 + len(data) if length is None else length, kind | nested) + data + b"\0" * (-len(data) % 4)


def u8(n): return struct.pack("=B", n)
def u16(n): return struct.pack("=H", n)
def u32(n): return struct.pack("=I", n & 0xFFFFFFFF)
def u64(n): return struct.pack("=Q", n)
def be16(n): return struct.pack("!H", n)
def string(s): return s.encode() + b"\0"


def svc(**fields):
    return [attr(SVC.index(k), v) for k, v in fields.items() if v is not None]


def dest(**fields):
    return [attr(DEST.index(k), v) for k, v in fields.items() if v is not None]


def pton(text):
    return socket.inet_pton(V6 if ":" in text else V4, text)


def flags(value=0, mask=0xFFFFFFFF):
    return struct.pack("=II", value, mask)


def ident(addr="192.168.1.110", port=80, protocol=6, **more):
    """Returns the key attributes of a service."""
    fields = dict(AF=u16(V6 if ":" in addr else V4), PROTOCOL=u16(protocol), ADDR=pton(addr), PORT=be16(port))
    fields.update(more)
    return fields


def whole(addr="192.168.1.110", port=80, protocol=6, **more):
    fields = ident(addr, port, protocol, SCHED_NAME=string("rr"), FLAGS=flags(), TIMEOUT=u32(0),
                   NETMASK=u32(128 if ":" in addr else 0xFFFFFFFF))
    fields.update(more)
    return fields


def server(addr="10.1.1.11", port=80, **more):
    fields = dict(ADDR=pton(addr), PORT=be16(port), FWD_METHOD=u32(0), WEIGHT=u32(1), U_THRESH=u32(0), L_THRESH=u32(0))
    fields.update(more)
    return fields


def service(**fields):
    return attr(1, svc(**fields))


def real(**fields):
    return attr(2, dest(**fields))


def command(name):
    return COMMANDS.index(name)


def services(ipvs):
    """Dumps all services; yields for each a list of its entry and those of its dests."""
    for _, entry in ipvs.dump(command("GET_SERVICE")):
        (_, body), = attributes(entry)
        key = b"".join(attr(kind, value) for kind, value in attributes(body) if kind <= SVC.index("FWMARK"))
        yield [entry] + [d for _, d in ipvs.dump(command("GET_DEST"), attr(1 | NESTED, key))]


def attributes(data):
    while len(data) >= 4:
        length, kind = struct.unpack("=HH", data[:4])
        if length < 4:
            return
        yield kind, data[4:length]
        data = data[(length + 3) & ~3:]


class Refused(Exception):
    pass


class Family:
    """A socket for the family `name`, or for the nlctrl family without a name."""

    def __init__(self, name="IPVS"):
        self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_GENERIC)
        self.sock.settimeout(20)
        self.sock.bind((0, 0))
        self.sequence = 0
        self.id, self.version = GENL_ID_CTRL, 1
        if name:
            (_, answer), = self.call(3, attr(2, string(name)))
            self.id = struct.unpack("=H", dict(attributes(answer))[1])[0]

    def send(self, command, body=b"", flags=NLM_F_ACK, kind=None, length=None, header=None):
        self.sequence += 1
        if header is None:
            header = struct.pack("=BBH", command, self.version, 0)
        data = header + body
        self.sock.send(struct.pack("=IHHII", 16 + len(data) if length is None else length,
                                   self.id if kind is None else kind, NLM_F_REQUEST | flags, self.sequence, 0) + data)

    def call(self, command, body=b"", flags=NLM_F_ACK, **lies):
        """Sends a request and returns [(command, attributes)…]; raises Refused with the errno's name."""
        self.send(command, body, flags, **lies)
        answers = []
        while True:
            for kind, sequence, message in received(self.sock.recv(1 << 20)):
                if sequence != self.sequence:
                    continue
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    if name := error(message):
                        raise Refused(name)
                    return answers
                answers.append((message[0], message[4:]))

    def dump(self, command, body=b""):
        return self.call(command, body, NLM_F_DUMP)

    def outcome(self, command, body=b"", flags=NLM_F_ACK, **lies):
        try:
            return f"ok {len(self.call(command, body, flags, **lies))}"
        except Refused as e:
            return str(e)
        except TimeoutError:
            return "no answer"


def received(data):
    """Yields (type, sequence number, body) of each netlink message in the result of one recv()."""
    while len(data) >= 16:
        length, kind, _, sequence, _ = struct.unpack("=IHHII", data[:16])
        yield kind, sequence, data[16:length]
        data = data[(length + 3) & ~3:]


def error(body):
    """The errno's name in an NLMSG_ERROR or NLMSG_DONE, or None."""
    code = -struct.unpack("=i", body[:4])[0] if len(body) >= 4 else 0
    return errno.errorcode.get(code, str(code)) if code else None


def text(data, names=CMD, indent=0):
    """Returns attributes as lines: name, length, and value in hexadecimal."""
    lines = []
    for kind, value in attributes(data):
        number = kind & 0x3FFF
        name = names[number] if number < len(names) else str(number)
        head = "  " * indent + name + (" nested" if kind & NESTED else "")
        if name in NESTS:
            lines += [head, *text(value, NESTS[name], indent + 1).split("\n")]
        elif name in ("CPS", "INPPS", "OUTPPS", "INBPS", "OUTBPS"):
            lines.append(f"{head} {len(value)}")  # without the rate, which varies
        else:
            lines.append(f"{head} {len(value)} {value.hex()}")
    return "\n".join(lines)
