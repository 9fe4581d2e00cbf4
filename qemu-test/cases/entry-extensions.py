"""Conntrack entries that lack what IPVS or NAT would have added to them at the start of the connection: inserted by a program,
begun without counters or before there were rules, and deleted or begun without FTP."""
# Covers: src/xmit/output src/xmit/app rust-out-of-tree/net/conntrack rust-out-of-tree/net/nat_helper

import os
import socket
import struct
import subprocess

import agent
import ftp_lab
from case import configure, entries, expect, observe, output, run, say, wait_for
from topology import NAT, build

OURS = os.environ["MODULE"] == "rust"
CIP, VIP, RIP = (NAT.addresses[name][0] for name in ("CIP", "VIP", "RIP1"))
# Connections are tracked in a namespace that has a rule about them.
TRACK = "nft 'table inet track { chain in { type filter hook input priority 0; ct state new counter; }; }'"


def begin():
    """A new network with a TCP and a UDP service of one dest."""
    agent.reset()
    build(NAT.machines)
    agent.serve("rs1", "rs1", 80)
    configure("director", ["sysctl -w net.ipv4.vs.conntrack=1", TRACK])
    for key in "-t", "-u":
        configure("director", [f"ipvsadm -A {key} {VIP}:80 -s rr", f"ipvsadm -a {key} {VIP}:80 -r {RIP}:80 -m"])


def inserted():
    """An entry that a program inserts before the client's first packet; it expects replies from the dest or the service."""
    begin()
    for protocol, state in ("tcp", "--state SYN_SENT"), ("udp", ""):
        for source in RIP, VIP:
            port = agent.next_port
            output("director", f"conntrack -I -p {protocol} -s {CIP} -d {VIP} --sport {port} --dport 80 --reply-src {source} "
                   f"--reply-dst {CIP} --reply-port-src 80 --reply-port-dst {port} -t 300 {state} 2>&1")
            label = f"inserted, {protocol}, replies from {source}"
            observe(label, agent.hold("client", f"{protocol}-{source}-", protocol, VIP, 80, 1))
            observe(f"{label}: again", agent.use(f"{protocol}-{source}-1"))
            observe(f"{label}: entries", entries("director", f"-p {protocol} --orig-port-src {port}"))


def counted():
    """Connections that begin with or without counters and times of conntrack, and are used after these were switched."""
    begin()
    for number, value in enumerate((0, 1, 0)):
        configure("director", [f"sysctl -w net.netfilter.nf_conntrack_{name}={value}" for name in ("acct", "timestamp")])
        for protocol in "tcp", "udp":
            agent.hold("client", f"{protocol}{number}-", protocol, VIP, 80, 1)
        observe(f"counters {number}", " ".join(agent.use(name) for name in sorted(agent.held)))
        lines = entries("director", "-o ktimestamp").split("\n")
        observe(f"counters {number}: entries", "\n".join(sorted(
            f"{line.split()[0]} {'packets=' in line} {'delta-time=' in line}" for line in lines)))


def masqueraded():
    """A rule that masquerades comes after a connection."""
    begin()
    for name in "old", "new":
        for protocol in "tcp", "udp":
            agent.hold("client", f"{name}-{protocol}", protocol, VIP, 80, 1)
        if name == "old":
            observe("before the rule", "\n".join(agent.use(f"old-{protocol}1", "who") for protocol in ("tcp", "udp")))
            output("director", "iptables -t nat -A POSTROUTING -m ipvs --ipvs -j MASQUERADE")
    observe("with the rule", "\n".join(agent.use(name, "who") for name in sorted(agent.held)))


# --- FTP: sequence numbers are adjusted by an extension of the entry


def sent_again(sock):
    """The number of segments that a socket has sent again (tcpi_total_retrans)."""
    return struct.unpack_from("=I", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), 100)[0]


def ftp():
    """A new network with an FTP service. Nothing is sent again soon, so that a machine that stands still does no harm."""
    ftp_lab.lay_out(4)
    configure("director", ["sysctl -w net.ipv4.vs.conntrack=1", TRACK])
    configure("client", ["ip route replace 192.168.1.0/24 dev eth0 rto_min 60s"])
    configure("rs1", ["ip route replace default via 10.1.1.1 rto_min 60s"])


def passive(session):
    """The server's reply, which becomes longer: the service's address is."""
    end = RIP.replace(".", ",")
    return session.reply(f"227 Entering Passive Mode ({end},196,124).\r\n".encode()).decode()


LONGER = f"227 Entering Passive Mode ({VIP.replace('.', ',')},196,124).\r\n"


def flushed():
    """The entry is deleted between the command and its reply, which starts another one."""
    ftp()
    session = ftp_lab.Session()
    session.command(b"PASV\r\n")
    output("director", "conntrack -F 2>&1")
    expect("the reply", LONGER, passive(session))
    after = session.command(b"NOOP\r\n"), session.reply(b"200 ok\r\n")
    again = [sent_again(end) for end in (session.client, session.server)]
    session.close()
    say(f"after it: {after}, sent again: {again}")
    if OURS:  # C does not adjust the numbers
        expect("what follows", (b"NOOP\r\n", b"200 ok\r\n"), after)
        expect("sent again", [0, 0], again)


def unknown_before():
    """The entry is confirmed before ip_vs_ftp is there: it never adjusts numbers."""
    ftp()
    # In this zone the entry stays when its conn ends; then a packet without SYN starts another conn.
    configure("director", ["iptables -t raw -A PREROUTING -j CT --zone 5", "sysctl -w net.ipv4.vs.sloppy_tcp=1",
                           "ipvsadm --set 1 1 1"])
    session = ftp_lab.Session()
    expect("before", b"NOOP\r\n", session.command(b"NOOP\r\n"))
    wait_for("the end of the conn", lambda: output("director", "wc -l </proc/net/ip_vs_conn") == "1")
    configure("director", ["ipvsadm --set 900 120 300"])
    run("modprobe ip_vs_ftp")
    expect("the command", b"PASV\r\n", session.command(b"PASV\r\n"))
    observe("an entry from before: the reply", passive(session).strip())
    # The client acknowledges more than the server has sent.
    observe("an entry from before: what follows", f"{session.command(b'NOOP' + bytes([13, 10]))}")
    session.close()


for part in (inserted, counted, masqueraded, unknown_before, flushed):
    part()
agent.reset()
# Conns hold a reference to the module.
configure("director", ["sysctl -w net.ipv4.vs.expire_nodest_conn=1", "ipvsadm -C"])
wait_for("unloading", lambda: not subprocess.run("rmmod ip_vs_ftp", shell=True).returncode)
