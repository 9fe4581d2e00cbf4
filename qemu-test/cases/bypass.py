"""The sysctl `cache_bypass`: clients of a fwmark service in front of transparent caches reach their own destinations while
there is no cache."""
# Covers: src/hook/schedule.rs src/xmit/bypass.rs

import agent
import genl
import sctp_lab as lab
from case import DEBUG, configure, output, wait_for
from packet import fragments, icmp, ip, sctp, tcp, udp
from sctp_lab import conns, counters, downlink, lay_out, lines, listing, received, settings, tell, templates, uplink
from topology import NAT, inside

PORT = lab.PORT


def begin(real=False, **values):
    lab.begin(real)
    settings(**{"cache_bypass": 1, "conntrack": 0, **values})
    for name in () if real else ("client", "silent"):
        agent.capture(name, name, "eth0")


def service(*dests, more="", option="-m"):
    six = " -6" * lab.v6
    configure("director", [f"ipvsadm -A -f 7{six} -s rr {more}",
                           *(f"ipvsadm -a -f 7{six} -r {lab.here[dest]} {option}" for dest in dests)])


def redirect():
    """Requests to the servers' network are marked and delivered to the director itself, as in front of caches."""
    v6 = lab.v6
    nets = ("2001:db8:2::/64", "2001:db8:66::/64") if v6 else ("10.1.1.0/24", "10.66.0.0/16")
    family = "-6" if v6 else "-4"
    for command in ("rule add fwmark 7 table 100", "route add local default dev lo table 100", f"route add unreachable {nets[1]}"):
        output("director", f"ip {family} {command}")
    configure("director", ["sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 "
                           "net.ipv4.icmp_ratelimit=0 net.ipv4.icmp_msgs_per_sec=10000 net.ipv6.icmp.ratelimit=0"])
    for name in ("rs1", "rs2", "rs3"):
        agent.serve(name, name, PORT)
    output("director", "nft 'table inet marks { chain before { type filter hook prerouting priority mangle; iifname eth0 "
           f"{'ip6' if v6 else 'ip'} daddr {{ {', '.join(nets)} }} th dport {{ {PORT}, 443 }} meta mark set 7; }}; }}'")


def ask(label, timeout=1):
    for protocol in ("tcp", "udp", "sctp"):
        word = "who" if protocol != "sctp" else "name"
        answers = agent.get("client", protocol, lab.here["RIP1"], str(PORT), "2", word, str(timeout))
        tell(f"{label}: {protocol}", answers)


def requests():
    """Real connections, without caches, with one, and with one that gets no more."""
    begin(True, cache_bypass=0)
    service()
    # TCP ignores an ICMP error while the process is in connect(); that about the second SYN, after a second, counts.
    ask("cache_bypass=0", timeout=3)
    begin(True)
    service()
    before = counters()
    ask("cache_bypass=1")
    tell("connections", conns())
    tell("-Lnc", "\n".join(sorted(line for line in output("director", "ipvsadm -Lnc").split("\n")[2:]
                                  for line in [" ".join(line.split()[:1] + line.split()[2:])])))
    tell("services", listing())
    tell("counted", " ".join(str(a - b) for a, b in zip(counters(), before)))
    with inside("director"), open("/proc/thread-self/net/ip_vs_conn_sync") as f:
        tell("ip_vs_conn_sync", "\n".join(sorted(" ".join(line.split()[:-1]) for line in f if lab.here["RIP1"] in line)))
    six = " -6" * lab.v6
    configure("director", [f"ipvsadm -a -f 7{six} -r {lab.here['RIP3']} -m"])
    ask("with a cache")
    tell("connections with a cache", conns())
    configure("director", [f"ipvsadm -e -f 7{six} -r {lab.here['RIP3']} -m -w 0"])
    ask("weight 0")
    configure("director", [f"ipvsadm -d -f 7{six} -r {lab.here['RIP3']}"])
    ask("without it again")
    for more in ("-p 60", "-o"):
        begin(True)
        service(more=more)
        ask(more)
        tell(f"{more}: connections", conns())
    tell("templates", templates())
    begin(True, conntrack=1)
    service()
    ask("conntrack=1")


def crafted():
    """Packets with options, a TTL of 1, too big ones, fragments, ICMP errors in both directions, other destinations."""
    client, server = lab.here["GC"], lab.here["GS"]
    begin()
    service()
    configure("director", ["ip link set eth1 mtu 1400"])
    before = counters()
    names = {"udp": lambda port, data: udp(lab.first + port, PORT, data), "tcp": lambda port, data: tcp(lab.first + port, PORT, "S", data),
             "sctp": lambda port, data: sctp(lab.first + port, PORT, "INIT")}
    for number, upper in enumerate(names.values()):
        uplink(ip(client, server, upper(number, b"question")), ip(client, server, upper(number, b"again")),
               ip(client, server, upper(number + 10, b"short"), ttl=1), ip(client, server, upper(number, b"short"), ttl=1))
        downlink(ip(server, client, [udp(PORT, lab.first), tcp(PORT, lab.first + 1, "SA"), sctp(PORT, lab.first + 2, "INIT-ACK")][number]))
    for size in (1340, 1380):
        uplink(ip(client, server, udp(lab.first, PORT, bytes(size))), ip(client, server, udp(lab.first, PORT, bytes(size)), df=False),
               ip(client, server, udp(lab.first + 20, PORT, bytes(size))))
    uplink(fragments(ip(client, server, udp(lab.first, PORT, bytes(700))), 400))
    if not lab.v6:
        uplink(ip(client, server, udp(lab.first, PORT, b"options"), options=bytes([1, 1, 1, 0])))
    kind = (1, 4) if lab.v6 else (3, 3)
    asked = ip(client, server, udp(lab.first, PORT, b"question"))
    answered = ip(server, client, udp(PORT, lab.first, b"answer"))
    uplink(ip(client, server, icmp(*kind, answered)), ip(client, server, icmp(*kind, answered, csum=1)))
    downlink(ip(server, client, icmp(*kind, asked)), ip(server, client, icmp(*kind, asked, csum=1)))
    uplink(ip(client, "2001:db8:66::1" if lab.v6 else "10.66.0.1", udp(lab.first + 30, PORT, b"unreachable")))
    uplink(ip(client, lab.here["DIP"], udp(lab.first + 31, PORT, b"the director itself")))
    uplink(ip(client, server, tcp(lab.first + 32, PORT, "A")), ip(client, server, tcp(lab.first + 33, PORT, "R")))
    uplink(ip(client, server, udp(lab.first + 40, 443, b"last")))
    agent.captured("silent", 1, f"{lab.first + 40} > 443 ")
    tell("at the server", received("silent"))
    tell("at the client", received("client"))
    tell("connections of crafted packets", conns())
    tell("counted of crafted packets", " ".join(str(a - b) for a, b in zip(counters(), before)))
    configure("director", ["ip link set eth1 mtu 1500"])


def by_method():
    """A dest with the forwarding method 4 of netlink: its address has no effect."""
    begin()
    key = genl.service(**(dict(AF=genl.u16(genl.V6 if lab.v6 else genl.V4), FWMARK=genl.u32(7))))
    service()
    with inside("director"):
        genl.Family().call(genl.command("NEW_DEST"), key + genl.real(**genl.server(
            lab.here["RIP3"], 0, FWD_METHOD=genl.u32(4), ADDR_FAMILY=genl.u16(genl.V6 if lab.v6 else genl.V4))))
    before = counters()
    client, server = lab.here["GC"], lab.here["GS"]
    uplink(ip(client, server, udp(lab.first, PORT, b"question")), ip(client, server, tcp(lab.first + 1, PORT, "S")))
    downlink(ip(server, client, udp(PORT, lab.first, b"answer")))
    uplink(ip(client, server, udp(lab.first + 2, PORT, b"last")))
    agent.captured("silent", 1, f"{lab.first + 2} > {PORT} ")
    agent.captured("client", 1, f"{PORT} > {lab.first} ")
    wait_for("the connections", lambda: len(lines()) == 3)
    tell("method 4: at the server", received("silent"))
    tell("method 4: at the client", received("client"))
    tell("method 4: connections", conns())
    tell("method 4: counted", " ".join(str(a - b) for a, b in zip(counters(), before)))


for family in (4, 6) if not DEBUG else (6, 4):
    lay_out(NAT, family)
    redirect()
    requests()
    crafted()
    by_method()
agent.reset()
