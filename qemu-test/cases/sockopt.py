"""The socket options IP_VS_SO_*: results for valid and invalid values, all lengths,
bad addresses and different privileges; the entries that they show and hide; and ipvsadm with
socket options only."""
# Covers: src/ctl/sockopt rust-out-of-tree/net/sockopt

import ctypes
import errno
import mmap
import os
import re
import select
import socket
import struct
import subprocess
import threading
import time

import genl
from case import DEBUG, enter, expect, fail, netns, observe, run, say, wait_for
from options import *

netns("director", "client", "other")
run("ip link add eth0 netns client type veth peer name eth0 netns director")
run("ip -n client addr add 192.168.1.254/24 dev eth0 && ip -n client link set eth0 up")
run("ip -n director addr add 192.168.1.110/24 dev eth0 && ip -n director addr add 10.1.1.11/24 dev lo "
    "&& ip -n director link set eth0 up")
enter("director")
options = Options()
since = mark("sockopt: begins")


def size_hidden(data):
    """Returns a version's text without the size of the conn table, which may differ."""
    return re.sub(rb"size=[1-9][0-9]*", b"size=N", data.split(b"\0")[0]).decode()


# --- all lengths

SETTERS = {n: name for name, n in SET.items()} | {BASE - 1: "below", BASE + 16: "above"}
GETTERS = {n: name for name, n in GET.items()} | {BASE - 1: "below", BASE + 8: "above"}
observe("set", "\n".join(
    f"{SETTERS[n]}: " + ", ".join(f"{length} {options.set(n, bytes(length))}" for length in sorted({
        0, 1, 4096, *(SET_LENGTH.get(SETTERS[n], 8) + d for d in (-1, 0, 1))}))
    for n in sorted(SETTERS)))
observe("get", "\n".join(
    f"{GETTERS[n]}: " + ", ".join("{} {} {}".format(length, *options.ask(n, bytes(length))[:2]) for length in sorted({
        0, 1, 4096, *(GET_LENGTH.get(GETTERS[n], 8) + d for d in (-1, 0, 1))}))
    for n in sorted(GETTERS)))
observe("get, negative lengths", "\n".join(
    f"{GETTERS[n]}: " + ", ".join("{} {} {}".format(length, *options.ask(n, bytes(4096), length)[:2]) for length in (
        -1, -0x80000000, 0x7FFFFFFF)) for n in sorted(GETTERS)))
observe("version before any service", options.ask("VERSION", bytes(64))[2].split(b"\0")[0].decode())
observe("info before any service", str(options.info()))
observe("timeouts before any service", options.ask("TIMEOUT", bytes(12))[2].hex())

# --- bad addresses

memory = mmap.mmap(-1, 8192, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
libc.mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
expect("mprotect", 0, libc.mprotect(start + 4096, 4096, 0))
end = start + 4096  # not accessible from here on
for where, address in (("null", 0), ("at the end", end), ("one short", None), ("beyond all", 1 << 63)):
    observe(f"set, {where}", "\n".join(
        f"{n}: {options.set(n, length=length, address=end - length + 1 if address is None else address)}"
        for n, length in SET_LENGTH.items()))
    observe(f"get, {where}", "\n".join(
        f"{n}: {options.ask(n, length=length, address=end - length + 1 if address is None else address)[:2]}"
        for n, length in GET_LENGTH.items()))

# --- valid and invalid services and dests

outcomes = []


def tell(what, option, value=b""):
    outcomes.append(f"{option}, {what}: {options.set(option, value)}")


tell("good", "ADD", service())
tell("again", "ADD", service(sched=b"wrr"))
tell("UDP", "ADD", service(protocol=17, sched=b"wlc", flags=1, timeout=300, netmask="255.255.255.0"))
tell("SCTP", "ADD", service(protocol=132))
tell("port 0", "ADD", service(port=0, flags=1, timeout=0xFFFFFFFF))
tell("all flags", "ADD", service(port=81, flags=-1))
tell("odd netmask", "ADD", service(port=82, netmask="0.255.0.255"))
tell("address and port 0", "ADD", service("0.0.0.0", 0))
for protocol in (0, 1, 2, 47, 255, 256 + 6, 65535):
    for option in ("ADD", "EDIT", "DEL", "ZERO"):
        tell(f"protocol {protocol}", option, service("192.168.1.111", 8080, protocol))
    for option in ("ADDDEST", "EDITDEST", "DELDEST"):
        tell(f"protocol {protocol}", option, service("192.168.1.111", 8080, protocol) + dest())
tell("fwmark, protocol 0", "ADD", service("0.0.0.0", 0, 0, fwmark=7))
tell("fwmark", "ADD", service("0.0.0.0", 0, fwmark=7))
tell("fwmark with an address", "ADD", service("192.168.1.112", 99, fwmark=8))
tell("fwmark of UDP", "ADD", service("0.0.0.0", 0, 17, fwmark=9))
tell("the same of TCP", "ADD", service("0.0.0.0", 0, 6, fwmark=9))
for option in ("EDIT", "ZERO"):
    tell("fwmark of UDP as TCP", option, service("0.0.0.0", 0, 6, fwmark=9))
    tell("fwmark of UDP", option, service("0.0.0.0", 0, 17, fwmark=9))
tell("fwmark of UDP as TCP", "ADDDEST", service("0.0.0.0", 0, 6, fwmark=9) + dest())
tell("fwmark of UDP", "ADDDEST", service("0.0.0.0", 0, 17, fwmark=9) + dest())
for sched in (b"", b"nosuch", b"none", b"a" * 15, b"a" * 16, b"rr\0junk", b"RR"):
    for option, port in (("ADD", 83), ("EDIT", 81)):
        tell(f"scheduler {sched}", option, service(port=port, sched=sched))
    tell(f"scheduler {sched}, protocol 1", "ADD", service(protocol=1, sched=sched))
tell("not there", "EDIT", service(port=97))
tell("not there", "DEL", service(port=97))
tell("not there", "ZERO", service(port=97))
tell("not there", "ADDDEST", service(port=97) + dest())
tell("scheduler and flags", "EDIT", service(port=82, sched=b"sh", flags=0x18, timeout=60))
observe("services", "\n".join(outcomes) + "\n" + options.state())

outcomes = []
for what, more in {
    "good": {}, "again": {}, "masq": dict(addr="10.1.1.12", port=8080), "route": dict(addr="10.1.1.13", flags=3),
    "tunnel": dict(addr="10.1.1.14", flags=2), "local": dict(addr="10.1.1.15", flags=1), "bypass": dict(addr="10.1.1.16", flags=4),
    "method 5": dict(addr="10.1.1.17", flags=5), "method 7": dict(addr="10.1.1.18", flags=7),
    "inactive": dict(addr="10.1.1.19", flags=0x103), "one packet": dict(addr="10.1.1.20", flags=0x2000),
    "all flags": dict(addr="10.1.1.21", flags=-1), "port 0": dict(addr="10.1.1.22", port=0),
    "weight 0": dict(addr="10.1.1.23", weight=0), "weight -1": dict(addr="10.1.1.24", weight=-1),
    "weight max": dict(addr="10.1.1.25", weight=0x7FFFFFFF), "thresholds": dict(addr="10.1.1.26", upper=9, lower=3),
    "low over high": dict(addr="10.1.1.27", upper=1, lower=2), "high too high": dict(addr="10.1.1.28", upper=1 << 31),
    "zero": dict(addr="0.0.0.0"), "multicast": dict(addr="224.0.0.1"), "broadcast": dict(addr="255.255.255.255"),
    "loopback": dict(addr="127.0.0.1"), "not there": dict(addr="10.1.1.99", port=9),
}.items():
    if what != "not there":
        tell(what, "ADDDEST", service() + dest(**more))
    tell(what, "EDITDEST", service() + dest(**more))
    if what.startswith(("low", "high", "not", "weight -")):
        tell(what, "DELDEST", service() + dest(**more))
tell("other method", "EDITDEST", service() + dest("10.1.1.12", 8080, flags=3, weight=7, upper=5))
tell("delete", "DELDEST", service() + dest("10.1.1.13"))
tell("delete again", "DELDEST", service() + dest("10.1.1.13"))
observe("dests", "\n".join(outcomes) + "\n" + options.state())
observe("as netlink shows them", "\n".join(
    genl.text(e, indent=i > 0) for entry in sorted(genl.services(genl.Family())) for i, e in enumerate(entry)))
observe("version", size_hidden(options.ask("VERSION", bytes(64))[2]))
said, length, room = options.ask("VERSION", b"x" * 100)
expect("the length of the version", len(room.split(b"\0")[0]) + 1, length)
expect("what follows the version", b"x" * (100 - length), room[length:])

# --- one service, and tables with buffers too small and too large

for what, asked in {"by address": name(), "of UDP": name(protocol=17), "not there": name(port=97), "protocol 0": name(protocol=0),
                    "by fwmark": name("9.9.9.9", 9, 9, 7), "fwmark not there": name(fwmark=77)}.items():
    said, length, room = options.ask("SERVICE", asked + bytes(88))
    observe(f"SERVICE {what}", f"{said} {length} {service_text(room)}")
    said, length, room = options.ask("DESTS", asked + struct.pack("=I4x", 1) + bytes(DEST_ENTRY))
    observe(f"DESTS {what}", f"{said} {length} {dest_text(room[24:])}")
entries = options.services()
for count in (0, 1, len(entries) - 1, len(entries) + 2):
    got = options.services(count)
    observe(f"SERVICES {count}", f"{len([e for e in got if any(e)])} {set(e for e in got if any(e)) <= set(entries)}")
whole = options.dests(service())
for count in (0, 1, len(whole) - 1, len(whole) + 2):
    got = options.dests(service(), count)
    observe(f"DESTS {count}", str([e for e in got if any(e)] == whole[:count]))
observe("lengths that do not fit", "\n".join(
    f"{option} of {count}, {more:+}: {options.ask(option, head + struct.pack('=I4x', count) + bytes(max(count * each + more, 0)))[:2]}"
    for option, head, each in (("SERVICES", b"", SERVICE_ENTRY), ("DESTS", name(), DEST_ENTRY), ("DESTS", name(port=97), DEST_ENTRY))
    for count in (0, 1, 3) for more in (-1, 0, 1)))
observe("impossible numbers of entries", "\n".join(
    f"{option} {count}: {options.ask(option, head + struct.pack('=I4x', count) + bytes(200))[:2]}"
    for option, head in (("SERVICES", b""), ("DESTS", name())) for count in (0xFFFFFFFF, 0x80000000, 41297763)))
for option, head, each in (("SERVICES", b"", SERVICE_ENTRY), ("DESTS", name(), DEST_ENTRY)):
    head += struct.pack("=I4x", 2)
    memory[4096 - len(head) - each:4096 - each] = head
    observe(f"{option}, the second beyond the end", str(options.ask(
        option, length=len(head) + 2 * each, address=end - len(head) - each)[:2]))

# --- entries that they hide

ipvs = genl.Family()
for fields in (genl.whole("2001:db8:1::110"), genl.whole(port=84)):
    ipvs.call(genl.command("NEW_SERVICE"), genl.service(**fields))
for to, fields in ((genl.ident(port=84), genl.server("2001:db8:2::11", FWD_METHOD=genl.u32(2), ADDR_FAMILY=genl.u16(genl.V6))),
                   (genl.ident(port=84), genl.server("10.1.1.12")),
                   (genl.ident(port=84), genl.server("2001:db8:2::13", FWD_METHOD=genl.u32(2), ADDR_FAMILY=genl.u16(genl.V6))),
                   (genl.ident("2001:db8:1::110"), genl.server("10.1.1.14", FWD_METHOD=genl.u32(2), ADDR_FAMILY=genl.u16(genl.V4)))):
    ipvs.call(genl.command("NEW_DEST"), genl.service(**to) + genl.real(**fields))
observe("other families are hidden", f"{options.info()[2]}\n" + "\n".join(
    [service_text(e) for e in options.services() if e[8:10] == b"\0\x54"] +
    [dest_text(e) for e in options.dests(service(port=84), 5) if any(e)]))
said = options.set("STARTDAEMON", daemon(1, b"eth0"))
wait_for_daemons()
observe("a daemon with these", said + " " + options.set("STOPDAEMON", daemon(1)))
observe("flush", f"{options.set('FLUSH')} {options.info()[2]} {options.set('FLUSH')} {len(list(genl.services(ipvs)))}")
observe("version after all services", size_hidden(options.ask("VERSION", bytes(64))[2]))
observe("logged", "\n".join(log_since(since, "set_ctl: ") + log_since(since, "length: ")))

# --- timeouts

for values in ((0, 0, 0), (60, 30, 20), (0, 31, 0), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (0x7FFFFFFF // 250, 0, 0),
               (0x7FFFFFFF // 250 + 1, 0, 0), (7, 8, 0x7FFFFFFF), (900, 120, 300)):
    observe(f"timeouts {values}", options.set("TIMEOUT", timeouts(*values)) + " " +
            str(struct.unpack("=iii", options.ask("TIMEOUT", bytes(12))[2])))

# --- privileges

def all_options(who):
    return "\n".join([f"set {n}: {who.set(n, bytes(SET_LENGTH.get(n, 0)))}" for n in SET if n != "ZERO"] +
                     [f"get {n}: {who.ask(n, bytes(GET_LENGTH.get(n, 0)))[:2]}" for n in GET] +
                     [f"beyond: {who.set(BASE + 16)} {who.ask(BASE + 8)[:2]}"])


def in_child(what):
    """Returns the result of `what` from a child process, which may change its user or namespaces."""
    read_end, write_end = os.pipe()
    if os.fork() == 0:
        try:
            os.write(write_end, what().encode())
        except BaseException as e:
            os.write(write_end, f"raised {e!r}".encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end) as f:
        told = f.read()
    os.wait()
    return told


def unprivileged():
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    return "\n".join(["its own socket", all_options(Options(kind=socket.SOCK_DGRAM, protocol=0)),
                      "root's socket", all_options(options)])


def owner():
    """Root of a new user namespace with its own network namespace."""
    os.unshare(os.CLONE_NEWUSER | os.CLONE_NEWNET)
    own = Options(kind=socket.SOCK_DGRAM, protocol=0)
    told = ["root's socket", all_options(options), "its own socket", all_options(own)]
    told += [own.set("ADD", service()), own.set("ADDDEST", service() + dest(flags=3)), own.state()]
    told += [own.set("TIMEOUT", timeouts(5, 5, 5)), own.set("FLUSH"), str(own.info()[2])]
    return "\n".join(told)


options.set("ADD", service())
observe("an unprivileged user", in_child(unprivileged))
observe("root of a user namespace", in_child(owner))
for family, kind, protocol in ((socket.AF_INET, socket.SOCK_STREAM, 0), (socket.AF_INET, socket.SOCK_DGRAM, 0),
                               (socket.AF_INET6, socket.SOCK_DGRAM, 0), (socket.AF_INET6, socket.SOCK_STREAM, 0),
                               (socket.AF_UNIX, socket.SOCK_DGRAM, 0)):
    other = Options(family, kind, protocol)
    observe(f"a socket {family.name} {kind.name}", str(other.ask("INFO", bytes(12))[:2]) + " " + other.set("TIMEOUT", timeouts()))
    other.sock.close()
enter("other")
elsewhere = Options()
observe("another namespace", f"{elsewhere.info()[2]} {elsewhere.set('DEL', service())} {elsewhere.set('FLUSH')} "
        f"{struct.unpack('=iii', elsewhere.ask('TIMEOUT', bytes(12))[2])}")
enter("director")
observe("final state", options.state())

# --- counters of real traffic

options.set("ADD", service(protocol=17))
options.set("ADDDEST", service(protocol=17) + dest())
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("10.1.1.11", 80))
server.settimeout(20)
enter("client")
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(20)
enter("director")
client.connect(("192.168.1.110", 80))
for size in (10, 100, 1000):
    client.send(bytes(size))
    _, peer = server.recvfrom(2000)
    server.sendto(bytes(size + 1), peer)
    client.recv(2000)


def counts(entry):
    return struct.unpack_from("=IIIIQQ", entry)


wait_for("three packets", lambda: counts(options.services()[-1][48:])[1] + counts(options.services()[0][48:])[1] >= 3)
# C shows a copy that is up to two seconds old.
wait_for("three packets of the dest", lambda: counts(options.dests(service(protocol=17))[0][40:])[2] >= 3)
observe("after three requests", options.state())
observe("zero another", options.set("ZERO", service()))
observe("not zeroed", options.state())
observe("zero", options.set("ZERO", service(protocol=17)))
observe("zeroed", options.state())
client.close()
server.close()
options.set("FLUSH")

# --- a long table in one call

for port in range(1, 501):
    options.set("ADD", service(port=port))
for n in range(300):
    options.set("ADDDEST", service(port=1) + dest(f"10.2.{n >> 8}.{n & 255}"))
ports = [struct.unpack_from("!H", e, 8)[0] for e in options.services()]
observe("500 services", f"{len(ports)} {sorted(ports) == list(range(1, 501))}")
addresses = [socket.inet_ntoa(e[:4]) for e in options.dests(next(e for e in options.services() if e[8:10] == b"\0\1"))]
observe("300 dests, newest first", f"{len(addresses)} {addresses == [f'10.2.{n >> 8}.{n & 255}' for n in range(299, -1, -1)]}")
options.set("FLUSH")

# --- the module cannot be unloaded while a thread is in it, here in a page fault

PAGE = 4096


def somebody_in_it(faults):
    """Blocks a thread in a call by a page fault that the userfaultfd `faults` handles."""
    def ioctl(number, *words):
        data = ctypes.create_string_buffer(struct.pack(f"={len(words)}Q", *words))
        expect("ioctl", 0, libc.ioctl(faults, ctypes.c_ulong(number), data))

    lazy = mmap.mmap(-1, PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    where = ctypes.addressof(ctypes.c_char.from_buffer(lazy))
    ioctl(0xC018AA3F, 0xAA, 0, 0)  # UFFDIO_API
    ioctl(0xC020AA00, where, PAGE, 1, 0)  # UFFDIO_REGISTER: missing pages
    answers = []
    waiter = threading.Thread(target=lambda: answers.append(options.ask("INFO", length=12, address=where)[:2]), daemon=True)
    waiter.start()
    ready, _, _ = select.select([faults], [], [], 20)
    expect("the thread waits", [faults], ready)
    wait_for("one reference, of the waiting thread", lambda: module_uses() == 1, instead=module_uses)
    if subprocess.run(["rmmod", "ip_vs"], capture_output=True).returncode == 0:
        fail("the module was unloaded while in use")
    ioctl(0xC020AA04, where, PAGE, 0, 0)  # UFFDIO_ZEROPAGE
    waiter.join(20)
    wait_for("no reference after the call", lambda: module_uses() == 0, instead=module_uses)
    observe("the blocked call", str(answers))


userfaultfd = libc.syscall(323, os.O_CLOEXEC)
if userfaultfd >= 0:
    somebody_in_it(userfaultfd)
elif DEBUG:
    say("this kernel has no userfaultfd")
else:
    fail("no userfaultfd")

# --- ipvsadm without netlink


def forbid_netlink():
    """Makes socket(AF_NETLINK, …, NETLINK_GENERIC) fail from now on, by seccomp."""
    load, equal, answer = 0x20, 0x15, 0x06
    program = [(load, 0, 0, 0), (equal, 0, 5, 41),  # socket()
               (load, 0, 0, 16), (equal, 0, 3, socket.AF_NETLINK),
               (load, 0, 0, 32), (equal, 0, 1, genl.NETLINK_GENERIC),
               (answer, 0, 0, 0x00050000 | errno.EPROTONOSUPPORT),
               (answer, 0, 0, 0x7FFF0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    filters = ctypes.create_string_buffer(struct.pack("=H6xQ", len(program), ctypes.addressof(code)))
    if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, filters, 0, 0):
        os._exit(99)


def ipvsadm(*words, said=None):
    done = subprocess.run(["ipvsadm", *words], input=said, capture_output=True, text=True, preexec_fn=forbid_netlink)
    wait_for_daemons()
    return re.sub(r"size=[0-9]+", "size=N", f"status {done.returncode}\n{done.stdout}{done.stderr}").rstrip("\n")


def show(line, said=None):
    observe(f"ipvsadm {line}", ipvsadm(*line.split(), said=said))


if in_child(lambda: (forbid_netlink(), genl.Family())[0] or "a family").find("EPROTONOSUPPORT") < 0 and not in_child(
        lambda: (forbid_netlink(), str(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 16)))[1]).startswith("raised"):
    fail("netlink is still usable")

for line in """
-Ln
-A -t 192.168.1.110:80 -s rr
-A -t 192.168.1.110:80 -s rr
-A -u 192.168.1.110:80 -s wlc -p 300 -M 255.255.255.0
-A -u 192.168.1.110:53 -s rr -o
-A -f 7 -s sh -b sh-port
-A -t [2001:db8:1::110]:80 -s rr
-A -t 192.168.1.110:81 -s nosuch
-a -t 192.168.1.110:80 -r 10.1.1.11:80 -m -w 3 -x 9 -y 4
-a -t 192.168.1.110:80 -r 10.1.1.11:80 -m
-a -t 192.168.1.110:80 -r 10.1.1.12 -g
-a -t 192.168.1.110:80 -r 10.1.1.13 -i
-a -t 192.168.1.110:80 -r 10.1.1.14 -i --tun-type gue --tun-port 6080
-a -t 192.168.1.110:80 -r 224.0.0.1 -m
-a -u 192.168.1.110:80 -r 10.1.1.12:8080 -m
-a -f 7 -r 10.1.1.12 -g -w 0
-a -t 192.168.1.110:97 -r 10.1.1.12 -g
-Ln --sort
-Sn
-Ln -t 192.168.1.110:80
-Ln -f 7
-Ln -t 192.168.1.110:97
-Ln --thresholds --sort
-Ln --persistent-conn --sort
-Ln --stats --sort
-Ln --exact --stats --sort
-Ln --daemon
-Ln --timeout
-E -t 192.168.1.110:80 -s wrr -p
-E -t 192.168.1.110:97 -s wrr
-e -t 192.168.1.110:80 -r 10.1.1.12 -g -w 9
-e -t 192.168.1.110:80 -r 10.1.1.99 -g -w 9
-Z -t 192.168.1.110:80
-Z -t 192.168.1.110:97
-Z
--set 60 30 20
-Ln --timeout
--set 0 0 9999999
--start-daemon master --mcast-interface eth0
--start-daemon master --mcast-interface eth0
--start-daemon backup --mcast-interface eth0 --syncid 7
--start-daemon backup --mcast-interface nosuch
--start-daemon master
-L --daemon
--stop-daemon master
--stop-daemon master
-L --daemon
--stop-daemon backup
-L --daemon
-d -t 192.168.1.110:80 -r 10.1.1.13
-d -t 192.168.1.110:80 -r 10.1.1.13
-D -f 7
-D -f 7
-Ln --sort
""".strip().split("\n"):
    show(line)
saved = ipvsadm("-Sn").split("\n", 1)[1]
show("-C")
show("-Ln")
show("-R", saved)
expect("restored", saved, ipvsadm("-Sn").split("\n", 1)[1])
observe("/proc/net/ip_vs_stats", str(len(open("/proc/net/ip_vs_stats").readlines())))
say(ipvsadm("-C"))
