"""Conntrack entries that are deleted while packets wait between two hooks, with conntrack=1: by NFQUEUE, each packet waits
until the entries of the director are deleted. The packets that arrive and the entries that are left must be as under C."""
# Covers: src/xmit/output rust-out-of-tree/net/conntrack src/hook.rs

import socket
import struct
import subprocess
import threading

import agent
import genl
from case import configure, expect, inside, observe, say
from topology import NAT, build

NETLINK_NETFILTER, NFNL_SUBSYS_QUEUE, PACKET, VERDICT, CONFIG = 12, 3, 0, 1, 2
NFQA_CFG_CMD, NFQA_CFG_PARAMS, NFQA_VERDICT_HDR, BIND, COPY_META, ACCEPT = 1, 2, 2, 1, 1, 1
# The hooks with the priorities at which packets wait, behind connection tracking and before IPVS.
HOOKS = {"prerouting": -100, "input": 0, "forward": 0, "output": 0, "postrouting": 0}


class Queue(threading.Thread):
    """Queue 0 of the director. Deletes all entries while a packet waits, then accepts it."""

    def __init__(self):
        super().__init__(daemon=True)
        self.packets, self.ends = 0, False
        with inside("director"):
            self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
            self.sock.bind((0, 0))
        self.sock.settimeout(0.2)
        self.send(CONFIG, genl.attr(NFQA_CFG_CMD, struct.pack("!BBH", BIND, 0, 0)))
        self.send(CONFIG, genl.attr(NFQA_CFG_PARAMS, struct.pack("!IB", 0, COPY_META)))
        self.start()

    def send(self, kind, data):
        head = struct.pack("=IHHIIBBH", 20 + len(data), NFNL_SUBSYS_QUEUE << 8 | kind, genl.NLM_F_REQUEST, 0, 0, 0, 0, 0)
        self.sock.send(head + data)

    def run(self):
        with inside("director"):
            while not self.ends:
                try:
                    message = self.sock.recv(65536)
                except TimeoutError:
                    continue
                if message[4:6] == struct.pack("=BB", PACKET, NFNL_SUBSYS_QUEUE):
                    self.packets += 1
                    subprocess.run(["conntrack", "-F"], stderr=subprocess.DEVNULL, check=True)
                    # The first attribute is the header, which begins with the packet's number.
                    self.send(VERDICT, genl.attr(NFQA_VERDICT_HDR, struct.pack("!I", ACCEPT) + message[24:28]))

    def end(self):
        self.ends = True
        self.join()
        self.sock.close()


def use():
    return " ".join(agent.use(f"held{i}") for i in (1, 2, 3))


def go(six):
    vip, rips = NAT.addresses["VIP"][six], [NAT.addresses[f"RIP{i}"][six] for i in (1, 2, 3)]
    left, right = ("[", "]") if six else ("", "")
    name = f"IPv{6 if six else 4}"
    agent.reset()
    build(NAT.machines)
    for i in (1, 2, 3):
        agent.serve(f"rs{i}", f"rs{i}", 80)
    configure("director", ["sysctl -w net.ipv4.vs.conntrack=1"])
    for key in "-t", "-u":
        configure("director", [f"ipvsadm -A {key} {left}{vip}{right}:80 -s rr",
                               *(f"ipvsadm -a {key} {left}{vip}{right}:80 -r {left}{rip}{right}:80 -m" for rip in rips)])
    for masquerade in False, True:
        if masquerade:
            configure("director", [f"{'ip6tables' if six else 'iptables'} -t nat -A POSTROUTING -m ipvs --ipvs -j MASQUERADE"])
        for hook, priority in HOOKS.items():
            what = f"{name}, {'masqueraded, ' if masquerade else ''}{hook}"
            # With an entry the port of the connection at the dest is lost, and at times the connection.
            tell = (lambda label, text: say(f"{label}: {text}")) if masquerade else observe
            agent.hold("client", "held", "tcp", vip, 80, 3)
            configure("director", [f"nft 'table inet waiting {{ chain waiting {{ type filter hook {hook} priority {priority}; "
                                   f"th sport 80 queue num 0; th dport 80 queue num 0; }}; }}'"])
            queue = Queue()
            tell(f"{what}, held", use())
            tell(f"{what}, new", ", ".join(agent.get("client", protocol, vip, 80, 3) for protocol in ("tcp", "udp")))
            configure("director", ["nft delete table inet waiting"])
            queue.end()
            expect("packets waited", True, queue.packets > 0)
            tell(f"{what}, later", use())
            agent.close("held*")
            observe(f"{what}: new connections at the end", agent.get("client", "tcp", vip, 80, 3))


for six in (0, 1):
    go(six)
