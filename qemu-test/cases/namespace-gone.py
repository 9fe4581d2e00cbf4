"""The effect on clients when the director is removed under their traffic: its namespace is deleted, its last
service is deleted, or the module is unloaded.

When the namespace is deleted, clients must not receive any answer, so that another director can take
their connections over. When services are deleted, the VIP is an ordinary local address and the local
stack answers, with C's module and with ours."""
# Covers: src/pernet src/netns rust-out-of-tree/net/pernet
# Needs: two CPUs

import contextlib
import os
import selectors
import socket
import subprocess
import threading

from case import expect, inside, netns, observe, run, say, wait_for
from topology import FORWARD, cable, configure, interface

OURS = os.environ["MODULE"] == "rust"
VIPS = {socket.AF_INET: "10.9.0.1", socket.AF_INET6: "fd09::1"}
RIPS = {socket.AF_INET: "10.1.0.11", socket.AF_INET6: "fd02::11"}
KINDS = {"t": socket.SOCK_STREAM, "u": socket.SOCK_DGRAM}
ROUNDS = 3


def networks():
    """Creates client - switch - director - server; the client's link stays when the director is deleted."""
    netns("client", "switch", "server", "director")
    configure("switch", ["ip link add br0 up type bridge", cable("client", "client:eth0"), "ip link set client master br0 up"])
    configure("client", [*interface("eth0", "10.0.0.2/24", "fd01::2/64 nodad"),
                         "ip route add default via 10.0.0.1", "ip route add default via fd01::1"])
    director()


def director():
    """Creates a new director in place of the old one."""
    configure("director", [
        FORWARD, cable("eth0", "switch:director"), cable("eth1", "server:eth0"), "ip link set eth0 address 02:00:00:00:00:01",
        *interface("lo", "10.9.0.1/32", "fd09::1/128"), *interface("eth0", "10.0.0.1/24", "fd01::1/64 nodad"),
        *interface("eth1", "10.1.0.1/24", "fd02::1/64 nodad")])
    configure("switch", ["ip link set director master br0 up"])
    configure("server", [*interface("eth0", "10.1.0.11/24", "fd02::11/64 nodad"),
                         "ip route add default via 10.1.0.1", "ip route add default via fd02::1"])
    # Permanent neighbours: the client sends packets as long as the link exists.
    configure("client", [f"ip neigh replace {director} lladdr 02:00:00:00:00:01 dev eth0" for director in ("10.0.0.1", "fd01::1")])


def serve():
    """Starts TCP and UDP echo servers on port 80 of the server, on any address."""
    ready = selectors.DefaultSelector()

    def echo(sock):
        if sock.type == socket.SOCK_DGRAM:
            text, peer = sock.recvfrom(100)
            return sock.sendto(text, peer)
        text = sock.recv(100)
        if text:
            return sock.send(text)
        ready.unregister(sock)
        return sock.close()

    def accept(sock):
        ready.register(sock.accept()[0], selectors.EVENT_READ, echo)

    with inside("server"):
        for family in VIPS:
            for kind in KINDS.values():
                sock = socket.socket(family, kind)
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind(("", 80))
                if kind == socket.SOCK_STREAM:
                    sock.listen()
                ready.register(sock, selectors.EVENT_READ, accept if kind == socket.SOCK_STREAM else echo)

    def loop():
        while True:
            for key, _ in ready.select():
                with contextlib.suppress(OSError):
                    key.data(key.fileobj)

    threading.Thread(target=loop, daemon=True).start()


def vs(*arguments, given=None):
    with inside("director"):
        subprocess.run(["ipvsadm", *arguments], input=given, text=True, check=True)


def services(more):
    lines = []
    for family, vip in VIPS.items():
        addr, dest = (vip, RIPS[family]) if family == socket.AF_INET else (f"[{vip}]", f"[{RIPS[family]}]")
        for letter in KINDS:
            lines += [f"-A -{letter} {addr}:80 -s rr", f"-a -{letter} {addr}:80 -r {dest}:80 -m"]
        other = "10.9.1.1" if family == socket.AF_INET else "[fd09::2]"
        lines += [f"-A -u {other}:{port} -s rr" for port in range(1, more + 1)]
    vs("-R", given="\n".join(lines) + "\n")


def talk():
    """Opens a connection for each protocol and family, and checks for an answer on each."""
    socks = {}
    for family, vip in VIPS.items():
        for letter, kind in KINDS.items():
            with inside("client"):
                sock = socket.socket(family, kind)
            sock.settimeout(10)
            sock.connect((vip, 80))
            sock.send(b"x")
            expect(f"an answer of {letter} {vip}", b"x", sock.recv(100))
            sock.setblocking(False)
            socks[f"{letter} {vip}"] = sock
    return socks


def seen(socks, is_over):
    """Sends packets on each connection until `is_over`; returns the errors received."""
    found = {}
    while not is_over():
        for name, sock in socks.items():
            if name in found:
                continue
            try:
                sock.send(b"x")
                sock.recv(100)
            except BlockingIOError:
                pass
            except OSError as error:
                found[name] = error.strerror
    for sock in socks.values():
        sock.close()
    return found


def is_there(name, link):
    with inside(name):
        return os.path.exists(f"/proc/thread-self/net/dev_snmp6/{link}")


def deleted_namespace(more):
    answers = {}
    for _ in range(ROUNDS):
        services(more)
        socks = talk()
        run("ip netns del director")
        for name, answer in seen(socks, lambda: not is_there("switch", "director")).items():
            answers.setdefault(name, []).append(answer)
        run("ip netns add director")
        director()
    say(f"namespace deleted {ROUNDS} times, {more} more services of each family: {answers or 'no answers'}")
    if OURS:
        expect("errors from a director whose namespace is deleted", {}, answers)


def deleted_services(label, delete):
    """Observes errors on the client's TCP connections after the last service was deleted."""
    services(0)
    socks = {name: sock for name, sock in talk().items() if name.startswith("t ")}
    delete()
    found = seen(dict(socks), lambda seen=[]: seen.append(0) or len(seen) > 2000)
    observe(label, "\n".join(f"{name}: {found.get(name)}" for name in socks))


networks()
serve()
deleted_namespace(0)
deleted_namespace(2000)


def delete_each():
    for letter in KINDS:
        for vip in VIPS[socket.AF_INET], f"[{VIPS[socket.AF_INET6]}]":
            vs("-D", f"-{letter}", f"{vip}:80")


deleted_services("last service of each family deleted", delete_each)
deleted_services("all services deleted at once", lambda: vs("-C"))


def remove_module():
    vs("-C")
    wait_for("the module to be unloaded", lambda: subprocess.run(["bash", "-c", ". ./lib.sh; unload"], check=False).returncode == 0)


deleted_services("module removed", remove_module)
run("modprobe ip_vs")
