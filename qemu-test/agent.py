#!/usr/bin/python3
"""One process that acts for every machine around the director.

A thread can enter a network namespace, and a socket stays in the namespace in
which it was opened. So one process holds the real servers' sockets, makes the
clients' requests, sends crafted packets and captures packets. The cases need not
start an interpreter for each request, which takes a second under emulation.

lib.sh's `agent` sends the number of words, then a function's name and its
arguments, each ended by a NUL byte. The answer is a status line and text, ended
by a NUL byte.

A real server answers a line (or datagram) according to its first word:
  name        NAME and a newline
  who         NAME, the client's address and port, and the server's address
  bytes N     N bytes, the same for every server
  hash        the SHA-1 of the N bytes that follow a line "hash N"
"""

import ctypes
import errno
import fnmatch
import hashlib
import itertools
import os
import re
import resource
import select
import selectors
import socket
import struct
import sys
import threading
import time
import traceback

import choices as chooser
import genl
import packet
from packet import *  # for the expressions of `send`
import topology as networks
from topology import SLOW, enter, settle

PATTERN = bytes(range(256)) * 256

SO_ATTACH_FILTER, SO_RCVBUFFORCE = 26, 33
IP_PKTINFO, IP_MTU_DISCOVER, IP_RECVERR, IP_MTU = 8, 10, 11, 14
SOL_PACKET, PACKET_STATISTICS, PACKET_AUXDATA = 263, 6, 8
ETH_P_ALL = 3
CSUM_NOT_READY = 8


def family(addr):
    return socket.AF_INET6 if ":" in addr else socket.AF_INET


# --- real servers


class Servers:
    """The sockets of all real servers, in one selector and one thread."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        threading.Thread(target=self.loop, daemon=True).start()

    def add(self, sock, handler):
        sock.setblocking(False)
        self.selector.register(sock, selectors.EVENT_READ, handler)

    def loop(self):
        while True:
            for key, _ in self.selector.select(1):
                try:
                    key.data()
                except (OSError, ValueError):
                    self.drop(key.fileobj)

    def drop(self, sock):
        try:
            self.selector.unregister(sock)
        except (KeyError, ValueError):
            pass
        sock.close()

    def reset(self):
        while True:
            try:
                keys = list(self.selector.get_map().values())
                break
            except RuntimeError:
                pass  # the loop drops a socket concurrently
        for key in keys:
            self.drop(key.fileobj)

    def tcp(self, name, listener):
        def accept():
            sock, peer = listener.accept()
            state = {"in": b"", "out": b"", "hash": None, "left": 0}

            def ready():
                try:
                    data = sock.recv(1 << 16)
                except BlockingIOError:
                    data = None
                if data == b"":
                    self.drop(sock)
                    return
                if data:
                    state["in"] += data
                self.answer(name, sock, peer, state)

            self.add(sock, ready)

        self.add(listener, accept)

    def answer(self, name, sock, peer, state):
        while True:
            if state["hash"]:
                part = state["in"][: state["left"]]
                state["hash"].update(part)
                state["in"] = state["in"][len(part):]
                state["left"] -= len(part)
                if state["left"]:
                    return
                sock.sendall(state["hash"].hexdigest().encode() + b"\n")
                state["hash"] = None
            line, newline, rest = state["in"].partition(b"\n")
            if not newline:
                return
            state["in"] = rest
            word = line.split() or [b"name"]
            if word[0] == b"bytes":
                threading.Thread(target=pour, args=(sock, int(word[1])), daemon=True).start()
            elif word[0] == b"hash":
                state["hash"], state["left"] = hashlib.sha1(), int(word[1])
            else:
                sock.sendall(reply(name, word[0], peer[0], sock.getsockname()[0], peer[1]))

    def udp(self, name, sock):
        def ready():
            data, control, _, peer = sock.recvmsg(1 << 16, 256)
            to = "?"
            for level, kind, value in control:
                if level == socket.IPPROTO_IP and kind == IP_PKTINFO:
                    to = socket.inet_ntop(socket.AF_INET, value[8:12])
                    # Answer from the destination address of the request, not by its interface.
                    control = [(level, kind, struct.pack("=I4s4x", 0, value[8:12]))]
                elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                    to = socket.inet_ntop(socket.AF_INET6, value[:16])
                    control = [(level, kind, value[:16] + b"\0\0\0\0")]
            word = data.split() or [b"name"]
            if word[0] == b"bytes":
                answer = PATTERN[: int(word[1])]
            elif word[0] == b"hash":
                answer = hashlib.sha1(data).hexdigest().encode()
            else:
                answer = reply(name, word[0], peer[0], to, peer[1])
            sock.sendmsg([answer], control, 0, peer)

        self.add(sock, ready)


def pattern(at, size):
    """Returns a part of the byte pattern of all transfers, from offset `at`."""
    return PATTERN[at % 256 : at % 256 + min(size - at, 1 << 15)]


def pour(sock, size):
    at = 0
    try:
        while at < size:
            try:
                at += sock.send(pattern(at, size))
            except BlockingIOError:
                select.select([], [sock], [], 60 * SLOW)
    except (OSError, ValueError):
        pass  # the client reports it


def reply(name, word, client, mine, port):
    if word == b"who":
        return f"{name} {client} {port} {mine}\n".encode()
    return name.encode() + b"\n"


servers = Servers()


def serve(ns, name, *ports):
    """Opens TCP and UDP servers for both families on each port."""
    enter(ns)
    for port in map(int, ports):
        for af in (socket.AF_INET, socket.AF_INET6):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                sock = socket.socket(af, kind)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if af == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind(("", port))
                if kind == socket.SOCK_STREAM:
                    sock.listen(1024)
                    servers.tcp(name, sock)
                else:
                    if af == socket.AF_INET:
                        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
                    else:
                        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
                    servers.udp(name, sock)


def serve_sctp(ns, name, addr, *ports):
    """Opens SCTP servers at the address on each port. An association names no other address then."""
    enter(ns)
    for port in map(int, ports):
        sock = socket.socket(family(addr), *SOCKETS["sctp"])
        sock.bind((addr, port))
        sock.listen(64)
        servers.tcp(name, sock)


# --- clients

next_port = 40001
since = time.monotonic()
sources = itertools.cycle([""])


def source(*addrs):
    """Sets the source addresses of the following requests, used in turn."""
    global sources
    sources = itertools.cycle(addrs)


SOCKETS = {"tcp": (socket.SOCK_STREAM, 0), "udp": (socket.SOCK_DGRAM, 0),
           "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP)}


def client_socket(proto, addr, timeout=5.0, port=None):
    """Returns a socket with a source port that no other has and that is the same in every run."""
    global next_port
    sock = socket.socket(family(addr), *SOCKETS[proto])
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.settimeout(timeout * SLOW)
    if port is None:
        port = next_port
        next_port += 1
    sock.bind((next(sources), int(port)))
    return sock


def line_from(sock):
    data = b""
    while not data.endswith(b"\n"):
        part = sock.recv(65536)
        if not part:
            raise ConnectionResetError(errno.ECONNRESET, "closed early")
        data += part
    return data.decode().strip()


def ask(proto, addr, port, word="name", timeout=5.0, source=None):
    """Makes one request; returns the answer or the errno's name."""
    try:
        if proto == "udp":
            with client_socket("udp", addr, timeout, source) as sock:
                sock.connect((addr, int(port)))
                sock.send(word.encode())
                return sock.recv(65536).decode().strip()
        with client_socket(proto, addr, timeout, source) as sock:
            sock.connect((addr, int(port)))
            sock.sendall(word.encode() + b"\n")
            return line_from(sock)
    except TimeoutError:
        return "timeout"
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e))


def get(ns, proto, addr, port, count="1", word="name", timeout="5"):
    """Makes `count` requests in sequence; returns the answers on one line. Stops
    after two timeouts in a row."""
    enter(ns)
    lines = []
    while len(lines) < int(count) and lines[-2:] != ["timeout"] * 2:
        lines.append(ask(proto, addr, port, word, float(timeout)))
    return (" " if word == "name" else "\n").join(lines)


held = {}


def hold(ns, name, proto, addr, port, count="1"):
    """Opens and keeps `count` connections, NAME1, NAME2 …, and makes one request on
    each. `addr` may be several addresses, "A,B", which are used in turn."""
    enter(ns)
    answers = []
    for number, addr in zip(range(1, int(count) + 1), itertools.cycle(addr.split(","))):
        sock = client_socket(proto, addr)
        held[f"{name}{number}"] = sock
        try:
            sock.connect((addr, int(port)))
            answers.append(use(f"{name}{number}"))
        except TimeoutError:
            answers.append("timeout")
        except OSError as e:
            answers.append(errno.errorcode[e.errno])
    return " ".join(answers)


def use(name, word="name"):
    """Makes one more request on a held connection."""
    try:
        held[name].sendall(word.encode() + b"\n")
        return line_from(held[name])
    except TimeoutError:
        return "timeout"
    except OSError as e:
        return errno.errorcode[e.errno]


def close(*patterns):
    """Closes the held connections with names that match `patterns`."""
    for name in matching(patterns):
        held.pop(name).close()


def abort(*patterns):
    """Closes held connections by RST."""
    for name in matching(patterns):
        sock = held.pop(name)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()


def matching(patterns):
    return [name for name in list(held) if any(fnmatch.fnmatchcase(name, p) for p in patterns)]


def download(ns, addr, port, size, proto="tcp"):
    """Fetches `size` bytes over TCP or SCTP and returns whether they are as sent."""
    enter(ns)
    size, seen = int(size), hashlib.sha1()
    with client_socket(proto, addr, 60) as sock:
        sock.connect((addr, int(port)))
        sock.sendall(b"bytes %d\n" % size)
        left = size
        while left:
            data = sock.recv(min(left, 1 << 17))
            if not data:
                return f"ended {left} bytes early"
            seen.update(data)
            left -= len(data)
    return "intact" if seen.hexdigest() == pattern_hash(size) else "DAMAGED"


def upload(ns, addr, port, size, proto="tcp"):
    enter(ns)
    size = int(size)
    with client_socket(proto, addr, 60) as sock:
        sock.connect((addr, int(port)))
        sock.sendall(b"hash %d\n" % size)
        at = 0
        while at < size:
            at += sock.send(pattern(at, size))
        return "intact" if line_from(sock) == pattern_hash(size) else "DAMAGED"


def pattern_hash(size):
    return hashlib.sha1((PATTERN * (size // len(PATTERN) + 1))[:size]).hexdigest()


loads = {}


def load(ns, name, proto, addr, port, sockets="4"):
    """Starts `sockets` clients that make requests without pause until `unload`; for `addr` see `hold`."""
    state = {"stop": False, "answers": {}, "threads": []}
    first = 20000 + 5000 * len(loads)

    def work(port_base):
        enter(ns)
        source, addrs = port_base, itertools.cycle(addr.split(","))
        while not state["stop"]:
            answer = ask(proto, next(addrs), port, source=source)
            if answer != "EADDRINUSE":
                state["answers"][answer] = state["answers"].get(answer, 0) + 1
            if answer.isupper():
                time.sleep(0.01)  # an errno, returned at once
            source = port_base + (source + 1 - port_base) % 1000

    for i in range(int(sockets)):
        thread = threading.Thread(target=work, args=(first + 1000 * i,), daemon=True)
        thread.start()
        state["threads"].append(thread)
    loads[name] = state


def talk(ns, name, proto, addr, port, count="3"):
    """Opens `count` connections, NAME1, NAME2 …, and makes requests on them in turn until `unload`."""
    enter(ns)
    state = {"stop": False, "answers": {}, "threads": [], "rounds": 0}
    names = [f"{name}{number + 1}" for number in range(int(count))]
    for each in names:
        held[each] = client_socket(proto, addr)
        held[each].connect((addr, int(port)))

    def work():
        while not state["stop"]:
            for each in names:
                key = f"{each} {use(each)}"
                state["answers"][key] = state["answers"].get(key, 0) + 1
            state["rounds"] += 1
            time.sleep(0.01)

    state["threads"].append(threading.Thread(target=work, daemon=True))
    state["threads"][0].start()
    loads[name] = state


def talked(name):
    """Returns the answers on each connection of a `talk`, after one more request on each."""
    state = loads[name]
    rounds = state["rounds"] + 2
    deadline = time.monotonic() + 60 * SLOW
    while state["rounds"] < rounds:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{name}: answers have stopped:\n{tally(name)}")
        time.sleep(0.01)
    return "\n".join(sorted(dict(state["answers"])))


def tally(name):
    """Returns the number of each answer so far."""
    return "\n".join(f"{k} {v}" for k, v in sorted(dict(loads[name]["answers"]).items()))


def answered(name):
    return str(sum(loads[name]["answers"].values()))


def unload(name):
    state = loads[name]
    state["stop"] = True
    for thread in state["threads"]:
        thread.join()
    return tally(name)


# --- packets

captures = {}
buffer = bytearray(1 << 17)


def capture(ns, name, interface, addr=""):
    """Starts to capture on an interface. `addr` limits it to packets from or to
    that address: during a load, it would take too long to read all."""
    enter(ns)
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
    sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 32 << 20)
    sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    if addr:
        attach(sock, addr)
    sock.bind((interface, ETH_P_ALL))
    sock.setblocking(False)
    captures[name] = (sock, [])


def attach(sock, addr):
    """Attaches a classic BPF filter that passes IP packets from or to `addr`."""
    words = struct.unpack("!%dI" % (4 if ":" in addr else 1), socket.inet_pton(family(addr), addr))
    code = []
    for field in (8, 24) if ":" in addr else (12, 16):
        for i, word in enumerate(words):
            code.append((0x20, 0, 0, field + 4 * i))  # ld [field]
            code.append((0x15, 0, 2 * (len(words) - i) - 1, word))  # jeq
        code.append((0x06, 0, 0, 1 << 17))  # ret
    code.append((0x06, 0, 0, 0))
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in code))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HL", len(code), ctypes.addressof(program)))


def interesting(line):
    """Whether it is none of neighbour discovery, router and group messages."""
    kind = line.split("icmp6 ")[-1].split("/")[0] if "icmp6" in line else ""
    return line.startswith("ip") and not (kind.isdigit() and 130 <= int(kind) <= 143) and \
        "ext=0" not in line and "protocol 2 " not in line


def drain(name):
    sock, seen = captures[name]
    while True:
        try:
            size, control, _, where = sock.recvmsg_into([buffer], 64)
        except BlockingIOError:
            break
        if where[1] not in (0x0800, 0x86DD):
            continue
        partial = False
        for level, kind, value in control:
            if level == SOL_PACKET and kind == PACKET_AUXDATA:
                partial = bool(struct.unpack("=I", value[:4])[0] & CSUM_NOT_READY)
        line = packet.show(bytes(buffer[:size]), partial)
        if interesting(line):
            seen.append(("> " if where[2] == socket.PACKET_OUTGOING else "< ") + line)
    return seen


def captured(name, count="0", needle=""):
    """Waits for `count` packets with `needle` in their text; returns them."""
    deadline = time.monotonic() + 5 * SLOW
    while True:
        lines = [line for line in drain(name) if needle in line]
        if len(lines) >= int(count):
            return "\n".join(lines)
        if time.monotonic() > deadline:
            raise RuntimeError(f"{name}: {len(lines)} of {count} packets:\n" + "\n".join(lines))
        time.sleep(0.01)


def forget(name):
    """Empties a capture."""
    drain(name).clear()


def hardware(ns, interface):
    enter(ns)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sock:
        sock.bind((interface, 0))
        return sock.getsockname()[4]


def mac(ns, interface):
    return hardware(ns, interface).hex(":")


def largest(name):
    """Returns the largest payload size so far."""
    return str(max((int(n) for line in drain(name) for n in re.findall(r"data=(\d+)", line)), default=0))


def checksums(name):
    """Returns the kinds of checksums in each direction."""
    return " ".join(sorted({line[0] + kind for line in drain(name) for kind in re.findall(r"csum=(\w+)", line)}))


def send(ns, interface, to_ns, to_interface, *expressions):
    """Sends packets from one interface to another's hardware address. Each
    expression is a packet, a list of them, or Python for one of these that uses
    packet.py."""
    there = hardware(to_ns, to_interface)
    enter(ns)
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM) as sock:
        for expression in expressions:
            what = eval(expression) if isinstance(expression, str) else expression
            for data in what if isinstance(what, list) else [what]:
                protocol = 0x86DD if data[0] >> 4 == 6 else 0x0800
                sock.sendto(data, (interface, protocol, 0, 0, there))


def sequences(uplink, downlink, client, vip, server, length, client_flags, server_flags="", part="1/1"):
    """Sends the sequences of up to `length` segments after a client's SYN, each on a
    connection of its own, from port 10000 on: all of them, or a `part`, "1/4" to "4/4".
    Returns the number of sequences."""
    kinds = [(True, flags) for flags in client_flags.split()] + [(False, flags) for flags in server_flags.split()]
    paths = [()]
    for n in range(int(length)):
        paths += itertools.product(kinds, repeat=n + 1)
    number, parts = map(int, part.split("/"))
    paths = paths[number - 1 :: parts]
    up, down = uplink.split(), downlink.split()
    senders = {}
    for from_client, (ns, interface, to_ns, to_interface) in ((True, up), (False, down)):
        there = hardware(to_ns, to_interface)
        enter(ns)
        senders[from_client] = (socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM),
                                (interface, 0x86DD if ":" in vip else 0x0800, 0, 0, there))
    described.clear()
    # Stays on one CPU: after a migration, packets could be reordered.
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    for port, path in enumerate(paths, 10000):
        described[port] = " ".join(["S"] + [("" if mine else "<") + flags for mine, flags in path])
        for mine, flags in ((True, "S"), *path):
            data = ip(client, vip, tcp(port, 80, flags)) if mine else ip(server, client, tcp(80, port, flags))
            sock, where = senders[mine]
            sock.sendto(data, where)
    os.sched_setaffinity(0, cpus)
    for sock, _ in senders.values():
        sock.close()
    return str(len(paths))


described = {}


def choices(uplink, name, size, vip, seed, count):
    """Runs a random history of a service with scheduler `name`, about `size` dests
    and `count` connections. Returns a line for each batch of connections with the
    numbers of the dests chosen. See choices.py."""
    return chooser.history(enter, hardware, uplink, name, int(size), vip, seed, int(count))


def mh_full(uplink, vip, module):
    """Tests mh with more dests than its table has buckets. See choices.py."""
    return chooser.full(enter, hardware, uplink, vip, module == "rust")


def persist(ns, addr, port, seconds):
    """Sets the persistence timeout of a UDP service in seconds by netlink, which
    takes any 32-bit number; ipvsadm takes 31 days at most."""
    enter(ns)
    fields = genl.whole(addr, int(port), socket.IPPROTO_UDP, FLAGS=genl.flags(1), TIMEOUT=genl.u32(int(seconds)))
    genl.Family().call(genl.command("SET_SERVICE"), genl.service(**fields))


def connection_lines(ns):
    enter(ns)
    with open("/proc/thread-self/net/ip_vs_conn") as f:
        return [line.split() for line in f][1:]


def states(ns):
    """Returns the final state of each of the sequences."""
    seen = {int(fields[2], 16): fields[7] for fields in connection_lines(ns)}
    return "\n".join(f"{described[port]}: {seen.get(port, 'none')}" for port in described)


def timeouts(ns, *known):
    """Returns each state with its remaining seconds, rounded up to one of `known` if
    the difference is not more than the time since the case began."""
    out, passed = set(), time.monotonic() - since
    for fields in connection_lines(ns):
        left = int(fields[8])
        full = min((int(k) for k in known if int(k) >= left), default=left)
        out.add(f"{fields[7]} {full if full - left <= passed + 1 else left}")
    return "\n".join(sorted(out))


def end():
    """Stops loads and captures and closes held connections."""
    for state in loads.values():
        state["stop"] = True
    for state in loads.values():
        for thread in state["threads"]:
            thread.join()
    loads.clear()
    for sock in held.values():
        sock.close()
    held.clear()
    for sock, _ in captures.values():
        sock.close()
    captures.clear()


def reset():
    """Clears all state of the case before."""
    global next_port, since
    end()
    since = time.monotonic()
    servers.reset()
    next_port = 40001
    source("")


def netns(*machines):
    """Deletes all machines and creates new ones, without any network."""
    reset()
    networks.netns(*machines)


def topology(name):
    """Creates the machines of a topology; returns its addresses as assignments."""
    reset()
    networks.build(networks.TOPOLOGIES[name].machines)
    return networks.TOPOLOGIES[name].assignments()


COMMANDS = {f.__name__: f for f in (
    netns, topology, settle, serve, serve_sctp, get, hold, use, close, abort, download, upload, load, talk, talked, tally,
    answered, unload, capture, captured, forget, checksums, largest, mac, send, source,
    choices, mh_full, persist, sequences, states, timeouts, end, reset)}


def main():
    # With drop_invalid TCP connections cannot be closed, so many stay open.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    requests = open(sys.argv[1], "r+b", buffering=0)
    answers = open(sys.argv[2], "r+b", buffering=0)
    pending = b""
    while True:
        words = []
        while not words or len(words) <= int(words[0]):
            head, zero, rest = pending.partition(b"\0")
            if zero:
                words.append(head.decode())
                pending = rest
            else:
                pending += requests.read(1 << 16)
        try:
            answer = "0\n" + (COMMANDS[words[1]](*words[2:]) or "")
        except Exception as e:
            answer = f"1\n{words[1]}: {type(e).__name__}: {e}"
            if not isinstance(e, (OSError, RuntimeError)):
                answer += "\n" + traceback.format_exc()
        os.setns(home, os.CLONE_NEWNET)
        answers.write(answer.replace("\0", "").encode() + b"\0")


if __name__ == "__main__":
    main()
