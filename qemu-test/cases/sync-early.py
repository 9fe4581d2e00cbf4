"""Conns that are sent with their first packet: the sysctl sync_early, which only ours has. The conns of a backup of either
module in the states of a handshake."""
# Covers: src/sync/due src/sync/master src/conn/sync

import agent
import sync_lab as lab
from case import expect, observe, wait_for
from sync_lab import (GS, OURS, answer, conn, conns, datagrams, down, end, message, proc, segment, service, settings, show, start,
                      stop, tell, up, without_resync)
from topology import VIP

ESTABLISHED, SYN_SENT, SYN_RECV, SYNACK, LISTEN = 1, 2, 3, 10, 9


def state(machine, port):
    return [fields[7] for fields in proc(machine) if int(fields[2], 16) == port]


def services(*machines):
    for v6 in (False, True):
        service(f"-t {end(VIP[v6], 80)}", end(GS[v6], 80), machines=machines)
        service(f"-u {end(VIP[v6], 53)}", end(GS[v6], 53), machines=machines)


# --- a backup of either module

lab.lay_out()
lab.move()
services("backup")
start("backup", "backup")
for number, of in enumerate((SYN_SENT, SYN_RECV, SYNACK, LISTEN)):
    tell(message(conn(cport=1 + number, dest=GS[0], state=of, timeout=60)))
tell(message(conn(17, cport=9, vport=53, dport=53, dest=GS[0], state=0, timeout=300)))
lab.wait_for_conn("backup", 9)
observe("conns of a handshake, and of UDP", conns("backup"))
agent.send("silent", "eth0", "backup", "eth1", answer(2, "SA"))
agent.send("client", "eth0", "backup", "eth0", segment(2, "A"))
wait_for("the end of the handshake", lambda: state("backup", 2) == ["ESTABLISHED"], instead=lambda: conns("backup"))
observe("after the handshake", conns("backup"))
stop("backup", "backup")

# --- a master: as C by default

lab.lay_out()
services(*lab.DIRECTORS)
without_resync("director")  # the master sends nothing for another reason
watcher = lab.Watcher()
start("director", "master")
start("backup", "backup")


def sequence(port):
    """Yields after each packet of a handshake and some data; each must have been handled."""
    for flags in ("S", "<SA", "A", "PA", "PA"):
        if flags[0] == "<":
            down(answer(port, flags[1:]))
        else:
            up(segment(port, flags))
        yield flags


def told(label, port, last):
    """Shows the conns from a port up to one for which `last` is true."""
    seen = [conn for conn in watcher.until(lambda conn: conn["cport"] == port and last(conn)) if conn["cport"] in (port, port + 1)]
    text = "\n".join(map(show, seen))
    observe(label, text)
    return seen


for _ in sequence(1000):
    pass
datagrams(1001, 3)
told("by default", 1000, lambda conn: conn["state"] == ESTABLISHED)

if OURS:
    settings(sync_early=1)
    up(segment(2000, "S"))
    wait_for("the conn of a SYN", lambda: state("backup", 2000) == ["SYN_RECV"], instead=lambda: conns("backup"))
    datagrams(2001, 1)
    wait_for("the conn of a datagram", lambda: state("backup", 2001) == ["UDP"], instead=lambda: conns("backup"))
    # An established conn is sent before there is any data, and each change of the state.
    seen = watcher.until(lambda conn: conn["cport"] == 2001)
    expect("sent", [(2000, SYN_RECV), (2001, 0)], [(conn["cport"], conn["state"]) for conn in seen if conn["cport"] in (2000, 2001)])
    for _ in sequence(3000):
        pass
    seen = watcher.until(lambda conn: conn["cport"] == 3000 and conn["state"] == ESTABLISHED)
    states = [conn["state"] for conn in seen if conn["cport"] == 3000]
    expect("states sent of a handshake", [SYN_RECV, ESTABLISHED], states[:2])
    # The rest of the handshake goes through the other director.
    lab.move()
    agent.send("silent", "eth0", "backup", "eth1", answer(2000, "SA"))
    agent.send("client", "eth0", "backup", "eth0", segment(2000, "A"))
    wait_for("the end of the handshake", lambda: state("backup", 2000) == ["ESTABLISHED"], instead=lambda: conns("backup"))
stop("director", "master")
stop("backup", "backup")
agent.reset()
