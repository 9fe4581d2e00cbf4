"""The persistence engine `sip`: messages with the same Call-ID go to one real server, and its own messages start
connections."""
# Covers: src/pe src/hook/persist.rs src/hook/initiated.rs src/conn/template.rs src/ctl

import agent
import genl
import sctp_lab as lab
from case import DEBUG, configure, output, wait_for
from packet import fragments, icmp, ip, tcp, udp
from sctp_lab import at, counters, downlink, lay_out, received, settings, tell, uplink
from topology import NAT, inside

SIP = 5060
V6 = lambda: " -6" * lab.v6


def begin(real=False, **values):
    lab.begin(real)
    settings(**{"conntrack": 0, "schedule_icmp": 0, "nat_icmp_send": 0, **values})
    for name in () if real else ("client", "silent", "rs1"):
        agent.capture(name, name, "eth0")


def service(*dests, more="-p 60 --pe sip", option="-m", key=None):
    key = key or f"-u {at('VIP', SIP)}"
    configure("director", [f"ipvsadm -A {key} -s rr {more}",
                           *(f"ipvsadm -a {key} -r {dest} {option}" for dest in dests)])


def proc():
    """As that of sctp_lab; a Call-ID may have any bytes."""
    with inside("director"), open("/proc/thread-self/net/ip_vs_conn", encoding="latin-1") as f:
        return [line.split() for line in f][1:]


def templates():
    """Returns the templates of the part's calls, without their remaining times, but with the engine's data."""
    return "\n".join(sorted(" ".join(fields[:8] + fields[9:]) for fields in proc() if fields[10:] and fields[10].startswith(tag())))


def tag():
    """The start of the part's Call-IDs: templates of earlier parts still exist."""
    return f"{lab.first}."


def call(name):
    return plain(tag() + name).encode()


def plain(value=None, head="Call-ID: ", end="\r\n", start="name sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP c\r\n"):
    return start + (f"{head}{value}{end}" if value is not None else "")


def ask(name):
    return agent.ask("udp", lab.here["VIP"], SIP, call(name).decode(), 3)


def calls():
    """Real messages: one dest for a call, whatever the client's port."""
    dests = [at(f"RIP{i}", SIP) for i in (1, 2, 3)]
    for more in ("-p 60 --pe sip", "-p 60 --pe sip -o", f"-p 60 --pe sip -M {64 if lab.v6 else '255.255.255.0'}", "-p 60"):
        begin(True)
        service(*dests, more=more)
        before = counters()
        agent.enter("client")
        answers = [ask(f"call{number}@host.example") for number in (1, 2, 3, 1, 2, 3, 4, 1, 4)]
        tell(f"{more}: answers", " ".join(answers))
        tell(f"{more}: templates", templates())
        lines = output("director", "ipvsadm -Lnc --persistent-conn").split("\n")[2:]
        tell(f"{more}: -Lnc", "\n".join(sorted(" ".join(line.split()[:1] + line.split()[2:]) for line in lines
                                               if tag() in line)))
        tell(f"{more}: listing", lab.listing())
        tell(f"{more}: saved", output("director", "ipvsadm -Sn"))
        tell(f"{more}: counted", " ".join(str(a - b) for a, b in zip(counters()[:3], before)))
        with inside("director"):
            (entry, *_), = genl.services(genl.Family())
        body = dict(genl.attributes(next(genl.attributes(entry))[1]))
        tell(f"{more}: attributes", " ".join(genl.SVC[kind] for kind in body) +
             f" {body.get(genl.SVC.index('PE_NAME'))}")
    # An edit adds or removes the engine; templates stay.
    begin(True)
    service(*dests, more="-p 60")
    agent.enter("client")
    tell("edited: without", " ".join(ask(f"call{number}") for number in (1, 2, 1, 2)))
    configure("director", [f"ipvsadm -E -u {at('VIP', SIP)} -s rr -p 60 --pe sip"])
    agent.enter("client")
    tell("edited: with", " ".join(ask(f"call{number}") for number in (1, 2, 1, 2)))
    tell("edited: templates", templates())
    configure("director", [f"ipvsadm -E -u {at('VIP', SIP)} -s rr -p 60"])
    agent.enter("client")
    tell("edited: without again", " ".join(ask(f"call{number}") for number in (1, 2)))
    tell("edited: listing", lab.listing())


def messages():
    """Call-IDs of each form and length. Messages without a valid one are dropped."""
    begin()
    service(at("GS", SIP))
    before = counters()
    client, vip = lab.here["GC"], lab.here["VIP"]
    long = {size: "x" * size for size in (1, 254, 255, 256, 257)}
    bodies = [plain(value) for value in long.values()] + [
        plain("a@b"), plain("a@"), plain("@b"), plain(""), plain(), plain("a b"), plain("a;b"), plain("a@b@c"), plain("a", end=""),
        plain("a", end="\r"), plain("cr", end="\r"), plain("lf", end="\n"), plain("compact", "i: "), plain("upper", "I: "),
        plain("isup", "isup: "), plain("spaces", "Call-ID \t : \t "), plain("lower", "call-id:"), plain("continued", "Call-ID:\r\n "),
        plain("folded", "\tCall-ID: "), plain("nocolon", "Call-ID "), plain("twice") + plain("second", start=""),
        plain("a@", end="\r\nyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\ni: late\r\n"),
        plain("body", "\r\nCall-ID: "), plain("body2", "\nCall-ID: "), plain("first", start=""), plain("\xe4\xd6", "i: "), plain("a\xd7", "i: "),
        plain("!%*_+`'~()<>:\\\"/[]?{}-.", "i:"), "", "\r\n", "\r\ni:", "\r\ni: "]
    for number, body in enumerate(bodies):
        uplink(ip(client, vip, udp(lab.first + number, SIP, body.encode("latin-1"))))
    uplink(*fragments(ip(client, vip, udp(lab.first + 60, SIP, plain("fragments").encode() + bytes(300))), 64),
           ip(client, vip, udp(lab.first + 61, SIP, plain("tail").encode() + bytes(700))))
    uplink(ip(client, vip, udp(lab.first + 99, SIP, call("last"))))
    agent.captured("silent", 1, f"{lab.first + 99} > {SIP} ")
    tell("messages: at the server", received("silent"))
    tell("messages: at the client", received("client"))
    tell("messages: counted", " ".join(str(a - b) for a, b in zip(counters(), before)))
    uplink(ip(client, vip, udp(lab.first + 98, SIP, plain((tag() + "y" * 255)[:255]).encode())))
    wait_for("its template", lambda: "yyy" in templates())
    tell("messages: the longest", "\n".join(line for line in templates().split("\n") if "yyy" in line))


def others():
    """The engine with services by mark and for TCP, with packets of other protocols, and for ICMP errors."""
    client, vip = lab.here["GC"], lab.here["VIP"]
    output("director", f"nft 'table inet marks {{ chain before {{ type filter hook prerouting priority mangle; "
           f"{'ip6' if lab.v6 else 'ip'} daddr {vip} th dport {{ {SIP}, 80 }} meta mark set 7; }}; }}'")
    begin()
    service(at("GS", 0).rsplit(":", 1)[0].strip("[]"), key=f"-f 7{V6()}")
    before = counters()
    uplink(ip(client, vip, udp(lab.first, SIP, call("marked"))), ip(client, vip, udp(lab.first + 1, 80, call("marked"))),
           ip(client, vip, tcp(lab.first + 2, 80, "S")), ip(client, vip, udp(lab.first + 3, SIP, b"none")),
           ip(client, vip, udp(lab.first + 4, SIP, call("last"))))
    agent.captured("silent", 1, f"{lab.first + 4} > {SIP} ")
    tell("marked: at the server", received("silent"))
    tell("marked: templates", templates())
    tell("marked: counted", " ".join(str(a - b) for a, b in zip(counters(), before)))
    downlink(ip(lab.here["GS"], client, udp(SIP, lab.first + 5, call("new"))))
    agent.captured("client", 1, f"{SIP} > {lab.first + 5} ")
    tell("marked: from the server", received("client"))
    output("director", "nft delete table inet marks")
    begin(schedule_icmp=1)
    service(at("GS", 80), key=f"-t {at('VIP', 80)}")
    service(at("GS", SIP))
    before = counters()
    kind = (1, 4) if lab.v6 else (3, 3)
    uplink(ip(client, vip, tcp(lab.first, 80, "S")),
           ip(client, vip, icmp(*kind, ip(vip, client, udp(SIP, lab.first + 1, call("error"))))),
           ip(client, vip, udp(lab.first + 2, SIP, call("last"))))
    agent.captured("silent", 1, f"{lab.first + 2} > {SIP} ")
    tell("others: at the server", received("silent"))
    tell("others: at the client", received("client"))
    tell("others: counted", " ".join(str(a - b) for a, b in zip(counters(), before)))


def from_servers():
    """Messages of a real server that belong to no connection: the answers go to it, also when another one's turn is."""
    client, vip, server = lab.here["GC"], lab.here["VIP"], lab.here["GS"]
    for label, more, values in (("", "-p 60 --pe sip", {}), ("-o", "-p 60 --pe sip -o", {}), ("not persistent", "--pe sip", {}),
                                ("-o, not persistent", "--pe sip -o", {}), ("no engine", "-p 60", {}),
                                ("nat_icmp_send", "-p 60 --pe sip", {"nat_icmp_send": 1}), ("conntrack", "-p 60 --pe sip", {"conntrack": 1})):
        begin(**values)
        service(at("RIP1", SIP), at("GS", SIP), more=more)
        before = counters()
        out = [udp(SIP, lab.first, call("out")), udp(SIP, lab.first, call("out")), udp(SIP, lab.first + 1, b"no call"),
               udp(5061, lab.first + 2, call("other port")), udp(SIP, lab.first + 3, call("out")),
               tcp(SIP, lab.first + 4, "SA")]
        downlink(*(ip(server, client, one) for one in out))
        downlink(ip(server, client, udp(7, lab.first + 5, b"last")))
        agent.captured("client", 1, f"7 > {lab.first + 5} ")
        uplink(ip(client, vip, udp(lab.first, SIP, call("out"))), ip(client, vip, udp(lab.first + 6, SIP, call("out"))),
               ip(client, vip, udp(lab.first + 7, SIP, call("in"))), ip(client, vip, udp(lab.first + 8, SIP, call("in2"))))
        wait_for("the requests", lambda: counters()[1] >= before[1] + 4)
        wait_for("the last request", lambda: f"{lab.first + 8} >" in received("rs1") + received("silent"))
        tell(f"from servers, {label}: at the client", received("client"))
        tell(f"from servers, {label}: at the server", received("silent"))
        tell(f"from servers, {label}: at the other", received("rs1"))
        tell(f"from servers, {label}: templates", templates())
        conns = (fields for fields in proc() if lab.first <= int(fields[2], 16) < lab.first + lab.PORTS)
        tell(f"from servers, {label}: connections", "\n".join(sorted(" ".join(fields[:8]) for fields in conns)))
        tell(f"from servers, {label}: counted", " ".join(str(a - b) for a, b in zip(counters(), before)))


def dests_change():
    """A dest with templates is removed, added again, and gets the weight 0."""
    begin(True, expire_quiescent_template=1)
    service(at("RIP1", SIP), at("RIP2", SIP))
    agent.enter("client")
    key = f"-u {at('VIP', SIP)}"
    first, second = (ask(f"call{number}") for number in (1, 2))
    rip = {name: at(f"RIP{name[2]}", SIP) for name in (first, second)}
    steps = [("removed", f"ipvsadm -d {key} -r {rip[first]}"), ("added", f"ipvsadm -a {key} -r {rip[first]} -m"),
             ("weight 0", f"ipvsadm -e {key} -r {rip[second]} -m -w 0"), ("weight 1", f"ipvsadm -e {key} -r {rip[second]} -m -w 1")]
    told = [f"{first} {second}"]
    for label, command in steps:
        configure("director", [command])
        agent.enter("client")
        told.append(f"{label}: {ask('call1')} {ask('call2')} {ask('call1')}")
    tell("dests change", "\n".join(told))
    settings(expire_quiescent_template=0)


for family in (4, 6) if not DEBUG else (6, 4):
    lay_out(NAT, family)
    for name in ("rs1", "rs2", "rs3"):
        agent.serve(name, name, SIP)
    for part in (calls, messages, others, from_servers, dests_change):
        part()
agent.reset()
