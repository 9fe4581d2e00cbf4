"""The sysctls about packets of no connection: `schedule_icmp`, by which an ICMP error about a packet from a service starts
a connection; `nat_icmp_send`, by which a real server gets an error if there is none; `ignore_tunneled`."""
# Covers: src/hook src/dest/real.rs src/sysctl.rs

import re

import agent
import sctp_lab as lab
from case import DEBUG, configure, expect, output, wait_for
from packet import fragments, icmp, inside, ip, raw, sctp, tcp, udp
from sctp_lab import MAPPED, PORT, at, capture, conns, counters, downlink, lay_out, lines, proc, received, settings, tell
from sctp_lab import templates, uplink
from topology import DR, NAT
from topology import inside as on

UPPERS = {"udp": udp, "tcp": lambda sport, dport: tcp(sport, dport, "A", b"some data"),
          "sctp": lambda sport, dport: sctp(sport, dport, "DATA")}


def begin():
    """Begins a part without services or conns."""
    lab.begin()
    settings(schedule_icmp=0, nat_icmp_send=0, ignore_tunneled=0, conntrack=0)
    capture("client", "silent")


def services(*dests, option="-m", scheduler="rr", more="", protocols="tu"):
    """Adds a service of each protocol, or with a number in `protocols` the fwmark service."""
    for protocol in protocols:
        key = f"-f {protocol}{' -6' * lab.v6}" if protocol.isdigit() else \
            f"{'--sctp-service' if protocol == 's' else '-' + protocol} {at('VIP')}"
        configure("director", [f"ipvsadm -A {key} -s {scheduler} {more}",
                               *(f"ipvsadm -a {key} -r {dest} {option}" for dest in dests)])


def error(quoted, kind=None, client=None, to=None, rest=0, **fields):
    """An ICMP error from a client about a packet that it quotes."""
    kind = kind or ((1, 4) if lab.v6 else (3, 3))
    return ip(client or lab.here["GC"], to or lab.here["VIP"], icmp(*kind, quoted, rest, **fields))


def reply(port, protocol="udp", client=None, source=None, sport=PORT, **fields):
    """A packet from the service to a client, whose port counts from the part's first."""
    return ip(source or lab.here["VIP"], client or lab.here["GC"], UPPERS[protocol](sport, lab.first + port), **fields)


def last(port=PORT, to=None):
    """All packets before have been handled."""
    settings(schedule_icmp=1)
    uplink(error(reply(lab.PORTS - 1, source=to), to=to))
    agent.captured("silent", 1, f"{port} > {lab.first + lab.PORTS - 1} ")


def told(label, before=None):
    tell(f"{label}, at the server", received("silent"))
    tell(f"{label}, at the client", received("client"))
    if before:
        tell(f"{label}, counted", " ".join(str(a - b) for a, b in zip(counters(), before)))


def kinds(option, port):
    """Each type of error, of each protocol; without the sysctl none starts a connection."""
    for scheduled in (0, 1):
        begin()
        services(at("GS", port), option=option, protocols="tus")
        settings(schedule_icmp=scheduled)
        before = counters()
        types = [(1, 4), (2, 0), (3, 0), (4, 1), (5, 0), (137, 0)] if lab.v6 else \
            [(3, 3), (3, 4), (4, 0), (11, 0), (5, 1), (12, 0), (8, 0)]
        number = 0
        for protocol in UPPERS:
            for kind in types:
                for _ in range(2):  # the second one finds the connection
                    uplink(error(reply(number, protocol), kind, rest=1400))
                number += 1
        last(port)
        told(f"{option} schedule_icmp={scheduled}", before)


def malformed(option, port):
    """Truncated packets, wrong checksums, fragments, other protocols, other ports."""
    begin()
    services(at("GS", port), option=option, protocols="tus")
    settings(schedule_icmp=1)
    before = counters()
    head = 40 if lab.v6 else 20
    for number, protocol in enumerate(UPPERS):
        for size in (0, 3, 4, 7, 8, 12, 19, 20):
            uplink(error(reply(number * 40 + size, protocol)[:head + size]))
        uplink(error(reply(number * 40 + 30, protocol), csum=1))
        whole = ip(lab.here["VIP"], lab.here["GC"], UPPERS[protocol](PORT, lab.first + number * 40 + 31))
        first, *later = fragments(whole, 8)
        uplink(error(first), *(error(one) for one in later))
        # To another port of the service's address: no service.
        uplink(error(reply(number * 40 + 32, protocol, sport=81)))
        uplink(error(reply(number * 40 + 33, protocol, sport=20)), error(reply(number * 40, protocol, client=lab.here["VIP"])))
    for protocol in (1, 2, 4, 47, 50, 51, 58, 255):
        uplink(error(ip(lab.here["VIP"], lab.here["GC"], raw(protocol, bytes(24)))))
    for size in (0, 1, head - 1, head):
        uplink(error(reply(130)[:size]))
    uplink(*fragments(error(reply(131, "tcp")), 32))
    last(port)
    told(f"{option} malformed", before)


def lives():
    """The connection ends after three seconds; a packet of the client makes it an ordinary one."""
    begin()
    services(at("GS"))
    settings(schedule_icmp=1)
    uplink(error(reply(0)), error(reply(1)), error(reply(2, "tcp")))
    wait_for("the connections", lambda: len(lines()) == 3)
    tell("connections", conns())
    expect("more than three seconds", [], [fields for fields in lines() if int(fields[8]) > 3])
    client, vip = lab.here["GC"], lab.here["VIP"]
    uplink(ip(client, vip, udp(lab.first, PORT)), ip(client, vip, tcp(lab.first + 2, PORT, "S")))
    wait_for("the end of one", lambda: len(lines()) == 2)
    tell("after packets of two", conns())
    expect("short ones", [], [fields for fields in lines() if int(fields[8]) < 30])


def persistent():
    """A template is made, and one found."""
    for more in ("-p 60", f"-p 60 -M {'64' if lab.v6 else '255.255.255.0'}"):
        begin()
        services(at("GS"), at("RIP1"), more=more)
        settings(schedule_icmp=1)
        before = counters()
        uplink(error(reply(0)), error(reply(1)), error(reply(2, "tcp")))
        wait_for("the connections", lambda: counters()[0] == before[0] + 3, instead=conns)
        tell(f"{more}, templates", templates())
        told(more, before)
        configure("director", ["ipvsadm -C"])


def single():
    """One-packet scheduling: no connection remains."""
    begin()
    services(at("GS", MAPPED), more="-o", protocols="u")
    settings(schedule_icmp=1)
    before = counters()
    uplink(error(reply(0)), error(reply(0)), error(reply(1)))
    last(MAPPED)
    told("-o", before)


def none_left():
    """Without a dest, the error is dropped, and no other one sent."""
    begin()
    services()
    settings(schedule_icmp=1)
    before = counters()
    uplink(error(reply(0)), error(reply(1, "tcp")))
    configure("director", [f"ipvsadm -a -u {at('VIP')} -r {at('GS')} -m"])
    last()
    told("no dest", before)


def by_source():
    """sh, mh, dh, lblc and lblcr with the addresses of the quoted packet."""
    net = "2001:db8:1::5:" if lab.v6 else "192.168.1."
    for scheduler in ("sh", "sh -b sh-port", "mh", "mh -b mh-port", "dh", "lblc", "lblcr"):
        begin()
        # The last two choose by the number of connections.
        reals = {"0B", "0C", "0D", "11", "12", "13"}  # the last digits in /proc of the addresses
        wait_for("the end of earlier connections",
                 lambda: not any(fields[2] != "0000" and fields[5][-2:] in reals for fields in proc()), instead=proc)
        capture("rs1", "rs2", "rs3")
        services(*(at(f"RIP{i}") for i in (1, 2, 3)), scheduler=scheduler, protocols="t")
        settings(schedule_icmp=1)
        head = 40 if lab.v6 else 20
        count = 6 if scheduler.startswith("lblc") else 24
        for number in range(count):
            client = f"{net}{120 + number // 2}"
            uplink(error(reply(number, "tcp", client)[:head + 8 if number % 2 else 999], client=client))
        wait_for("the errors", lambda: sum(received(f"rs{i}").count("[") for i in (1, 2, 3)) == count)
        for i in (1, 2, 3):
            clients = sorted(re.findall("[<] ip6? ([0-9a-f:.]+) .* > ([0-9]+)|80 > ([0-9]+)", received(f"rs{i}")))
            tell(f"{scheduler}: at rs{i}", "\n".join(" ".join(client) for client in clients))


def marked():
    """Errors to a fwmark service, also such as the director only forwards."""
    six = lab.v6
    configure("director", [
        "ip route replace local 2001:db8:77::/64 dev lo" if six else "ip route replace local 10.77.0.0/16 dev lo",
        f"ip route replace {'2001:db8:78::/64' if six else '10.78.0.0/16'} via {lab.here['RIP1']}"])
    mark = "table inet marks { chain before { type filter hook prerouting priority mangle; " \
        "ip daddr { 10.77.0.0/16, 10.78.0.0/16 } meta mark set 7; " \
        "ip6 daddr { 2001:db8:77::/64, 2001:db8:78::/64 } meta mark set 7; }; }"
    output("director", f"nft '{mark}'")
    for option in ("-m", "-i"):
        begin()
        services(at("GS", 0), option=option, protocols="7")
        settings(schedule_icmp=1)
        before = counters()
        for number, source in enumerate(("2001:db8:77::1", "2001:db8:78::1") if six else ("10.77.0.1", "10.78.0.1")):
            for protocol in UPPERS:
                uplink(error(reply(number, protocol, source=source, sport=443), to=source))
        wait_for("the connections", lambda: counters()[0] == before[0] + 6, instead=counters)
        told(f"by mark, {option}", before)
    output("director", "nft delete table inet marks")


def tracked():
    begin()
    services(at("GS", MAPPED), protocols="tus")
    settings(schedule_icmp=1, conntrack=1)
    before = counters()
    for number, protocol in enumerate(UPPERS):
        uplink(error(reply(number, protocol)), error(reply(number, protocol)))
    last(MAPPED)
    told("conntrack=1", before)


def unknown_replies():
    """nat_icmp_send: packets from a dest with NAT that belong to no connection."""
    client, server = lab.here["GC"], lab.here["GS"]
    uppers = {"udp": lambda port: udp(port, lab.first, b"answer"), "syn": lambda port: tcp(port, lab.first, "SA"),
              "rst": lambda port: tcp(port, lab.first, "R"), "rst+ack": lambda port: tcp(port, lab.first, "RA"),
              "data": lambda port: tcp(port, lab.first, "A", b"some"), "sctp": lambda port: sctp(port, lab.first, "DATA"),
              "abort": lambda port: sctp(port, lab.first, "ABORT"), "late": lambda port: sctp(port, lab.first, "COOKIE-ACK", "ABORT"),
              "short tcp": lambda port: raw(6, tcp(port, lab.first, "R").data[:12]), "short": lambda port: raw(17, bytes(3)),
              "shorter sctp": lambda port: raw(132, sctp(port, lab.first).data[:8])}

    def replies(label, *ports):
        for name, upper in uppers.items():
            for port in ports:
                downlink(ip(server, client, upper(port)))
        downlink(ip(server, client, echo(lab.v6)))
        agent.captured("client", 1, "icmp6 129/0" if lab.v6 else "icmp 0/0")
        tell(f"{label}: at the client", received("client"))
        tell(f"{label}: at the server", received("silent"))
        for name in ("client", "silent"):
            agent.forget(name)

    begin()
    services(at("GS", PORT), protocols="tus")
    replies("nat_icmp_send=0", PORT)
    settings(nat_icmp_send=1)
    replies("nat_icmp_send=1", PORT, 81)
    for protocol in ("-u", "-t"):
        configure("director", [f"ipvsadm -e {protocol} {at('VIP')} -r {at('GS')} -i"])
    replies("tunnels instead", PORT)
    configure("director", [f"ipvsadm -e -u {at('VIP')} -r {at('GS')} -m", f"ipvsadm -d -t {at('VIP')} -r {at('GS')}"])
    replies("NAT for UDP again", PORT)
    configure("director", [f"ipvsadm -D -u {at('VIP')}", f"ipvsadm -A -f 7{' -6' * lab.v6}",
                           f"ipvsadm -a -f 7{' -6' * lab.v6} -r {at('GS')} -m"])
    replies("by mark", PORT, 81)
    # Of a connection, one that the director translates.
    configure("director", ["ipvsadm -C"])
    services(at("GS", PORT), protocols="u")
    uplink(ip(client, lab.here["VIP"], udp(lab.first, PORT)))
    agent.captured("silent", 1, f"{lab.first} > {PORT} ")
    replies("of a connection", PORT)


def echo(v6):
    return icmp(129 if v6 else 0, 0, b"over")


def tunnelled():
    """ignore_tunneled: requests in a tunnel that ends at the director."""
    six = lab.v6
    client, server = lab.here["GC"], lab.here["DIP"]
    device = "ip6tnl0" if six else "tunl0"
    output("director", f"modprobe {'ip6_tunnel' if six else 'ipip'}")
    configure("director", [f"ip link set {device} up", "sysctl -w net.ipv4.conf.all.rp_filter=0",
                           "sysctl -w net.ipv4.conf.default.rp_filter=0"] +
              ([] if six else ["sysctl -w net.ipv4.conf.tunl0.rp_filter=0"]))
    for ignored in (0, 1):
        begin()
        services(at("GS"))
        settings(ignore_tunneled=ignored)
        before = counters()
        for number, upper in enumerate((udp(lab.first, PORT, b"in a tunnel"), tcp(lab.first + 1, PORT, "S"))):
            uplink(ip(client, server, inside(ip(client, lab.here["VIP"], upper))))
        uplink(ip(client, lab.here["VIP"], udp(lab.first + 2, PORT, b"plain")))
        agent.captured("silent", 1, f"{lab.first + 2} > {PORT} ")
        told(f"ignore_tunneled={ignored}", before)


for family in (4, 6) if not DEBUG else (6, 4):
    lay_out(NAT, family)
    for part in (kinds, malformed):
        for port in (PORT, MAPPED):
            part("-m", port)
    for part in (lives, persistent, single, none_left, by_source, marked, tracked, unknown_replies, tunnelled):
        part()
    lay_out(DR, family)
    for option in ("-g", "-i"):
        kinds(option, PORT)
    malformed("-g", PORT)
agent.reset()
