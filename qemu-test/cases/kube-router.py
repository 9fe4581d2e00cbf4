"""The configurations of kube-router and kube-vip. kube-router: pods by NAT with the source address changed by rules with the
match `ipvs`, a pod that is its own client, and direct server return by fwmark and IPIP into the pods' namespaces.
kube-vip: an address of a control plane, masqueraded among its nodes. The answers and the addresses at pods and
nodes must be C's."""
# Covers: src/xt_ipvs src/xmit/tun src/xmit/output rust-out-of-tree/net/x_tables rust-out-of-tree/net/conntrack

import os

import agent
from case import entries, observe, output, run, wait_for
from topology import build, cable, interface

PODS = "10.1.0.0/16"
CLUSTER_IP, EXTERNAL_IP, CONTROL_PLANE = "10.96.0.10", "192.168.77.10", "192.168.9.50"
MARK = 0x1234
ESTABLISHED = "-p tcp --state ESTABLISHED"


def node(number, pods):
    """A node with these pods behind its bridge."""
    commands = [
        "sysctl -w net.ipv4.ip_forward=1 net.ipv4.vs.conntrack=1 net.ipv4.vs.expire_nodest_conn=1",
        "sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
        "ip link add kube-bridge type bridge",
        *interface("kube-bridge", f"10.1.{number}.1/24"),
        "ip link add kube-dummy-if type dummy",
        *interface("kube-dummy-if", f"{CLUSTER_IP}/32"),
        *interface("eth0", f"192.168.9.{number}/24"),
        f"ip route add 10.1.{3 - number}.0/24 via 192.168.9.{3 - number}",
    ]
    for pod in pods:
        commands += [cable(pod, f"{pod}:eth0"), f"ip link set {pod} master kube-bridge up",
                     f"bridge link set dev {pod} hairpin on"]
    return commands


def pod(number, last):
    """A pod, with the tunnel and the address for direct server return."""
    return [
        *interface("eth0", f"10.1.{number}.{last}/24"),
        f"ip route add default via 10.1.{number}.1",
        "sysctl -w net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0",
        f"ip link add kube-tunnel-if type ipip local 10.1.{number}.{last}",
        "sysctl -w net.ipv4.conf.kube-tunnel-if.rp_filter=0",
        *interface("kube-tunnel-if", f"{EXTERNAL_IP}/32"),
    ]


def rules(machine, text):
    for line in text.strip().split("\n"):
        output(machine, f"iptables {line.strip()}")


def seen(machine, address, port, count):
    """Returns which server answered each request, and the addresses of both ends at the server."""
    answers = agent.get(machine, "tcp", address, port, count, "who").split("\n")
    return "\n".join(" ".join(word for i, word in enumerate(answer.split()) if i != 2) for answer in answers)


run("modprobe -a dummy ipip br_netfilter || true")
agent.reset()
build({
    "client": [cable("eth0", "lan:client"), *interface("eth0", "192.168.9.254/24"),
               "ip route add 10.96.0.0/16 via 192.168.9.1", f"ip route add {EXTERNAL_IP} via 192.168.9.1"],
    "lan": ["ip link add br0 up type bridge mcast_snooping 0", "ip link set client master br0 up",
            *(line for i in (1, 2, 3) for line in (cable(f"node{i}", f"node{i}:eth0"), f"ip link set node{i} master br0 up"))],
    "node1": node(1, ["pod11", "pod12"]),
    "node2": node(2, ["pod23"]),
    "node3": interface("eth0", "192.168.9.3/24"),
    "pod11": pod(1, 11), "pod12": pod(1, 12), "pod23": pod(2, 23),
})
for name in ("pod11", "pod12", "pod23"):
    agent.serve(name, name, 80, 8080)
for name in ("node1", "node2", "node3"):
    agent.serve(name, name, 6443)

# --- kube-router: a cluster IP

# Without it, the answers of a pod's neighbour on the bridge do not pass through the node.
if os.path.exists("/proc/sys/net/bridge/bridge-nf-call-iptables"):
    output("node1", "sysctl -qw net.bridge.bridge-nf-call-iptables=1")

rules("node1", f"""
    -t nat -N KUBE-ROUTER-HAIRPIN
    -t nat -A POSTROUTING -m ipvs --vdir ORIGINAL --vmethod MASQ -j KUBE-ROUTER-HAIRPIN
    -t nat -A POSTROUTING -m ipvs --ipvs --vdir ORIGINAL --vmethod MASQ ! -s {PODS} ! -d 10.1.1.0/24 -j SNAT --to-source 192.168.9.1
    -t nat -A KUBE-ROUTER-HAIRPIN -s 10.1.1.11/32 -d 10.1.1.11/32 -m ipvs --vaddr {CLUSTER_IP} --vport 80 -j SNAT --to-source {CLUSTER_IP}
    -t nat -A KUBE-ROUTER-HAIRPIN -s 10.1.1.12/32 -d 10.1.1.12/32 -m ipvs --vaddr {CLUSTER_IP} --vport 80 -j SNAT --to-source {CLUSTER_IP}
    -A FORWARD -m conntrack --ctstate INVALID -j DROP""")
output("node1", f"ipvsadm -A -t {CLUSTER_IP}:80 -s rr")
for address in ("10.1.1.11", "10.1.1.12", "10.1.2.23"):
    output("node1", f"ipvsadm -a -t {CLUSTER_IP}:80 -r {address}:8080 -m")
for machine in ("client", "node1", "pod11", "pod12"):
    observe(f"cluster IP from {machine}", seen(machine, CLUSTER_IP, 80, 6))
agent.hold("client", "far", "tcp", CLUSTER_IP, 80, 3)
agent.hold("pod11", "near", "tcp", CLUSTER_IP, 80, 3)
observe("entries", entries("node1", ESTABLISHED))
agent.close("far*", "near*")

# --- kube-router: direct server return

rules("node1", f"""
    -t mangle -A PREROUTING -d {EXTERNAL_IP} -p tcp --dport 80 -j MARK --set-xmark {MARK}
    -t mangle -A PREROUTING -s {EXTERNAL_IP} -p tcp --sport 80 --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1440
    -t mangle -A PREROUTING -d {EXTERNAL_IP} -p tcp --dport 80 --tcp-flags SYN,RST SYN -j TCPMSS --set-mss 1440""")
for line in (f"ip rule add prio 32764 fwmark {MARK} table 78", "ip route add local default dev lo table 78",
             f"ip route add {EXTERNAL_IP} dev kube-bridge table 79", "ip rule add prio 32765 table 79"):
    output("node1", line)
output("node1", f"ipvsadm -A -f {MARK} -s rr")
for address in ("10.1.1.11", "10.1.1.12", "10.1.2.23"):
    output("node1", f"ipvsadm -a -f {MARK} -r {address} -i")
observe("direct server return", seen("client", EXTERNAL_IP, 80, 6))
observe("a download by direct server return", agent.download("client", EXTERNAL_IP, 80, 300000))

# --- kube-vip

output("node1", f"ip addr add {CONTROL_PLANE}/32 dev eth0")
rules("node1", f"-t nat -A POSTROUTING -m ipvs --vaddr {CONTROL_PLANE} --vport 6443 -j MASQUERADE")
output("node1", f"ipvsadm -A -t {CONTROL_PLANE}:6443 -s rr")
for number in (1, 2, 3):
    output("node1", f"ipvsadm -a -t {CONTROL_PLANE}:6443 -r 192.168.9.{number}:6443 -m")
observe("control plane", seen("client", CONTROL_PLANE, 6443, 6))
observe("control plane from its node", seen("node1", CONTROL_PLANE, 6443, 3))
agent.hold("client", "plane", "tcp", CONTROL_PLANE, 6443, 3)


def plane():
    """Returns the entries of the control plane."""
    return "\n".join(line for line in entries("node1", ESTABLISHED).split("\n") if CONTROL_PLANE in line)


observe("entries of the control plane", plane())


def conns():
    """Returns how many conns were begun, by the namespace's counter."""
    return int(output("node1", "cat /proc/net/ip_vs_stats").split("\n")[2].split()[0], 16)


wait_for("the conns to be counted", lambda: conns() >= 49, instead=conns)
observe("rules", output("node1", "iptables -t nat -S"))

# --- without services, conns are dropped, and their entries with them

output("node1", "ipvsadm -C")
wait_for("the conns to be dropped", lambda: len(output("node1", "cat /proc/net/ip_vs_conn").split("\n")) == 1)
observe("entries of the control plane without services", plane())
