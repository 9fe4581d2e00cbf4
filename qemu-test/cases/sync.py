"""Connection synchronisation between two directors: the backup has the master's conns; connections, some of them in
mid-transfer, survive the move of the addresses."""
# Covers: src/sync src/conn/sync src/netns/receive rust-out-of-tree/net/socket

import threading

import agent
import sync_lab as lab
from case import expect, observe, output, wait_for
from sync_lab import DIRECTORS, REALS, both, conns, end, service, settings, start, stop, without_resync
from topology import VIP

# --- a backup has the master's conns


def replicated(group, v6):
    """Starts both daemons, and makes connections that the backup then has, too."""
    lab.lay_out()
    without_resync(*DIRECTORS)
    start("director", "master", f"--syncid 9 --mcast-group {group} --mcast-port 8850 --mcast-ttl 3")
    start("backup", "backup", f"--syncid 9 --mcast-group {group} --mcast-port 8850")
    for protocol in "tu":
        service(f"-{protocol} {end(VIP[v6], 80)}", *(end(real[v6], 80) for real in REALS))
    settings(sync_threshold="0 1")
    expect("held", "rs3 rs2 rs1 rs3 rs2 rs1", agent.hold("client", f"{v6}tcp", "tcp", VIP[v6], 80, 6))
    expect("UDP", "rs3 rs2 rs1", agent.get("client", "udp", VIP[v6], 80, 3))
    agent.close(f"{v6}tcp6")
    wait_for("the end of a connection", lambda: "TIME_WAIT" in conns("director"), instead=lambda: conns("director"))
    wait_for("the same conns", lambda: conns("backup", 8) == conns("director", 8) and len(lab.proc("backup")) >= 9,
             instead=lambda: f"{conns('director')}\non the backup:\n{conns('backup')}")
    observe(f"{group}: conns of the master", conns("director"))
    observe(f"{group}: conns of the backup", conns("backup"))
    observe(f"{group}: listing of the backup", lab.listing("backup"))
    for role, machine in (("master", "director"), ("backup", "backup")):
        observe(f"{group}: daemon of the {role}", output(machine, "ipvsadm -L --daemon"))


replicated("224.0.0.82", False)
replicated("ff02::82", True)

# --- the addresses move

both("ipvsadm -C")
for role, machine in (("master", "director"), ("backup", "backup")):
    stop(machine, role)
lab.lay_out()
for v6 in (False, True):
    service(f"-t {end(VIP[v6], 80)}", *(end(real[v6], 80) for real in REALS))
start("director", "master", "")
start("backup", "backup", "")
for v6 in (False, True):
    expect("held", " ".join(["rs3 rs2 rs1"] * 7), agent.hold("client", f"moves{v6}", "tcp", VIP[v6], 80, 21))
wait_for("all conns", lambda: len(lab.proc("backup")) >= 42, instead=lambda: conns("backup"))
results = {}


def transfer(v6):
    results[v6] = agent.download("client", VIP[v6], 80, 3000000)


transfers = [threading.Thread(target=transfer, args=(v6,)) for v6 in (False, True)]
for thread in transfers:
    thread.start()
wait_for("the transfers' conns", lambda: len(lab.proc("backup")) >= 44, instead=lambda: conns("backup"))
lab.move()
for v6 in (False, True):
    names = [f"rs{3 - i % 3}" for i in range(21)]
    expect("after the move", names, [agent.use(f"moves{v6}{i + 1}") for i in range(21)])
for thread in transfers:
    thread.join()
observe("transfers while the addresses moved", f"{results[False]} {results[True]}")
agent.close("*")
states = lambda: [fields[7] for fields in lab.proc("backup")]
wait_for("the ends of the connections", lambda: "ESTABLISHED" not in states(), instead=states)
observe("after the move", lab.listing("backup").replace("192.168.1.110", "VIP"))

# --- a backup that does not balance

settings("backup", backup_only=1)
observe("backup_only", agent.get("client", "tcp", VIP[0], 80, 1) + " " + agent.get("client", "tcp", VIP[1], 80, 1))
stop("backup", "backup")
observe("backup_only without a daemon", agent.get("client", "tcp", VIP[0], 80, 3))
start("backup", "master")
observe("backup_only on a master", agent.get("client", "tcp", VIP[0], 80, 3))
stop("backup", "master")
stop("director", "master")
agent.reset()
