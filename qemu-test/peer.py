"""The calls from the first to the second of two guests on one wire.

A case in a pair of guests begins with `import peer`. In the first guest the case goes
on; in the second the import does not return: that guest carries out the requests of `call` until
the case ends in the first. The wire is the interface `wire` of both; `plug` gives the
machines of both guests interfaces on the same network. A `Remote` is an object in the
second guest.
"""

import atexit
import contextlib
import importlib
import json
import os
import select
import subprocess
import sys
import tempfile

from case import SLOW, configure, expect, fail, say, wait_for
from topology import build

PATIENCE = 120 * SLOW


class Line:
    """The serial line between the guests. A message is a line of JSON."""

    def __init__(self):
        self.fd, self.pending = os.open("/run/channel/peer", os.O_RDWR), b""
        wait_for("the other guest", lambda: self.is_ready(select.POLLOUT), 300)

    def is_ready(self, what, seconds=PATIENCE):
        """Waits until a message may be sent or received. False if it must not, as the other guest has ended."""
        poll = select.poll()
        poll.register(self.fd, what)
        return [ready & ~what for _, ready in poll.poll(seconds and seconds * 1000)] == [0]

    def send(self, message):
        data = json.dumps(message).encode() + b"\n"
        while data and self.is_ready(select.POLLOUT):
            data = data[os.write(self.fd, data):]

    def receive(self, seconds=PATIENCE):
        """Returns the next message; None if there is none."""
        while b"\n" not in self.pending and self.is_ready(select.POLLIN, seconds):
            self.pending += os.read(self.fd, 1 << 16)
        message, newline, self.pending = self.pending.partition(b"\n")
        return json.loads(message) if newline else None


def call(name, *arguments):
    """Calls a function in the second guest, "MODULE.FUNCTION", and returns its result. Its output is printed here."""
    line.send([name, arguments])
    answer = line.receive() or {"error": "no answer", "output": ""}
    if answer["output"]:
        say(answer["output"].rstrip())
    if "error" in answer:
        fail(f"in the second guest, {name}{arguments}: {answer['error']}")
    return answer["result"]


def serve():
    """Answers the calls until the case ends."""
    line.send("ready")
    while (message := line.receive(seconds=None)) != "end":
        if message is None:
            fail("the first guest is gone")
        name, arguments = message
        module, _, function = name.rpartition(".")
        with recorded() as output:
            try:
                answer = {"result": getattr(importlib.import_module(module), function)(*arguments)}
            except (Exception, SystemExit) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            output.seek(0)
            answer["output"] = output.read()
        line.send(answer)


@contextlib.contextmanager
def recorded():
    """The output of the block, also of other programs, goes to a file."""
    saved = [os.dup(fd) for fd in (1, 2)]
    with tempfile.TemporaryFile("w+") as file:
        for fd in 1, 2:
            os.dup2(file.fileno(), fd)
        try:
            yield file
        finally:
            for fd, old in zip((1, 2), saved):
                os.dup2(old, fd)
                os.close(old)


# --- objects in the second guest

objects = []


class Remote:
    """An object of a class "MODULE.CLASS" in the second guest. A call of a method is a call there."""

    def __init__(self, name, *arguments):
        self.number = call("peer.create", name, arguments)

    def __getattr__(self, method):
        return lambda *arguments: call("peer.apply", self.number, method, arguments)


def create(name, arguments):
    module, _, kind = name.rpartition(".")
    objects.append(getattr(importlib.import_module(module), kind)(*arguments))
    return len(objects) - 1


def apply(number, method, arguments):
    return getattr(objects[number], method)(*arguments)


# --- networks


def plug(machine, name, network):
    """Gives a machine an interface on a network of the wire, 1 to 4094."""
    command = f"ip link add link wire name {name} netns {machine} type vlan id {network}"
    say(command)
    subprocess.run(["nsenter", "--net=/proc/1/ns/net", *command.split()], check=True)


def join_switches(*machines):
    """Joins switches of this guest with networks of the wire: the first one with network 1, and so on."""
    for network, machine in enumerate(machines, 1):
        plug(machine, "second", network)
        configure(machine, ["ip link set second master br0 up"])


def build_one(machine, commands):
    """Creates the machine of the second guest, with eth0 on network 1, eth1 on 2 and eth2 on 3."""
    build({machine: []})
    for network in (1, 2, 3):
        plug(machine, f"eth{network - 1}", network)
    configure(machine, commands)


def join():
    """Brings up the wire, and waits for the other guest."""
    for command in "modprobe -a virtio_net 8021q", "ip link set eth0 name wire", "ip link set wire up":
        subprocess.run(command.split(), check=True)


join()
line = Line()
if os.environ["GUEST"] == "2":
    serve()
    sys.exit()
expect("the second guest", "ready", line.receive(300))
atexit.register(line.send, "end")
