#!/usr/bin/python3
"""administrators.py SECONDS SEED: eight processes that configure the director at random,
each with services of its own, whose state it knows and whose requests must come out as
that says, and all with those that are shared, which they list, edit and zero. Meanwhile
datagrams come for all of these, and namespaces with services of theirs come and go.

At the end what there is must be what the eight know of; then the shared services are
made what they were."""

import ast
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

from case import enter, fail, say
from genl import *

ADMINISTRATORS, NAMESPACES, FLOODS = 8, 2, 1
OURS = os.environ["MODULE"] == "rust"
VIP, VIP6 = "192.168.1.110", "2001:db8:1::110"
SHARED = [ident(VIP, 80, 6), ident(VIP, 80, 17), ident(VIP6, 80, 17)]
SCHEDULERS = "rr rr wrr lc wlc wlc sed nq sh dh lblc lblcr fo ovf twos".split()
SIOCSIFFLAGS, IFF_UP = 0x8914, 1
PATIENCE = 120 * int(os.environ["SLOW"])


def rips(key):
    net = "2001:db8:2::1" if key["AF"] == u16(V6) else "10.1.1.1"
    return [(f"{net}{i}", port) for i in (1, 2, 3) for port in (80, 8080)]


def name_of(key):
    """Of a service, from what names it."""
    if "FWMARK" in key:
        return key["AF"], key["FWMARK"]
    return key["AF"], key["PROTOCOL"], key["ADDR"].ljust(16, b"\0"), key["PORT"]


def of_message(names, body):
    """The attributes of an entry, by name."""
    (_, nest), = attributes(body)
    return {names[kind & 0x3FFF]: value for kind, value in attributes(nest)}


def shown_service(fields):
    """How a service was asked for, or is dumped, in the same words."""
    flags, = struct.unpack("=I", fields["FLAGS"][:4])
    return fields["SCHED_NAME"], flags | 2, fields["TIMEOUT"], fields["NETMASK"]


def shown_dest(fields):
    return (fields["ADDR"].ljust(16, b"\0"), fields["PORT"], fields["FWD_METHOD"], fields["WEIGHT"],
            fields["U_THRESH"], fields["L_THRESH"])


class Director:
    """What there is, as it is dumped."""

    def __init__(self):
        self.ipvs = Family()

    def ask(self, name, *nests):
        try:
            self.ipvs.call(command(name), b"".join(nests))
            return "ok"
        except Refused as e:
            return str(e)

    def services(self):
        return [of_message(SVC, body) for _, body in self.ipvs.dump(command("GET_SERVICE"))]

    def dests(self, key):
        return [shown_dest(of_message(DEST, body)) for _, body in self.ipvs.dump(command("GET_DEST"), service(**key))]


class Administrator(Director):
    def __init__(self, number, seed):
        super().__init__()
        self.random = random.Random(f"{seed} {number}")
        ports = range(1000 + 10 * number, 1004 + 10 * number)
        self.keys = ([ident(VIP, port, protocol) for port, protocol in zip(ports, (6, 17, 17, 17))] +
                     [ident(VIP6, port, 17) for port in ports[:2]] + [dict(AF=u16(V4), FWMARK=u32(1 + number))])
        # The services that there are, by the index of the key: as shown, and the dests, newest first.
        self.model = {}

    def expect(self, wanted, *request):
        got = self.ask(*request)
        if got != wanted:
            raise AssertionError(f"{request[0]} {[r.hex() for r in request[1:]]}: {got}, not {wanted}")

    # One of these at a time

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
        """At all services, where its own must be as it knows them; C may overlook some when others change."""
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
        """What several do at once, and so may come too late."""
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
            raise AssertionError(f"{action} of what is shared: {got}")

    def read(self):
        for name in self.random.sample(("ip_vs", "ip_vs_conn", "ip_vs_stats", "ip_vs_stats_percpu", "ip_vs_status"), 2):
            with open(f"/proc/thread-self/net/{name}", "rb", buffering=0) as f:
                while f.read(4096):
                    pass

    ACTIONS = dict(configure_service=6, configure_dest=12, zero=2, look=2, look_closer=2, share=6, read=1)

    def act(self):
        getattr(self, self.random.choices(list(self.ACTIONS), list(self.ACTIONS.values()))[0])()


def as_new(key, scheduler="rr"):
    return dict(key, SCHED_NAME=string(scheduler), FLAGS=flags(), TIMEOUT=u32(0), NETMASK=u32(128 if key["AF"] == u16(V6) else 0xFFFFFFFF))


class Flood:
    """A client of all services."""

    def __init__(self):
        enter("client")
        self.ports = [80] + [1000 + 10 * n + i for n in range(ADMINISTRATORS) for i in range(4)]
        self.random = random.Random(1)

    def act(self):
        for vip in (VIP, VIP6):
            with socket.socket(V6 if ":" in vip else V4, socket.SOCK_DGRAM) as sock:
                sock.bind(("", self.random.randint(30000, 40000)))
                for port in self.random.sample(self.ports, 8):
                    try:
                        sock.sendto(b"name\n", (vip, port))
                    except OSError:
                        pass  # nobody there


class Namespace:
    """One that comes with services and goes, again and again."""

    def __init__(self):
        self.key = ident(VIP, 80, 17)

    def act(self):
        pid = os.fork()
        if pid == 0:
            try:
                os.unshare(os.CLONE_NEWNET)
                bring_up_lo()
                director = Director()
                for port in range(20):
                    key = ident(VIP, port, 17)
                    director.ipvs.call(command("NEW_SERVICE"), service(**as_new(key, SCHEDULERS[port % len(SCHEDULERS)])))
                    for rip, rport in rips(key):
                        director.ipvs.call(command("NEW_DEST"), service(**key) + real(**server(rip, rport)))
                if len(director.services()) != 20:
                    raise AssertionError("services are missing")
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        if os.waitpid(pid, 0)[1]:
            raise AssertionError("a namespace's services")


def bring_up_lo():
    """Before, a namespace has no addresses, and takes no dests."""
    with socket.socket(V4, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))


class Child:
    """A process that acts until it is told to stop, and reports what it has come to."""

    def __init__(self, make, report=lambda actor: None):
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
            os.write(write, repr((times, report(actor))).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def stop(self):
        # It gets a byte: later children hold the other end of the pipe as well.
        with contextlib.suppress(BrokenPipeError):
            os.write(self.stopper, b".")
        told = b""
        while True:
            if not select.select([self.answer], [], [], PATIENCE)[0]:
                fail("somebody hangs")
            piece = os.read(self.answer, 1 << 16)
            if not piece:
                break
            told += piece
        if os.waitpid(self.pid, 0)[1]:
            fail("somebody failed")
        return ast.literal_eval(told.decode())


def known(administrator):
    return {name_of(administrator.keys[index]): entry for index, entry in administrator.model.items()}


def main(seconds, seed):
    enter("director")
    director = Director()
    children = [Child(lambda n=n: Administrator(n, seed), known) for n in range(ADMINISTRATORS)]
    others = [Child(Namespace) for _ in range(NAMESPACES)] + [Child(Flood) for _ in range(FLOODS)]
    time.sleep(int(seconds))
    told = [child.stop() for child in children]
    did = [times for times, _ in told + [child.stop() for child in others]]
    say(f"they did {did} things")
    if not all(did):
        fail("somebody did nothing")

    model = {name: entry for _, known in told for name, entry in known.items()}
    shared = {name_of(key) for key in SHARED}
    entries = {name_of(entry): entry for entry in director.services()}
    if set(entries) != set(model) | shared:
        fail(f"services that there are, or are not: {set(entries) ^ (set(model) | shared)}")
    for name, (shown, dests) in model.items():
        key = {field: entries[name][field] for field in ("AF", "FWMARK", "PROTOCOL", "ADDR", "PORT") if field in entries[name]}
        if shown_service(entries[name]) != shown or director.dests(key) != [tuple(dest) for dest in dests]:
            fail(f"{name}: {entries[name]}, {director.dests(key)}, not {shown}, {dests}")
    say(f"{len(model)} services with {sum(len(dests) for _, dests in model.values())} dests are as they should be")
    for key in SHARED:
        director.ask("SET_SERVICE", service(**as_new(key)))
        for rip, port in rips(key):
            director.ask("DEL_DEST", service(**key), real(**server(rip, port)))
    for name in model:
        key = {field: entries[name][field] for field in ("AF", "FWMARK", "PROTOCOL", "ADDR", "PORT") if field in entries[name]}
        if director.ask("DEL_SERVICE", service(**key)) != "ok":
            fail(f"{name} cannot be deleted")


main(*sys.argv[1:])
