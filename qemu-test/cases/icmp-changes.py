"""An ICMP error in memory that its sender modifies after sending: pages of a file, which a socket sends without a
copy, and which a UDP tunnel delivers to the director. One CPU sends errors about a tunnel's packets while another
alternates type and code, with the matching checksum. The type and code relayed to the client must be those checked."""
# Covers: src/hook/icmp
# Needs: two CPUs

import mmap
import os
import signal
import socket
import struct
import time

import packet
from case import SLOW, enter, expect, fail, observe, say, wait_for
from topology import build, cable, interface

CLIENT, VIP, DIRECTOR, SERVER, ROUTER = "192.168.1.254", "192.168.1.110", "10.1.1.1", "10.1.1.99", "10.1.1.77"
# (type, code) of errors; only the first is relayed.
UNREACHABLE, PARAMETER_PROBLEM, UNKNOWN = (3, 1), (12, 2), (200, 9)
RACED = 1000  # the least number of packets whose type changed while they were sent
# So long that its checksum takes longer than a change.
LENGTH, MTU = 60000, 65000
TUNNEL = 5555  # a UDP port of the director
SO_NO_CHECK = 11
ICMP = 20  # offset of the ICMP header in the file


def error(kind):
    request = packet.ip(CLIENT, VIP, packet.udp(5000, 80, bytes(LENGTH)), ttl=63)
    return packet.ip(ROUTER, DIRECTOR, packet.icmp(*kind, packet.ip(DIRECTOR, SERVER, packet.inside(request))))


def flipping(other):
    """Starts a process on the other CPU that alternates type, code and checksum, and counts the changes."""
    one, two = (struct.unpack_from("=I", error(kind), ICMP)[0] for kind in (UNREACHABLE, other))
    child = os.fork()
    if child == 0:
        os.sched_setaffinity(0, {cpus[1]})
        turn, at = 0, ICMP // 4
        while True:
            words[at] = one
            words[at] = two
            turn = turn + 1 & 0xFFFFFFFF
            words[-1] = turn
    return child


def kinds_relayed(other):
    """Returns the (type, code) of the errors that reach the client."""
    seen, raced, sent = {}, 0, 0
    child = flipping(other)
    try:
        deadline = time.monotonic() + 100 * SLOW
        while raced < RACED or UNREACHABLE not in seen:
            if time.monotonic() > deadline:
                fail(f"{raced} of {sent} packets raced, relayed: {seen}")
            for _ in range(50):
                turn = words[-1]
                os.sendfile(sender.fileno(), file, 0, len(whole))
                raced += words[-1] != turn
                sent += 1
            try:
                while True:
                    data = arriving.recv(100)
                    if data[9] == socket.IPPROTO_ICMP and data[12:16] == packet.address(VIP):
                        kind = data[20], data[21]
                        seen[kind] = seen.get(kind, 0) + 1
            except BlockingIOError:
                pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    say(f"{raced} of {sent} packets raced, relayed: {seen}")
    return sorted(seen)


cpus = sorted(os.sched_getaffinity(0))
expect("at least two CPUs", True, len(cpus) >= 2)
build({
    "client": [cable("eth0", "director:eth0"), f"ip link set eth0 mtu {MTU}", *interface("eth0", f"{CLIENT}/24")],
    "router": [cable("eth0", "director:eth1"), f"ip link set eth0 mtu {MTU}", *interface("eth0", f"{ROUTER}/24")],
    "director": [
        "sysctl -w net.ipv4.ip_forward=1 net.ipv4.icmp_ratemask=0",  # no rate limit of errors
        f"ip link set eth0 mtu {MTU}", *interface("eth0", f"{VIP}/24"),
        f"ip link set eth1 mtu {MTU}", *interface("eth1", f"{DIRECTOR}/24"),
        f"ip neigh add {SERVER} lladdr 02:00:00:00:00:99 dev eth1", "ip link set tunl0 up",
        f"modprobe fou && ip fou add port {TUNNEL} ipproto 4",
        f"ipvsadm -A -u {VIP}:80 -s rr", f"ipvsadm -a -u {VIP}:80 -r {SERVER} -i"],
})

enter("client")
arriving = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
arriving.bind(("eth0", 0x0800))
arriving.setblocking(False)
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.bind((CLIENT, 5000))
client.sendto(b"question", (VIP, 80))


def connections():
    with open("/proc/thread-self/net/ip_vs_conn") as f:
        return len(f.readlines()) - 1


enter("director")
wait_for("the connection", lambda: connections() == 1)

enter("router")
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
# Without the outer UDP checksum, from which the kernel would derive the inner one.
sender.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)
sender.connect((DIRECTOR, TUNNEL))
whole = error(UNREACHABLE)
file = os.memfd_create("error")
os.write(file, whole)
os.truncate(file, 1 << 16)
words = memoryview(mmap.mmap(file, 0)).cast("I")
os.sched_setaffinity(0, {cpus[0]})
for other in (PARAMETER_PROBLEM, UNKNOWN):
    expect(f"relayed, of {UNREACHABLE} and {other}", [UNREACHABLE], kinds_relayed(other))
observe("all errors", "done")
