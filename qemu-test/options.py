"""Raw socket options IP_VS_SO_*: values of any length at any address, and
results as text. Sizes and offsets are those of x86-64."""

import ctypes
import errno
import os
import socket
import struct
import subprocess

# Numbers of include/uapi/linux/ip_vs.h, by name.
BASE = 1152
SET = {name: BASE + n for n, name in enumerate(
    "NONE INSERT ADD EDIT DEL FLUSH LIST ADDDEST DELDEST EDITDEST TIMEOUT STARTDAEMON STOPDAEMON RESTORE SAVE ZERO".split())}
GET = {name: BASE + n for n, name in enumerate("VERSION INFO SERVICES SERVICE DESTS DEST TIMEOUT DAEMON".split())}
SET_LENGTH = dict(ADD=44, EDIT=44, DEL=44, ADDDEST=68, DELDEST=68, EDITDEST=68, TIMEOUT=12, STARTDAEMON=24, STOPDAEMON=24, ZERO=44)
GET_LENGTH = dict(VERSION=64, INFO=12, SERVICES=8, SERVICE=104, DESTS=24, TIMEOUT=12, DAEMON=48)
SERVICE_ENTRY, DEST_ENTRY = 104, 96

libc = ctypes.CDLL(None, use_errno=True)


def outcome(status):
    code = ctypes.get_errno()
    return "ok" if status == 0 else errno.errorcode.get(code, str(code))


class Options:
    """A socket, raw by default, in the network namespace of this thread."""

    def __init__(self, family=socket.AF_INET, kind=socket.SOCK_RAW, protocol=socket.IPPROTO_RAW):
        self.sock = socket.socket(family, kind, protocol)

    def set(self, option, value=b"", length=None, address=None):
        """Returns the outcome; `length` and `address` replace those of the value."""
        number = SET[option] if isinstance(option, str) else option
        where = ctypes.create_string_buffer(value, max(len(value), 1)) if address is None else ctypes.c_void_p(address)
        return outcome(libc.setsockopt(self.sock.fileno(), 0, number, where, len(value) if length is None else length))

    def ask(self, option, room=b"", length=None, address=None):
        """Returns (outcome, length, contents of the buffer)."""
        number = GET[option] if isinstance(option, str) else option
        buffer = ctypes.create_string_buffer(room, max(len(room), 1))
        size = ctypes.c_int(len(room) if length is None else length)
        where = buffer if address is None else ctypes.c_void_p(address)
        status = libc.getsockopt(self.sock.fileno(), 0, number, where, ctypes.byref(size))
        return outcome(status), size.value, buffer.raw[:len(room)]

    def info(self):
        return struct.unpack("=III", self.ask("INFO", bytes(12))[2])

    def services(self, count=None):
        """Returns `count` entries of services, by default all."""
        count = self.info()[2] if count is None else count
        said, _, room = self.ask("SERVICES", struct.pack("=I4x", count) + bytes(SERVICE_ENTRY * count))
        assert said == "ok", said
        return list(cut(room[8:], SERVICE_ENTRY))

    def dests(self, named, count=None):
        """Returns `count` entries of dests, by default all, of the service with the key at the start of `named`."""
        if count is None:
            count, = struct.unpack_from("=I", self.ask("SERVICE", named[:16] + bytes(SERVICE_ENTRY - 16))[2], 44)
        said, _, room = self.ask("DESTS", named[:16] + struct.pack("=I4x", count) + bytes(DEST_ENTRY * count))
        assert said == "ok", said
        return list(cut(room[24:], DEST_ENTRY))

    def state(self):
        """Returns all services, sorted, and dests as text."""
        lines = []
        for entry in sorted(e for e in self.services() if any(e)):
            lines.append(service_text(entry))
            lines += ["  " + dest_text(e) for e in self.dests(entry) if any(e)]
        return "\n".join(lines)


def cut(data, size):
    for at in range(0, len(data), size):
        yield data[at:at + size]


def name(addr="192.168.1.110", port=80, protocol=6, fwmark=0):
    """Returns a service's key."""
    return struct.pack("=H2x4s", protocol, socket.inet_aton(addr)) + struct.pack("!H2x", port) + struct.pack("=I", fwmark)


def service(addr="192.168.1.110", port=80, protocol=6, fwmark=0, sched=b"rr", flags=0, timeout=0, netmask="255.255.255.255"):
    return name(addr, port, protocol, fwmark) + struct.pack("=16sII4s", sched, flags & 0xFFFFFFFF, timeout & 0xFFFFFFFF,
                                                            socket.inet_aton(netmask))


def dest(addr="10.1.1.11", port=80, flags=0, weight=1, upper=0, lower=0):
    return socket.inet_aton(addr) + struct.pack("!H2x", port) + struct.pack(
        "=IiII", flags & 0xFFFFFFFF, weight, upper & 0xFFFFFFFF, lower & 0xFFFFFFFF)


def timeouts(tcp=0, fin=0, udp=0):
    return struct.pack("=iii", tcp, fin, udp)


def daemon(state=1, device=b"lo", syncid=0):
    return struct.pack("=i16si", state, device, syncid)


def stats_text(data):
    """Without rates, which vary."""
    conns, inpkts, outpkts, gap, inbytes, outbytes = struct.unpack_from("=IIIIQQ", data)
    return f"{conns} {inpkts} {outpkts} {inbytes} {outbytes} gaps {gap} {data[52:].hex()}"


def service_text(entry):
    protocol, addr, = struct.unpack_from("=H2x4s", entry)
    port, = struct.unpack_from("!H", entry, 8)
    fwmark, sched, flags, timeout, netmask, dests = struct.unpack_from("=I16sII4sI", entry, 12)
    return (f"{protocol} {socket.inet_ntoa(addr)}:{port} fwmark {fwmark} {sched.hex()} flags {flags:x} timeout {timeout} "
            f"netmask {netmask.hex()} dests {dests} stats {stats_text(entry[48:])} gaps {entry[2:4].hex()} {entry[10:12].hex()}")


def dest_text(entry):
    port, = struct.unpack_from("!H", entry, 4)
    flags, weight, upper, lower, active, inactive, persistent, gap = struct.unpack_from("=IiIIIIII", entry, 8)
    return (f"{socket.inet_ntoa(entry[:4])}:{port} flags {flags:x} weight {weight} upper {upper} lower {lower} conns {active} "
            f"{inactive} {persistent} stats {stats_text(entry[40:])} gaps {entry[6:8].hex()} {gap}")


def daemons_text(data):
    return "\n".join(f"state {state} on {device.hex()} id {syncid}"
                     for state, device, syncid in struct.iter_unpack("=i16si", data))


def wait_for_daemons():
    """Waits until C's newest daemon threads have run. A thread that is stopped before it has run ends, but the request
    fails with EINTR, and over netlink gets no answer."""
    with open("/proc/loadavg") as f:
        newest = int(f.read().split()[-1])
    for pid in range(newest, max(newest - 20, 0), -1):
        state = "R"
        while state != "S":
            try:
                with open(f"/proc/{pid}/stat") as f:
                    comm, state = f.read().rsplit(")", 1)
            except OSError:
                break
            state = state.split()[0] if "(ipvs-m" in comm or "(ipvs-b" in comm else "S"


def mark(text):
    """Writes a line to the kernel log, for `log_since`."""
    with open("/dev/kmsg", "w") as log:
        log.write(text)
    return text


def log_since(line, word):
    """Returns the lines logged since `line` that contain `word`, each from `word` on."""
    log = subprocess.run(["dmesg"], check=True, capture_output=True, text=True).stdout
    return [text[text.index(word):] for text in log[log.rindex(line):].split("\n") if word in text]


def module_uses():
    """Returns the module's refcount without the references of the modules that depend on C's: one each, and one more of
    those that register with it; the match `ipvs` does not. At rest this soon becomes 0; on a busy machine a closed
    namespace or socket may hold a reference for longer."""
    holders = os.listdir("/sys/module/ip_vs/holders")
    with open("/sys/module/ip_vs/refcnt") as f:
        return int(f.read()) - 2 * len(holders) + holders.count("xt_ipvs")
