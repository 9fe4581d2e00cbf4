"""The device of a running sync daemon goes down, comes back, is deleted, is created again, or moves to another network
namespace; a namespace is deleted while its daemons run. Listings, errors, threads, log and messages must be C's."""
# Covers: src/sync src/ctl/daemon src/pernet rust-out-of-tree/net/socket rust-out-of-tree/kthread

import subprocess

import agent
import options
import sync_lab as lab
from case import configure, observe, say, wait_for
from sync_lab import DIRECTORS, GROUPS, datagrams, end, proc, service, settings, stop, without_resync
from topology import VIP, cable, inside, interface

port = 10000
ROLES = {"master": ["master"], "backup": ["backup"], "both": ["master", "backup"]}


def attempt(machine, arguments):
    """Returns the output of ipvsadm."""
    say(f"[{machine}] ipvsadm {arguments}")
    with inside(machine):
        done = subprocess.run(["ipvsadm", *arguments.split()], capture_output=True, text=True, check=False)
    options.wait_for_daemons()
    return (done.stdout + done.stderr).strip() or f"exit {done.returncode}"


def start(machine, role, group):
    return f"{role}: " + attempt(machine, f"--start-daemon {role} --mcast-interface eth2 --syncid 7 --mcast-group {group}")


def running(machine="director"):
    return "\n".join([attempt(machine, "-L --daemon"), lab.threads(), f"uses {options.module_uses():+}"])


def logged(*words):
    """The different lines that the daemons logged."""
    return "\n".join(sorted({line for word in words for line in options.log_since(mark, word)}))


def conn():
    """Makes a conn on the director and returns its client's port."""
    global port
    port += 1
    datagrams(port, 6)
    return port


def has(machine, number):
    return any(int(fields[2], 16) == number for fields in proc(machine))


def device(machine, number):
    configure(machine, [cable("eth2", f"wire:{machine}"),
                        *interface("eth2", f"172.16.0.{number}/24", f"2001:db8:9::{number}/64 nodad")])
    configure("wire", [f"ip link set {machine} master br0 up"])
    agent.settle()


def begin(group):
    """New machines, with a service on the director."""
    global mark
    lab.lay_out()
    service(f"-u {end(VIP[0], 53)}", end(lab.GS[0], 53))
    settings("director", sync_threshold="3 10")
    without_resync(*DIRECTORS)
    mark = options.mark(f"daemon-devices: {port} {group}")


def sent():
    """Waits until a conn has arrived on the backup. Messages may be lost while devices come up: several are made."""
    made = []

    def arrived():
        if len(made) < 100:
            made.append(conn())
        return any(has("backup", number) for number in made)

    wait_for("a conn on the other director", arrived, instead=lambda: lab.conns("backup"))


agent.reset()
for group in GROUPS:
    # --- down and up

    begin(group)
    observe(f"{group}: start", " ".join([start("director", "master", group), start("backup", "backup", group)]))
    sent()
    for machine in DIRECTORS:
        configure(machine, ["ip link set eth2 down"])
    conn()
    observe(f"{group}: down", running() + "\n" + running("backup"))
    for machine, number in (("director", 2), ("backup", 3)):
        # The IPv6 address went with the link.
        configure(machine, ["ip link set eth2 up", f"ip addr replace 2001:db8:9::{number}/64 dev eth2 nodad"])
    agent.settle()
    sent()
    observe(f"{group}: up", running() + "\n" + running("backup"))

    # --- deleted: the backup's, then the master's

    configure("backup", ["ip link del eth2"])
    observe(f"{group}: the backup's device is deleted", running("backup"))
    device("backup", 3)
    watcher = lab.Watcher()
    lost = conn()
    watcher.until(lambda conn: conn["cport"] == lost)
    observe(f"{group}: it is created again", running("backup") + "\n" + start("backup", "backup", group))
    stop("backup", "backup")
    observe(f"{group}: started again", start("backup", "backup", group))
    sent()
    observe(f"{group}: what was sent meanwhile", f"{has('backup', lost)}")
    configure("director", ["ip link del eth2"])
    observe(f"{group}: the master's device is deleted", running())
    conn()
    error = "ip_vs_send_async error"
    wait_for("an error", lambda: logged(error), instead=lambda: logged("sync"))
    observe(f"{group}: errors", logged(error, "receiving message"))
    observe(f"{group}: stopped", " ".join(attempt("director", f"--stop-daemon {role}") for role in ("master", "master", "backup")))
    observe(f"{group}: started without a device", start("director", "master", group) + "\n" + running())
    device("director", 2)
    observe(f"{group}: started with a device", start("director", "master", group))
    sent()
    observe(f"{group}: at the end", running() + "\n" + running("backup"))

    # --- with one daemon or both: deleted, moved to another namespace

    for name, roles in ROLES.items():
        begin(group)
        for role in roles:
            observe(f"{group}, {name}: start", start("director", role, group))
        conn()
        configure("director", ["ip link set eth2 netns watcher name moved"])
        conn()
        observe(f"{group}, {name}: moved", running())
        observe(f"{group}, {name}: another in the role", start("director", roles[0], group))
        configure("watcher", ["ip link del moved"])
        observe(f"{group}, {name}: deleted there", running())
        for role in roles:
            stop("director", role)
        observe(f"{group}, {name}: stopped", running())

# --- a namespace is deleted while its daemons run, and messages wait to be sent

for group in GROUPS:
    for name, roles in ROLES.items():
        begin(group)
        for machine in DIRECTORS:
            for role in roles:
                start(machine, role, group)
        for _ in range(5):
            conn()
        subprocess.run(["ip", "netns", "del", "director"], check=True)
        wait_for("the threads to end", lambda: options.module_uses() == len(roles) + 1, instead=lambda: f"{options.module_uses()}")
        names = subprocess.run("cat /proc/[0-9]*/comm | grep -c '^ipvs-[mb]:'", shell=True, stdout=subprocess.PIPE, text=True, check=False)
        observe(f"{group}, {name}: namespace deleted", f"{names.stdout.strip()} threads left")
        configure("backup", ["ipvsadm -C"])
        for role in roles:
            stop("backup", role)
agent.reset()
subprocess.run(["ip", "-all", "netns", "del"], check=True)
wait_for("no use", lambda: options.module_uses() == 0, instead=options.module_uses)
