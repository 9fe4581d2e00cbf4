"""Rates: after a burst of packets within one period of the estimator, first requests and
then replies, the sequence of rates must be C's, for the dest, the service and the netns."""
# Covers: src/estimator src/stats
# Needs: a fast kernel

import socket
import struct
import subprocess
import time

import options

from case import DEBUG, enter, expect, fail, netns, observe, run, say
from genl import *

VIP, RIP, CLIENTS = "192.168.1.110", "10.1.1.11", 100
# The number of packets; they fit between two estimations.
BURST = 200 if DEBUG else 1000
RATES = ("CPS", "INPPS", "OUTPPS", "INBPS", "OUTBPS")
NAMES = ("dest", "service", "namespace")

netns("director")
enter("director")
run(f"ip addr add {VIP}/32 dev lo && ip addr add {RIP}/32 dev lo")
run(f"ipvsadm -A -u {VIP}:80 -s rr && ipvsadm -a -u {VIP}:80 -r {RIP}:80 -m")
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((RIP, 80))
ipvs = Family()


def nested(data, kind, names):
    body = next(value for number, value in attributes(data) if number & 0x3FFF == names.index(kind))
    return {names_of(number, STATS): int.from_bytes(value, "little") for number, value in attributes(body)}


def names_of(number, names):
    return names[number & 0x3FFF]


def namespace():
    with open("/proc/thread-self/net/ip_vs_stats") as f:
        return dict(zip(RATES, (int(word, 16) for word in f.read().split("\n")[5].split())))


def rates():
    """Returns the rates of the dest, the service and the namespace, each as a tuple."""
    (entry, server), = services(ipvs)
    shown = []
    for data, names in ((server, DEST), (entry, SVC)):
        (_, body), = attributes(data)
        of64, of32 = (nested(body, kind, names) for kind in ("STATS64", "STATS"))
        expect("32 bits and 64", of32, of64)
        shown.append(tuple(of64[r] for r in RATES))
    total = namespace()
    return shown + [tuple(total[r] for r in RATES)]


clients = []


def requests():
    """Sends requests from new clients; returns the seconds it took."""
    clients[:] = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(CLIENTS)]
    start = time.monotonic()
    for i in range(BURST):
        clients[i % CLIENTS].sendto(b"x" * 32, (VIP, 80))
    return time.monotonic() - start


def replies():
    """Sends as many replies to the existing clients; returns the seconds it took."""
    start = time.monotonic()
    for i in range(BURST):
        server.sendto(b"y" * 64, asked[i % CLIENTS])
    return time.monotonic() - start


def watch(periods):
    """Returns the changes of rates for each of the three, as (time, rates)."""
    seen = [[], [], []]
    end = time.monotonic() + 2 * periods + 6
    while time.monotonic() < end and any(len(s) < periods for s in seen):
        now = rates()
        for series, rate in zip(seen, now):
            if rate != (series[-1][1] if series else (0,) * 5):
                series.append((time.monotonic(), rate))
        time.sleep(0.02)
    return seen


def wait_for_gap(times, length):
    """Waits until no estimation is due for `length` seconds; one runs every two seconds."""
    for _ in range(400):
        phases = [(when - time.monotonic()) % 2 for when in times]
        if min(phases) > length and max(phases) < 1.9:
            return
        time.sleep(0.01)
    fail(f"no gap of {length} s between the estimations")


def play(burst, times, took, packets):
    """Observes the rates after a burst between two estimations; `packets` is the rate that
    counts its packets. Returns the times of the last estimations."""
    for attempt in range(4):
        run("ipvsadm -Z")
        expect("rates are zeroed", [(0,) * 5] * 3, rates())
        wait_for_gap(times, 1.5 * took + 0.1)
        burst()
        seen = watch(4)
        first = [series[0][1][RATES.index(packets)] if series else 0 for series in seen]
        times = [series[-1][0] for series in seen if series]
        if first == [BURST // 8] * 3:
            break
        say(f"an estimation ran during the burst: {first}")
    for name, series in zip(NAMES, seen):
        expect(f"changes of the rates of the {name}", True, len(series) >= 4)
        observe(f"{burst.__name__}, rates of the {name}: {' '.join(RATES)}", "\n".join(str(rate) for _, rate in series[:4]))
    return times


took = requests()
say(f"a burst takes {took:.2f} s")
times = [series[-1][0] for series in watch(1) if series]
expect("series of rates", 3, len(times))
times = play(requests, times, took, "INPPS")
# Empty the receive buffer for the next requests.
server.setblocking(False)
try:
    while server.recv(64):
        pass
except BlockingIOError:
    server.settimeout(5)
for client in clients:
    client.sendto(b"ask", (VIP, 80))
asked = [server.recvfrom(64)[1] for _ in clients]
# C's -Z only zeroes the counts that its estimator has copied, so the estimator must be up to date.
times = [series[-1][0] for series in watch(3)]
play(replies, times, 1.5 * took, "OUTPPS")


def shown(option):
    """Returns the service's figures in ipvsadm's listing."""
    text = subprocess.run(["ipvsadm", "-Ln", option, "--exact"], capture_output=True, text=True, check=True).stdout
    return [int(word) for word in text.split("UDP", 1)[1].split()[1:6]]


for _ in range(100):
    before = rates()
    by_netlink = shown("--rate")
    by_option = struct.unpack_from("=5I", options.Options().services()[0], 48 + 32)
    if before == rates():
        break
else:
    fail("the rates kept changing")
expect("ipvsadm --rate", list(before[1]), by_netlink)
expect("the socket option's rates", before[1], by_option)
with open("/proc/thread-self/net/ip_vs_stats_percpu") as percpu, open("/proc/thread-self/net/ip_vs_stats") as stats:
    expect("rates in both files", stats.read().split("\n")[5].split(), percpu.read().split("\n")[-2].split())
