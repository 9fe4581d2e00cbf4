"""A flowtable, to which rules of FORWARD add the forwarded connections. It holds other connections, and none of IPVS's:
their packets would bypass IPVS, which translates them. Under C it holds these, too, and they break."""
# Covers: src/xmit/output rust-out-of-tree/net/conntrack

import os
import time

import agent
from case import DEBUG, configure, expect, output, say, skip, wait_for
from topology import NAT, build

if DEBUG:
    skip("this kernel has no flowtables")
OURS = os.environ["MODULE"] == "rust"
IDLE = 150 if os.environ.get("LONG") else 0


def director(command):
    return output("director", command)


def address(name, six):
    return NAT.addresses[name][six]


def begin(six, option):
    """A new network, with a flowtable and a TCP and a UDP service."""
    agent.reset()
    build(NAT.machines)
    for i in (1, 2, 3):
        agent.serve(f"rs{i}", f"rs{i}", 80, 8080)
    # An entry that is idle for longer is removed from the flowtable.
    director("sysctl -qw net.ipv4.vs.conntrack=1 net.netfilter.nf_flowtable_tcp_timeout=2 net.netfilter.nf_flowtable_udp_timeout=2")
    director("""nft 'table inet quick {
        flowtable forwarded { hook ingress priority 0; devices = { eth0, eth1 }; }
        chain forward { type filter hook forward priority 0; meta l4proto { tcp, udp } flow add @forwarded; counter; }
    }'""")
    left, right = ("[", "]") if six else ("", "")
    for protocol in "-t", "-u":
        service = f"{protocol} {left}{address('VIP', six)}{right}:80"
        director(f"ipvsadm -A {service} -s rr")
        for i in (1, 2, 3):
            director(f"ipvsadm -a {service} -r {left}{address(f'RIP{i}', six)}{right}:80 {option}")


def offloaded(six):
    """Returns the destinations of the connections in the flowtable."""
    family = "ipv6" if six else "ipv4"
    lines = director(f"conntrack -L -f {family} 2>/dev/null").split("\n")
    return {line.split("dst=")[1].split()[0] for line in lines if "OFFLOAD" in line}


def plain(six):
    """A connection that IPVS has no part in must be in the flowtable."""
    for protocol in "tcp", "udp":
        expect("a plain connection", "rs1", agent.hold("client", f"plain-{protocol}", protocol, address("RIP1", six), 8080, 1))
        expect("a plain connection again", "rs1", agent.use(f"plain-{protocol}1"))
    wait_for("the flowtable to hold a connection", lambda: address("RIP1", six) in offloaded(six), instead=lambda: offloaded(six))


def go_on(six, what):
    vip = address("VIP", six)
    begun = [agent.hold("client", protocol, protocol, vip, 80, 3) for protocol in ("tcp", "udp")]
    say(f"{what}: {begun}")

    def again():
        return [" ".join(agent.use(f"{protocol}{i}") for i in (1, 2, 3)) for protocol in ("tcp", "udp")]

    plain(six)
    if not OURS:
        say(f"{what}, again: {again()}")
        return "timeout" in " ".join(begun + again())
    answers = ["rs3 rs2 rs1"] * 2
    expect(f"{what}: first", answers, begun)
    for _ in range(3):
        expect(f"{what}: again", answers, again())
    expect(f"{what}: in the flowtable", False, vip in offloaded(six))
    time.sleep(IDLE)
    wait_for("the end of the plain connection in the flowtable", lambda: address("RIP1", six) not in offloaded(six),
             instead=lambda: offloaded(six))
    for _ in range(3):
        expect(f"{what}: after it was idle", answers, again())
    expect(f"{what}: a download", "intact", agent.download("client", vip, 80, 1000000))
    expect(f"{what}: an upload", "intact", agent.upload("client", vip, 80, 300000))
    expect(f"{what}: in the flowtable", False, vip in offloaded(six))
    return False


for six in (0, 1):
    begin(six, "-m")
    broken = go_on(six, f"NAT, IPv{6 if six else 4}")
    expect("a broken connection", not OURS, broken)

# The source address is translated, too.
begin(0, "-m")
director("iptables -t nat -A POSTROUTING -m ipvs --vdir ORIGINAL --vmethod MASQ -j MASQUERADE")
go_on(0, "masqueraded")

# Direct routing, with the director as the real servers' gateway.
begin(0, "-g")
director("sysctl -qw net.ipv4.conf.all.accept_local=1 net.ipv4.conf.eth1.accept_local=1 net.ipv4.conf.all.rp_filter=0 "
         "net.ipv4.conf.eth1.rp_filter=0")
for i in (1, 2, 3):
    configure(f"rs{i}", [f"ip addr add {address('VIP', 0)}/32 dev lo"])
go_on(0, "direct routing")
