"""The conns that a master daemon sends, field by field: with which packets, with each of the settings, for conns and
templates of every kind. The threads of the daemons."""
# Covers: src/sync/due src/sync/message src/sync/master src/conn/sync src/ctl/daemon rust-out-of-tree/net/socket

import agent
import sync_lab as lab
from case import configure, expect, observe
from sync_lab import GS, answer, datagrams, down, end, segment, service, settings, show, start, stop, up
from topology import VIP

MARK = 100  # the client's port of the conn that is sent last
port = 10000


def last():
    """Sends a conn with as many packets as are needed, and returns the conns sent since the last call, without it."""
    global MARK
    MARK += 1
    datagrams(MARK, 60)
    seen = watcher.until(lambda conn: conn["cport"] == MARK)
    return [conn for conn in seen if conn["cport"] not in range(100, MARK + 1)]


def sequence(v6=False, to=80):
    """A connection of each protocol from its start to its end, packet by packet."""
    global port
    port += 10
    datagrams(port, 8, v6, to if to != 80 else 53)
    for flags in ("S", "<SA", "A", "PA", "PA", "PA", "PA", "<FA", "PA", "FA", "<A", "A", "R"):
        if flags[0] == "<":
            down(answer(port + 1, flags[1:], v6, to))
        else:
            up(segment(port + 1, flags, v6, to))


def told(label):
    """Shows the conns that were sent."""
    observe(label, "\n".join(map(show, last())))


lab.lay_out()
watcher = lab.Watcher()
for v6 in (False, True):
    for key in (f"-u {end(VIP[v6], 53)}", f"-t {end(VIP[v6], 80)}"):
        service(key, end(GS[v6], 0 if "-u" in key else 80), machines=["director"])

# --- when a conn is sent

start("director", "master")
sequence()
told("by default")
sequence(v6=True)
told("IPv6")
for threshold in ("1 4", "0 1", "2 0", "7 8"):
    settings(sync_threshold=threshold)
    sequence()
    told(f"sync_threshold {threshold}")
settings(sync_threshold="0 1", sync_refresh_period=1000)
sequence()
told("sync_refresh_period 1000")
settings(sync_retries=3)
sequence()
told("sync_retries 3")
settings(sync_threshold="3 50")
sequence()
told("sync_threshold 3 50, sync_refresh_period 1000")
settings(sync_refresh_period=0, sync_retries=0, sync_threshold="1 3", sync_version=0)
sequence()
sequence(v6=True)
told("sync_version 0")
settings(sync_version=1)

# --- templates, fwmarks, one packet

configure("director", ["nft 'table inet marks { chain before { type filter hook prerouting priority mangle; "
                       "meta l4proto { tcp, udp } th dport 82 meta mark set 5; }; }'"])
for v6 in (False, True):
    dest = end(GS[v6], 0)
    for protocol in "ut":
        service(f"-{protocol} {end(VIP[v6], 81)}", end(GS[v6], 81), scheduler="rr -p 300", machines=["director"])
    service(f"-f 5 {'-6' if v6 else ''}", dest, scheduler="rr -p 200", machines=["director"])
service(f"-u {end(VIP[0], 83)}", end(GS[0], 83), scheduler="rr -o", machines=["director"])
for mode in (0, 1):
    settings(sync_persist_mode=mode)
    for v6 in (False, True):
        for to in (81, 82):
            sequence(v6, to)
            told(f"persistent, port {to}, {'IPv6' if v6 else 'IPv4'}, sync_persist_mode {mode}")
settings(sync_persist_mode=0)
datagrams(port + 5, 5, to=83)
told("one packet")
service(f"-u {end(VIP[0], 84)}", end(GS[0], 84), scheduler="rr -o -p 100", machines=["director"])
datagrams(port + 6, 5, to=84)
told("one packet, persistent")
configure("director", ["ipvsadm -C", "nft delete table inet marks"])
for option in "gi":
    service(f"-u {end(VIP[0], 53)}", end(GS[0], 53), option=f"-{option}", machines=["director"])
    service(f"-t {end(VIP[0], 80)}", end(GS[0], 80), option=f"-{option}", machines=["director"])
    sequence()
    told(f"method -{option}")
    configure("director", ["ipvsadm -C"])
service(f"-u {end(VIP[0], 53)}", end(GS[0], 53), machines=["director"])
datagrams(8, 5)
expect("a conn without a daemon", ["8"], [f"{int(fields[2], 16)}" for fields in lab.proc("director") if int(fields[2], 16) == 8])
stop("director", "master")
configure("director", ["ipvsadm -C"])

# --- threads and ports

settings(sync_ports=4)
start("director", "master")
start("director", "backup")
observe("threads", lab.threads())
settings(sync_ports=2)
stop("director", "master")
observe("threads of the backup", lab.threads())
start("director", "master")
observe("threads of both", lab.threads())
for role in ("master", "backup"):
    stop("director", role)
expect("threads, stopped", "", lab.threads())
settings(sync_ports=1)
agent.reset()
