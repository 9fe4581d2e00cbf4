"""Estimation of rates: a thread in each namespace with services, controlled by
run_estimation, est_nice and est_cpulist; and rates without that thread."""
# Covers: src/estimator src/stats
# Needs: two CPUs

import os
import socket
import time

from case import SLOW, enter, expect, netns, observe, run, settled
from genl import *

VIP, RIP = "192.168.1.110", "10.1.1.11"


def threads():
    """Returns a line for each estimator thread: number in its namespace, nice value and CPUs."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as stat, open(f"/proc/{pid}/status") as status:
                name, rest = stat.read().split("(", 1)[1].rsplit(")", 1)
                cpus = next(line.split()[1] for line in status if line.startswith("Cpus_allowed_list:"))
        except (FileNotFoundError, ProcessLookupError):
            continue
        if name.startswith("ipvs-e:"):
            found.append(f"{name.split(':')[2]}: nice {rest.split()[16]}, CPUs {cpus}")
    return "\n".join(sorted(found)) or "none"


def observe_threads(label):
    """Waits until the threads are stable: C starts and stops them asynchronously."""
    observe(label, settled(threads, 0.8 * SLOW))


def setting(name, value):
    try:
        with open(f"/proc/sys/net/ipv4/vs/{name}", "w") as file:
            file.write(f"{value}\n")
        said = "ok"
    except OSError as e:
        said = e.strerror
    observe_threads(f"{name}={value}: {said}")


def service_there(there):
    run(f"ipvsadm -A -u {VIP}:80 -s rr && ipvsadm -a -u {VIP}:80 -r {RIP}:80 -m" if there else "ipvsadm -C")


def rate():
    with open("/proc/thread-self/net/ip_vs_stats") as f:
        return int(f.read().split("\n")[5].split()[1], 16)


def traffic():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(100):
            client.sendto(b"x", (VIP, 80))


def rates_come():
    deadline = time.monotonic() + 30 * SLOW
    while time.monotonic() < deadline:
        traffic()
        if rate():
            return True
        time.sleep(0.2)
    return False


netns("director", "other")
for name in ("director", "other"):
    enter(name)
    run(f"ip addr add {VIP}/32 dev lo && ip addr add {RIP}/32 dev lo")
enter("director")
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind((RIP, 80))
observe_threads("no service")
service_there(True)
observe_threads("a service")
expect("rates appear", True, rates_come())
for nice in (7, -20, 20):
    setting("est_nice", nice)
for cpus in ("1", "9", "x"):
    setting("est_cpulist", cpus)
run("ipvsadm -Z")
setting("est_cpulist", "")
traffic()
time.sleep(4)
expect("rates without any CPU", 0, rate())
setting("est_cpulist", "0-1")
expect("rates appear again", True, rates_come())
setting("run_estimation", 0)
run("ipvsadm -Z")
traffic()
time.sleep(4)
expect("rates with run_estimation=0", 0, rate())
setting("est_nice", 3)
setting("est_cpulist", "1")
setting("run_estimation", 1)
expect("rates appear again", True, rates_come())
enter("other")
observe_threads("another namespace")
service_there(True)
observe_threads("another namespace, with a service")
setting("est_nice", 5)
service_there(False)
observe_threads("its service is deleted")
setting("run_estimation", 0)
setting("run_estimation", 1)
held = os.open("/proc/sys/net/ipv4/vs/run_estimation", os.O_RDWR)
enter("director")
run("ip netns del other")
observe_threads("that namespace is deleted")
for act in (lambda: os.pread(held, 10, 0), lambda: os.pwrite(held, b"0\n", 0)):
    try:
        observe("a file of it", str(act()))
    except OSError as e:
        observe("a file of it", e.strerror)
os.close(held)
service_there(False)
observe_threads("no service again")
