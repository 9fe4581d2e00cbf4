"""SCTP packets by chunk: the state after each of them, what starts a connection, packets that are truncated or have a
wrong checksum, fragments, and ICMP errors."""
# Covers: src/proto/sctp src/wire/sctp src/packet src/xmit/edit

import os
import socket
import struct
import time

import agent
import sctp_lab as lab
from case import DEBUG, configure, wait_for
from packet import CHUNKS, address, chunk, fragments, icmp, ip, raw, sctp
from sctp_lab import MAPPED, PORT, PORTS, answer, at, begin, begun, by_port, capture, conns, counters, downlink, last
from sctp_lab import lay_out, lines, listing, received, request, service, settings, states, tell, uplink
from topology import DR, NAT

LONG = os.environ.get("LONG")
EVENTS = "DATA INIT INIT-ACK COOKIE-ECHO COOKIE-ACK SHUTDOWN SHUTDOWN-ACK SHUTDOWN-COMPLETE ERROR ABORT".split()
BOTH = EVENTS + ["<" + event for event in EVENTS]
# Sequences that lead to each state; "<" marks the server's packets. Without any, only the client's pass the director.
WAYS = ["INIT", "INIT INIT", "INIT ABORT", "INIT INIT-ACK", "INIT COOKIE-ECHO", "INIT COOKIE-ECHO SHUTDOWN"]
WAYS_BACK = ["INIT <DATA", "INIT INIT <DATA", "INIT ABORT <DATA", "INIT <INIT-ACK", "INIT <INIT-ACK COOKIE-ECHO", "INIT <INIT",
             "INIT <INIT INIT-ACK", "INIT <COOKIE-ECHO", "INIT <INIT-ACK COOKIE-ECHO <COOKIE-ACK", "INIT <SHUTDOWN",
             "INIT <COOKIE-ACK SHUTDOWN", "INIT <SHUTDOWN-ACK", "INIT <ABORT"]


def play(paths):
    """Sends the packets of all paths, each on a connection of its own, and waits for the conns. Takes little time: a conn in
    the state INIT1 or REJECTED exists for 4 seconds."""
    before = counters()
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})  # after a migration, packets could be reordered
    for step in range(max(map(len, paths))):
        events = [(port, path[step]) for port, path in enumerate(paths) if step < len(path)]
        uplink(*(request(port, event) for port, event in events if event[0] != "<"))
        downlink(*(answer(port, event[1:]) for port, event in events if event[0] == "<"))
    os.sched_setaffinity(0, cpus)
    begun(len(paths), before)


def sequences(option, ways, events):
    """The state after each event in each state."""
    for way in ways:
        begin()
        service(at("GS"), option=option)
        paths = [way.split(), *(way.split() + [event] for event in events)]
        play(paths)
        seen = by_port()
        after = [f"{' '.join(path)}: {seen.get(port, 'none')}" for port, path in enumerate(paths)]
        tell(f"{option}: states after {way}", "\n".join(after))
        # Inactive conns of earlier parts may end meanwhile.
        tell(f"{option}: active conns after {way}", listing().split()[-2])


def timeouts():
    """The remaining time of a conn in each state, which is that of its last packet."""
    begin()
    service(at("GS"))
    since = time.monotonic()
    play([way.split() for way in WAYS + WAYS_BACK])
    left, known = {}, (4, 61, 900)
    for fields in lines():
        seconds = int(fields[8])
        full = min(number for number in known if number >= seconds)
        passed = time.monotonic() - since + 4
        left.setdefault(fields[7], set()).add(full if full - seconds < passed else seconds)
    tell("timeouts", "\n".join(f"{state} {sorted(times)}" for state, times in sorted(left.items())))


def bundled():
    """An ABORT after a COOKIE ECHO or COOKIE ACK counts, behind other chunks it does not."""
    begin()
    service(at("GS"))
    cases = [[chunk("COOKIE-ECHO", bytes(5)), "ABORT"], ["COOKIE-ECHO", "DATA", "ABORT"],
             ["SACK", "ABORT"], ["SHUTDOWN", "ABORT"], [chunk("COOKIE-ECHO", length=0), "ABORT"],
             [chunk("COOKIE-ECHO", length=3), "ABORT"], [chunk("COOKIE-ECHO", length=5), "ABORT"],
             [chunk("COOKIE-ECHO", length=65535), "ABORT"], [chunk(15), "ABORT"], [chunk(0x84), "ABORT"], [chunk(255)],
             ["ECNE"], ["CWR"], [chunk("HEARTBEAT", b"info"), "ABORT"], ["HEARTBEAT-ACK"], ["SACK", "SHUTDOWN"],
             [chunk("COOKIE-ACK"), "ABORT"]]
    play([["INIT"]] * len(cases))
    uplink(*(request(port, *chunks) for port, chunks in enumerate(cases)))
    wait_for("the last packet", lambda: by_port()[len(cases) - 1] == "CLOSED", instead=states)
    tell("bundled chunks", "\n".join(f"{port}: {state}" for port, state in sorted(by_port().items())))


def first_packets(option, dest_port):
    """Packets of no connection: only an INIT starts one, with sloppy_sctp any but an ABORT."""
    for sloppy in (0, 1):
        begin()
        settings(sloppy_sctp=sloppy)
        service(at("GS", dest_port), option=option)
        capture("client", "silent")
        for port, kind in enumerate([*CHUNKS, 15, 255]):
            uplink(request(port, kind if isinstance(kind, str) else chunk(kind)))
        uplink(request(100, "COOKIE-ECHO", "ABORT"), request(101, "INIT", "ABORT"), request(102, "ABORT", "INIT"))
        last(dest_port)
        tell(f"{option}, sloppy_sctp={sloppy}: at the server", received("silent"))
        tell(f"{option}, sloppy_sctp={sloppy}: at the client", received("client"))
        tell(f"{option}, sloppy_sctp={sloppy}: connections", conns())
    settings(sloppy_sctp=0)


def truncated(option, dest_port):
    """Packets that end within the common header or the first chunk, on a connection and without one."""
    begin()
    service(at("GS", dest_port), option=option)
    capture("client", "silent")
    uplink(request(0, "INIT"))
    before = counters()
    for size in (0, 3, 4, 8, 11, 12, 13, 15, 16):
        for whole in (sctp(lab.first, PORT, "SHUTDOWN"), sctp(lab.first + 1, PORT, "SHUTDOWN"), sctp(lab.first + 2, PORT, "INIT")):
            uplink(ip(lab.here["GC"], lab.here["VIP"], raw(132, whole.data[:size])))
        downlink(ip(lab.here["GS"], lab.here["GC"], raw(132, sctp(dest_port, lab.first, "COOKIE-ACK").data[:size])))
    last(dest_port)
    tell(f"{option}: truncated, at the server", received("silent"))
    tell(f"{option}: truncated, at the client", received("client"))
    tell(f"{option}: truncated, connections", conns())
    tell(f"{option}: truncated, counted", " ".join(str(a - b) for a, b in zip(counters(), before)))


def bad_checksums(option, dest_port):
    """A wrong checksum is not detected. It is replaced with the right one if the port changes."""
    begin()
    service(at("GS", dest_port), option=option)
    capture("client", "silent")
    addresses = struct.pack("!HH4s", 5, 8, socket.inet_aton("192.168.7.1")) + struct.pack("!HH16s", 6, 20, address("2001:db8::1"))
    init = chunk("INIT", struct.pack("!IIHHI", 7, 65535, 10, 10, 1) + addresses)
    uplink(request(0, init), request(0, chunk("DATA", bytes(range(101))), csum=0),
           request(0, chunk("DATA", bytes(700)), csum=0x12345678), request(1, "INIT", csum=1))
    downlink(answer(0, "INIT-ACK", source=dest_port), answer(0, chunk("DATA", bytes(33)), source=dest_port, csum=2),
             answer(0, "SACK", source=dest_port, csum=0))
    last(dest_port)
    agent.captured("client", 3 if option == "-m" else 0)
    tell(f"{option} {dest_port}: checksums, at the server", received("silent"))
    tell(f"{option} {dest_port}: checksums, at the client", received("client"))


def pieces(option, dest_port):
    """Fragments."""
    begin()
    service(at("GS", dest_port), option=option)
    capture("client", "silent")
    data = chunk("DATA", bytes(range(256)) * 4)
    uplink(request(0, "INIT"), fragments(request(0, data), 400, 1), fragments(request(0, data), 400, 2)[::-1],
           fragments(request(1, "INIT", data), 8, 3), fragments(request(2, "INIT", data), 400, 4)[1:],
           fragments(request(3, "INIT", data), 400, 5)[:1])
    downlink(fragments(answer(0, data, source=dest_port), 400, 6))
    last(dest_port)
    tell(f"{option} {dest_port}: fragments, at the server", received("silent"))
    tell(f"{option} {dest_port}: fragments, at the client", received("client"))
    tell(f"{option} {dest_port}: fragments, connections", conns())


def errors(option, dest_port):
    """ICMP errors about packets of a connection, whole and truncated."""
    begin()
    service(at("GS", dest_port), option=option)
    capture("client", "silent")
    uplink(request(0, "INIT"))
    agent.captured("silent", 1, f"> {dest_port} ")
    seen_by = lab.here["GS"] if option == "-m" else lab.here["VIP"]
    quoted = ip(lab.here["GC"], seen_by, sctp(lab.first, dest_port, chunk("DATA", b"some data")), ttl=60)
    replied = ip(lab.here["VIP"], lab.here["GC"], sctp(PORT, lab.first, chunk("DATA", b"some data")), ttl=60)
    head = 40 if lab.v6 else 20
    for kind in ((1, 4), (2, 0), (3, 0)) if lab.v6 else ((3, 3), (3, 4), (11, 0)):
        downlink(ip(lab.here["GS"], lab.here["GC"], icmp(*kind, quoted, 1400)))
        uplink(ip(lab.here["GC"], lab.here["VIP"], icmp(*kind, replied, 1400)))
    for size in (head, head + 3, head + 4, head + 8, head + 11, head + 12, head + 15):
        downlink(ip(lab.here["GS"], lab.here["GC"], icmp(*kind, quoted[:size])))
        uplink(ip(lab.here["GC"], lab.here["VIP"], icmp(*kind, replied[:size])))
    # Of no connection, and with a wrong checksum.
    uplink(ip(lab.here["GC"], lab.here["VIP"], icmp(*kind, ip(lab.here["VIP"], lab.here["GC"], sctp(PORT, lab.first + 1, "DATA")))),
           ip(lab.here["GC"], lab.here["VIP"], icmp(*kind, replied, csum=1)))
    downlink(ip(lab.here["GS"], lab.here["GC"], icmp(*kind, quoted, csum=1)))
    last(dest_port)
    tell(f"{option} {dest_port}: errors, at the server", received("silent"))
    tell(f"{option} {dest_port}: errors, at the client", received("client"))
    tell(f"{option} {dest_port}: errors, connections", conns())


def by_source():
    """sh with ports and mh: the ports are those of SCTP."""
    for scheduler in ("sh -b sh-port", "mh -b mh-port"):
        begin()
        service(*(at(f"RIP{i}") for i in (1, 2, 3)), scheduler=scheduler)
        play([["INIT"]] * 20)
        tell(scheduler, "\n".join(sorted(f"{fields[2]} {fields[5]}" for fields in lines())))


def reused():
    """An INIT from the port of a closed connection starts another one, of other states not."""
    for mode in (0, 1, 2):
        begin()
        settings(conn_reuse_mode=mode)
        service(at("GS"), at("RIP1"))
        ways = ["INIT", "INIT INIT", "INIT COOKIE-ECHO", "INIT COOKIE-ECHO SHUTDOWN", "INIT ABORT"]
        before = counters()
        play([way.split() for way in ways])
        uplink(*(request(port, "INIT") for port in range(len(ways))), request(PORTS - 1, "INIT"))
        wait_for("the last", lambda: PORTS - 1 in by_port())
        tell(f"conn_reuse_mode={mode}: new conns", str(counters()[0] - before[0]))
    settings(conn_reuse_mode=1)


def removed():
    """The dest of a connection is removed, or gets the weight 0."""
    for expire in (0, 1):
        for change in (f"ipvsadm -d --sctp-service {at('VIP')} -r {at('GS')}",
                       f"ipvsadm -e --sctp-service {at('VIP')} -r {at('GS')} -w 0 -m"):
            begin()
            settings(expire_nodest_conn=expire)
            service(at("RIP1"), at("GS"))
            uplink(request(0, "INIT"))
            wait_for("the conn", lambda: states() == "INIT1", instead=conns)
            downlink(answer(0, "COOKIE-ACK"))
            wait_for("the conn", lambda: states() == "ESTABLISHED", instead=conns)
            configure("director", [change])
            before = counters()
            uplink(*(request(0, kind) for kind in ("DATA", "INIT", "DATA")), request(PORTS - 1, "INIT"))
            wait_for("the last", lambda: PORTS - 1 in by_port())
            tell(f"{change.split()[1]}, expire_nodest_conn={expire}", f"{counters()[0] - before[0]} conns, "
                 f"{counters()[1] - before[1]} packets")
    settings(expire_nodest_conn=0)


def with_nat(family):
    lay_out(NAT, family)
    settings(conn_reuse_mode=0)
    sequences("-m", WAYS_BACK, BOTH)
    settings(conn_reuse_mode=1)
    for part in (timeouts, bundled, by_source, reused, removed):
        part()
    for part in (first_packets, truncated, bad_checksums, pieces, errors):
        for port in (PORT, MAPPED):
            part("-m", port)


def replies_go_past(family):
    """Direct routing and tunnels."""
    lay_out(DR, family)
    settings(conn_reuse_mode=0)
    sequences("-g", WAYS, EVENTS)
    settings(conn_reuse_mode=1)
    for option in ("-g", "-i"):
        for part in (first_packets, truncated, bad_checksums, pieces, errors):
            part(option, PORT)


for family in (4, 6) if not DEBUG or LONG else (6,):
    with_nat(family)
    replies_go_past(family)
agent.reset()
