"""Packets: builds bytes from a description, and one line of text from bytes.

    ip("192.168.1.254", "192.168.1.110", udp(40001, 80, b"name"), ttl=2)

The addresses determine the family. Every field can be set to a wrong value. The
text omits the fields that vary between runs (sequence numbers, identifiers, windows,
options) and shows whether each checksum is correct.
"""

import socket
import struct

TCP_FLAGS = "FSRPAUEC"
PROTOCOLS = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmp6", 132: "sctp"}
CHUNKS = "DATA INIT INIT-ACK SACK HEARTBEAT HEARTBEAT-ACK ABORT SHUTDOWN SHUTDOWN-ACK ERROR COOKIE-ECHO COOKIE-ACK " \
    "ECNE CWR SHUTDOWN-COMPLETE"
CHUNKS = CHUNKS.split()
GUE = 6080  # the port of GUE tunnels


def checksum(data):
    # The ones' complement sum of the 16-bit words is the number modulo 65535.
    number = int.from_bytes(data + b"\0" * (len(data) % 2), "big")
    return (number % 0xFFFF or (0xFFFF if number else 0)) ^ 0xFFFF


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0x82F63B78 * (crc & 1)
    return crc ^ 0xFFFFFFFF


def address(text):
    return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)


def pseudo(src, dst, protocol, length):
    if len(src) == 4:
        return src + dst + struct.pack("!BBH", 0, protocol, length & 0xFFFF)
    return src + dst + struct.pack("!IHBB", length, 0, 0, protocol)


# --- building


class Upper:
    """An IP payload: the protocol number for each family, and its bytes for given
    addresses (`at` is the offset of the checksum)."""

    def __init__(self, v4, v6, data, at=None, csum=None, covers=("v4", "v6")):
        self.v4, self.v6, self.data, self.at, self.csum = v4, v6, data, at, csum
        self.covers = covers

    def bytes(self, src, dst):
        family, protocol = ("v4", self.v4) if len(src) == 4 else ("v6", self.v6)
        if self.at is None:
            return self.data
        csum = self.csum
        if csum is None:
            over = pseudo(src, dst, protocol, len(self.data)) if family in self.covers else b""
            csum = checksum(over + self.data)
            if protocol == 17 and csum == 0:
                csum = 0xFFFF
        return self.data[: self.at] + struct.pack("!H", csum) + self.data[self.at + 2 :]


def tcp(sport, dport, flags="S", data=b"", seq=1000, ack=0, window=65535, options=b"", doff=None, csum=None, urg=0):
    options += b"\0" * (-len(options) % 4)
    bits = sum(1 << TCP_FLAGS.index(f) for f in flags)
    doff = 5 + len(options) // 4 if doff is None else doff
    head = struct.pack("!HHIIBBHHH", sport, dport, seq, ack, doff << 4, bits, window, 0, urg)
    return Upper(6, 6, head + options + data, 16, csum)


def udp(sport, dport, data=b"", length=None, csum=None):
    length = 8 + len(data) if length is None else length
    return Upper(17, 17, struct.pack("!HHHH", sport, dport, length, 0) + data, 6, csum)


def chunk(kind, data=b"", flags=0, length=None):
    """A chunk of SCTP; `kind` is its name or number."""
    kind = CHUNKS.index(kind) if isinstance(kind, str) else kind
    length = 4 + len(data) if length is None else length
    return struct.pack("!BBH", kind, flags, length) + data + b"\0" * (-len(data) % 4)


def sctp(sport, dport, *chunks, tag=1, csum=None):
    """An SCTP packet; a chunk is the bytes or the name of one. The checksum covers no addresses."""
    chunks = b"".join(chunk(one) if isinstance(one, str) else one for one in chunks)
    head = struct.pack("!HHI", sport, dport, tag)
    csum = crc32c(head + bytes(4) + chunks) if csum is None else csum
    return Upper(132, 132, head + struct.pack("<I", csum) + chunks)


def icmp(kind, code, data=b"", rest=0, csum=None):
    """`kind` is the type of the family; an ICMPv6 checksum covers the addresses."""
    return Upper(1, 58, struct.pack("!BBHI", kind, code, 0, rest) + data, 2, csum, covers=("v6",))


def echo(kind, ident, seq=1, data=b""):
    return icmp(kind, 0, data, ident << 16 | seq)


def raw(protocol, data):
    return Upper(protocol, protocol, data)


def inside(packet):
    """Returns `packet` as the payload of a tunnel."""
    return Upper(4, 4, packet) if packet[0] >> 4 == 4 else Upper(41, 41, packet)


def gue(packet, sport=45000, port=GUE, options=b"", hlen=None, control=0, version=0, protocol=None, flags=0, csum=0):
    """Returns `packet` in a UDP datagram with a GUE header."""
    hlen = len(options) // 4 if hlen is None else hlen
    protocol = (4 if packet[0] >> 4 == 4 else 41) if protocol is None else protocol
    head = struct.pack("!BBH", version << 6 | control << 5 | hlen, protocol, flags)
    return udp(sport, port, head + options + packet, csum=csum)


def gre(packet, flags=0, protocol=None, more=b""):
    """Returns `packet` behind a GRE header; `more` follows its first 4 bytes."""
    protocol = (0x0800 if packet[0] >> 4 == 4 else 0x86DD) if protocol is None else protocol
    return raw(47, struct.pack("!HH", flags, protocol) + more + packet)


def ip(src, dst, upper, ttl=64, df=True, ident=1, tos=0, offset=0, more=False, options=b"", length=None, ihl=None,
       version=None, csum=None, protocol=None, exthdr=b"", nexthdr=None):
    src, dst = address(src), address(dst)
    upper = raw(59, upper) if isinstance(upper, bytes) else upper
    data = upper.bytes(src, dst)
    if len(src) == 4:
        options += b"\0" * (-len(options) % 4)
        ihl = 5 + len(options) // 4 if ihl is None else ihl
        length = 20 + len(options) + len(data) if length is None else length
        fragment = (0x4000 if df else 0) | (0x2000 if more else 0) | offset // 8
        head = struct.pack("!BBHHHBBH", (4 if version is None else version) << 4 | ihl, tos, length, ident, fragment,
                           ttl, upper.v4 if protocol is None else protocol, 0) + src + dst + options
        csum = checksum(head) if csum is None else csum
        return head[:10] + struct.pack("!H", csum) + head[12:] + data
    # exthdr: extension headers; the last one contains the upper protocol
    length = len(exthdr) + len(data) if length is None else length
    nexthdr = (upper.v6 if protocol is None else protocol) if nexthdr is None else nexthdr
    return struct.pack("!IHBB", (6 if version is None else version) << 28 | tos << 20, length, nexthdr, ttl) + \
        src + dst + exthdr + data


def fragments(packet, size, ident=77):
    """Returns the fragments of `packet` with `size` bytes of payload (a multiple of 8)."""
    if packet[0] >> 4 == 4:
        head, data, protocol = packet[:20], packet[20:], packet[9]
    else:
        head, data, protocol = packet[:40], packet[40:], packet[6]
    src, dst = (socket.inet_ntop(socket.AF_INET if len(head) == 20 else socket.AF_INET6, a) for a in
                ((head[12:16], head[16:20]) if len(head) == 20 else (head[8:24], head[24:40])))
    out = []
    for at in range(0, len(data), size):
        more = at + size < len(data)
        part = raw(protocol, data[at : at + size])
        if len(head) == 20:
            out.append(ip(src, dst, part, ttl=head[8], df=False, ident=ident, offset=at, more=more))
        else:
            fragment = struct.pack("!BBHI", protocol, 0, at | more, ident)
            out.append(ip(src, dst, part, ttl=head[7], exthdr=fragment, nexthdr=44))
    return out


# --- reading


def _sum(data, src, dst, protocol, length, stored, partial):
    if isinstance(partial, str):
        return partial
    if partial is None:  # complete or not
        partial = checksum(pseudo(src, dst, protocol, length) + data[:length]) not in (0, 0xFFFF)
    if partial:  # offloaded to the device: the field has the pseudo header's sum
        return "partial" if stored == checksum(pseudo(src, dst, protocol, length)) ^ 0xFFFF else "BADPARTIAL"
    return "ok" if checksum(pseudo(src, dst, protocol, length) + data[:length]) in (0, 0xFFFF) else "BAD"


def _chunks(data):
    """Returns the names of the chunks, or the numbers of unknown ones."""
    names = []
    while len(data) >= 4:
        kind, _, length = struct.unpack("!BBH", data[:4])
        names.append(CHUNKS[kind] if kind < len(CHUNKS) else str(kind))
        data = data[(length + 3) // 4 * 4 if length >= 4 else len(data):]
    return ",".join(names) or "-"


def _upper(protocol, data, src, dst, partial):
    """`partial`: True, False, None if unknown, or the reason why the checksum is not checked."""
    length = len(data)
    if protocol in (4, 41):
        return f"[{show(data, partial)}]"
    if protocol == 6 and length >= 20:
        sport, dport, _, _, doff, bits, _, csum = struct.unpack("!HHIIBBHH", data[:18])
        flags = "".join(f for i, f in enumerate(TCP_FLAGS) if bits >> i & 1)
        return f"tcp {sport} > {dport} {flags} data={length - (doff >> 4) * 4} csum=" + \
            _sum(data, src, dst, 6, length, csum, partial)
    if protocol == 17 and length >= 8:
        sport, dport, said, csum = struct.unpack("!HHHH", data[:8])
        kind = "none" if csum == 0 else _sum(data, src, dst, 17, length, csum, partial)
        if dport == GUE and length >= 12 and data[8] < 0x20:
            if kind == "BADPARTIAL":  # the inner checksum is the offloaded one
                kind = "outer"
            return f"udp {sport} > {dport} data={said - 8} csum={kind} {_gue(data[8:], partial)}"
        return f"udp {sport} > {dport} data={said - 8} csum={kind}"
    if protocol == 132 and length >= 12:
        sport, dport = struct.unpack("!HH", data[:4])
        csum = int.from_bytes(data[8:12], "little")
        right = partial if isinstance(partial, str) else "partial" if partial else \
            "ok" if csum == crc32c(data[:8] + bytes(4) + data[12:]) else "BAD"
        return f"sctp {sport} > {dport} {_chunks(data[12:])} data={length - 12} csum={right}"
    if protocol == 47 and length >= 4:
        return _gre(data, partial)
    if protocol in (1, 58) and length >= 8:
        kind, code, csum, rest = struct.unpack("!BBHI", data[:8])
        name = PROTOCOLS[protocol]
        if protocol == 1:
            right = partial if isinstance(partial, str) else "ok" if checksum(data) in (0, 0xFFFF) else "BAD"
        else:
            right = _sum(data, src, dst, 58, length, csum, partial)
        if (protocol == 1 and kind in (3, 4, 5, 11, 12)) or (protocol == 58 and kind < 128):
            return f"{name} {kind}/{code} rest={rest:#x} csum={right} [{show(data[8:])}]"
        return f"{name} {kind}/{code} data={length - 8} csum={right}"
    if protocol in (6, 17, 132) and length >= 4:
        sport, dport = struct.unpack("!HH", data[:4])
        return f"{PROTOCOLS[protocol]} {sport} > {dport} short={length}"
    return f"{PROTOCOLS.get(protocol, f'protocol {protocol}')} len={length}"


def _inner(partial):
    """Returns `partial` for the inner packet of a tunnel: either checksum may be the one that the device completes."""
    return None if partial is True else partial


def _gue(data, partial):
    words, protocol, flags = struct.unpack("!BBH", data[:4])
    size = 4 + words * 4
    head = f"gue {protocol}"
    if words or flags:
        head += f" flags={flags:#x} options={data[4:size].hex()}"
    # With remote checksum offload the receiver completes the inner checksum.
    return f"{head} [{show(data[size:], True if flags == 1 and partial in (True, False) else _inner(partial))}]"


def _gre(data, partial):
    flags, protocol = struct.unpack("!HH", data[:4])
    head = f"gre {protocol:#x}"
    if not flags & 0x8000 or len(data) < 8:
        return f"{head}{f' flags={flags:#x}' if flags else ''} [{show(data[4:], _inner(partial))}]"
    csum, reserved = struct.unpack("!HH", data[4:8])
    if isinstance(partial, str):
        right = partial
    elif partial:
        right = "outer" if csum else "partial"
    else:
        right = "ok" if checksum(data) in (0, 0xFFFF) else "BAD"
    more = (f" flags={flags:#x}" if flags != 0x8000 else "") + (" reserved" if reserved else "")
    return f"{head} csum={right}{more} [{show(data[8:], _inner(partial))}]"


def show(packet, partial=False):
    if len(packet) >= 20 and packet[0] >> 4 == 4 and packet[0] % 16 >= 5:
        ihl, length, fragment, ttl, protocol = packet[0] % 16 * 4, *struct.unpack("!HxxHBB", packet[2:10])
        src, dst = packet[12:16], packet[16:20]
        head = f"ip {socket.inet_ntop(socket.AF_INET, src)} > {socket.inet_ntop(socket.AF_INET, dst)} ttl={ttl}"
        if packet[1]:
            head += f" tos={packet[1]:#x}"
        if fragment & 0x4000:
            head += " df"
        if checksum(packet[:ihl]) not in (0, 0xFFFF):
            head += " ipcsum=BAD"
        if length > len(packet):
            head += f" cut={len(packet)}/{length}"
            partial = "cut"
        data = packet[ihl:length]
        if fragment & 0x3FFF:
            head += f" frag={(fragment & 0x1FFF) * 8}+{len(data)}" + (" more" if fragment & 0x2000 else "")
            partial = "fragment"
            if fragment & 0x1FFF:
                return f"{head} protocol {protocol}"
        return f"{head} {_upper(protocol, data, src, dst, partial)}"
    if len(packet) >= 40 and packet[0] >> 4 == 6:
        length, protocol, hops = struct.unpack("!HBB", packet[4:8])
        src, dst = packet[8:24], packet[24:40]
        head = f"ip6 {socket.inet_ntop(socket.AF_INET6, src)} > {socket.inet_ntop(socket.AF_INET6, dst)} hlim={hops}"
        if protocol in (4, 41, 47) and packet[1] & 0xF | packet[2] | packet[3]:
            head += " label"
        if length + 40 > len(packet):
            head += f" cut={len(packet)}/{length + 40}"
            partial = "cut"
        data = packet[40 : 40 + length]
        while protocol in (0, 43, 44, 60) and len(data) >= 8:
            size = 8 if protocol == 44 else 8 + data[1] * 8
            if protocol == 44:
                offset, = struct.unpack("!H", data[2:4])
                head += f" frag={offset & ~7}+{len(data) - 8}" + (" more" if offset & 1 else "")
                partial = "fragment"
                if offset & ~7:
                    return f"{head} protocol {data[0]}"
            else:
                head += f" ext={protocol}"
            protocol, data = data[0], data[size:]
        return f"{head} {_upper(protocol, data, src, dst, partial)}"
    return f"bytes {packet.hex()}"
