"""The files in /proc/net. Their text must be C's. It must not depend on the size and
offset of reads, also with more dests than fit in a page. While hundreds of services, dests
and conns are added and removed and our tables are resized, a reader must get each permanent
entry exactly once. (C continues after the number of lines already read, whatever was removed,
and restarts the dests of a service if the current dest is removed and added again. Under C a
concurrent reader only has to reach the end; but changes between two reads must not affect a
service that has been begun.)"""
# Covers: src/ctl/proc rust-out-of-tree/fs

import collections
import contextlib
import errno
import itertools
import os
import re
import select
import socket
import struct
import subprocess
import time
import traceback

from case import DEBUG, SLOW, enter, expect, fail, netns, observe, run, say, wait_for
from genl import *

SECONDS = 60 if os.environ.get("LONG") else 8 * SLOW
OURS = os.environ["MODULE"] == "rust"
FILES = "ip_vs ip_vs_app ip_vs_conn ip_vs_conn_sync ip_vs_stats ip_vs_stats_percpu ip_vs_status".split()
# The number of permanent and of temporary entries: enough for a table to grow and to shrink.
STAYING, PASSING = 100, 1500
# The ports of the services with many dests; the number of dests of each; every EACH-th dest
# is temporary.
LARGE, DESTS, EACH = (501, 502), 500, 5
TEMPLATES = 1
SERVICE = re.compile(rb"^UDP +(\S+) ", re.M)
DEST = re.compile(rb"^  -> 0A01010B:(\S+) +(\S+) +(\d+) +(\d+) +(\d+) *$", re.M)
CONN = re.compile(rb"^UDP (C0A801FE \S+) ", re.M)
# The names of the permanent entries.
staying_services = {b"C0A8016E:%04X" % port for port in (*range(1, 1 + STAYING), *LARGE)}
staying_conns = {b"C0A801FE %04X" % port for port in range(10000, 10000 + STAYING)}
staying_dests = {b"%04X" % dest for dest in range(1, 1 + DESTS) if dest % EACH}


def path(name):
    return f"/proc/thread-self/net/{name}"


def read(name, size=1 << 20, file=None):
    """Returns the rest of a file, read in pieces of `size` bytes."""
    fd = os.open(path(name), os.O_RDONLY) if file is None else file
    pieces = list(iter(lambda: os.read(fd, size), b""))
    if file is None:
        os.close(fd)
    return b"".join(pieces)


def ipvsadm(commands):
    subprocess.run(["ipvsadm", "-R"], input=commands, text=True, check=True)


def datagrams(address, port, sources):
    """Sends one datagram from each source port, which creates a conn each."""
    for source in sources:
        with socket.socket(V6 if ":" in address else V4, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(("", source))
            sock.sendto(b"data", (address, port))


def as_client(act, *arguments):
    enter("client")
    act(*arguments)
    enter("director")


def conns():
    return read("ip_vs_conn").count(b"\n") - 1


# --- the text of the files

def blocks(text):
    """Returns a listing with its services sorted, as their order is random."""
    head, *rest = re.split(r"(?m)^(?=TCP|UDP|SCTP|FWM)", text)
    return head + "".join(sorted(rest))


def plain(name):
    """Returns a file without the parts that depend on the module or on time."""
    text = read(name).decode()
    if name == "ip_vs":
        return blocks(re.sub(r"size=\d+", "size=N", text))
    if name in ("ip_vs_conn", "ip_vs_conn_sync"):
        head, *lines = text.splitlines()
        return "\n".join([head] + sorted(line[:-7] for line in lines))
    if name == "ip_vs_status":
        # The maximum number of estimators is measured; the length of chains is random.
        text = "".join(line for line in text.splitlines(True) if not re.match("Stats chain|Stats thread ests|.* len-", line))
        return re.sub(r"(buckets.*:\t).*", lambda found: found[1] + re.sub("[-0-9]+", "N", found[0][len(found[1]):]), text)
    if name == "ip_vs_stats_percpu":
        return re.sub(r"(?m)^ +[0-9A-F]+( +0)+\n", "", text)
    return text


def say_all(label, names=FILES):
    for name in names:
        observe(f"{label}: {name}", plain(name))


def check_status():
    """Whether the chains shown add up to the table and to its entries, which are in one chain or, with two keys, in two."""
    text = read("ip_vs_status").decode()
    for what, table in (("Conns", "Conn"), ("Services", "Service")):
        number = int(re.search(rf"{what}:\t(\d+)", text)[1])
        size, bits = map(int, re.search(rf"{table} buckets:\t(\d+) \((\d+) bits", text).groups())
        lengths = {int(length): (int(count), int(part)) for length, count, part in
                   re.findall(rf"{table} buckets len-(\d):\t(\d+) \((\d+)%\)", text)}
        empty, part = map(int, re.search(rf"{table} buckets empty:\t(\d+) \((\d+)%\)", text).groups())
        filled = sum(count for count, _ in lengths.values())
        # While C resizes a table, it shows the old and the new one.
        if size != 1 << bits or filled + empty != size:
            return False
        if part != empty * 100 // size or any(p != c * 100 // filled for c, p in lengths.values()):
            fail(f"wrong parts: {text}")
        links = sum(length * count for length, (count, _) in lengths.items())
        if links > 2 * number or 7 not in lengths and links < number - TEMPLATES:
            fail(f"{number} {what} in chains of {lengths}")
    return True


# --- partial reads

def check_pieces(name):
    """Checks that all ways to read a file return the same, except the remaining time of conns."""
    whole = read(name)
    moving = set()
    if name.startswith("ip_vs_conn"):
        for line in re.finditer(rb"(?m)[ 0-9]{7}$", whole):
            moving.update(range(*line.span()))

    def compare(how, got, offset, size=None):
        wanted = whole[offset:] if size is None else whole[offset:offset + size]
        if len(got) != len(wanted) or any(a != b and offset + i not in moving for i, (a, b) in enumerate(zip(got, wanted))):
            fail(f"{name}, {how}:\n{got}\nwhole:\n{whole}")

    file = os.open(path(name), os.O_RDONLY)
    for size in (1, 7, 100, 4096):
        compare(f"by {size}", read(name, size), 0)
        os.lseek(file, 0, os.SEEK_SET)
        compare(f"by {size}, once more", read(name, size, file), 0)
        for offset in (1, len(whole) // 3, len(whole) // 2, len(whole) - 1, len(whole), len(whole) + 1000):
            os.lseek(file, offset, os.SEEK_SET)
            compare(f"by {size} from {offset}", read(name, size, file), offset)
    for offset in (len(whole) // 2, 0, len(whole) - 10, 5, len(whole) // 4, len(whole) + 5):
        compare(f"100 at {offset}", os.pread(file, 100, offset), offset, 100)
    # pread() does not change the file offset.
    os.lseek(file, 0, os.SEEK_SET)
    begun = os.read(file, 50)
    os.pread(file, 100, len(whole) // 2)
    compare("around a pread", begun + read(name, 64, file), 0)
    errors = []
    for offset, whence in ((0, os.SEEK_END), (-1, os.SEEK_SET), (-(1 << 40), os.SEEK_CUR)):
        try:
            os.lseek(file, offset, whence)
            errors.append("ok")
        except OSError as e:
            errors.append(errno.errorcode[e.errno])
    os.close(file)
    return " ".join(errors)


# --- services with more dests than fit in a page

def add_large_services():
    """Adds the services with many dests."""
    for port in LARGE:
        ipvsadm(f"-A -u 192.168.1.110:{port} -s rr\n" + "".join(
            f"-a -u 192.168.1.110:{port} -r 10.1.1.11:{dest} -m -w {dest}\n" for dest in range(1, 1 + DESTS)))


def dests_of(text):
    """Returns the dests of each large service in a file, in order: port, method, weight and conns."""
    found = {port: [] for port in LARGE}
    for block in re.split(rb"(?m)^(?=UDP)", text):
        if (port := SERVICE.match(block)) and (port := int(port[1][-4:], 16)) in LARGE:
            found[port] += DEST.findall(block)
    return found


def listed_dests():
    """Returns the same from ipvsadm's listing."""
    def lines(port):
        text = subprocess.run(["ipvsadm", "-Ln", "--nosort", "-u", f"192.168.1.110:{port}"],
                              stdout=subprocess.PIPE, check=True).stdout
        return [(b"%04X" % int(dest), *rest) for dest, *rest in
                re.findall(rb"(?m)^  -> 10\.1\.1\.11:(\d+) +(\S+) +(\d+) +(\d+) +(\d+) *$", text)]
    return {port: lines(port) for port in LARGE}


def staying(dests):
    """Returns the names of the permanent dests."""
    return [name for name, *_ in dests if int(name, 16) % EACH]


class PassingDests:
    """Removes the temporary dests of the large services and adds them again, step by step."""

    def __init__(self):
        self.ipvs, self.steps = Family(), 0
        self.turn = [(command(name), port, dest) for name in ("DEL_DEST", "NEW_DEST")
                     for dest in range(EACH, 1 + DESTS, EACH) for port in LARGE]

    def change(self, number=40):
        for _ in range(number):
            act, port, dest = self.turn[self.steps % len(self.turn)]
            self.ipvs.call(act, service(**ident(port=port, protocol=17)) + real(**server(port=dest)))
            self.steps += 1

    def restore(self):
        self.change(-self.steps % len(self.turn))


def passing_dests():
    passing = PassingDests()
    passing.change(len(passing.turn))


def read_amid(name, size, between):
    """Reads a file in pieces of `size` bytes and calls `between` at most every 3,000 bytes."""
    file = os.open(path(name), os.O_RDONLY)
    pieces, since = [], 0
    while piece := os.read(file, size):
        pieces.append(piece)
        since += len(piece)
        if since >= 3000:
            between()
            since = 0
    os.close(file)
    return b"".join(pieces)


def same(what, wanted, got):
    """Compares lists that are too long to print."""
    if got != wanted:
        amiss = [(i, *pair) for i, pair in enumerate(itertools.zip_longest(wanted, got)) if pair[0] != pair[1]]
        fail(f"{what}: {len(wanted)} expected, {len(got)} found, {len(amiss)} differ, the first: {amiss[:3]}")


def check_large_services():
    """Checks that reads of any size show each dest once and in order, also while others are added and removed."""
    services = sorted(SERVICE.findall(read("ip_vs")))
    passing = PassingDests()
    for size in (1, 100, 4096, 1 << 20):
        listed, found = listed_dests(), dests_of(read("ip_vs", size))
        before = passing.steps
        text = read_amid("ip_vs", size, passing.change)
        if passing.steps - before < 2 * 40:
            fail("too few dests changed")
        same(f"services by {size} while dests change", services, sorted(SERVICE.findall(text)))
        amid = dests_of(text)
        for port in LARGE:
            expect("dests listed", DESTS, len(listed[port]))
            same(f"dests of {port} by {size}", listed[port], found[port])
            same(f"dests of {port} by {size} while others change", staying(listed[port]), staying(amid[port]))
            names = [name for name, *_ in amid[port]]
            expect(f"number of dests of {port} by {size}, without duplicates", len(set(names)), len(names))
        # The removed dests are added again, at the head of the list.
        passing.restore()


def once(name, found, wanted):
    """Checks that a reader found each permanent entry exactly once."""
    times = collections.Counter(found)
    wrong = {entry: times[entry] for entry in wanted if times[entry] != 1}
    if wrong and OURS:
        fail(f"{name}: number of times among {len(found)}: {wrong}")


# --- the tables resized while they are read

def add_services(ports):
    for port in ports:
        ipvs.call(command("NEW_SERVICE"), service(**whole("192.168.9.9", port, 17)))


def remove_services(ports):
    for port in ports:
        ipvs.call(command("DEL_SERVICE"), service(**ident("192.168.9.9", port, 17)))


def change_dest(ipvs, what, port):
    """Adds or deletes the dest of the service `port`. Its conns end when it is deleted."""
    ipvs.call(command(what), service(**ident(port=port, protocol=17)) + real(**server(port=port, FWD_METHOD=u32(3))))


def sizes():
    """Returns the number of buckets of the conn table and of the service table."""
    return tuple(map(int, re.findall(rb"buckets:\t(\d+)", read("ip_vs_status"))))


def numbers():
    """Returns the number of conns and of services."""
    return tuple(map(int, re.findall(rb"(?m)^(?:Conns|Services):\t(\d+)", read("ip_vs_status"))))


def shown_size(text):
    return int(re.search(rb"\(size=(\d+)\)", text)[1])


class Reader:
    """Reads a file in several steps."""

    def __init__(self, name, size):
        self.name, self.size, self.text = name, size, b""
        self.pattern, self.mark, self.wanted = (
            (SERVICE, b"UDP  C0A8016E:", staying_services) if name == "ip_vs" else (CONN, b"UDP C0A801FE 27", staying_conns))
        self.file = os.open(path(name), os.O_RDONLY)

    def read_until(self, part):
        """Reads until this part (0 to 1) of the permanent entries was read."""
        while self.text.count(self.mark) < part * len(self.wanted):
            piece = os.read(self.file, self.size)
            if not piece:
                if OURS:
                    fail(f"{self.name} ended early: {self.text}")
                return
            self.text += piece

    def finish(self):
        self.text += read(self.name, self.size, self.file)
        os.close(self.file)
        once(f"{self.name} by {self.size}", self.pattern.findall(self.text), self.wanted)


def settle(services, conns, is_so):
    """Waits for the number of temporary entries and, for our tables, for sizes that satisfy `is_so`; returns the sizes."""
    wanted = STAYING + conns, len(staying_services) + services
    wait_for(f"{wanted} conns and services", lambda: numbers() == wanted, instead=numbers)
    if OURS:
        wait_for("other sizes", lambda: is_so(sizes()), instead=sizes)
    return sizes()


def resize_amid(size):
    """Reads the files while both tables grow, lose half of the temporary entries, and shrink."""
    half = PASSING // 2
    first, second = range(1000, 1000 + half), range(1000 + half, 1000 + PASSING)
    for port in (2, 3):
        change_dest(ipvs, "NEW_DEST", port)
    begun = sizes()
    readers = [Reader(name, size) for name in ("ip_vs", "ip_vs_conn", "ip_vs_conn_sync")]
    for reader in readers:
        reader.read_until(1 / 4)
    for port, sources in ((2, first), (3, second)):
        add_services(sources)
        as_client(datagrams, "192.168.1.110", port, [20000 + source for source in sources])
    grown = settle(PASSING, PASSING, lambda now: all(map(int.__gt__, now, begun)))
    for reader in readers:
        reader.read_until(1 / 2)
    shown = shown_size(readers[0].text), shown_size(read("ip_vs", 100))
    if OURS:
        expect("the conn table's size, read before and now", (begun[0], grown[0]), shown)
    remove_services(second)
    change_dest(ipvs, "DEL_DEST", 3)
    settle(half, half, lambda now: now == grown)
    for reader in readers:
        reader.read_until(3 / 4)
    remove_services(first)
    change_dest(ipvs, "DEL_DEST", 2)
    shrunk = settle(0, 0, lambda now: all(map(int.__lt__, now, grown)))
    for reader in readers:
        reader.finish()
    for port, dests in dests_of(readers[0].text).items():
        once(f"dests of {port} by {size}", staying(dests), staying_dests)
    say(f"by {size}: buckets of conns and services {begun}, then {grown}, then {shrunk}; the header's {shown}")


# --- changes

class Child:
    """A process that repeats `again` in a namespace until `stop`, which returns the number of repetitions."""

    def __init__(self, ns, again):
        self.output, write = os.pipe()
        stop, self.stopper = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(write)
            os.close(stop)
            return
        try:
            enter(ns)
            times = 0
            while not select.select([stop], [], [], 0)[0]:
                again()
                times += 1
            os.write(write, str(times).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)

    def stop(self):
        with contextlib.suppress(BrokenPipeError):
            os.write(self.stopper, b".")
        _, status = os.waitpid(self.pid, 0)
        if status:
            fail("a process failed")
        return int(os.read(self.output, 100))


def passing_services():
    ipvs = Family()
    for name, fields in (("NEW_SERVICE", whole), ("DEL_SERVICE", ident)):
        for port in range(PASSING):
            ipvs.call(command(name), service(**fields("192.168.9.9", 1000 + port, 17)))


def edited_services():
    ipvs = Family()
    for scheduler, port in itertools.product(("wlc", "rr"), range(STAYING)):
        ipvs.call(command("SET_SERVICE"), service(**whole("192.168.1.110", 1 + port, 17, SCHED_NAME=string(scheduler))))


def passing_conns():
    ipvs = Family()
    as_client(datagrams, "192.168.1.110", 2, range(20000, 20000 + PASSING))
    change_dest(ipvs, "DEL_DEST", 2)
    wait_for("the end of conns", lambda: numbers()[0] == STAYING)
    change_dest(ipvs, "NEW_DEST", 2)


def reader():
    """Reads all files of tables in pieces of several sizes, and dumps the services."""
    ipvs = Family()
    for size in (1 << 16, 4096, 1000, 100):
        text = read("ip_vs", size)
        once("ip_vs", SERVICE.findall(text), staying_services)
        for port, dests in dests_of(text).items():
            once(f"dests of {port}", staying(dests), staying_dests)
        for name in ("ip_vs_conn", "ip_vs_conn_sync"):
            once(name, CONN.findall(read(name, size)), staying_conns)
        read("ip_vs_status", size)
    ports = [struct.unpack("!4sH", fields[3][:4] + fields[4]) for _, entry in ipvs.dump(command("GET_SERVICE"))
             for fields in [dict(attributes(dict(attributes(entry))[1]))]]
    once("dump", [b"%s:%04X" % (addr.hex().upper().encode(), port) for addr, port in ports], staying_services)


# --- the case

run("modprobe dummy numdummies=0")
netns("client", "director")
run("ip -n director link add eth0 index 100 type veth peer name eth0 index 101 netns client")
run("ip -n client -batch - <<.\n"
    "addr add 192.168.1.254/24 dev eth0\naddr add 2001:db8:1::254/64 dev eth0\nlink set eth0 up\n.")
run("ip -n director -batch - <<.\n"
    "addr add 192.168.1.110/24 dev eth0\naddr add 2001:db8:1::110/64 dev eth0\nlink set eth0 up\n"
    "link add d0 type dummy\naddr add 10.1.1.1/24 dev d0\naddr add 2001:db8:2::1/64 dev d0\nlink set d0 up\n"
    "neigh add 10.1.1.11 lladdr 02:00:00:00:00:11 dev d0\nneigh add 2001:db8:2::11 lladdr 02:00:00:00:00:11 dev d0\n.")
enter("director")
run("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1")
observe("modes", "\n".join(f"{name} {os.stat(path(name)).st_mode:o}" for name in FILES))
say_all("nothing")
for name in FILES:
    check_pieces(name)


def slots():
    """Yields the slots line for several values of est_cpulist, 'all' as the last."""
    for cpus in ("none", "", "0", "0-1", "all"):
        with contextlib.suppress(OSError), open("/proc/sys/net/ipv4/vs/est_cpulist", "w") as file:
            file.write(cpus + "\n")
        yield f"{cpus}: " + re.search("Stats thread slots.*", read("ip_vs_status").decode())[0]


# Before the first service.
observe("est_cpulist", "\n".join(slots()))

ipvsadm("".join(f"-A -t 192.168.1.110:{port} -s {scheduler}\n-a -t 192.168.1.110:{port} -r 10.1.1.11:{port} -g -w {port}\n"
                for port, scheduler in enumerate("rr wrr lc wlc sed nq dh sh fo ovf twos lblc lblcr mh".split(), 100)) +
        "-A -u 192.168.1.110:1 -s rr -p 60 -M 255.255.255.0\n-a -u 192.168.1.110:1 -r 10.1.1.11 -g -w 65535\n"
        "-A -u 192.168.1.110:2 -s rr -o\n-A --sctp-service 192.168.1.110:3 -s rr\n-A -t 192.168.1.110:0 -s rr -p 2000000\n"
        "-A -f 1 -s rr\n-a -f 1 -r 10.1.1.11 -i\n-A -f 4294967295 -6 -s wlc -p 7 -M 64\n-a -f 4294967295 -6 -r [2001:db8:2::11]:80 -m\n"
        "-A -u [2001:db8:1::110]:1 -s wlc\n-a -u [2001:db8:1::110]:1 -r [2001:db8:2::11]:81 -m\n"
        "-a -u [2001:db8:1::110]:1 -r 10.1.1.11 -i\n-A -u 192.168.1.110:80 -s rr\n"
        + "".join(f"-a -u 192.168.1.110:80 -r 10.1.1.{i}:80 -m -w {i % 2}\n" for i in range(11, 50)))
say_all("services")
for name in FILES:
    check_pieces(name)

as_client(datagrams, "192.168.1.110", 1, range(5000, 5040))
as_client(datagrams, "2001:db8:1::110", 1, range(5000, 5010))
wait_for("conns", lambda: conns() == 51)
say_all("conns", ("ip_vs", "ip_vs_app", "ip_vs_conn", "ip_vs_conn_sync", "ip_vs_status"))
# C's estimator copies the counters every two seconds.
wait_for("counters", lambda: read("ip_vs_stats").split(b"\n")[2].split()[:2] == [b"32", b"32"])
observe("ip_vs_stats", read("ip_vs_stats").decode().split("\n\n")[0])
wait_for("chains to be counted", check_status)
observe("lseek", "\n".join(f"{name} {check_pieces(name)}" for name in FILES if not name.startswith("ip_vs_stat")))

# From here on conns end when their dest is deleted.
run("sysctl -qw net.ipv4.vs.expire_nodest_conn=1")
run("ipvsadm -C")
wait_for("no conns", lambda: conns() == 0)
observe("flushed", plain("ip_vs"))
observe("flushed: est_cpulist", "\n".join(slots()))
ipvs = Family()
for port in range(1, 1 + STAYING):
    ipvs.call(command("NEW_SERVICE"), service(**whole(port=port, protocol=17)))
    if port not in (2, 3):
        ipvs.call(command("NEW_DEST"), service(**ident(port=port, protocol=17)) + real(**server(port=port)))
add_large_services()
check_large_services()
run("ipvsadm --set 0 0 3600")
as_client(datagrams, "192.168.1.110", 1, range(10000, 10000 + STAYING))
wait_for("conns that stay", lambda: read("ip_vs_conn").count(b"C0A801FE 27") >= STAYING)
for size in (100, 1000, 4096):
    resize_amid(size)
change_dest(ipvs, "NEW_DEST", 2)
# With this timeout some conns expire, if there is time.
run("ipvsadm --set 0 0 10")
seen_sizes = []
children = dict(services=Child("director", passing_services), edits=Child("director", edited_services),
                dests=Child("director", passing_dests),
                conns=Child("director", passing_conns), readers=Child("director", reader), others=Child("director", reader))


def resized():
    """Returns the successive sizes of the conn table and of the service table."""
    return [[size for size, _ in itertools.groupby(column)] for column in zip(*seen_sizes)]


# The debug kernel creates conns too slowly for a resize here; resize_amid() has tested it.
must_resize = OURS and not DEBUG
begun = time.monotonic()
while (passed := time.monotonic() - begun) < SECONDS or must_resize and passed < 10 * SECONDS and min(map(len, resized())) < 2:
    seen_sizes.append(sizes())
    time.sleep(0.02)
counts = {name: child.stop() for name, child in children.items()}
seen = resized()
say(f"{counts}\nbuckets of conns {seen[0]}, of services {seen[1]}")
if must_resize and min(len(column) for column in seen) < 2:
    fail("a table was not resized")
if not all(counts.values()):
    fail("a child process did nothing")
run("ipvsadm -C")
observe("the end", plain("ip_vs"))
