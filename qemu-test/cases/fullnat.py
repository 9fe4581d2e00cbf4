"""FULLNAT: real servers without a route to the clients, by the service's flag and by the sysctl. C has no such method."""
# Covers: src/hook/fullnat src/conn/fullnat src/xmit/fullnat src/ports src/laddr src/xmit/toa src/wire/toa src/conn/handshake src/conn/local

import errno
import hashlib
import os
import socket
import struct

import agent
import genl
from case import SLOW, configure, expect, inside, observe, output, skip, wait_for
from packet import address as packed, ip, show, tcp
from topology import NAT, build, enter

if os.environ["MODULE"] == "c":
    skip("C has no FULLNAT")

PORT = 80
SERVERS = "rs1", "rs2", "rs3"
# Addresses in the network of the real servers.
LISTED = ("10.1.1.50", "10.1.1.51", "10.1.1.60"), ("2001:db8:2::50", "2001:db8:2::51", "2001:db8:2::60")


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


def clients(v6, protocol, count):
    """Returns the clients of `count` connections, as the servers see them."""
    lines = ask(v6, protocol, count, "who").split("\n")
    return [(addr, int(port)) for _, addr, port, _ in map(str.split, lines)]


def refusal(name, value):
    """Returns the errno with which the director refuses a value of a sysctl."""
    with inside("director"):
        try:
            with open(f"/proc/sys/net/ipv4/vs/{name}", "w") as file:
                file.write(value)
        except OSError as error:
            return errno.errorcode[error.errno]


def add(addresses, v6):
    """Adds addresses to the director, which are not its preferred sources."""
    options = "/128 nodad preferred_lft 0" if v6 else "/32"
    configure("director", [f"ip addr add {one}{options} dev eth1" for one in addresses])


def local_file(machine="director"):
    """Returns the first line of /proc/net/ip_vs_fullnat, and the conns as dictionaries."""
    with inside(machine), open("/proc/thread-self/net/ip_vs_fullnat") as file:
        count, header, *lines = file.read().splitlines()
    expect("the header", "Pro FromIP   FPrt ToIP     TPrt LocalIP  LPrt DestIP   DPrt State       Expires", header)

    def end(addr, port):
        if ":" not in addr:
            return socket.inet_ntoa(bytes.fromhex(addr)), int(port, 16)
        return socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, addr)), int(port, 16)

    found = []
    for line in lines:
        protocol, *ends, state, _ = line.split()
        names = zip(("client", "service", "local", "dest"), zip(ends[::2], ends[1::2], strict=True), strict=True)
        found.append({"protocol": protocol, "state": state, **{name: end(*where) for name, where in names}})
    return count, found


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
    setting("fullnat_ports", "2001 2006")
    configure("director", ["sysctl -w net.ipv4.ip_local_reserved_ports=2002,2005"])
    service(v6, "-b flag-3", ("rs1",), "t")
    agent.hold("client", "held", "tcp", NAT.addresses["VIP"][v6], PORT, 4)
    count, ends = local_file()
    expect("not exhausted yet", "Exhausted 0", count)
    expect("the local ends", {(NAT.addresses["DIP"][v6], port) for port in (2001, 2003, 2004, 2006)}, {end["local"] for end in ends})
    expect("the dests", {(NAT.addresses["RIP1"][v6], PORT)}, {end["dest"] for end in ends})
    expect("the services", {(NAT.addresses["VIP"][v6], PORT)}, {end["service"] for end in ends})
    expect("the clients", {NAT.addresses["CIP"][v6]}, {end["client"][0] for end in ends})
    expect("the states", {("TCP", "ESTABLISHED")}, {(end["protocol"], end["state"]) for end in ends})
    expect("a fifth connection", "timeout", ask(v6, "tcp", 1, timeout="2"))
    count, _ = local_file()
    expect("exhausted", True, int(count.removeprefix("Exhausted ")) > 0)
    said = [line for line in output("director", "dmesg").split("\n") if f"connections to {NAT.addresses['RIP1'][v6]} port" in line]
    expect("one warning", 1, len(said))
    setting("fullnat_ports", "2001 2007")
    expect("with one more port", "rs1", ask(v6, "tcp", 1))


def reserved(v6):
    """A client opens a connection anew, while the real server has the old one in TIME_WAIT: no connection gets its local end."""
    build(NAT.machines)
    gc, gs, vip, dip = (NAT.addresses[name][v6] for name in ("GC", "GS", "VIP", "DIP"))
    setting("fullnat_ports", "2001 2001")
    configure("director", [f"ipvsadm -A -t {address('VIP', v6)}:{PORT} -s rr -b flag-3",
                           f"ipvsadm -a -t {address('VIP', v6)}:{PORT} -r {address('GS', v6)}:{PORT} -m"])
    agent.capture("silent", "dest", "eth0", gs)

    def to_server(flags):
        agent.forget("dest")
        agent.send("client", "eth0", "director", "eth0", ip(gc, vip, tcp(1234, PORT, flags)))
        return agent.captured("dest", 1, f" > {gs} ")

    def to_client(flags):
        agent.send("silent", "eth0", "director", "eth1", ip(gs, dip, tcp(PORT, 2001, flags)))

    expect("the local port", True, f" {dip} > {gs} " in (first := to_server("S")) and "tcp 2001 > " in first)
    to_client("SA")
    to_server("A")
    to_client("FA")
    to_server("FA")
    wait_for("TIME_WAIT", lambda: [end["state"] for end in local_file()[1]] == ["TIME_WAIT"])
    agent.forget("dest")
    for number in 1, 2, 3:
        agent.send("client", "eth0", "director", "eth0", ip(gc, vip, tcp(1234, PORT, "S", seq=number << 24)))
        wait_for("the count", lambda: local_file()[0] == f"Exhausted {number}", instead=lambda: local_file()[0])
    expect("packets to the server", "", agent.captured("dest", 0, f" > {gs} "))
    none = ("::" if v6 else "0.0.0.0", 0)
    _, ends = local_file()
    expect("the reserved end", [("TCP", "TIME_WAIT", none, none, (dip, 2001), (gs, PORT))],
           [tuple(end[field] for field in ("protocol", "state", "client", "service", "local", "dest")) for end in ends])
    expect("connections", [], conns())


def options_of(data):
    """Returns the TCP flags, the options by number, and the length of the data of a packet; None if it is not TCP."""
    start, length = (40, 40 + struct.unpack("!H", data[4:6])[0]) if data[0] >> 4 == 6 else (20, struct.unpack("!H", data[2:4])[0])
    if data[6 if start == 40 else 9] != socket.IPPROTO_TCP:
        return None
    head, options, found = data[start + 12] >> 4 << 2, data[start + 20:start + (data[start + 12] >> 4 << 2)], {}
    while options and options[0] != 0:
        size = options[1] if options[0] != 1 else 1
        found[options[0]] = options[2:size]
        options = options[size:]
    return data[start + 13], found, length - start - head


class Wire:
    """The packets on an interface from now on, of a TCP port."""

    def __init__(self, machine, name):
        with inside(machine):
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0)
            self.sock.setsockopt(socket.SOL_SOCKET, agent.SO_RCVBUFFORCE, 32 << 20)
            self.sock.bind((name, agent.ETH_P_ALL))
        self.sock.setblocking(False)

    def packets(self, to):
        """Yields flags, options and length of data of the packets to an address."""
        while True:
            try:
                data, (_, kind, *_) = self.sock.recvfrom(1 << 17)
            except BlockingIOError:
                return
            at = 24 if data[0] >> 4 == 6 else 16
            if kind in (0x0800, 0x86DD) and data[at:at + len(packed(to))] == packed(to):
                line = show(data, None)
                expect(f"the checksums of {line}", False, "BAD" in line)
                if seen := options_of(data):
                    yield seen


SYN, ACK = 2, 16
TOA, MSS = 254, 2


def told(v6, offload):
    """The real server gets the client's address in the first segments, which fit the MTU."""
    lay_out(v6)
    for machine in "client", "rs1":
        configure(machine, [f"ethtool -K eth0 tx {offload} >/dev/null"])
    vip, rip, cip = (NAT.addresses[name][v6] for name in ("VIP", "RIP1", "CIP"))
    service(v6, "-b flag-3,flag-1", ("rs1",))
    size = 20 if v6 else 8
    server, client = Wire("rs1", "eth0"), Wire("client", "eth0")
    enter("client")
    with agent.client_socket("tcp", vip) as sock:
        option = struct.pack("!H", sock.getsockname()[1]) + packed(cip)
        expect("the length of the option", size - 2, len(option))
        sock.connect((vip, PORT))
        for length in 100000, 5000:
            sock.sendall(b"hash %d\n" % length + agent.PATTERN[:1] * length)
            expect("the server got", hash_of(agent.PATTERN[:1] * length), agent.line_from(sock))
    seen = list(server.packets(rip))
    syn, end, first, *rest = seen
    for what, (flags, options, data), wanted in ("SYN", syn, SYN), ("the end of the handshake", end, ACK):
        expect(f"{what}: flags and data", (wanted, 0), (flags, data))
        expect(f"{what}: the client", option, options.get(TOA))
    expect("the first data", (True, option), (first[2] > 0, first[1].get(TOA)))
    expect("more segments", True, len(rest) > 2)
    late = [options for flags, options, data in rest if TOA in options]
    expect("later segments with the option", [], late)
    replies = list(client.packets(cip))
    own = 1500 - (60 if v6 else 40)
    expect("the MSS that the client is told", own - size, struct.unpack("!H", replies[0][1][MSS])[0])
    expect("the option in replies", [], [options for _, options, _ in replies if TOA in options])
    expect("UDP", "rs1", ask(v6, "udp", 1))
    # For sh and mh the flag has a meaning of its own.
    for scheduler in "sh", "mh":
        for protocol in "tu":
            configure("director", [f"ipvsadm -E -{protocol} {address('VIP', v6)}:{PORT} -s {scheduler} -b flag-3,flag-1"])
        for wanted in 0, 1:
            setting("fullnat_client", wanted)
            expect(f"{scheduler}, fullnat_client={wanted}", "rs1", ask(v6, "tcp", 1))
            expect("segments with the option", 3 * wanted, sum(TOA in options for _, options, _ in server.packets(rip)))
        setting("fullnat_client", 0)
    expect("PROXY does not exist yet", "EINVAL", refusal("fullnat_client", "2"))


def hash_of(data):
    return hashlib.sha1(data).hexdigest()


def patched(v6):
    """Forwarding method 5, as patched tools send it, means the same."""
    lay_out(v6)
    vip, rip = (NAT.addresses[name][v6] for name in ("VIP", "RIP1"))
    configure("director", [f"ipvsadm -A -t {address('VIP', v6)}:{PORT} -s rr"])
    with inside("director"):
        ipvs = genl.Family()
        added = ipvs.outcome(genl.command("NEW_DEST"), genl.service(**genl.ident(vip, PORT)) +
                             genl.real(**genl.server(rip, PORT, FWD_METHOD=genl.u32(5))))
        expect("the dest", "ok 0", added)
        (_, dest), = genl.services(ipvs)
    (_, body), = genl.attributes(dest)
    expect("the method as listed", genl.u32(5), dict(genl.attributes(body))[genl.DEST.index("FWD_METHOD")])
    expect("answers", "rs1 rs1", ask(v6, "tcp", 2))
    expect("local ends", 2, len(local_file()[1]))
    configure("director", [f"ipvsadm -e -t {address('VIP', v6)}:{PORT} -r {address('RIP1', v6)}:{PORT} -m"])
    expect("with NAT", "timeout", ask(v6, "tcp", 1, timeout="1"))


def received(v6):
    """A backup director gets the local ends. Here a real server is one."""
    lay_out(v6)
    service(v6, "-b flag-3", ("rs1",))
    setting("sync_early", 1)
    configure("director", ["ipvsadm --start-daemon master --mcast-interface eth1"])
    configure("rs2", ["ipvsadm --start-daemon backup --mcast-interface eth0"])
    agent.hold("client", "held", "tcp", NAT.addresses["VIP"][v6], PORT, 3)
    ask(v6, "udp", 1)

    def ends(machine):
        return sorted(tuple(end[field] for field in ("protocol", "client", "service", "local", "dest")) for end in local_file(machine)[1])

    wanted = ends("director")
    expect("ends of the master", 4, len(wanted))
    wait_for("the local ends", lambda: ends("rs2") == wanted, instead=lambda: ends("rs2"))
    configure("director", ["ipvsadm --stop-daemon master"])
    configure("rs2", ["ipvsadm --stop-daemon backup"])


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


def listed(v6):
    """The local addresses are those listed, over the whole range of ports. One that the director does not have is refused."""
    lay_out(v6)
    first, second, third = LISTED[v6]
    text = f"{first}-{second},{third}"
    service(v6, "-b flag-3", ("rs1",))
    expect("not an address of the director", "EINVAL", refusal("fullnat_laddr", text))
    advice = f"ip addr add {first}/{128 if v6 else 32} dev"
    expect("the kernel says how to add it", True, advice in output("director", "dmesg | tail -n 5"))
    for text_refused in f"{second}-{first}", f"{first}/24", "host":
        expect(text_refused, "EINVAL", refusal("fullnat_laddr", text_refused))
    add(LISTED[v6], v6)
    setting("fullnat_laddr", text)
    expect("the list", text, output("director", "sysctl -n net.ipv4.vs.fullnat_laddr"))
    # Sockets of the director get these ports, too, but not with these addresses.
    setting("fullnat_ports", "40000 40063")
    for protocol in ("tcp", "udp"):
        ends = clients(v6, protocol, 24)
        expect(f"{protocol}: addresses", set(LISTED[v6]), {addr for addr, _ in ends})
        expect(f"{protocol}: ports", set(), {port for _, port in ends} - set(range(40000, 40064)))
        expect(f"{protocol}: different ends", 24, len(set(ends)))
    setting("fullnat_laddr", "")
    setting("fullnat_ports", "1024 65535")
    expect("without a list", {NAT.addresses["DIP"][v6]}, {addr for addr, _ in clients(v6, "tcp", 2)})


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
    listed(six)
    reserved(six)
    for offload in ("on", "off"):
        told(six, offload)
    patched(six)
    received(six)
    persistent(six)
    entry_of_reply(six)
