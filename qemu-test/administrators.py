#!/usr/bin/python3
"""administrators.py SECONDS SEED: concurrent random configuration under traffic.

Eight processes configure the director at random. Each has services of its own and a model
of their state, from which it predicts the result of each request. All of them list, edit
and zero the shared services. Meanwhile UDP clients send to all these services, TCP
clients connect to a shared one, long-lived connections to services that are not edited
must stay up, and network namespaces with services are created and destroyed.

At the end the director's services must match the eight models, and the clients must have
been answered. After the traffic ends, zeroing must zero exactly the counters it names.
Then the dests of the shared services are deleted."""

import ast
import collections
import contextlib
import fcntl
import os
import random
import select
import socket
import struct
import sys
import time
import traceback

from case import SLOW, enter, fail, run, say, settled, wait_for
from genl import *

ADMINISTRATORS, NAMESPACES, FLOODS = 8, 2, 1
# Services of a namespace that is created and destroyed, which still has them then.
SERVICES = 20
OURS = os.environ["MODULE"] == "rust"
VIP, VIP6 = "192.168.1.110", "2001:db8:1::110"
SHARED = [ident(VIP, 80, 6), ident(VIP, 80, 17), ident(VIP6, 80, 17)]
# Services of the long-lived connections: zeroed with all others, but never edited.
KEPT = [ident(VIP, 8080, 6), ident(VIP6, 8080, 6)]
SCHEDULERS = "rr rr wrr lc wlc wlc sed nq sh dh lblc lblcr fo ovf twos".split()
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
PATIENCE = 120 * SLOW


def rips(key):
    net = "2001:db8:2::1" if key["AF"] == u16(V6) else "10.1.1.1"
    return [(f"{net}{i}", port) for i in (1, 2, 3) for port in (80, 8080)]


def name_of(key):
    """Returns a service's name, hashable, from its key attributes or its entry."""
    if "FWMARK" in key:
        return key["AF"], key["FWMARK"]
    return key["AF"], key["PROTOCOL"], key["ADDR"].ljust(16, b"\0"), key["PORT"]


def key_of(entry):
    """Returns a service's key attributes from its entry."""
    return {field: entry[field] for field in ("AF", "FWMARK", "PROTOCOL", "ADDR", "PORT") if field in entry}


def of_message(names, body):
    """Returns the attributes of an entry by name."""
    (_, nest), = attributes(body)
    return {names[kind & 0x3FFF]: value for kind, value in attributes(nest)}


def shown_service(fields):
    """Returns a service's settings in one form, from a request or from a dump."""
    flags, = struct.unpack("=I", fields["FLAGS"][:4])
    return fields["SCHED_NAME"], flags | 2, fields["TIMEOUT"], fields["NETMASK"]


def shown_dest(fields):
    return (fields["ADDR"].ljust(16, b"\0"), fields["PORT"], fields["FWD_METHOD"], fields["WEIGHT"],
            fields["U_THRESH"], fields["L_THRESH"])


def shown_stats(fields):
    """Returns (counters, rates)."""
    stats = dict(attributes(fields["STATS64"]))
    return tuple(tuple(int.from_bytes(stats[STATS.index(name)], "little") for name in names.split())
                 for names in ("CONNS INPKTS OUTPKTS INBYTES OUTBYTES", "CPS INPPS OUTPPS INBPS OUTBPS"))


class Director:
    """The director as it appears in dumps."""

    def __init__(self):
        self.ipvs = Family()

    def ask(self, name, *nests):
        try:
            self.ipvs.call(command(name), b"".join(nests))
            return "ok"
        except Refused as e:
            return str(e)

    def add(self, key, scheduler="rr"):
        """Adds a service with all its dests."""
        self.ipvs.call(command("NEW_SERVICE"), service(**as_new(key, scheduler)))
        for rip, port in rips(key):
            self.ipvs.call(command("NEW_DEST"), service(**key) + real(**server(rip, port)))

    def services(self):
        return [of_message(SVC, body) for _, body in self.ipvs.dump(command("GET_SERVICE"))]

    def dest_entries(self, key):
        return [of_message(DEST, body) for _, body in self.ipvs.dump(command("GET_DEST"), service(**key))]

    def dests(self, key):
        return [shown_dest(entry) for entry in self.dest_entries(key)]

    def figures(self):
        """Returns counters and rates: by service name those of the service and its dests, by None those of the netns."""
        figures = {name_of(entry): [shown_stats(entry)] + [shown_stats(dest) for dest in self.dest_entries(key_of(entry))]
                   for entry in self.services()}
        with open("/proc/thread-self/net/ip_vs_stats") as f:
            lines = f.read().split("\n")
        figures[None] = [tuple(tuple(int(word, 16) for word in lines[n].split()) for n in (2, 5))]
        return figures


class Administrator(Director):
    def __init__(self, number, seed):
        super().__init__()
        self.random = random.Random(f"{seed} {number}")
        ports = range(1000 + 10 * number, 1004 + 10 * number)
        self.keys = ([ident(VIP, port, protocol) for port, protocol in zip(ports, (6, 17, 17, 17))] +
                     [ident(VIP6, port, 17) for port in ports[:2]] + [dict(AF=u16(V4), FWMARK=u32(1 + number))])
        # The existing services by index of their key: settings as shown, and dests, newest first.
        self.model = {}

    def expect(self, wanted, *request):
        got = self.ask(*request)
        if got != wanted:
            raise AssertionError(f"{request[0]} {[r.hex() for r in request[1:]]}: {got}, not {wanted}")

    # Actions; `act` runs one of them.

    def configure_service(self):
        r, index = self.random, self.random.randrange(len(self.keys))
        key, is_there = self.keys[index], index in self.model
        action = r.choice(("NEW_SERVICE", "NEW_SERVICE", "SET_SERVICE", "DEL_SERVICE") if is_there
                          else ("NEW_SERVICE", "NEW_SERVICE", "NEW_SERVICE", "SET_SERVICE", "DEL_SERVICE"))
        fields = dict(key, SCHED_NAME=string("mh" if r.random() < 0.02 else r.choice(SCHEDULERS)),
                      FLAGS=flags(r.choice((0, 0, 1, 4))), TIMEOUT=u32(r.choice((0, 2, 300))), NETMASK=u32(r.choice((24, 64, 128))))
        request = key if action == "DEL_SERVICE" else fields
        if action == "NEW_SERVICE":
            self.expect("EEXIST" if is_there else "ok", action, service(**request))
            if not is_there:
                self.model[index] = [shown_service(fields), []]
        else:
            self.expect("ok" if is_there else "ESRCH", action, service(**request))
            if is_there and action == "SET_SERVICE":
                self.model[index][0] = shown_service(fields)
            elif is_there:
                del self.model[index]

    def configure_dest(self):
        r, index = self.random, self.random.randrange(len(self.keys))
        key = self.keys[index]
        addr, port = r.choice(rips(key))
        fields = server(addr, port, WEIGHT=u32(r.choice((0, 1, 1, 2, 100))), FWD_METHOD=u32(r.choice((0, 0, 2, 3))))
        if r.random() < 0.2:
            fields.update(U_THRESH=u32(10), L_THRESH=u32(5))
        action = r.choice(("NEW_DEST", "NEW_DEST", "SET_DEST", "DEL_DEST"))
        request = service(**key), real(**fields)
        if index not in self.model:
            return self.expect("ESRCH", action, *request)
        dests, new = self.model[index][1], shown_dest(fields)
        at = next((i for i, dest in enumerate(dests) if dest[:2] == new[:2]), None)
        if action == "NEW_DEST":
            self.expect("ok" if at is None else "EEXIST", action, *request)
            if at is None:
                dests.insert(0, new)
        else:
            self.expect("ENOENT" if at is None else "ok", action, *request)
            if at is not None and action == "SET_DEST":
                dests[at] = new
            elif at is not None:
                del dests[at]

    def zero(self):
        r = self.random
        if r.random() < 0.3:
            return self.expect("ok", "ZERO")
        index = r.randrange(len(self.keys))
        self.expect("ok" if index in self.model else "ESRCH", "ZERO", service(**self.keys[index]))

    def look(self):
        """Dumps all services: its own must match the model. C may skip some when others change."""
        entries = self.services()
        mine = {name_of(key): index for index, key in enumerate(self.keys)}
        found = [(mine[name_of(e)], shown_service(e)) for e in entries if name_of(e) in mine]
        wanted = [(index, shown) for index, (shown, _) in self.model.items()]
        if sorted(found) != sorted(wanted) and OURS or set(found) - set(wanted):
            raise AssertionError(f"dumped {sorted(found)}, not {sorted(wanted)}")

    def look_closer(self):
        index = self.random.randrange(len(self.keys))
        _, dests = self.model.get(index, (None, []))
        found = self.dests(self.keys[index])
        if found != dests:
            raise AssertionError(f"dests {found}, not {dests}")
        if index in self.model:
            (_, body), = self.ipvs.call(command("GET_SERVICE"), service(**self.keys[index]))
            if shown_service(of_message(SVC, body)) != self.model[index][0]:
                raise AssertionError(f"{body.hex()}, not {self.model[index]}")

    def share(self):
        """Acts on a shared service; another process may have done the same before."""
        r, key = self.random, self.random.choice(SHARED)
        addr, port = r.choice(rips(key))
        request = real(**server(addr, port, WEIGHT=u32(r.randint(0, 9))))
        action = r.choice(("SET_SERVICE", "NEW_DEST", "SET_DEST", "DEL_DEST", "ZERO", "GET_DEST"))
        if action == "SET_SERVICE":
            return self.expect("ok", action, service(**as_new(key, r.choice(SCHEDULERS))))
        if action == "ZERO":
            return self.expect("ok", action, service(**key))
        if action == "GET_DEST":
            return self.dests(key)
        got = self.ask(action, service(**key), request)
        if got not in ("ok", "EEXIST" if action == "NEW_DEST" else "ENOENT"):
            raise AssertionError(f"{action} on a shared service: {got}")

    def read(self):
        for name in self.random.sample(("ip_vs", "ip_vs_conn", "ip_vs_stats", "ip_vs_stats_percpu", "ip_vs_status"), 2):
            with open(f"/proc/thread-self/net/{name}", "rb", buffering=0) as f:
                while f.read(4096):
                    pass

    ACTIONS = dict(configure_service=6, configure_dest=12, zero=2, look=2, look_closer=2, share=6, read=1)

    def act(self):
        getattr(self, self.random.choices(list(self.ACTIONS), list(self.ACTIONS.values()))[0])()

    def report(self):
        return {name_of(self.keys[index]): entry for index, entry in self.model.items()}


def as_new(key, scheduler="rr"):
    return dict(key, SCHED_NAME=string(scheduler), FLAGS=flags(), TIMEOUT=u32(0), NETMASK=u32(128 if key["AF"] == u16(V6) else 0xFFFFFFFF))


class Flood:
    """A UDP client of all services. Counts the datagrams and the replies."""

    def __init__(self):
        enter("client")
        self.ports = [80] + [1000 + 10 * n + i for n in range(ADMINISTRATORS) for i in range(4)]
        self.random = random.Random(1)
        self.asked = self.answered = 0
        # Sockets with replies still to be read.
        self.open = collections.deque()

    def act(self):
        for vip in (VIP, VIP6):
            sock = socket.socket(V6 if ":" in vip else V4, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            sock.bind(("", self.random.randint(30000, 40000)))
            for port in self.random.sample(self.ports, 8):
                try:
                    sock.sendto(b"name\n", (vip, port))
                    self.asked += 1
                except OSError:
                    pass  # the service does not exist
            self.open.append(sock)
        while len(self.open) > 8:
            self.close()

    def close(self):
        with self.open.popleft() as sock, contextlib.suppress(BlockingIOError):
            while sock.recv(100).startswith(b"rs"):
                self.answered += 1

    def report(self):
        return self.asked, self.answered


def connection(addr, port, timeout):
    """Opens a TCP connection that is closed by RST, so nothing is sent later."""
    sock = socket.socket(V6 if ":" in addr else V4, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.settimeout(timeout)
    try:
        sock.connect((addr, port))
    except OSError:
        sock.close()
        raise
    return sock


def name_from(sock):
    """Returns the name that the real server sends."""
    sock.sendall(b"name\n")
    answer = b""
    while not answer.endswith(b"\n"):
        piece = sock.recv(100)
        if not piece:
            raise ConnectionError("ended")
        answer += piece
    return answer.decode().strip()


class Visitor:
    """Makes connections to the shared TCP service. Some fail, as its dests are added and deleted."""

    def __init__(self):
        enter("client")
        self.outcomes = collections.Counter()

    def act(self):
        try:
            with connection(VIP, 80, 1) as sock:
                self.outcomes["answered" if name_from(sock).startswith("rs") else "wrong"] += 1
        except OSError as e:
            self.outcomes[type(e).__name__] += 1
            time.sleep(0.01)

    def report(self):
        return dict(self.outcomes)


class Regular:
    """Keeps connections open. The server that answered the first request must answer all the others."""

    def __init__(self):
        enter("client")
        self.connections = [connection(addr, 8080, 20 * SLOW) for addr in (VIP, VIP6) for _ in range(3)]
        self.servers = [name_from(sock) for sock in self.connections]
        self.answered, self.slowest = 0, 0.0

    def act(self):
        for sock, server in zip(self.connections, self.servers):
            since = time.monotonic()
            name = name_from(sock)
            if name != server:
                raise AssertionError(f"{name} answers, not {server} as before")
            self.answered += 1
            self.slowest = max(self.slowest, time.monotonic() - since)
        time.sleep(0.05)

    def report(self):
        return self.answered, round(self.slowest, 2)


class Namespace:
    """Repeatedly creates a namespace with services and destroys it with them."""

    def __init__(self):
        self.key = ident(VIP, 80, 17)

    def act(self):
        pid = os.fork()
        if pid == 0:
            try:
                os.unshare(os.CLONE_NEWNET)
                bring_up_lo()
                director = Director()
                for port in range(SERVICES):
                    director.add(ident(VIP, port, 17), SCHEDULERS[port % len(SCHEDULERS)])
                dests = [len(director.dests(key_of(entry))) for entry in director.services()]
                if dests != [len(rips(self.key))] * SERVICES:
                    raise AssertionError(f"number of dests for each service: {dests}")
                # The namespace is destroyed with its last process.
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        if os.waitpid(pid, 0)[1]:
            raise AssertionError("services in a new namespace")

    def report(self):
        return None


def bring_up_lo():
    """Brings lo up. Without it a namespace has no addresses and refuses dests."""
    with socket.socket(V4, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


class Child:
    """A process that acts until `stop`, which returns the number of actions and the actor's report."""

    def __init__(self, make):
        self.answer, write = os.pipe()
        stop, self.stopper = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(write)
            os.close(stop)
            return
        try:
            os.close(self.stopper)
            actor, times = make(), 0
            while not select.select([stop], [], [], 0)[0]:
                actor.act()
                times += 1
            os.write(write, repr((times, actor.report())).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def stop(self):
        # Writes a byte: closing has no effect, as later children hold the pipe open too.
        with contextlib.suppress(BrokenPipeError):
            os.write(self.stopper, b".")
        told = b""
        while True:
            if not select.select([self.answer], [], [], PATIENCE)[0]:
                fail("a child process hangs")
            piece = os.read(self.answer, 1 << 16)
            if not piece:
                break
            told += piece
        if os.waitpid(self.pid, 0)[1]:
            fail("a child process failed")
        return ast.literal_eval(told.decode())


def estimated_namespaces():
    """Returns the numbers of the namespaces with services, from the names of their estimator threads."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/comm") as f:
            name = f.read().split(":")
            if name[0] == "ipvs-e":
                found.add(name[1])
    return found


def compare(director, model):
    """Compares the director's services with the models of the finished administrators."""
    known = set(model) | {name_of(key) for key in SHARED + KEPT}
    entries = {name_of(entry): entry for entry in director.services()}
    if set(entries) != known:
        fail(f"services only in the dump or only in the models: {set(entries) ^ known}")
    for name, (shown, dests) in model.items():
        found = director.dests(key_of(entries[name]))
        if shown_service(entries[name]) != shown or found != [tuple(dest) for dest in dests]:
            fail(f"{name}: {entries[name]}, {found}, not {shown}, {dests}")
    say(f"{len(model)} services with {sum(len(dests) for _, dests in model.values())} dests match the models")


def settled_figures(director):
    """Returns the figures once the counters are stable. C shows the copies that its estimator made two seconds ago or more."""
    return settled(director.figures, 1 if OURS else 5, lambda figures: [[counters for counters, _ in f] for f in figures.values()])


def was_counted(figures):
    """Whether packets and bytes in both directions are not 0. Conns may be 0, if all are older than the last zeroing."""
    return all(figures[0][0][1:])


def zero(director):
    """Zeroes one service, then all, without traffic, and checks the counters."""
    before = settled_figures(director)
    one, others = name_of(SHARED[1]), [name_of(key) for key in SHARED[:1] + SHARED[2:] + KEPT] + [None]
    nothing = (0,) * 5
    for name in [one] + others:
        if not was_counted(before[name]):
            fail(f"no packets were counted for {name}: {before[name]}")
    director.ipvs.call(command("ZERO"), service(**SHARED[1]))
    after = director.figures()
    if set(after) != set(before):
        fail(f"zeroing changed the services: {set(after) ^ set(before)}")
    if any(figures != (nothing, nothing) for figures in after[one]):
        fail(f"zeroed: {after[one]}")
    for name in set(before) - {one}:
        # Rates decay meanwhile, so only counters are compared.
        if [counters for counters, _ in after[name]] != [counters for counters, _ in before[name]]:
            fail(f"{name}, not zeroed: {after[name]}, not {before[name]}")
    director.ipvs.call(command("ZERO"))
    for look in ("at once", "after an estimate"):
        for name, all_figures in director.figures().items():
            if any(figures != (nothing, nothing) for figures in all_figures):
                fail(f"{name}, zeroed with all, {look}: {all_figures}")
        if look == "at once":
            time.sleep(2.5)
    counted = sum(any(figures[0][0]) for figures in before.values())
    say(f"zeroed one service, and all {len(before) - 1}; {counted} figures were not zero before, the namespace's {before[None][0][0]}")


def main(seconds, seed):
    seconds = int(seconds)
    enter("director")
    director = Director()
    for key in KEPT:
        director.add(key)
    administrators = [Child(lambda n=n: Administrator(n, seed)) for n in range(ADMINISTRATORS)]
    namespaces = [Child(Namespace) for _ in range(NAMESPACES)]
    floods, visitor, regular = [Child(Flood) for _ in range(FLOODS)], Child(Visitor), Child(Regular)
    time.sleep(seconds)

    told = [child.stop() for child in administrators]
    came = [child.stop()[0] for child in namespaces]
    say(f"actions: {[times for times, _ in told]}; namespaces created and destroyed, with {SERVICES} services each: {came}")
    if not all(times for times, _ in told) or not all(came):
        fail("a child process did nothing")
    model = {name: entry for _, report in told for name, entry in report.items()}
    compare(director, model)

    # All shared services are made to work, and must count packets.
    for key in SHARED:
        director.ask("SET_SERVICE", service(**as_new(key)))
        for rip, port in rips(key):
            for action in ("DEL_DEST", "NEW_DEST"):
                director.ask(action, service(**key), real(**server(rip, port)))
    wait_for("counts", lambda: all(was_counted(director.figures()[name_of(key)]) for key in SHARED + KEPT), PATIENCE)
    sums = [child.stop()[1] for child in floods]
    (_, visits), (_, (served, slowest)) = visitor.stop(), regular.stop()
    say(f"datagrams: {' '.join(f'{asked} sent, {answered} answered' for asked, answered in sums)}; "
        f"connections {visits}; on the long-lived ones {served} answers, the slowest after {slowest} s")
    if any(answered < seconds or answered < asked // 50 for asked, answered in sums):
        fail("the flood was not answered")
    if visits.get("answered", 0) < seconds or "wrong" in visits:
        fail("new connections were not answered")
    if served < seconds:
        fail("the long-lived connections were not answered")

    # The servers may still retransmit to a client that has ended; the network is cut to stop that.
    run("ip -n lan link set br0 down")
    zero(director)
    run("ip -n lan link set br0 up")
    wait_for("namespaces to go", lambda: len(estimated_namespaces()) == 1, PATIENCE)

    for key in SHARED:
        for rip, port in rips(key):
            director.ask("DEL_DEST", service(**key), real(**server(rip, port)))
    left = {name_of(key) for key in SHARED}
    for entry in director.services():
        if name_of(entry) not in left and director.ask("DEL_SERVICE", service(**key_of(entry))) != "ok":
            fail(f"{entry} cannot be deleted")


main(*sys.argv[1:])
