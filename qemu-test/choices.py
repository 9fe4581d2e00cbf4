"""Random histories of one service, and the dest chosen for each connection.

The director's real servers are behind a dummy device, which discards every
packet. With NAT, the destination of a packet on that device is the chosen dest.
Each batch of packets ends with one that is only forwarded; when it appears on
the device, all packets before it have been processed.

The seed determines everything: a history is the same under both modules.
"""

import os
import random
import socket
import struct
import time

from genl import COMMANDS, Family, attr, be16, dest, string, svc, u16, u32
from packet import address, ip, tcp, udp

SO_RCVBUFFORCE, ETH_P_ALL = 33, 3
BY_MARK = ("dh", "lblc", "lblcr")  # hash the destination: one fwmark service for many addresses
FLAGS = {"sh": (0, 8, 16, 24), "mh": (0, 8, 16, 24)}
WEIGHTS = (0, 1, 1, 1, 2, 3, 3, 5, 10, 100)
LARGE = (1000, 65535, 0x7FFFFFFF)
# ovf skips a dest with more active conns than its weight. C's wrr makes a pass over
# all dests for each level below the highest weight if the dest with that weight is
# overloaded: with INT_MAX that practically never ends, in softirq.
OWN_WEIGHTS = {"ovf": (0, 1, 5, 10, 10, 20, 30, 50, 100, 100)}
OWN_LARGE = {"wrr": (1000, 65535)}
PORT = 80

# Dest numbers are not used again within a boot, so that no dest has conns of an
# earlier history.
next_dest = 1

# The flows of all histories so far; not used again either.
used = set()


class Wire:
    """Sends packets to the director and captures those it sends to real servers."""

    def __init__(self, enter, hardware, uplink, family):
        client, interface, director, to_interface = uplink.split()
        there, here = hardware(director, to_interface), hardware(client, interface)
        self.is_v6 = family == 6
        self.head = there + here + struct.pack("!H", 0x86DD if self.is_v6 else 0x0800)
        self.size = 16 if self.is_v6 else 4
        self.src, self.ports = (8, 40) if self.is_v6 else (12, 20)
        enter(director)
        self.view = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
        self.view.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
        self.view.bind(("servers", ETH_P_ALL))
        self.view.settimeout(20)
        enter(client)
        self.sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.sender.bind((interface, 0))
        enter(director)
        self.templates = {flags: self.packet("10.0.0.1", "10.0.0.2", tcp(0, PORT, flags)) for flags in ("S", "A", "FA", "R")}
        elsewhere = "2001:db8:98::1" if self.is_v6 else "10.98.0.1"
        self.canary = bytes(self.packet("", elsewhere, udp(9, 9)))
        self.mark = address(elsewhere)

    def packet(self, src, dst, upper):
        any_addr = "2001:db8:1::99" if self.is_v6 else "192.168.1.99"
        src, dst = (text if (":" in text) == self.is_v6 and text else any_addr for text in (src, dst))
        return bytearray(self.head + ip(src, dst, upper))

    def send(self, flags, src, sport, dst):
        """Sends a segment. The TCP checksum is not updated, as nothing here checks it; the IPv4 checksum is."""
        data = self.templates[flags]
        at = 14 + self.src
        data[at : at + self.size] = src
        data[at + self.size : at + 2 * self.size] = dst
        struct.pack_into("!H", data, 14 + self.ports, sport)
        if not self.is_v6:
            data[24:26] = b"\0\0"
            total = int.from_bytes(data[14:34], "big") % 0xFFFF
            struct.pack_into("!H", data, 24, total ^ 0xFFFF)
        self.sender.send(data)

    def seen(self):
        """Sends the canary and waits for it; returns {(source, port): destination}."""
        self.sender.send(self.canary)
        seen = {}
        while True:
            data = self.view.recv(64)
            src = data[self.src : self.src + self.size]
            dst = data[self.src + self.size : self.src + 2 * self.size]
            if dst == self.mark:
                return seen
            if len(src) == self.size:
                seen[src, data[self.ports : self.ports + 2]] = dst

    def close(self):
        self.view.close()
        self.sender.close()


class History:
    def __init__(self, wire, name, size, seed, vip):
        self.wire, self.name, self.size, self.vip = wire, name, size, address(vip)
        self.random = random.Random(f"{name} {size} {seed} {len(self.vip)}")
        self.ipvs = Family()
        self.af = u16(socket.AF_INET6 if wire.is_v6 else socket.AF_INET)
        self.dests, self.removed = [], []  # numbers
        self.unfit = set()  # dests of weight 0 or with an upper threshold
        self.open, self.established, self.closed = [], [], []
        self.conns = self.asked = self.refused = 0
        self.latest = None
        self.lines = []
        self.service("NEW", name)
        for _ in range(size):
            self.add()

    # --- control

    def ident(self):
        if self.name in BY_MARK:
            return dict(AF=self.af, FWMARK=u32(7))
        return dict(AF=self.af, PROTOCOL=u16(6), ADDR=self.vip, PORT=be16(PORT))

    def service(self, verb, scheduler):
        flags = self.random.choice(FLAGS.get(scheduler, (0,)))
        mask = u32(128 if self.wire.is_v6 else 0xFFFFFFFF)
        spec = dict(SCHED_NAME=string(scheduler), FLAGS=struct.pack("=II", flags, 0xFFFFFFFF), TIMEOUT=u32(0), NETMASK=mask)
        self.command(f"{verb}_SERVICE", attr(1, svc(**self.ident(), **spec)))

    def command(self, name, *attrs):
        self.ipvs.call(COMMANDS.index(name), b"".join(attrs))

    def dest_command(self, verb, number, **fields):
        spec = dict(ADDR=self.addr(number), PORT=be16(PORT), ADDR_FAMILY=self.af, **fields)
        self.command(f"{verb}_DEST", attr(1, svc(**self.ident())), attr(2, dest(**spec)))

    def addr(self, number):
        if self.wire.is_v6:
            return address("2001:db8:99::") [:12] + struct.pack("!I", number)
        return struct.pack("!I", 10 << 24 | 128 << 16 | number)

    def number(self, addr):
        return int.from_bytes(addr[-3:], "big") & 0x7FFFFF

    def spec(self, number):
        pick = self.random
        # Only a few large weights, or the others would have no effect.
        large = pick.random() < min(0.05, 0.3 / self.size)
        weights = OWN_LARGE.get(self.name, LARGE) if large else OWN_WEIGHTS.get(self.name, WEIGHTS)
        weight = pick.choice(weights)
        upper, lower = (pick.randrange(1, 30), 0) if pick.random() < 0.1 else (0, 0)
        if upper:
            lower = pick.randrange(0, upper)
        return self.fields(number, weight, upper, lower)

    def fields(self, number, weight, upper=0, lower=0):
        (self.unfit.discard if weight and not upper else self.unfit.add)(number)
        return dict(FWD_METHOD=u32(0), WEIGHT=u32(weight), U_THRESH=u32(upper), L_THRESH=u32(lower))

    def add(self):
        global next_dest
        if self.removed and self.random.random() < 0.5:
            number = self.removed.pop(self.random.randrange(len(self.removed)))
        else:
            number, next_dest = next_dest, next_dest + 1
        self.dest_command("NEW", number, **self.spec(number))
        self.dests.append(number)

    def some_dest(self):
        """Often returns the dest chosen last: with many dests, others may not affect the choice."""
        if self.latest in self.dests and self.random.random() < 0.5:
            return self.latest
        return self.random.choice(self.dests)

    def remove(self):
        number = self.some_dest()
        self.dests.remove(number)
        self.dest_command("DEL", number)
        self.removed.append(number)
        self.unfit.discard(number)

    def edit(self):
        number = self.some_dest()
        self.dest_command("SET", number, **self.spec(number))

    def mend(self):
        """Makes some unfit dests usable after too many refusals, which test no choice; all of
        them if there are few. For ovf, also raises one weight and closes conns."""
        unfit = sorted(self.unfit)
        self.random.shuffle(unfit)
        weights = [weight for weight in OWN_WEIGHTS.get(self.name, WEIGHTS) if weight]
        for number in unfit[: 2 + len(unfit) // 4]:
            self.dest_command("SET", number, **self.fields(number, self.random.choice(weights)))
        if self.name == "ovf":
            number = self.some_dest()
            self.dest_command("SET", number, **self.fields(number, 100))
            # An RST does not close a conn in SYN_RECV, so the conns are established first.
            self.move(self.open, "A", len(self.open), self.established)
            self.move(self.established, "R", len(self.established) * 3 // 4, self.closed)

    def swap(self):
        """Changes to another scheduler and back, which resets the scheduler's state."""
        self.service("SET", "wlc" if self.name == "rr" else "rr")
        self.service("SET", self.name)

    def shrink(self):
        """Makes lblcr's sets lose a dest with each packet, or never, so that time has no effect."""
        with open("/proc/sys/net/ipv4/vs/lblcr_expiration", "w", encoding="ascii") as file:
            file.write(self.random.choice(("-1", "86400")))

    # --- traffic

    def client(self):
        low = self.random.randrange(1 << 20)
        if self.wire.is_v6:
            return address("2001:db8:3::")[:12] + struct.pack("!I", low)
        return struct.pack("!I", 172 << 24 | 16 << 16 | low)

    def target(self):
        if self.name not in BY_MARK:
            return self.vip
        # Mostly addresses used before.
        low = self.random.randrange(3 * self.size + 20 if self.random.random() < 0.8 else 60000)
        if self.wire.is_v6:
            return address("2001:db8:77::")[:12] + struct.pack("!I", low)
        return struct.pack("!I", 10 << 24 | 77 << 16 | low)

    def new_flow(self):
        while True:
            flow = self.client(), 1024 + self.conns % 60000, self.target()
            if flow not in used:
                used.add(flow)
                self.conns += 1
                return flow

    def choose(self, count):
        flows = [self.new_flow() for _ in range(count)]
        # A client reuses a port: its old conn is still counted when the dest is chosen.
        again = bool(self.closed) and self.random.random() < 0.3
        if again:
            flows[-1] = self.closed.pop(self.random.randrange(len(self.closed)))
        for flow in flows:
            self.wire.send("S", *flow)
        seen = self.wire.seen()
        chosen = [seen.pop((src, struct.pack("!H", port)), None) for src, port, _ in flows]
        if seen:
            raise AssertionError(f"packets of an earlier batch came late: {seen}")
        self.open += [flow for flow, addr in zip(flows, chosen) if addr]
        if chosen[-1]:
            self.latest = self.number(chosen[-1])
        self.asked += len(chosen)
        self.refused += chosen.count(None)
        self.lines.append(" ".join("-" if addr is None else str(self.number(addr) - self.first) for addr in chosen))
        if again:
            # C frees the old conn by a timer, at the next tick.
            time.sleep(0.03)

    def move(self, flows, flags, count, to=None):
        for _ in range(min(count, len(flows))):
            flow = flows.pop(self.random.randrange(len(flows)))
            self.wire.send(flags, *flow)
            if to is not None:
                to.append(flow)
        self.wire.seen()

    def run(self, count):
        while self.conns < count:
            if self.refused > self.asked / 3:
                self.mend()
            if self.name == "lblcr" and self.random.random() < 0.1:
                self.shrink()
            what = self.random.random()
            if what < 0.55:
                most = min(30, count // 6)
                self.choose(min(self.random.randrange(1, most), count - self.conns))
            elif what < 0.70:
                self.move(self.open, "A", self.random.randrange(30), self.established)
            elif what < 0.80:
                flags = self.random.choice(("FA", "R"))
                self.move(self.established, flags, self.random.randrange(30), self.closed if flags == "R" else None)
            elif what < 0.90:
                if self.dests:
                    self.edit()
            elif what < 0.945:
                if self.dests and (self.size > 2 or self.random.random() < 0.3):
                    self.remove()
            elif what < 0.99:
                if len(self.dests) < 2 * self.size:
                    self.add()
            else:
                self.swap()
            if not self.dests:
                self.add()
        self.lines.append(f"{self.refused} of {self.asked} refused")
        if self.refused > self.asked / 2:
            raise RuntimeError("most were refused: " + "; ".join(self.lines))


class Full(History):
    """A service with mh and more dests than its table has buckets. When the table is
    filled, each bucket goes to a different dest."""

    BUCKETS = 4093
    CLIENTS = 400
    # mh hashes the addresses: they are the same in every boot, whatever ran before.
    first = 1 << 20
    WELL = dict(FWD_METHOD=u32(0), WEIGHT=u32(1), U_THRESH=u32(0), L_THRESH=u32(0))

    def __init__(self, wire, vip, tells_all):
        super().__init__(wire, "rr", 0, 0, vip)
        self.tells_all = tells_all
        self.clients = [struct.pack("!I", 172 << 24 | 16 << 16 | 10 * i) for i in range(self.CLIENTS)]
        self.removed = set()
        self.port = 1024

    def ask(self, count=CLIENTS):
        """Returns the dest chosen for each client, by a connection that is reset at once."""
        self.port += 1
        flows = [(client, self.port, self.vip) for client in self.clients[:count]]
        for flow in flows:
            self.wire.send("S", *flow)
        seen = self.wire.seen()
        for flags in ("A", "R"):
            for flow in flows:
                self.wire.send(flags, *flow)
        self.wire.seen()
        chosen = [seen.get((client, struct.pack("!H", port))) for client, port, _ in flows]
        return [addr and self.number(addr) - self.first for addr in chosen]

    def turn_to(self, scheduler, flags=0):
        """Sets the scheduler; notes the outcome and the service's line in /proc/net/ip_vs."""
        spec = dict(SCHED_NAME=string(scheduler), FLAGS=struct.pack("=II", flags, 0xFFFFFFFF), TIMEOUT=u32(0),
                    NETMASK=u32(0xFFFFFFFF))
        outcome = self.ipvs.outcome(COMMANDS.index("SET_SERVICE"), attr(1, svc(**self.ident(), **spec)))
        with open("/proc/thread-self/net/ip_vs", encoding="ascii") as file:
            line = [next(file) for _ in range(4)][3]
        self.lines.append(f"to {scheduler}: {outcome}: {line.strip()}")

    def new(self, *numbers):
        for number in numbers:
            self.dest_command("NEW", self.first + number, **self.WELL)
        self.removed.difference_update(numbers)

    def delete(self, *numbers):
        for number in numbers:
            self.dest_command("DEL", self.first + number)
        self.removed.update(numbers)

    def weigh(self, number, weight):
        self.dest_command("SET", self.first + number, **dict(self.WELL, WEIGHT=u32(weight)))

    def compare(self, what):
        """Notes the clients whose dest has changed since `at_first`. Clients of a removed dest
        are left out: C still chooses that dest, ours chooses none."""
        lines = []
        for client, (before, now) in enumerate(zip(self.at_first, self.ask())):
            if before in self.removed:
                if now is not None and (self.tells_all or now != before):
                    raise RuntimeError(f"{what}: client {client} of the removed dest {before} got {now}")
            elif before != now:
                lines.append(f"{client}: {before}, now {now}")
        self.lines += [what, *(lines or ["as at first"])]

    def run(self, _):
        more = self.BUCKETS + 1
        self.new(*range(more))
        self.turn_to("mh")
        self.lines.append(f"six choices: {self.ask(6)}")
        self.delete(more - 1)
        self.turn_to("mh")
        self.at_first = self.ask()
        self.lines.append(f"at first: {self.at_first}")
        # None of these gets a bucket: there are always more dests than buckets.
        self.new(*range(more, more + 6))
        self.compare("six more")
        # Wait until all conns have ended, so that only the table refers to the dests.
        deadline = time.monotonic() + 60
        while self.conns_left():
            if time.monotonic() > deadline:
                raise RuntimeError("conns do not end")
            time.sleep(0.2)
        owners = list(dict.fromkeys(self.at_first))
        self.delete(*owners[:3])
        self.compare("three with buckets removed, without conns")
        self.delete(owners[3])
        self.compare("one more removed, with a conn")
        for number in owners[:4]:
            self.new(number)
        self.compare("all four added again")
        self.weigh(owners[4], 0)
        self.weigh(owners[5], 100)
        self.weigh(more, 100)
        self.compare("weights 0, 100, and 100 for one without a bucket")
        self.turn_to("mh", 8)
        self.compare("with mh-fallback")
        self.turn_to("mh", 0)
        self.delete(owners[4])
        self.new(owners[4])
        self.weigh(owners[5], 1)
        self.compare("weight 0, removed, added again with weight 1")
        # After a change to rr, mh is refused: there are too many dests.
        self.turn_to("rr")
        self.turn_to("mh")
        self.lines.append(f"six choices: {self.ask(6)}")
        # mh is accepted again once there are no more dests than buckets.
        self.delete(*range(more, more + 6))
        self.turn_to("mh")
        self.compare("as many as buckets")
        self.new(more)
        self.delete(owners[0])
        # The table is filled again: the clients of the removed dest get others.
        self.removed.clear()
        self.compare("one added, one removed")

    def conns_left(self):
        with open("/proc/thread-self/net/ip_vs_conn", encoding="ascii") as file:
            return sum(1 for _ in file) - 1


def played(enter, hardware, uplink, vip, make, count):
    """Runs the history that `make` makes with a Wire; returns its lines."""
    # Stays on one CPU: after a migration, packets could be reordered.
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    wire = Wire(enter, hardware, uplink, 6 if ":" in vip else 4)
    try:
        History.first = next_dest
        one = make(wire)
        one.run(count)
        one.command("FLUSH")
    finally:
        wire.close()
        os.sched_setaffinity(0, cpus)
    return "\n".join(one.lines)


def history(enter, hardware, uplink, name, size, vip, seed, count):
    return played(enter, hardware, uplink, vip, lambda wire: History(wire, name, size, seed, vip), count)


def full(enter, hardware, uplink, vip, tells_all):
    return played(enter, hardware, uplink, vip, lambda wire: Full(wire, vip, tells_all), 0)
