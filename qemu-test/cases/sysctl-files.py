"""The files of net.ipv4.vs: their names, modes and initial values, and the results of
writes and reads of all kinds, in the initial network namespace, in another, and in
one of an unprivileged user. (`sysctls` tests their effect.)"""
# Covers: src/ctl/sysctl rust-out-of-tree/fs/sysctl src/sysctl

import errno
import os
import re
import stat
import subprocess
import sys

DIRECTORY = "/proc/sys/net/ipv4/vs"

INTS = [
    b"", b"\n", b" ", b"0", b"1\n", b" 2", b"3 ", b"4", b"5", b"8", b"9", b"-1", b"-8", b"-9", b"-20", b"-21", b"19", b"20",
    b"63", b"64", b"128", b"100000", b"1073741824", b"1073741825", b"2147483647", b"2147483648", b"-2147483648",
    b"-2147483649", b"4294967295", b"4294967296", b"18446744073709551615", b"18446744073709551616", b"9" * 21, b"9" * 30,
    b"x", b"1x", b"x1", b"1 x", b"2 3", b"4 5 6", b"7\t8\n", b"1,2", b"1.5", b"+1", b"- 1", b"--1", b"0x10", b"0x", b"010",
    b"08", b"1\0", b"\x001", b"1\0 2", b"\xff", b"1" + b" " * 5000, b" " * 5000 + b"1", b"\n1", b"1\n2\n",
]
PAIRS = INTS + [b"60", b"50", b"49", b"0 0", b"5 0", b"0 5", b"5 5", b"6 5", b"5 6 7", b"-1 5", b"5 -1", b"10 x", b"60 x",
                b"10 99999999999", b"2147483646 2147483647", b"10,20"]
LISTS = [
    b"", b"\n", b" ", b"0", b"0\n", b"0-1", b"0-1\n", b"0,1", b"1,0", b"1-0", b"0-", b"-1", b"-", b",", b",0", b"0,", b"0,,1",
    b"0 ", b" 0", b"0 1", b"0\n1", b"0\t", b"0\0001", b"x", b"0x", b"0x0", b"all", b"ALL", b"N", b"0-N", b"all:1/2", b"0-1:1/2",
    b"0-1:2/1", b"0-1:1/", b"0-1:0/0", b"0-1:", b"0--1", b"0-1-2", b"none", b"4096", b"65536", b"0-65536", b"4294967295",
    b"4294967296", b"99999999999999999999", b"\xff",
]
SORTS = {"sync_threshold": PAIRS, "est_cpulist": LISTS}


def tried(act, *args):
    """Returns the result of `act`, or the errno's name."""
    try:
        return act(*args)
    except OSError as e:
        return errno.errorcode[e.errno]


class File:
    """An open file; it belongs to the namespace in which it was opened."""

    def __init__(self, name, flags=os.O_RDWR):
        self.fd = os.open(f"{DIRECTORY}/{name}", flags)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def read(self, size=4096, at=0):
        return tried(os.pread, self.fd, size, at)

    def write(self, text, at=0):
        return tried(os.pwrite, self.fd, text, at)


def shown(value):
    """Returns data read, the length written or an errno's name as text."""
    return value.decode().rstrip("\n") if isinstance(value, bytes) else str(value)


def short(text):
    return repr(text if len(text) < 40 else text[:10] + b".." + text[-10:])[1:]


def names():
    """Returns the names of the files that C has, too."""
    return sorted(set(os.listdir(DIRECTORY)) - {"fullnat", "fullnat_client", "fullnat_laddr", "fullnat_ports", "sync_early", "sync_resync"})


def expected_qlen_max():
    """Returns C's default of sync_qlen_max: 1/32 of the pages above the high
    watermarks of the zones."""
    pages = 0
    with open("/proc/zoneinfo") as zones:
        for zone in re.findall(r"zone +(?:DMA|DMA32|Normal)\n.*?\n +high +(\d+).*?\n +managed +(\d+)", zones.read(), re.S):
            high, managed = map(int, zone)
            pages += max(managed - high, 0)
    return pages // 32


def at_first():
    """Yields the mode, owner, name and value of each file. sync_qlen_max depends on the
    guest's memory, so it is compared with its formula."""
    expected = expected_qlen_max()
    for name in names():
        info = os.stat(f"{DIRECTORY}/{name}")
        value = shown(File(name, os.O_RDONLY).read())
        if name == "sync_qlen_max":
            value = "by memory" if int(value) == expected else f"{value}, not {expected}"
        yield f"{stat.filemode(info.st_mode)} {info.st_uid} {info.st_gid} {name}: {value}"


def openings():
    """Yields for each file whether it may be opened for writing and the result of
    writing its own value."""
    for name in names():
        value = File(name, os.O_RDONLY).read()
        file = tried(File, name, os.O_WRONLY)
        written = file if isinstance(file, str) else "all" if file.write(value) == len(value) else file.write(value)
        yield f"{name}: {written}"


def writes(name):
    """Yields the result of writing each text. After each write the old value is
    restored if possible, so that writes are independent."""
    with File(name) as file:
        first = file.read()
        for text in SORTS.get(name, INTS):
            yield f"{short(text)}: {shown(file.write(text))} {shown(file.read())}"
            file.write(first)
        yield f"at 1: {file.write(b'3', 1)} {shown(file.read())}"
        file.write(first)


def reads(name):
    """Yields the results of short reads, at the start and after it."""
    with File(name) as file:
        first = file.read()
        file.write({"sync_threshold": b"1234 56789", "est_cpulist": b"0-1"}.get(name, b"1"))
        for size in (0, 1, 2, 4, 5, 6, 4096):
            for at in (0, 1):
                yield f"{size} at {at}: {file.read(size, at)}"
        file.write(first)


def lines(*more):
    return "\n".join(line for part in more for line in part)


def parent():
    from case import enter, netns, observe, run

    run("modprobe -a ip_vs_lblc ip_vs_lblcr")
    observe("the initial namespace", lines(at_first()))
    for name in names():
        observe(f"writes: {name}", lines(writes(name)))
    for name in ("conn_max", "sync_threshold", "sync_qlen_max", "est_cpulist", "est_nice", "lblc_expiration"):
        observe(f"reads: {name}", lines(reads(name)))
    # With a restricted CPU affinity of the writer
    cpus = os.sched_getaffinity(0)
    with File("est_cpulist") as file:
        os.sched_setaffinity(0, {0})
        for text in (b"0-1", b"1"):
            observe(f"on CPU 0: {short(text)}", f"{file.write(text)} {shown(file.read())}")
        os.sched_setaffinity(0, cpus)
        file.write(b"all")
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    netns("director")
    enter("director")
    observe("another namespace", lines(at_first()))
    observe("another namespace: opened", lines(openings()))
    for name in names():
        if name in ("conn_lfactor", "svc_lfactor", "conn_max", "drop_entry", "sync_threshold", "est_cpulist"):
            observe(f"another namespace: writes: {name}", lines(writes(name)))
    # A value set here is not set in the initial namespace.
    with File("conn_max") as file:
        file.write(b"77")
    os.setns(here)
    observe("the initial namespace: conn_max", shown(File("conn_max").read()))
    memory()
    limits()


def memory():
    """The defense modes that depend on memory: 1 and 2 switch to each other by amemthresh."""
    from case import observe

    with File("amemthresh") as threshold:
        for mode in ("drop_entry", "drop_packet", "secure_tcp"):
            with File(mode) as file:
                for pages in (b"2147483647", b"0", b"-1"):
                    threshold.write(pages)
                    for value in (b"0", b"1", b"2", b"3"):
                        file.write(b"0")
                        observe(f"{mode}, {pages.decode()} pages", f"{file.write(value)} {shown(file.read())}")
                file.write(b"0")
        threshold.write(b"1024")


class Unprivileged:
    """An unprivileged user's network namespace, in a user namespace of its own, in which
    `child` of this file executes commands."""

    def __init__(self):
        self.child = subprocess.Popen(
            ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "unshare", "--user", "--map-root-user", "--net",
             sys.executable, __file__, "child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.pid = int(self.child.stdout.readline())

    def tell(self, *words):
        self.child.stdin.write(" ".join(words) + "\n")
        answer = []
        while (line := self.child.stdout.readline()) != ".\n":
            assert line, "the unprivileged process has ended"
            answer.append(line.rstrip("\n"))
        return "\n".join(answer)

    def end(self):
        self.child.stdin.close()
        self.child.wait()


def child():
    """Executes commands from standard input in the unprivileged namespace."""
    print(os.getpid(), flush=True)
    for line in sys.stdin:
        word, *args = line.split()
        if word == "set":
            with File(args[0]) as file:
                print(file.write(args[1].encode()), shown(file.read()))
        else:
            print(lines({"at_first": at_first, "openings": openings}[word]()))
        print(".", flush=True)


def limits():
    """The limit of `conn_max` in an unprivileged namespace: the value in the initial
    namespace when it was created, unless a privileged process writes another."""
    from case import observe

    with File("conn_max") as file:
        file.write(b"100")
        user = Unprivileged()
        file.write(b"1073741824")
    observe("unprivileged", user.tell("at_first"))
    observe("unprivileged: opened", user.tell("openings"))
    for value in ("100", "101", "-1", "50", "100", "0", "99"):
        observe(f"unprivileged: conn_max {value}", user.tell("set", "conn_max", value))
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    os.setns(os.open(f"/proc/{user.pid}/ns/net", os.O_RDONLY))
    with File("conn_max") as file:
        observe("unprivileged, as root", lines(at_first()))
        observe("unprivileged, as root: opened", lines(openings()))
        observe("unprivileged, as root: conn_max 99", f"{file.write(b'99')} {shown(file.read())}")
        observe("unprivileged: conn_max 100", user.tell("set", "conn_max", "100"))
        observe("unprivileged, as root: conn_max 300", f"{file.write(b'300')} {shown(file.read())}")
        user.tell("set", "conn_max", "10")
        # Not a number: value and limit stay.
        for text in (b"", b"x"):
            observe(f"unprivileged, as root: {short(text)}", f"{file.write(text)} {shown(file.read())}")
        observe("unprivileged, as root: at offset 1", f"{file.write(b'1', 1)} {shown(file.read())}")
    os.setns(here)
    for value in ("300", "301"):
        observe(f"unprivileged: conn_max {value}", user.tell("set", "conn_max", value))
    user.end()


if sys.argv[1:] == ["child"]:
    child()
else:
    parent()
