"""Rules with the match `ipvs` as iptables never writes them, by netlink through nft_compat: sizes, revisions, families
and hooks, and random contents, with the number of packets that each rule matches under traffic."""
# Covers: src/xt_ipvs rust-out-of-tree/net/x_tables

import random
import re
import shlex
import socket
import struct

import agent
from case import DEBUG, expect, observe, output, say
from genl import NLMSG_ERROR, attr, error, received, string
from topology import NAT, build, inside

NFPROTO = {"inet": 1, "ip": 2, "arp": 3, "bridge": 7, "ip6": 10}
HOOKS = {"inet": "prerouting input forward output postrouting", "ip": "prerouting input forward output postrouting",
         "arp": "input output", "bridge": "prerouting input forward output postrouting",
         "ip6": "prerouting input forward output postrouting"}
TABLES = 10  # NFNL_SUBSYS_NFTABLES
NEWRULE, BATCH_BEGIN, BATCH_END = TABLES << 8 | 6, 0x10, 0x11
REQUEST, ACK, CREATE_LAST = 1, 4, 0xC00
SIZE = 40  # of struct xt_ipvs_mtinfo
VIP, CIP, RIP = (NAT.addresses[name][0] for name in ("VIP", "CIP", "RIP1"))


def expression(name, *data):
    return attr(1, [attr(1, string(name)), attr(2, list(data))])


def message(kind, flags, number, family, data=b"", resource=0):
    body = struct.pack("=BB", family, 0) + struct.pack("!H", resource) + data
    return struct.pack("=IHHII", 16 + len(body), kind, flags, number, 0) + body


def add_rule(family, chain, info, revision=0):
    """Appends a rule of a match and a counter to a chain of the table `t`. Returns "ok" or the errno's name."""
    match = expression("match", attr(1, string("ipvs")), attr(2, struct.pack("!I", revision)), attr(3, info))
    rule = attr(1, string("t")) + attr(2, string(chain)) + attr(4, [match, expression("counter")])
    with inside("director"), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as sock:
        sock.settimeout(60)
        sock.bind((0, 0))
        sock.send(message(BATCH_BEGIN, REQUEST, 1, 0, resource=TABLES)
                  + message(NEWRULE, REQUEST | ACK | CREATE_LAST, 2, NFPROTO[family], rule)
                  + message(BATCH_END, REQUEST, 3, 0, resource=TABLES))
        while True:
            for kind, number, body in received(sock.recv(65536)):
                if kind == NLMSG_ERROR and number in (1, 2):
                    return error(body) or "ok"


def director(command):
    return output("director", command)


def info(vaddr=VIP, vmask="255.255.255.255", vport=80, protocol=17, method=0, control=0, invert=0, bitmask=0):
    return (socket.inet_aton(vaddr) + bytes(12) + socket.inet_aton(vmask) + bytes(12) + struct.pack("!H", vport)
            + struct.pack("=BB", protocol, method) + struct.pack("!H", control) + struct.pack("=BB", invert, bitmask))


agent.reset()
build(NAT.machines)
agent.serve("rs1", "rs1", 80)
director("sysctl -qw net.ipv4.vs.conntrack=1")
director(f"ipvsadm -A -u {VIP}:80 -s rr")
director(f"ipvsadm -a -u {VIP}:80 -r {RIP}:80 -m")
if DEBUG:  # it has no tables of these families
    del HOOKS["arp"], HOOKS["bridge"]
for family, hooks in HOOKS.items():
    chains = "".join(f"chain {hook} {{ type filter hook {hook} priority 0; }}; " for hook in hooks.split())
    director(f"nft 'table {family} t {{ {chains} }}'")

observe("sizes", "\n".join(f"{size}: {add_rule('ip', 'input', bytes(size))}" for size in (0, 1, 8, 39, 40, 41, 48, 64, 4096)))
observe("revisions", "\n".join(f"{revision}: {add_rule('ip', 'input', bytes(SIZE), revision)}" for revision in (0, 1, 2, 255, 256)))
observe("families and hooks", "\n".join(
    f"{family} {hook}: {add_rule(family, hook, bytes(SIZE))}" for family, hooks in HOOKS.items() for hook in hooks.split()))
observe("contents", "\n".join(f"{byte:#x}: {add_rule('ip', 'forward', bytes([byte] * SIZE))}" for byte in (1, 0x7F, 0x80, 0xFF)))

# --- random contents

numbers = random.Random(14)


def random_info():
    """Values that the traffic has, so that many a rule matches, and others."""
    def one_of(*values):
        return numbers.choice(values)

    address = one_of(VIP, VIP, CIP, RIP, ".".join(str(numbers.randrange(256)) for _ in range(4)))
    mask = one_of("255.255.255.255", "255.255.255.0", "0.0.0.0", ".".join(str(numbers.randrange(256)) for _ in range(4)))
    return info(address, mask, one_of(80, 80, 8080, 0, numbers.randrange(65536)), one_of(17, 17, 6, 0, numbers.randrange(256)),
                one_of(0, 0, 1, 2, 3, 4, numbers.randrange(256)), one_of(0, 80, numbers.randrange(65536)),
                one_of(0, numbers.randrange(256)), one_of(1, 2, 4, 8, 16, 32, 64, numbers.randrange(256)))


for hook in HOOKS["ip"].split():
    director(f"nft flush chain ip t {hook}")
    for _ in range(100):
        add_rule("ip", hook, random_info())
agent.hold("client", "udp", "udp", VIP, 80, 1)
for _ in range(4):
    agent.use("udp1")


def counted(hook):
    """Returns the number of packets that each rule of a chain has matched."""
    return re.findall(r"counter packets ([0-9]+)", director(f"nft list chain ip t {hook}"))


matched = 0
for hook in HOOKS["ip"].split():
    figures = counted(hook)
    matched += sum(figure != "0" for figure in figures)
    observe(f"matched at {hook}", " ".join(figures))
say(f"{matched} rules matched")
expect("many rules that matched", True, matched >= 30)

# --- the service's address under masks, IPv6

vip6, rip6 = (NAT.addresses[name][1] for name in ("VIP", "RIP1"))
director(f"ipvsadm -A -u [{vip6}]:80 -s rr")
director(f"ipvsadm -a -u [{vip6}]:80 -r [{rip6}]:80 -m")
masks = [f"{inverted}--vaddr {addr}" for inverted in ("", "! ")
         for addr in (vip6, f"{vip6}/128", f"{vip6}/127", f"{vip6}/64", f"{vip6}/48", "::/0", "::1/0", "2001:db8:1::7/64",
                      "2001:db8:1:7::7/48", "2001:db8:1:7::7/64", "2001:db8:3::/46", "2001:db8:2::/48", rip6, f"{rip6}/64")]
lines = ["*filter", *(f"-A OUTPUT -p udp -m ipvs {options}" for options in masks), "COMMIT"]
director(f"printf '%s\\n' {shlex.join(lines)} | ip6tables-restore")
agent.hold("client", "six", "udp", vip6, 80, 1)
lines = director("ip6tables -nvL OUTPUT").split("\n")[2:]
observe("IPv6 masks", "\n".join(
    f"{'matched' if line.split()[0] != '0' else 'not matched'} {options}" for options, line in zip(masks, lines)))

# --- a namespace without services

for options in ("--ipvs", "! --ipvs", "--vproto 17", "! --vproto 17", "--vdir ORIGINAL", "--vmethod MASQ", "! --vmethod MASQ",
                f"! --vaddr {VIP}"):
    output("rs1", f"iptables -A INPUT -p udp -m ipvs {options}")
agent.use("udp1")
observe("without services", "\n".join(
    f"{'matched' if line.split()[0] != '0' else 'not matched'} {line.partition('0.0.0.0/0')[2]}"
    for line in output("rs1", "iptables -nvL INPUT").split("\n")[2:]))
