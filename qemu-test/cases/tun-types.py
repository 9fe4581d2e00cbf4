"""Tunnels with GUE and GRE headers, with each type of checksum, of IPv4 and IPv6 in either: outer headers, MTU, GSO
packets, real servers with the kernel's own tunnel devices, SCTP, ICMP errors about the tunnel's packets, edits,
listings."""
# Covers: src/xmit/tun src/wire/gue src/wire/gre src/hook/decap src/dest/real.rs

import os
import re
import socket

import agent
import genl
from case import configure, expect, inside, observe, output, settled
from topology import TUN, build

GUE = "gue --tun-port 6080"
MODES = f"{GUE} --tun-nocsum", f"{GUE} --tun-csum", f"{GUE} --tun-remcsum", "gre --tun-nocsum", "gre --tun-csum"
OVERHEAD = 12, 12, 12, 4, 8  # bytes of the headers without options
NAMES = "IPv4", "IPv6"
MIXES = [(inner, outer) for outer in (0, 1) for inner in (0, 1)]
UDP, UDP_SEGMENT = 17, 103
# Sends packets with DF, whatever the path MTU.
PROBE = (socket.IPPROTO_IP, 10, 3), (socket.IPPROTO_IPV6, 23, 3)
VIP, CIP, GC, GS, DIP, RIP1, RIP2 = (TUN.addresses[name] for name in ("VIP", "CIP", "GC", "GS", "DIP", "RIP1", "RIP2"))
UPLINK, DOWNLINK = TUN.uplink.split(), TUN.downlink.split()
ROUTER = "192.168.1.77"


def bracketed(addr):
    return f"[{addr}]" if ":" in addr else addr


def port(outer, mode, is_real=False):
    """Returns the port of the services with such a dest: a real server, or the silent machine."""
    return 100 * (outer + 1) + 10 * is_real + mode


def server(mode):
    """Returns the real server for a mode: a GRE device expects either checksums or none."""
    return "rs2" if "-csum" in MODES[mode] else "rs1"


def rules(inner):
    """Yields the rules of the services with VIPs of a family, for ipvsadm -R."""
    for outer in (0, 1):
        for mode, options in enumerate(MODES):
            real = {"rs1": RIP1, "rs2": RIP2}[server(mode)][outer]
            for rip, number in (GS[outer], port(outer, mode)), (real, port(outer, mode, True)):
                for option in "-t", "-u", "--sctp-service":
                    service = f"{option} {bracketed(VIP[inner])}:{number}"
                    yield f"-A {service} -s rr"
                    yield f"-a {service} -r {bracketed(rip)}:{number} -i --tun-type {options}"


def decapsulating(rip, options):
    """Returns the commands for a real server's tunnel devices beside tunl0 and ip6tnl0."""
    return [
        "modprobe -a fou sit ip_gre ip6_gre && ip fou add port 6080 gue && ip -6 fou add port 6080 gue",
        "ip link set sit0 up",
        f"ip link add any6 up type ip6tnl mode any local {rip[1]} remote any",
        f"ip link add gre4 up type gre local {rip[0]} remote any {options}",
        f"ip link add gre6 up type ip6gre local {rip[1]} remote any {options}"]


def without_source_ports(lines):
    """Returns the lines without the UDP source ports of tunnels, which must be one for each flow, and local ports."""
    seen = {}
    for line in lines:
        found = re.search(r"udp (\d+) > 608. .*gue .*(ip6? \S+ > \S+ .*(?:udp|tcp) \d+ > \d+)", line)
        if found:
            flow = re.sub(r" (ttl|hlim|tos|frag|cut)=\S+| df| more", "", found[2])
            seen.setdefault(flow, set()).add(int(found[1]))
    for flow, ports in seen.items():
        expect(f"number of source ports of {flow}", 1, len(ports))
        expect(f"{ports} of {flow} are local ports", True, all(32768 <= number <= 60999 for number in ports))
    if len(seen) > 3:
        expect("flows have different source ports", True, len(set().union(*seen.values())) > 1)
    return [re.sub(r"udp \d+ > 608", "udp N > 608", line) for line in lines]


def received(name, needle=""):
    """Returns the packets that a machine has received since the last call, sorted."""
    lines = [line for line in agent.captured(name).split("\n") if line.startswith("<") and needle in line]
    agent.forget(name)
    return "\n".join(sorted(without_source_ports(lines)))


def send(inner, outer, *packets):
    """Sends packets from the client and waits until they have been processed."""
    number = port(outer, 3)
    agent.send(*UPLINK, *packets, f"ip('{GC[inner]}', '{VIP[inner]}', udp(5999, {number}, b'last'))")
    agent.captured("silent", 1, f"5999 > {number}")


def largest(inner, outer, mode):
    """Returns the size of the largest datagram that passes the tunnel."""
    return 1500 - (20, 40)[outer] - OVERHEAD[mode] - (28, 48)[inner]


def headers(inner, outer):
    """Fields of the outer headers, and the reported MTU."""
    packets, to = [], f"'{GC[inner]}', '{VIP[inner]}'"
    for mode in range(len(MODES)):
        number, most = port(outer, mode), largest(inner, outer, mode)
        packets += [
            f"ip({to}, udp(5000, {number}, bytes({most})))", f"ip({to}, udp(5000, {number}, bytes({most + 1})))",
            f"ip({to}, udp(5001, {number}, bytes({most + 1})), df=False)",
            f"ip({to}, udp(5001, {number}, b'odd'), df=False, tos=3, ttl=7)",
            f"ip({to}, tcp(5002, {number}, 'S'), tos=0xb9)", f"ip({to}, tcp(5002, {number}, 'A', b'data'))",
            f"ip({to}, udp(5003, {number}, b'x'), ttl=1)", f"ip({to}, sctp(5005, {number}, 'INIT'))",
            f"ip({to}, sctp(5005, {number}, chunk('DATA', b'odd'), csum=1))",
            f"fragments(ip({to}, udp(5004, {number}, bytes(1600))), 800, 20)"]
    send(inner, outer, *packets)
    observe(f"{NAMES[inner]} in {NAMES[outer]}: at the server", received("silent"))
    observe(f"{NAMES[inner]} in {NAMES[outer]}: at the client", received("client", GC[inner]))


def sockets(inner, outer, offload):
    """Datagrams of a socket, whose checksum is left to the device, and GSO packets of three segments. With remote checksum
    offload, the MTU is smaller for them."""
    for mode in range(len(MODES)):
        with inside("client"), socket.socket((socket.AF_INET, socket.AF_INET6)[inner], socket.SOCK_DGRAM) as sock:
            sock.bind((CIP[inner], 5100 + mode))
            sock.connect((VIP[inner], port(outer, mode)))
            sock.send(b"one")
            sock.setsockopt(UDP, UDP_SEGMENT, 1000)
            sock.send(bytes(range(250)) * 10)
            sock.setsockopt(UDP, UDP_SEGMENT, 0)
            sock.setsockopt(*PROBE[inner])
            sock.send(bytes(largest(inner, outer, mode)))
        if "remcsum" in MODES[mode] and offload == "off":
            continue  # the CRC32c overwrites the GUE header, in C as well
        with inside("client"), socket.socket((socket.AF_INET, socket.AF_INET6)[inner], *agent.SOCKETS["sctp"]) as sock:
            sock.bind((CIP[inner], 5200 + mode))
            sock.setblocking(False)
            sock.connect_ex((VIP[inner], port(outer, mode)))  # an INIT, whose CRC32c is left to the device
    send(inner, outer)
    # C leaves the GRE checksum of a GSO packet uninitialised; each segment gets its own.
    seen = re.sub(r"(csum=)\w+( reserved)?( \[.* data=2500 )", r"\1any\3", received("silent"))
    observe(f"{NAMES[inner]} in {NAMES[outer]}, offload {offload}: at the server", seen)
    observe(f"{NAMES[inner]} in {NAMES[outer]}, offload {offload}: at the client", received("client", "icmp"))


def answers(inner, outer):
    """Requests to real servers, and transfers in GSO packets."""
    for mode, options in enumerate(MODES):
        name, number = server(mode), port(outer, mode, True)
        for proto in "tcp", "udp":
            expect(f"{proto} by {options}", f"{name} {name}", agent.get("client", proto, VIP[inner], number, 2))
        agent.capture(name, name, "eth0")
        expect(f"upload by {options}", "intact", agent.upload("client", VIP[inner], number, 200000))
        observe(f"{NAMES[inner]} in {NAMES[outer]}, {options}: GSO packets arrive", str(int(agent.largest(name)) > 1500))
        agent.captures.pop(name)[0].close()
        # A sum over a CRC32c that a device computes later is wrong, in C as well.
        got = agent.get("client", "sctp", VIP[inner], number, 2)
        observe(f"{NAMES[inner]} in {NAMES[outer]}, {options}: SCTP",
                got if "timeout" in got else f"{got} {agent.upload('client', VIP[inner], number, 50000, 'sctp')}")


def edits():
    """Packets of one connection after each edit of its dest."""
    number = port(0, 0)
    service, rip = f"-u {VIP[0]}:{number}", f"{GS[0]}:{number}"
    with inside("director"):
        ipvs = genl.Family()
    key = genl.service(**genl.ident(VIP[0], number, UDP))
    for options in *MODES, "ipip", GUE, "gre", "gue --tun-port 6081":
        configure("director", [f"ipvsadm -e {service} -r {rip} -i --tun-type {options}"])
        listed = output("director", f"ipvsadm -Ln --tun-info {service}").split("\n")[-1]
        observe(f"edited to {options}", edited(number) + "\n" + listed)
    for kind, tunnel, flags in (
            (1, 6080, 0xFFFF), (1, 6080, 4), (2, 6080, 0), (2, 0, 0xFFFF), (2, 0, 2), (0, 6080, 3), (3, 6080, 3), (255, 0, 3),
            (1, 0, 0), (1, None, 0), (None, None, None)):
        numbers = {"TUN_TYPE": (genl.u8, kind), "TUN_PORT": (genl.be16, tunnel), "TUN_FLAGS": (genl.u16, flags)}
        given = {name: encode(value) for name, (encode, value) in numbers.items() if value is not None}
        dest = genl.server(GS[0], number, FWD_METHOD=genl.u32(2), ADDR_FAMILY=genl.u16(genl.V4), **given)
        try:
            ipvs.call(genl.command("SET_DEST"), key + genl.real(**dest))
            answer = "done"
        except genl.Refused as e:
            answer = str(e)
        # ipvsadm crashes when it lists an unknown type.
        (_, told), = ipvs.dump(genl.command("GET_DEST"), key)
        fields = {genl.DEST[kind]: value.hex() for kind, value in genl.attributes(next(genl.attributes(told))[1])}
        listed = " ".join(f"{name}={fields[name]}" for name in numbers)
        observe(f"type {kind}, port {tunnel}, flags {flags}: {answer}", edited(number) + "\n" + listed)
    configure("director", [f"ipvsadm -e {service} -r {rip} -i --tun-type {MODES[0]}"])


def edited(number):
    """Returns how a connection's packets arrive."""
    to = f"'{GC[0]}', '{VIP[0]}'"
    send(0, 0, f"ip({to}, udp(5000, {number}, b'edited'))", f"ip({to}, udp(5000, {number}, bytes(1465)))")
    return received("silent") + "\n" + received("client", GC[0])


def listings():
    """Listings, and the result of -R for a save."""
    observe("tunnels", "\n".join(sorted(set(output("director", "ipvsadm -Ln --tun-info").split("\n")[2:]))))
    saved = sorted(output("director", "ipvsadm -Sn").split("\n"))
    observe("saved", "\n".join(saved))
    configure("director", ["ipvsadm -Sn >/tmp/saved", "ipvsadm -C", "ipvsadm -R </tmp/saved"])
    os.remove("/tmp/saved")
    expect("saved again", saved, sorted(output("director", "ipvsadm -Sn").split("\n")))


def tracked():
    """Requests with connection tracking, which handles the inner packets."""
    configure("director", [
        "sysctl -w net.ipv4.vs.conntrack=1",
        "nft 'add table inet t; add chain inet t c { type filter hook postrouting priority 0; };"
        " add rule inet t c ct state invalid counter drop'"])
    for family, name in enumerate(("ipv4", "ipv6")):
        agent.capture("client", "client", "eth0")
        for mode, options in enumerate(MODES):
            for proto in "tcp", "udp":
                expect(f"{proto} by {options}, tracked", server(mode),
                       agent.get("client", proto, VIP[family], port(family, mode, True)))
        entries = output("director", f"conntrack -L -f {name} 2>/dev/null").split("\n")
        ends = {" ".join(re.findall(r"^\w+|(?:src|dst|sport|dport)=\S+|\[\w+\]", entry)) for entry in entries}
        # The source ports of tunnels vary.
        known = {re.sub(r"(sport=)\d+( dport=6080 .* dport=)\d+", r"\1N\2N", end) for end in ends}
        observe(f"conntrack entries, {name}", "\n".join(sorted(known)))
    configure("director", ["sysctl -w net.ipv4.vs.conntrack=0", "nft delete table inet t"])


def about(quoted, code="3, 1", mtu=1300, more=""):
    """Returns an ICMP error, as a router sends it."""
    return f"ip('{ROUTER}', '{DIP[0]}', icmp({code}, {quoted}, {mtu}{more}))"


def tunnelled(inner, kind, dest=GS[0], more=""):
    return f"ip('{DIP[0]}', '{dest}', {kind.format(inner)}{more})"


def inner(upper, more=""):
    return f"ip('{GC[0]}', '{VIP[0]}', {upper}, ttl=63{more})"


def errors_about(kind, upper, stranger):
    """Returns errors about a packet of a connection in a tunnel of this kind."""
    packet = inner(upper)
    quoted = tunnelled(packet, kind)
    sent = [about(quoted, code) for code in ("3, 0", "3, 1", "3, 3", "11, 0", "12, 0", "5, 1", "4, 0", "3, 4")]
    # Without DF on the client's packet, "fragmentation needed" is not relayed.
    sent.append(about(tunnelled(inner(upper, ", df=False"), kind), "3, 4"))
    sent += [about(quoted, "3, 4", mtu) for mtu in (0, 68, 90, 120)]
    # A wrong checksum, IP options inside and outside, a later fragment, another server, no connection
    sent.append(about(quoted, more=", csum=1"))
    options = ", options=bytes([1] * 4)"
    sent += [about(tunnelled(inner(upper, options), kind)), about(tunnelled(packet, kind, more=options))]
    sent += [about(tunnelled(packet, kind, more=", offset=64")), about(tunnelled(packet, kind, ROUTER))]
    sent.append(about(tunnelled(inner(stranger), kind)))
    # Truncated, and inner headers with a wrong version or length
    sent.append(f"[{about(quoted + '[:size]')} for size in range(0, 76, 4)]")
    sent += [about(tunnelled(f"bytes([{first}]) + {packet}[1:]", kind), code)
             for first in (0x05, 0x65, 0x44, 0x46, 0x4F) for code in ("3, 1", "3, 4")]
    return sent


def errors():
    """ICMP errors about the packets of tunnels."""
    remote = "flags=1, options=bytes.fromhex('800000000014001a')"
    kinds = ("gue({}, protocol=4)", "gue({}, protocol=4, csum=None)", f"gue({{}}, protocol=4, {remote})",
             "gre({}, protocol=0x800)", "gre({}, 0x8000, protocol=0x800, more=bytes(4))")
    for mode, kind in enumerate(kinds):
        number = port(0, mode)
        for upper in "udp({}, {}, b'question')", "tcp({}, {}, 'A', b'some data')":
            known = 5000 if "udp" in upper else 5002
            agent.send(*DOWNLINK, *errors_about(kind, upper.format(known, number), upper.format(known + 100, number)))
        send(0, 0)
        agent.forget("silent")
        observe(f"errors about {MODES[mode]}", received("client", GC[0]))
    by_gue, by_gre = (inner(f"udp(5000, {port(0, mode)}, b'question')") for mode in (0, 3))
    wrong = [f"gue({by_gue}, {what})" for what in (
        "control=1", "version=1", "protocol=41", "protocol=6", "hlen=1", "hlen=2", "hlen=31", "port=6081", "port=0",
        "options=bytes(4)", "options=bytes(60)", "flags=0xffff")]
    wrong += [f"gre({by_gre}, {what})" for what in (
        "0x8000", "0x2000", "0x2000, more=bytes(4)", "0x1000, more=bytes(4)", "0x4000", "0x0001", "0x0080",
        "0xb000, more=bytes(12)", "protocol=0x86dd", "protocol=0x6558", "more=bytes(4)")]
    agent.send(*DOWNLINK, *(about(f"ip('{DIP[0]}', '{GS[0]}', {what})", code) for what in wrong for code in ("3, 1", "3, 4")))
    send(0, 0)
    observe("errors with other headers", received("client", GC[0]))
    # The path MTU is known now.
    headers(0, 0)
    for mode, options in enumerate(MODES):
        listed = f"ipvsadm -Ln --stats --exact -u {VIP[0]}:{port(0, mode)}"
        # C's counters are up to two seconds old.
        seconds = 2.5 if mode == 0 and os.environ["MODULE"] == "c" else 0
        observe(f"counts of {options}", settled(lambda: output("director", listed), seconds).split("\n")[-1])


def scheduled():
    """With schedule_icmp, an error about a packet in a tunnel starts no connection if a dest has that tunnel."""
    number, key = port(0, 0), f"-u {VIP[0]}:{port(0, 0)} -r {GS[0]}:{port(0, 0)} -i --tun-type"
    mark = f"ip daddr {DIP[0]} meta l4proto icmp meta mark set 7"
    configure("director", [
        "sysctl -w net.ipv4.vs.schedule_icmp=1", "ipvsadm -A -f 7 -s rr", f"ipvsadm -a -f 7 -r {RIP1[0]} -i",
        f"nft 'table inet marks {{ chain before {{ type filter hook prerouting priority mangle; {mark}; }}; }}'"])
    agent.capture("rs1", "rs1", "eth0")
    stranger = inner(f"udp(5999, {number}, b'question')")
    sources = iter(range(45000, 46000))

    def told(label):
        wrong = [f"gue({stranger}, {next(sources)}, {what})" for what in (
            "port=6080", "port=6081", "port=6082", "port=6080, control=1", "port=6080, version=1", "port=6080, protocol=41",
            "port=6080, hlen=31")]
        wrong += [f"gre({stranger})", f"inside({stranger})", f"udp({next(sources)}, 6080)"]
        agent.send(*DOWNLINK, *(about(f"ip('{DIP[0]}', '{GS[0]}', {what})") for what in wrong),
                   about(f"ip('{DIP[0]}', '{RIP2[0]}', gue({stranger}, {next(sources)}))"),
                   about(f"ip('{DIP[0]}', '{ROUTER}', gue({stranger}, {next(sources)}))"))
        send(0, 0)
        seen = sorted(line for line in agent.captured("rs1").split("\n") if line.startswith("<") and "icmp" in line)
        agent.forget("rs1")
        observe(f"scheduled, {label}", "\n".join(seen + [received("client", GC[0])]))

    for options in GUE, "gue --tun-port 6081", "ipip", "gre", "gue --tun-port 6081":
        configure("director", [f"ipvsadm -e {key} {options}"])
        told(options)
    configure("director", [f"ipvsadm -d {key.split(' -i ')[0]}"])
    told("removed")
    configure("director", [f"ipvsadm -a {key} {MODES[0]}", "ipvsadm -D -f 7", "sysctl -w net.ipv4.vs.schedule_icmp=0",
                           "nft delete table inet marks"])
    agent.captures.pop("rs1")[0].close()
    agent.forget("silent")


build(TUN.machines)
configure("rs1", decapsulating(RIP1, ""))
configure("rs2", decapsulating(RIP2, "icsum"))
with open("/tmp/rules", "w") as f:
    f.write("\n".join([*rules(0), *rules(1)]) + "\n")
configure("director", ["ipvsadm -R </tmp/rules"])
os.remove("/tmp/rules")
listings()
for machine in "rs1", "rs2":
    numbers = [port(outer, mode, True) for outer in (0, 1) for mode in range(len(MODES))]
    agent.serve(machine, machine, *numbers)
    for addr in VIP:
        agent.serve_sctp(machine, machine, addr, *numbers)
for mix in MIXES:
    answers(*mix)
for machine in "client", "silent":
    agent.capture(machine, machine, "eth0")
for offload in "on", "off":
    configure("director", [f"ethtool -K eth0 tx {offload} >/dev/null"])
    for mix in MIXES:
        sockets(*mix, offload)
for mix in MIXES:
    headers(*mix)
edits()
errors()
scheduled()
tracked()
