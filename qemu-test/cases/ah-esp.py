"""AH and ESP packets follow the ISAKMP exchange between the same addresses, in both directions, with services by address and
by mark."""
# Covers: src/hook/related.rs src/xmit src/packet

import shlex

import agent
import sctp_lab as lab
from case import DEBUG, configure, output, wait_for
from packet import fragments, icmp, ip, raw, tcp, udp
from sctp_lab import at, counters, downlink, lay_out, proc, received, settings, tell, uplink
from topology import DR, NAT

IKE, AH, ESP = 500, 51, 50
number = 0
client = ""  # of the part


def begin(**values):
    """Begins a part with a client of its own: conns of earlier parts still exist."""
    global number, client
    lab.begin()
    settings(**{"conntrack": 0, "expire_nodest_conn": 0, "schedule_icmp": 0, **values})
    number += 1
    client = f"2001:db8:{1 if lab.network is NAT else 3}::7:{number}" if lab.v6 else \
        f"{'192.168' if lab.network is NAT else '172.16'}.1.{120 + number}"
    mac = "02:00:00:00:00:01"
    configure("director" if lab.network is NAT else "router", [f"ip neigh replace {client} lladdr {mac} dev eth0"])
    for name in ("client", "silent"):
        agent.capture(name, name, "eth0")


def service(dest_port=IKE, option="-m", by="", more=""):
    key = f"-f 7{' -6' * lab.v6}" if by == "mark" else f"-u {at('VIP', IKE)}"
    dest = lab.here["GS"] if by == "mark" else at("GS", dest_port)
    configure("director", [f"ipvsadm -A {key} -s rr {more}", f"ipvsadm -a {key} -r {dest} {option}"])


def request(upper, **fields):
    return ip(client, lab.here["VIP"], upper, **fields)


def answer(upper, **fields):
    return ip(lab.here["GS"], client, upper, **fields)


def ike(data=b"ike", port=IKE):
    return udp(port, IKE, data)


def esp(size=32, kind=ESP):
    return raw(kind, bytes(i % 256 for i in range(size)))


def ah(inside, size=24):
    """An AH header for the payload."""
    return raw(AH, bytes([inside.v4, size // 4 - 2]) + bytes(size - 2) + inside.data)


def conns():
    addr = "".join(f"{part:02X}" for part in map(int, client.split("."))) if not lab.v6 else None
    return [fields for fields in proc() if fields[2] != "0000" and
            (fields[1] == addr if addr else fields[1].endswith(f":0007:{int(str(number), 16):04x}"))]


def told(label, before):
    """Ends a part: a last exchange shows that all before was handled."""
    uplink(request(ike(b"the last one of all")))
    agent.captured("silent", 1, "data=19 ")
    tell(f"{label}: at the server", received("silent"))
    tell(f"{label}: at the client", received("client"))
    tell(f"{label}: connections", "\n".join(sorted(" ".join(fields[:2] + fields[3:8]) for fields in conns())))
    tell(f"{label}: counted", " ".join(str(a - b) for a, b in zip(counters(), before)))


def established():
    uplink(request(ike()))
    wait_for("the connection", lambda: len(conns()) == 1)


def traffic(option, by="", dest_port=IKE, **values):
    """Before and after the exchange; whole, short and fragmented packets, TTL 1, another client and another address."""
    begin(**values)
    service(dest_port, option, by)
    before = counters()
    kinds = {"esp": esp(), "ah": ah(udp(1, 2, b"inside"))}
    for upper in kinds.values():
        uplink(request(upper))
        downlink(answer(upper))
    uplink(request(udp(4500, IKE, b"from another port")))
    uplink(request(esp(36)))
    established_before = len(conns())
    uplink(request(ike()))
    wait_for("the connection", lambda: len(conns()) == established_before + 1)
    for upper in kinds.values():
        uplink(request(upper), request(upper, ttl=1), ip(lab.here["GC"], lab.here["VIP"], upper))
        downlink(answer(upper), ip(lab.here["GS"], lab.here["GC"], upper))
    for size in (0, 1, 4, 8):
        uplink(request(esp(size)), request(esp(size, AH)))
        downlink(answer(esp(size)), answer(esp(size, AH)))
    big = esp(200)
    uplink(fragments(request(big), 120), fragments(request(big), 120, 9)[1:])
    downlink(fragments(answer(big), 120))
    uplink(request(esp(1400)), request(esp(1472 - 20 * lab.v6)))
    if not lab.v6:
        uplink(request(esp(40), options=bytes([1, 1, 1, 0])))
        downlink(answer(esp(40), options=bytes([1, 1, 1, 0])))
    uplink(request(raw(47, bytes(24))), request(raw(108, bytes(24))))
    if lab.v6:  # AH is an extension header for the stack: the inner packet is balanced
        uplink(request(ah(ike(b"inside ah"))), request(ah(tcp(5, 6, "S"))), request(ah(esp())))
        downlink(answer(ah(udp(IKE, IKE, b"inside ah"))))
    told(f"{option} {by} {dest_port} {values or ''}", before)


def errors(option):
    """ICMP errors about AH and ESP packets in both directions, also truncated ones."""
    for scheduled in (0, 1):
        begin(schedule_icmp=scheduled)
        service(option=option)
        before = counters()
        established()
        seen_by = lab.here["GS"] if option == "-m" else lab.here["VIP"]
        types = ((1, 4), (2, 0), (3, 0)) if lab.v6 else ((3, 2), (3, 4), (11, 0))
        head = 40 if lab.v6 else 20
        for upper in (esp(), esp(24, AH)):
            sent, seen = ip(client, seen_by, upper, ttl=60), ip(lab.here["VIP"], client, upper, ttl=60)
            for kind in types:
                downlink(answer(icmp(*kind, sent, 1400)))
                uplink(request(icmp(*kind, seen, 1400)))
            for size in (head, head + 3, head + 8):
                downlink(answer(icmp(*kind, sent[:size])))
                uplink(request(icmp(*kind, seen[:size])))
            downlink(answer(icmp(*kind, sent, csum=1)))
            uplink(request(icmp(*kind, seen, csum=1)))
            # Of no exchange
            uplink(request(icmp(*kind, ip(lab.here["VIP"], lab.here["GC"], upper))))
            # A later fragment has no ports either.
            later = fragments(seen, 16)[1]
            uplink(request(icmp(*kind, later)))
        told(f"errors, {option}, schedule_icmp={scheduled}", before)


def kept():
    """The packets keep the connection from expiring."""
    begin()
    service()
    configure("director", ["ipvsadm --set 0 0 40"])
    established()
    for send in (lambda: uplink(request(esp())), lambda: downlink(answer(esp()))):
        wait_for("time to pass", lambda: int(conns()[0][8]) < 39)
        send()
        wait_for("the time to begin anew", lambda: int(conns()[0][8]) >= 39)
    tell("kept", " ".join(conns()[0][7:8]))
    configure("director", ["ipvsadm --set 0 0 300"])


def removed():
    """The dest is removed."""
    for expire in (0, 1):
        begin(expire_nodest_conn=expire)
        service()
        established()
        agent.captured("silent", 1, "data=3 ")
        before = counters()
        if expire:  # else the flush of such connections would come first
            settings(expire_nodest_conn=0)
        configure("director", [f"ipvsadm -d -u {at('VIP', IKE)} -r {at('GS', IKE)}"])
        settings(expire_nodest_conn=expire)
        uplink(request(esp()))
        if expire:  # a packet from the dest before the end would prolong the connection
            wait_for("the end of the connection", lambda: not conns())
        else:
            downlink(answer(esp()))
        configure("director", [f"ipvsadm -a -u {at('VIP', IKE)} -r {at('GS', IKE)} -m"])
        uplink(request(esp(33)))
        told(f"removed, expire_nodest_conn={expire}", before)


def matched():
    """Which rules with `-m ipvs` the packets match, in both directions."""
    begin(conntrack=1)
    service()
    tables = "ip6tables" if lab.v6 else "iptables"
    rules = [f"{inverted}{rule}" for inverted in ("", "! ") for rule in (
        "--ipvs", "--vproto 50", "--vproto 51", "--vproto 17", f"--vaddr {lab.here['VIP']}", f"--vaddr {lab.here['GS']}",
        "--vport 500", "--vport 501", "--vmethod MASQ", "--vmethod GATE", "--vportctl 500")]
    rules += ["--vdir ORIGINAL", "--vdir REPLY"]
    # Packets have a direction if they are tracked.
    lines = ["*filter", "-A INPUT -m conntrack --ctstate NEW", "COMMIT", "*mangle",
             *(f"-A POSTROUTING -m ipvs {rule}" for rule in rules), "COMMIT"]
    output("director", f"printf '%s\\n' {shlex.join(lines)} | {tables}-restore")
    established()
    agent.captured("silent", 1, "data=3 ")
    kinds = {"ESP": esp()} if lab.v6 else {"ESP": esp(), "AH": ah(udp(1, 2, b"inside"))}
    for name, upper in kinds.items():
        for way, send in (("to", lambda: uplink(request(upper))), ("from", lambda: downlink(answer(upper)))):
            output("director", f"{tables} -t mangle -Z POSTROUTING")
            agent.forget("silent" if way == "to" else "client")
            send()
            agent.captured("silent" if way == "to" else "client", 1, "< ")
            lines = output("director", f"{tables} -t mangle -nvL POSTROUTING").split("\n")[2:]
            tell(f"-m ipvs, {name} {way} the server", "\n".join(
                f"{rule}: {'matched' if line.split()[0] != '0' else 'not matched'}" for rule, line in zip(rules, lines)))
    configure("director", [f"{tables} -t mangle -F", f"{tables} -F"])


def mark():
    output("director", f"nft 'table inet marks {{ chain before {{ type filter hook prerouting priority mangle; "
           f"{'ip6' if lab.v6 else 'ip'} daddr {lab.here['VIP']} meta l4proto {{ 17, 50, 51 }} meta mark set 7; }}; }}'")


for family in (4, 6) if not DEBUG else (6, 4):
    lay_out(NAT, family)
    traffic("-m")
    traffic("-m", dest_port=8080)
    traffic("-m", conntrack=1)
    for part in (kept, removed, matched):
        part()
    errors("-m")
    mark()
    traffic("-m", "mark")
    lay_out(DR, family)
    for option in ("-g", "-i"):
        traffic(option)
    errors("-g")
agent.reset()
