"""Full resync: a director whose daemon starts gets all conns of the others, so that nothing is lost when it takes over.
C has no resync: there the case shows that C's daemons ignore the requests, and add the conns of an answer as others."""
# Covers: src/sync src/conn/sync src/netns
# Needs: a fast kernel

import resource
import struct
import time

import agent
import sync_lab as lab
from case import DEBUG, SLOW, configure, expect, fail, observe, say, settled, wait_for
from sync_lab import OURS, REALS, conn, conns, end, message, proc, service, settings, start, stop, tell
from topology import VIP, cable, inside, settle

resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
REQUEST, PART, LAST = 1, 2, 3
HELD = 100 if DEBUG else 1000
MANY = 10_000 if DEBUG else 100_000


def noticed(kind, *conns, request=1, answer=2, total=0, number=0):
    """Returns a message with a notice."""
    notice = struct.pack("!4sB3xIIII", b"rsyn", kind, request, answer, total, number)
    return message(*conns, notice, count=len(conns))


def idle(seconds):
    return struct.pack("!BBI", 0x61, 4, seconds * 1000)



def count(machine):
    with inside(machine), open("/proc/thread-self/net/ip_vs_conn") as f:
        return sum(1 for _ in f) - 1


def reboot(machine, number):
    """The machine loses everything and is back without services and floating addresses."""
    configure("client", [f"ip netns del {machine}", f"ip netns add {machine}"])
    for i, switch in enumerate(("outside", "lan", "wire")):
        configure(switch, [cable(machine, f"{machine}:eth{i}"), f"ip link set {machine} master br0 up"])
    configure(machine, lab.director(number))
    settle()


def services(*machines):
    for v6 in (False, True):
        service(f"-t {end(VIP[v6], 80)}", *(end(real[v6], 80) for real in REALS), machines=machines)
    service(f"-u {end(VIP[0], 81)}", end(REALS[0][0], 81), scheduler="rr -p 600", machines=machines)


def same(one, other):
    """Whether two machines have the same conns, whatever their origins."""
    of = lambda machine: sorted(" ".join(fields[:8]) for fields in proc(machine))
    return of(one) == of(other)


def wait_for_same(what):
    wait_for(what, lambda: same("director", "backup"), instead=lambda: f"{conns('director')}\non the backup:\n{conns('backup')}")


def used(name, number):
    """Makes a request on each of the held connections, and returns how many were answered."""
    return sum(agent.use(f"{name}{i}") == f"rs{3 - (i - 1) % 3}" for i in range(1, number + 1))


def close():
    """Closes the held connections, and lets the servers do the same."""
    agent.close("*")
    settled(lambda: len(agent.servers.selector.get_map()), SLOW)


# --- requests and answers, as a backup of either module handles them

lab.lay_out()
services("backup")
start("backup", "backup")
tell(noticed(REQUEST), noticed(REQUEST, request=77))
tell(noticed(PART, conn(cport=1, params=idle(5)), conn(cport=2, client=lab.GC[1], service=VIP[1], dest=REALS[0][1], params=idle(9))),
     noticed(LAST, conn(cport=3, state=4, params=idle(0)), number=1))
lab.wait_for_conn("backup", 3)
observe("the conns of an answer", conns("backup"))
stop("backup", "backup")

# --- a backup that starts when the connections are there

lab.lay_out()
services(*lab.DIRECTORS)
settings(sync_threshold="0 1")
start("director", "master")
for v6 in (False, True):
    expect("held", " ".join(["rs3 rs2 rs1"] * 10), agent.hold("client", f"cold{v6}", "tcp", VIP[v6], 80, 30))
agent.get("client", "udp", VIP[0], 81, 3)
if OURS:
    start("backup", "backup")
    wait_for_same("the conns of the master")
    times = [{tuple(fields[:7]): int(fields[9]) for fields in proc(machine)} for machine in lab.DIRECTORS]
    late = {key: (times[0][key], times[1].get(key)) for key in times[0] if abs(times[0][key] - times[1].get(key, 0)) > 5 * SLOW}
    expect("conns with another remaining time", {}, late)
    # The backup is cut off, and connections begin meanwhile.
    configure("wire", ["ip link set backup down"])
    agent.hold("client", "cut", "tcp", VIP[0], 80, 30)
    time.sleep(14)  # after 10 s, and when the master has sent these conns
    configure("wire", ["ip link set backup up"])
    settle()
    wait_for("the conns of the master", lambda: agent.use("cut1") and same("director", "backup"), instead=lambda: conns("backup"))
    lab.move()
    for name in ("coldFalse", "coldTrue", "cut"):
        expect("after the move", 30, used(name, 30))
    stop("backup", "backup")
stop("director", "master")
close()

# --- failover and failback with preemption

lab.lay_out()
services(*lab.DIRECTORS)
for machine in lab.DIRECTORS:
    settings(machine, sync_threshold="0 1")
start("director", "master")
start("backup", "backup")
agent.hold("client", "kept", "tcp", VIP[0], 80, HELD)
wait_for("all conns", lambda: len(proc("backup")) >= HELD, instead=lambda: len(proc("backup")))
stop("director", "master")
reboot("director", 2)
stop("backup", "backup")
lab.take("backup")
for machine in ("client", "rs1", "rs2", "rs3"):
    configure(machine, ["ip neigh flush all"])
start("backup", "master")
observe("failover", f"{used('kept', HELD)} of {HELD} answered")
services("director")
settings("director", sync_threshold="0 1")
start("director", "backup")
if OURS:
    began = time.monotonic()
    wait_for("all conns", lambda: count("director") >= HELD, instead=lambda: count("director"))
    say(f"failback: all conns after {time.monotonic() - began:.1f} s")
else:
    time.sleep(3.6)  # the time after which keepalived preempts
stop("director", "backup")
start("director", "master")
stop("backup", "master")
start("backup", "backup")
configure("backup", [f"ip addr del {address.split()[0]} dev {name}" for address, name in lab.FLOATING])
lab.take("director")
for machine in ("client", "rs1", "rs2", "rs3"):
    configure(machine, ["ip neigh flush all"])
if OURS:
    expect("failback: answered", HELD, used("kept", HELD))
else:
    say(f"failback: the new master has {count('director')} conns of {HELD}")
close()
for machine, role in zip(lab.DIRECTORS, ("master", "backup")):
    stop(machine, role)

if not OURS:
    agent.reset()
    raise SystemExit

# --- a backup answers a master; many conns; the rate; newer conns stay

lab.lay_out()
services(*lab.DIRECTORS)
start("director", "backup")
made = 0
for client in range(MANY // 10_000):
    for first in range(0, 10_000, 40):
        tell(message(*(conn(client=f"198.51.100.{client + 1}", cport=1 + first + i, timeout=900) for i in range(40))))
    wait_for("the conns", lambda: count("director") >= 10_000 * (client + 1), instead=lambda: count("director"))
watcher = lab.Watcher()
began = time.monotonic()
start("backup", "master")
expect("meanwhile", " ".join(["rs3 rs2 rs1"] * 10), agent.get("client", "tcp", VIP[0], 80, 30))
wait_for("all conns", lambda: count("backup") >= MANY, patience=120 * SLOW, instead=lambda: count("backup"))
say(f"{MANY} conns within {time.monotonic() - began:.1f} s")
stop("backup", "master")
notices = [lab.notice(data) for data, _ in watcher.messages()]
say(f"{len(notices)} messages")

# A conn that is in use is not set back, an older one is updated.
start("backup", "backup")
tell(message(conn(client="198.51.100.200", cport=7, state=1, timeout=900)))
lab.wait_for_conn("backup", 7)
tell(noticed(LAST, conn(client="198.51.100.200", cport=7, state=4, timeout=900, params=idle(300))),
     message(conn(client="198.51.100.200", cport=8, state=1, timeout=900)))
lab.wait_for_conn("backup", 8)
state = lambda: [fields[7] for fields in proc("backup") if fields[:3] == ["TCP", "C63364C8", "0007"]]
expect("after an older state", ["ESTABLISHED"], state())
wait_for("a newer state", lambda: tell(noticed(LAST, conn(client="198.51.100.200", cport=7, state=4, timeout=900, params=idle(0)))) or
         state() == ["FIN_WAIT"], instead=state)

# --- forged requests, and settings

configure("director", ["ipvsadm -C"])
stop("backup", "backup")
stop("director", "backup")
lab.lay_out()
start("director", "backup")
tell(*(message(*(conn(client="198.51.100.1", cport=1 + first + i, timeout=900) for i in range(40))) for first in (0, 40, 80)))
wait_for("the conns", lambda: count("director") == 120, instead=lambda: count("director"))
watcher = lab.Watcher()


def answers():
    """Returns the numbers of the requests that were answered, once there are no more answers."""
    seen = []

    def look():
        seen.extend(lab.notice(data) for data, _ in watcher.messages())
        return len(seen)
    settled(look, 3 * SLOW)
    return [found[1] for found in seen if found and found[0] == LAST]


settings(sync_resync=0)
tell(noticed(REQUEST, request=100))
expect("answers, sync_resync 0", [], answers())
settings(sync_resync=1)
for request in range(101, 121):
    tell(noticed(REQUEST, request=request))
    time.sleep(0.3)
number = len(answers())
say(f"20 requests, {number} answers")
if not 1 <= number <= 5:
    fail(f"{number} answers")
settings("backup", sync_resync=0)
start("backup", "backup")
expect("requests, sync_resync 0", 0, count("backup"))
for machine in lab.DIRECTORS:
    stop(machine, "backup")
agent.reset()
