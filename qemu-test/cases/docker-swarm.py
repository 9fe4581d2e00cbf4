"""A Docker swarm of one node with a service of three replicas. Dockerd programs IPVS in two
sandboxes: `ingress_sbox` for the published port, and `lb_…` for the overlay network on which
containers reach the service by its name. Both mark the packets, balance them by NAT and give
them the sandbox's address as source, by `-m ipvs --ipvs -j SNAT`.

  client 192.168.9.254 ─── 192.168.9.1 host ─── ingress_sbox ── ingress ──┬── web1 web2 web3
                            container "client" ── backend ── lb_… ────────┘
"""
# Needs: docker image
# Covers: src/xmit/output src/xt_ipvs src/hook rust-out-of-tree/net/conntrack rust-out-of-tree/net/x_tables

import atexit
import collections
import errno
import glob
import io
import json
import os
import re
import socket
import subprocess
import tarfile
import threading
import time

import agent
from case import SLOW, configure, enter, expect, inside, netns, observe, output, run, say, skip, wait_for

HOST, CLIENT, PORT = "192.168.9.1", "192.168.9.254", 8080
INGRESS = "/run/docker/netns/ingress_sbox"
# A replica answers with its name and version. As process 1, httpd ignores the signal to end
# and goes on to answer until the grace period is over.
SERVER = "echo $HOSTNAME $VERSION >/www/index.html; exec httpd -f -p 80 -h /www"
APPLETS = "echo", "httpd", "sh", "sleep", "wget"
PATIENCE = 240 * SLOW


# --- Docker


def docker(command, **options):
    say(f"$ docker {command}")
    done = subprocess.run(f"docker {command}", shell=True, check=True, stdout=subprocess.PIPE, **options)
    return done.stdout.decode().strip()


def start_dockerd():
    """The log is put with the guest's console, into files/."""
    run("mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    log = open(os.environ["OUT"] + "/dockerd.log", "w")
    # No registry is reachable.
    process = subprocess.Popen(["dockerd", "--storage-driver=vfs"], stdout=log, stderr=log,
                               env=dict(os.environ, DOCKER_SERVICE_PREFER_OFFLINE_IMAGE="1"))

    def end():
        process.terminate()
        process.wait()

    def answers():
        expect("dockerd's status", None, process.poll())
        return subprocess.run(["docker", "version"], capture_output=True).returncode == 0

    atexit.register(end)
    wait_for("dockerd's socket", lambda: process.poll() is not None or os.path.exists("/run/docker.sock"), PATIENCE)
    wait_for("dockerd", answers, PATIENCE)


def import_image():
    """Makes an image with nothing but busybox."""
    image = io.BytesIO()
    with tarfile.open(fileobj=image, mode="w") as tar:
        for directory in "bin", "tmp", "www":
            entry = tarfile.TarInfo(directory)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        tar.add("/usr/bin/busybox", "bin/busybox")
        for applet in APPLETS:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    docker("import - busybox", input=image.getvalue())


def containers(network):
    """Returns the names of the containers by their addresses on a network."""
    networks = {each["Config"]["Hostname"]: each["NetworkSettings"]["Networks"]
                for each in json.loads(docker("inspect $(docker ps --quiet)"))}
    return {networks[name][network]["IPAddress"]: name for name in networks if network in networks[name]}


# --- requests


def ask(address):
    """Makes one request of the published port; returns the answer or the errno's name."""
    try:
        with agent.client_socket("tcp", address, 20) as sock:
            sock.connect((address, PORT))
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: sock.recv(1 << 16), b""))
            return answer.partition(b"\r\n\r\n")[2].decode().strip() or "no answer"
    except TimeoutError:
        return "timeout"
    except OSError as e:
        return errno.errorcode.get(e.errno, str(e))


def tally(answers):
    return "\n".join(f"{number} {answer}" for answer, number in sorted(collections.Counter(answers).items()))


def requests(number, address):
    """Makes requests, but none after one that is lost."""
    answers = []
    while len(answers) < number and (not answers or answers[-1].startswith("web")):
        answers.append(ask(address))
    return answers


def requests_from_outside():
    with inside("client"):
        return requests(12, HOST)


def requests_from_container():
    script = "for i in 1 2 3 4 5 6; do wget -q -T 20 -O - http://web/ || { echo lost; break; }; done"
    return docker(f"exec client sh -c '{script}'").splitlines()


def balanced(what, version, answers):
    """Each replica must have answered a third of the requests."""
    observe(what, tally(answers))
    expect(what, "\n".join(f"{len(answers) // 3} web{i} {version}" for i in (1, 2, 3)), tally(answers))


class Load(threading.Thread):
    """Makes requests from outside until `end`."""

    def __init__(self):
        super().__init__(daemon=True)
        self.answers, self.stop = [], False
        self.start()

    def run(self):
        enter("client")
        while not self.stop:
            self.answers.append(ask(HOST))
            time.sleep(0.1)

    def end(self):
        self.stop = True
        self.join()
        return self.answers


# --- the sandboxes


class Sandbox:
    def __init__(self, network, path):
        self.network = network
        self.machine = os.path.relpath(path, "/run/netns")

    def output(self, command):
        return output(self.machine, command)

    def dests(self):
        """Returns the dests' weights by their addresses."""
        with inside(self.machine), open("/proc/thread-self/net/ip_vs") as file:
            found = re.findall(r"-> (\w{8}):0000 +Masq +(\d+) ", file.read())
        return {socket.inet_ntoa(bytes.fromhex(address)): int(weight) for address, weight in found}

    def is_complete(self):
        return list(self.dests().values()) == [1, 1, 1]

    def names(self):
        """Returns the placeholders of addresses and of the mark in observations."""
        vips = json.loads(docker("service inspect web"))[0]["Endpoint"]["VirtualIPs"]
        device, = json.loads(self.output("ip -json -4 addr show dev eth0"))
        addresses = {entry["local"] for entry in device["addr_info"]}
        vip, = {entry["Addr"].split("/")[0] for entry in vips} & addresses
        own, = addresses - {vip}
        mark, = re.findall(r"FWM +(\d+)", self.output("ipvsadm -Ln"))
        names = {vip: "VIP", own: "SANDBOX", f"FWM  {mark}": "FWM MARK", f"{int(mark):#x}": "MARK"}
        return names | containers(self.network)

    def observe(self, when):
        names = self.names()
        pattern = "|".join(rf"(?<!\w){re.escape(name)}(?!\w)" for name in names)

        def lines(command, wanted):
            text = re.sub(pattern, lambda found: names[found[0]], self.output(command))
            return [line for line in text.splitlines() if re.search(wanted, line)]

        def show(what, lines):
            observe(f"{self.network}, {when}: {what}", "\n".join(lines))

        # Without the numbers of conns, which end in their time.
        service, *dests = [" ".join(line.split()[:4]) for line in lines("ipvsadm -Ln", "^FWM|-> (?!Remote)")]
        show("service", [service, *sorted(dests)])
        for table in "mangle", "nat":
            # The others are for the resolver.
            show(f"rules, {table}", lines(f"iptables -t {table} -S", r"^-A (?!.*(DOCKER_|127\.0\.0\.11))"))
        show("settings", lines("sysctl net.ipv4.vs", r"\.(conntrack|conn_reuse_mode|expire_\w+) ="))
        # The addresses and the service's port of each entry for a replica that is still there.
        entries = lines("conntrack -L 2>/dev/null", "src=web")
        show("entries", sorted({" ".join(re.findall(r"(?:src|dst)=\S+|port=80\S*", entry)) for entry in entries}))

    def translated(self):
        """Returns the number of connections that the rule with the match `ipvs` has translated."""
        number, = re.findall(r"^ *(\d+) .*SNAT .* ipvs to:", self.output("iptables -t nat -vnxL POSTROUTING"), re.M)
        return int(number)


if subprocess.run(["modprobe", "-a", "vxlan", "br_netfilter"]).returncode:
    skip("this kernel has no vxlan or br_netfilter")
netns("client")
run("ip link add outside type veth peer name eth0 netns client")
run(f"ip addr add {HOST}/24 dev outside; ip link set outside up")
configure("client", [f"ip addr add {CLIENT}/24 dev eth0", "ip link set eth0 up"])
start_dockerd()
import_image()
docker(f"swarm init --advertise-addr {HOST}")
docker("network create --driver overlay --attachable backend")
docker("service create --detach --no-resolve-image --name web --network backend --replicas 3 "
       f"--publish {PORT}:80 --hostname 'web{{{{.Task.Slot}}}}' --env VERSION=old "
       "--health-cmd 'wget -q -O /dev/null http://127.0.0.1/' "
       "--health-interval 1h --health-start-period 10m --health-start-interval 1s "
       f"--stop-grace-period 5s --update-monitor 1s busybox sh -c '{SERVER}'")
wait_for("the sandboxes", lambda: os.path.exists(INGRESS) and glob.glob("/run/docker/netns/lb_*"), PATIENCE)
lb, = glob.glob("/run/docker/netns/lb_*")
ingress, backend = Sandbox("ingress", INGRESS), Sandbox("backend", lb)
wait_for("three replicas", lambda: ingress.is_complete() and backend.is_complete(), PATIENCE, ingress.dests)
docker("run --detach --name client --hostname client --network backend --stop-signal KILL busybox sleep 1000000")

balanced("from outside", "old", requests_from_outside())
balanced("from the host, to its address", "old", requests(12, HOST))
balanced("from the host, to 127.0.0.1", "old", requests(12, "127.0.0.1"))
balanced("from a container, to the service's name", "old", requests_from_container())
expect("connections with the source translated", [36, 6], [ingress.translated(), backend.translated()])
for sandbox in ingress, backend:
    sandbox.observe("first")

# A rolling update: one replica after the other gets the weight 0, ends, and is replaced.
first, weights = ingress.dests(), set()
load = Load()
wait_for("answers", lambda: len(load.answers) > 6)
docker("service update --detach --env-rm VERSION --env-add VERSION=new web")


def updated():
    dests = ingress.dests()
    weights.add(tuple(sorted(dests.values())))
    return not set(first) & set(dests) and ingress.is_complete() and backend.is_complete()


wait_for("the update", updated, 2 * PATIENCE, ingress.dests)
answers = load.end()
say(tally(answers))
expect("weights during the update", {(1, 1, 1), (0, 1, 1), (1, 1)}, weights)
lost = [answer for answer in answers if not answer.startswith("web")]
observe("lost during the update", tally(lost))
expect("lost during the update", [], lost)
balanced("from outside, updated", "new", requests_from_outside())
balanced("from a container, updated", "new", requests_from_container())
for sandbox in ingress, backend:
    sandbox.observe("updated")
docker("service rm web")
