"""SCTP associations through each forwarding method: their states, large transfers with and without the devices'
checksum offload, persistence, firewall marks, and connection tracking."""
# Covers: src/proto/sctp src/xmit/edit

import re

import agent
import sctp_lab as lab
from case import DEBUG, configure, entries, expect, output
from sctp_lab import MAPPED, PORT, at, become, begin, begun, capture, conns, counters, lay_out, listing, request, service
from sctp_lab import settings, tell, templates, uplink
from topology import DR, NAT, TUN

MANY = 100000 if not DEBUG else 40000  # bytes of a transfer


def associations(topology, option, dest_port, family):
    """Requests, and the states of a connection from its start to its end."""
    lay_out(topology, family)
    begin(real=True)
    ends = [at(f"RIP{i}", dest_port if option == "-m" else PORT) for i in (1, 2, 3)]
    service(*ends, option=option)
    capture("client", "rs1")
    tell(f"{option} {dest_port}: they see", agent.get("client", "sctp", lab.here["VIP"], PORT, 3, "who"))
    become(" ".join(["CLOSED"] * 3))
    expect("held", "rs3 rs2 rs1", agent.hold("client", "held", "sctp", lab.here["VIP"], PORT, 3))
    become(" ".join(["CLOSED"] * 3 + ["ESTABLISHED"] * 3))
    tell(f"{option} {dest_port}: held", listing())
    tell(f"{option} {dest_port}: connections", conns())
    agent.abort("held1", "held2")
    agent.close("held3")
    become(" ".join(["CLOSED"] * 6))
    tell(f"{option} {dest_port}: ended", listing())
    tell(f"{option} {dest_port}: ipvsadm -Lnc", "\n".join(sorted(
        re.sub(r" \d\d:\d\d ", " ", line) for line in output("director", "ipvsadm -Lnc").split("\n"))))
    # Delayed SACKs depend on the time.
    for name in ("client", "rs1"):
        kinds = {re.sub("4000[0-9]|4001[0-9]|data=[0-9]+ ", "", line) for line in agent.captured(name).split("\n")
                 if "INIT" in line or "SHUTDOWN" in line}
        tell(f"{option} {dest_port}: {name}'s packets", "\n".join(sorted(kinds)))


def offload(machine, interface, checksum, gso):
    configure(machine, [f"ethtool -K {interface} tx-checksum-sctp {checksum} tx-sctp-segmentation {gso} gso {gso} >/dev/null"])


def transfers():
    """Large transfers, with the checksum left to the devices or not, and with packets that are segmented later."""
    for mapped in (PORT, MAPPED):
        for client_sums, director_sums, gso in (("on", "on", "on"), ("on", "off", "on"), ("off", "on", "off")):
            if lab.v6 and (mapped, director_sums) == (MAPPED, "off"):
                continue
            begin(real=True)
            service(at("RIP1", mapped))
            for name in ("client", "rs1"):
                offload(name, "eth0", client_sums, gso)
            for name in ("eth0", "eth1"):
                offload("director", name, director_sums, gso)
            label = f"mapped to {mapped}, hosts {client_sums}, director {director_sums}"
            capture("client", "rs1")
            expect(f"upload, {label}", "intact", agent.upload("client", lab.here["VIP"], PORT, MANY, "sctp"))
            expect(f"download, {label}", "intact", agent.download("client", lab.here["VIP"], PORT, MANY, "sctp"))
            sizes = " ".join(f"{name} {'large' if int(agent.largest(name)) > 1500 else 'small'}" for name in ("client", "rs1"))
            tell(f"transfer, {label}", "\n".join([*(f"{name} {agent.checksums(name)}" for name in ("client", "rs1")), sizes]))


def persistent():
    """A client's connections share a dest. An established one keeps its template."""
    begin(real=True)
    service(at("RIP1"), at("RIP2"), scheduler="rr -p 300")
    expect("held", "rs2 rs2 rs2", agent.hold("client", "persistent", "sctp", lab.here["VIP"], PORT, 3))
    tell("persistent", conns())
    tell("persistent: templates", templates())
    agent.abort("persistent*")
    become("CLOSED CLOSED CLOSED")
    begin()
    service(at("RIP1"), at("RIP2"), scheduler="rr -p 300")
    before = counters()
    for port in (0, 1, 2):
        uplink(request(port, "INIT"))
    begun(3, before)
    tell("persistent, not established", conns())
    tell("persistent, not established: templates", templates())


def marked():
    """A service by fwmark, for any port."""
    mark = f"iifname eth0 sctp dport {{ {PORT}, {MAPPED} }} meta mark set 7"
    configure("director", [f"nft 'table inet marks {{ chain before {{ type filter hook prerouting priority mangle; {mark}; }}; }}'"])
    for scheduler in ("rr", "rr -p 300"):
        begin(real=True)
        service(at("RIP1", 0), at("RIP2", 0), key=f"-f 7 {'-6' if lab.v6 else ''}", scheduler=scheduler)
        tell(f"fwmark, {scheduler}", " ".join(agent.get("client", "sctp", lab.here["VIP"], port, 2) for port in (PORT, MAPPED)))
        become("CLOSED CLOSED CLOSED CLOSED")
        tell(f"fwmark, {scheduler}: connections", conns())
    tell("fwmark: templates", templates())
    configure("director", ["nft delete table inet marks"])


def on_the_director():
    """A real server on the director itself."""
    begin(real=True)
    agent.serve_sctp("director", "local", lab.here["DIP"], MAPPED)
    service(at("DIP", MAPPED))
    expect("local", "local local", agent.get("client", "sctp", lab.here["VIP"], PORT, 2))
    expect("from the director", "local", agent.get("director", "sctp", lab.here["VIP"], PORT, 1))
    become("CLOSED CLOSED CLOSED")
    tell("local: connections", conns())


def tracked():
    """Connection tracking follows the connections, and the match `ipvs` finds them."""
    begin(real=True)
    tables = "ip6tables" if lab.v6 else "iptables"
    settings(conntrack=1)
    service(*(at(f"RIP{i}", MAPPED) for i in (1, 2, 3)))
    matches = ["--ipvs", "--vproto 132", "! --vproto 132", "--vproto 6", f"--vaddr {lab.here['VIP']}", "--vport 80",
               "--vport 8080", "--vmethod MASQ", "--vdir ORIGINAL", "--vdir REPLY"]
    # The rule on the state enables connection tracking.
    configure("director", [f"{tables} -A INPUT -m conntrack --ctstate NEW",
                           *(f"{tables} -A OUTPUT -m ipvs {match}" for match in matches)])
    expect("held", "rs3 rs2 rs1", agent.hold("client", "tracked", "sctp", lab.here["VIP"], PORT, 3))
    tell("tracked", entries("director", f"-p sctp -f ipv{6 if lab.v6 else 4}"))
    agent.abort("tracked*")
    become("CLOSED CLOSED CLOSED")
    tell("tracked, ended", entries("director", f"-p sctp -f ipv{6 if lab.v6 else 4}"))
    rules = output("director", f"{tables} -nvxL OUTPUT").split("\n")[2:]
    tell("rules that matched", "\n".join(match for rule, match in zip(rules, matches) if int(rule.split()[0])))
    configure("director", [f"{tables} -F"])
    settings(conntrack=0)


for family in (4, 6):
    associations(NAT, "-m", PORT, family)
    associations(NAT, "-m", MAPPED, family)
    for part in (persistent, marked, transfers, tracked, on_the_director):
        part()
    associations(DR, "-g", PORT, family)
    associations(TUN, "-i", PORT, family)
agent.reset()
