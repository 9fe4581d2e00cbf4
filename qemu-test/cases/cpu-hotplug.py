"""Counters of a CPU that came online after the module was loaded, while it is online and after it has
gone offline."""
# Covers: src/stats rust-out-of-tree/sync/percpu
# Needs: two CPUs

import os
import socket
import subprocess
import time

from case import enter, expect, fail, netns, observe, run, wait_for

VIP, RIP, CPU = "192.168.1.110", "10.1.1.11", "/sys/devices/system/cpu/cpu1/online"
OURS = os.environ["MODULE"] == "rust"


def online(there):
    with open(CPU, "w") as file:
        file.write("1" if there else "0")


def send_on(cpu, packets):
    os.sched_setaffinity(0, {cpu})
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        for _ in range(packets):
            client.sendto(b"x", (VIP, 80))


def figures(label):
    # C's counters are up to two seconds old.
    time.sleep(0 if OURS else 2.5)
    with open("/proc/thread-self/net/ip_vs_stats") as file:
        lines = file.read().split("\n")
    observe(f"{label}: of all services", lines[2])
    observe(f"{label}: of the service", os.popen(f"ipvsadm -Ln --stats --exact -u {VIP}:80").read())
    return int(lines[2].split()[1], 16)


def lines_per_cpu():
    with open("/proc/thread-self/net/ip_vs_stats_percpu") as file:
        return file.read().count("\n")


if not os.path.exists(CPU):
    fail("no second CPU that can be taken offline")
# The namespaces of earlier cases are destroyed asynchronously, with their services.
netns("director")
wait_for("the module to be unloaded", lambda: subprocess.run(["bash", "-c", ". ./lib.sh; unload"], check=False).returncode == 0)
online(False)
run("modprobe ip_vs")
enter("director")
run(f"ip addr add {VIP}/32 dev lo && ip addr add {RIP}/32 dev lo")
run(f"ipvsadm -A -u {VIP}:80 -s rr && ipvsadm -a -u {VIP}:80 -r {RIP}:80 -m")
send_on(0, 10)
expect("packets", 10, figures("one CPU"))
online(True)
send_on(1, 100)
expect("packets", 110, figures("two CPUs"))
observe("lines of ip_vs_stats_percpu", str(lines_per_cpu()))
os.sched_setaffinity(0, {0, 1})
online(False)
expect("packets", 110, figures("one CPU again"))
run("ipvsadm -Z")
send_on(0, 1)
expect("packets", 1, figures("zeroed"))
online(True)
