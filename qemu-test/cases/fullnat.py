"""FULLNAT: real servers without a route to the clients, by the service's flag and by the sysctl. C has no such method."""
# Covers: src/hook/fullnat src/conn/fullnat src/xmit/fullnat src/ports

import os
import socket

import agent
from case import SLOW, configure, expect, observe, output, skip
from topology import NAT, build, inside

if os.environ["MODULE"] == "c":
    skip("C has no FULLNAT")

PORT = 80
SERVERS = "rs1", "rs2", "rs3"


def address(name, v6):
    found = NAT.addresses[name][v6]
    return f"[{found}]" if v6 else found


def lay_out(v6):
    """The real servers have no route to the client's network."""
    build(NAT.machines)
    for name in SERVERS:
        configure(name, [f"ip route del default via {gateway}" for gateway in NAT.addresses["DIP"]])
        agent.serve(name, name, PORT)


def service(v6, options="", dests=SERVERS, protocols="tu"):
    for protocol in protocols:
        vip = f"-{protocol} {address('VIP', v6)}:{PORT}"
        rips = (f"{address('RIP' + name[2], v6)}:{PORT}" for name in dests)
        configure("director", [f"ipvsadm -A {vip} -s rr {options}".rstrip(), *(f"ipvsadm -a {vip} -r {rip} -m" for rip in rips)])


def setting(name, value):
    output("director", f"sysctl -w net.ipv4.vs.{name}='{value}'")


def ask(v6, protocol, count, word="name", machine="client", timeout="5"):
    return agent.get(machine, protocol, NAT.addresses["VIP"][v6], PORT, count, word, timeout)


def conns():
    return [line.split() for line in output("director", "cat /proc/net/ip_vs_conn").split("\n")[1:]]


def balanced(v6, conntrack):
    """All requests are answered. For the real server the director is the client."""
    lay_out(v6)
    service(v6, "-b flag-3")
    setting("conntrack", conntrack)
    for protocol in ("tcp", "udp"):
        expect(f"{protocol} answers", "rs3 rs2 rs1 rs3 rs2 rs1", ask(v6, protocol, 6))
        seen = {line.rsplit(" ", 1)[0].split()[-1] for line in ask(v6, protocol, 3, "who").split("\n")}
        observe(f"{protocol}: clients as the servers see them", " ".join(sorted(seen)))
    observe("saved", output("director", "ipvsadm -Sn"))
    expect("conns", 18, len(conns()))


def plain(v6):
    """The same servers without the flag answer nothing; with the sysctl they do."""
    lay_out(v6)
    service(v6)
    expect("answers without FULLNAT", "timeout timeout", ask(v6, "tcp", 2, timeout="1"))
    setting("fullnat", 1)
    answers = ask(v6, "tcp", 3).split()
    expect("answers with the sysctl", list(SERVERS), sorted(answers))


def exhausted(v6):
    """Connections fail when all ports are in use, and succeed again when one ends."""
    lay_out(v6)
    setting("fullnat_ports", "2001 2004")
    service(v6, "-b flag-3", ("rs1",), "t")
    agent.hold("client", "held", "tcp", NAT.addresses["VIP"][v6], PORT, 4)
    expect("a fifth connection", "timeout", ask(v6, "tcp", 1, timeout="2"))
    setting("fullnat_ports", "2001 2005")
    expect("with one more port", "rs1", ask(v6, "tcp", 1))


def local_ends(v6):
    """A client on the director, and a real server there."""
    lay_out(v6)
    agent.serve("director", "local", PORT)
    service(v6, "-b flag-3", ("rs1",))
    for protocol in ("tcp", "udp"):
        expect(f"{protocol}, from the director", "rs1 rs1", ask(v6, protocol, 2, machine="director"))
    dip = address("DIP", v6)
    for protocol in "tu":
        configure("director", [f"ipvsadm -a -{protocol} {address('VIP', v6)}:{PORT} -r {dip}:{PORT} -m"])
    for protocol in ("tcp", "udp"):
        expect(f"{protocol}, also to the director", {"rs1", "local"}, set(ask(v6, protocol, 4).split()))


def persistent(v6):
    lay_out(v6)
    service(v6, "-p 60 -b flag-3", protocols="t")
    expect("one server", 1, len(set(ask(v6, "tcp", 4).split())))


def entry_of_reply(v6):
    """The conntrack entry is deleted, and the server's next packet starts another one, which expects the client's."""
    lay_out(v6)
    setting("conntrack", 1)
    vip, rip = (f"{address(name, v6)}:8080" for name in ("VIP", "RIP1"))
    configure("director", ["nft 'table inet track { chain in { type filter hook input priority 0; ct state new counter; }; }'",
                           f"ipvsadm -A -t {vip} -s rr -b flag-3", f"ipvsadm -a -t {vip} -r {rip} -m"])
    with inside("rs1"):
        listener = socket.create_server(("", 8080), family=socket.AF_INET6 if v6 else socket.AF_INET)
    with inside("client"):
        client = socket.create_connection((NAT.addresses["VIP"][v6], 8080), 30 * SLOW)
    server = listener.accept()[0]
    server.settimeout(30 * SLOW)
    for text in b"first", b"second":
        output("director", "conntrack -F 2>&1")
        server.sendall(text)
        expect("the server's words", text, client.recv(100))
        client.sendall(text)
        expect("the client's words", text, server.recv(100))
    for sock in client, server, listener:
        sock.close()


for six in (0, 1):
    for tracked in (0, 1):
        balanced(six, tracked)
    plain(six)
    exhausted(six)
    local_ends(six)
    persistent(six)
    entry_of_reply(six)
