"""A packet's conntrack entry is deleted between two hooks: a user process holds the packet (nfqueue), the table is flushed
or the connection reset meanwhile, and the packet goes on. Before IPVS and after it, requests and replies, new connections
and established ones. Nothing may remain in the table when the conns have expired."""
# Covers: src/xmit/output src/conn rust-out-of-tree/net/conntrack

import socket
import struct
import threading

import agent
from case import expect, fail, observe, output, run, wait_for
from genl import NLMSG_ERROR, attr, attributes, error, received
from topology import NAT, build, inside

VIP = NAT.addresses["VIP"][0]
QUEUE = 7
NFNL_QUEUE = 3 << 8
PACKET, VERDICT, CONFIG = NFNL_QUEUE, NFNL_QUEUE | 1, NFNL_QUEUE | 2
REQUEST, ACK, ACCEPT = 1, 4, 1


def director(command):
    return output("director", command)


class Held:
    """Packets at a hook of the director: the first one is held, those after it pass at once."""

    def __init__(self, hook, match):
        self.table = f"""nft 'table inet hold {{ chain packets {{ type filter hook {hook} priority 0;
            meta l4proto {{ tcp, udp }} {match} queue num {QUEUE}; }} }}'"""

    def __enter__(self):
        with inside("director"):
            self.sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12)
            self.sock.bind((0, 0))
        self.sock.settimeout(60)
        # Bind to the queue; copy no contents.
        self.config(attr(1, struct.pack("!BBH", 1, 0, 0)))
        self.config(attr(2, struct.pack("!IB", 0, 1)))
        director(self.table)
        return self

    def __exit__(self, *_):
        director("nft delete table inet hold")
        self.sock.close()

    def send(self, kind, flags, data):
        body = struct.pack("!BBH", 0, 0, QUEUE) + data
        self.sock.send(struct.pack("=IHHII", 16 + len(body), kind, flags, 1, 0) + body)

    def config(self, data):
        self.send(CONFIG, REQUEST | ACK, data)
        for kind, _, body in received(self.sock.recv(65536)):
            if kind == NLMSG_ERROR and error(body):
                fail(f"the queue: {error(body)}")

    def packets(self):
        """Waits for packets and yields their numbers."""
        for kind, _, body in received(self.sock.recv(65536)):
            if kind == PACKET:
                yield struct.unpack("!I", dict(attributes(body[4:]))[1][:4])[0]

    def accept(self, number):
        self.send(VERDICT, REQUEST, attr(2, struct.pack("!II", ACCEPT, number)))

    def serve(self, meanwhile, request):
        """Makes a request, by a function, in a thread; calls `meanwhile` while its first packet at the hook is held.
        Returns the answer."""
        answers = []
        thread = threading.Thread(target=lambda: answers.append(request()))
        thread.start()
        first = list(self.packets())
        meanwhile()
        for number in first:
            self.accept(number)
        self.sock.settimeout(0.1)
        while thread.is_alive():
            try:
                for number in self.packets():
                    self.accept(number)
            except TimeoutError:
                pass
        return answers[0]


def begin():
    agent.reset()
    build(NAT.machines)
    for i in (1, 2, 3):
        agent.serve(f"rs{i}", f"rs{i}", 80)
    director("sysctl -qw net.ipv4.vs.conntrack=1")
    director("nft 'table inet track { chain in { type filter hook input priority 0; ct state new counter; }; }'")
    for option in ("-t", "-u"):
        director(f"ipvsadm -A {option} {VIP}:80 -s rr")
        director(f"ipvsadm -a {option} {VIP}:80 -r {NAT.addresses['RIP1'][0]}:80 -m")


def number():
    return int(director("conntrack -C"))


def flush():
    director("conntrack -F 2>/dev/null")


def forget():
    """The service goes with its conns, and comes back."""
    director("sysctl -qw net.ipv4.vs.expire_nodest_conn=1")
    for option in ("-t", "-u"):
        director(f"ipvsadm -d {option} {VIP}:80 -r {NAT.addresses['RIP1'][0]}:80")
        director(f"ipvsadm -a {option} {VIP}:80 -r {NAT.addresses['RIP1'][0]}:80 -m")
    flush()


run("modprobe nfnetlink_queue")
begin()
HOOKS = (("prerouting", "th dport 80"), ("input", "th dport 80"), ("output", "th dport 80"), ("postrouting", "th dport 80"),
         ("prerouting", "th sport 80"), ("forward", "th sport 80"), ("postrouting", "th sport 80"))
for protocol in ("tcp", "udp"):
    for count, (hook, match) in enumerate(HOOKS):
        what = f"{protocol} at {hook}, {'requests' if 'dport' in match else 'replies'}"
        name = f"{protocol}{count}-"
        # The entry of an established connection is deleted.
        expect(f"{what}: before", "rs1", agent.hold("client", name, protocol, VIP, 80, 1))
        with Held(hook, match) as held:
            observe(f"{what}: established", held.serve(flush, lambda: agent.use(f"{name}1")))
        observe(f"{what}: again", agent.use(f"{name}1"))
        # The first packet's, or the first reply's, with its conn's dest.
        for how in (flush, forget):
            with Held(hook, match) as held:
                observe(f"{what}: new, {how.__name__}", held.serve(how, lambda: agent.hold("client", f"{name}{how.__name__}",
                                                                                           protocol, VIP, 80, 1)))
expect("entries", True, number() > 0)
director("ipvsadm --set 1 1 1")
agent.abort("*")
wait_for("all conns to expire", lambda: director("wc -l </proc/net/ip_vs_conn") == "1",
         instead=lambda: director("cat /proc/net/ip_vs_conn"))
# What the hooks deleted is not in the table, but would be counted.
flush()
wait_for("an empty table", lambda: number() == 0, instead=lambda: director("conntrack -L 2>&1"))
