"""Control connections of FTP, with both ends in this process: for the cases ftp-lines and entry-extensions."""

import socket

import agent
from case import SLOW, configure
from topology import NAT, build, inside

# What `lay_out` sets: whether the family is IPv6, and the addresses.
v6, here = False, {}
PATIENCE = 5 * SLOW


def lay_out(family):
    global v6, here
    v6 = family == 6
    agent.reset()
    here = {name: pair[v6] for name, pair in NAT.addresses.items()}
    build(NAT.machines)
    vip, rip = (f"[{here[name]}]:21" if v6 else f"{here[name]}:21" for name in ("VIP", "RIP1"))
    configure("director", [f"ipvsadm -A -t {vip} -s rr", f"ipvsadm -a -t {vip} -r {rip} -m"])


class Session:
    """A control connection, with the ends of client and server."""

    port = 30000

    def __init__(self):
        Session.port += 1
        af = socket.AF_INET6 if v6 else socket.AF_INET
        with inside("rs1"), socket.socket(af) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((here["RIP1"], 21))
            listener.listen(1)
            with inside("client"):
                self.client = socket.socket(af)
                self.client.settimeout(PATIENCE)
                self.client.bind((here["CIP"], Session.port))
                self.client.connect((here["VIP"], 21))
            self.server = listener.accept()[0]
        self.server.settimeout(PATIENCE)
        for end in (self.client, self.server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def say(self, parts, source, sink):
        """Sends each part as a segment; returns what arrives."""
        seen = b""
        for part in parts:
            source.sendall(part)
            part = b""
            # A line feed ends each part, or nothing does; the lengths may differ.
            while True:
                try:
                    part += sink.recv(65536)
                except TimeoutError:
                    return seen + part + b" (nothing more)"
                if arrived(sink):
                    break
            seen += part
        return seen

    def command(self, *parts):
        return self.say(parts, self.client, self.server)

    def reply(self, *parts):
        return self.say(parts, self.server, self.client)

    def close(self):
        for end in (self.client, self.server):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            end.close()


def arrived(sink):
    """Whether no more of a segment is on its way: each is received at once."""
    sink.setblocking(False)
    try:
        return not sink.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return True
    finally:
        sink.settimeout(PATIENCE)


def shown(data):
    text = data.decode("latin-1").encode("unicode_escape").decode()
    return text if len(text) < 400 else f"{text[:60]}… {len(data)} bytes"
