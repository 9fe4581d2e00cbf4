"""Functions for the cases in Python, as lib.sh is for those in bash."""

import os
import re
import subprocess
import sys
import time

import topology
from topology import configure, enter, inside, say

SLOW = int(os.environ["SLOW"])
DEBUG = os.environ["KERNEL"] == "debug"


def observe(label, text):
    with open(os.environ["OBSERVED"], "a") as f:
        print(f"## {label}" + ("\n" + text if text else ""), file=f)
    say(f"{label}\n  | " + text.replace("\n", "\n  | "))


def fail(text):
    say(f"FAILED: {text}")
    sys.exit(1)


def skip(why):
    """Ends the case: there is nothing to test on this kernel."""
    say(f"SKIPPED: {why}")
    with open(os.environ["SKIPPED"], "w") as f:
        print(why, file=f)
    sys.exit()


def expect(what, wanted, got):
    if wanted != got:
        fail(f"{what}\n  expected: {wanted}\n  got:      {got}")


def wait_for(what, is_so, patience=30 * SLOW, instead=None):
    """Waits until `is_so` returns true. After `patience` seconds the case fails, with what `instead` returns."""
    deadline = time.monotonic() + patience
    while not is_so():
        if time.monotonic() > deadline:
            fail(f"waited too long for {what}" + (f" instead of {instead()}" if instead else ""))
        time.sleep(0.05)


def settled(look, seconds, by=lambda seen: seen):
    """Returns the result of `look` once `by` of it has not changed for `seconds`."""
    seen, since = look(), time.monotonic()
    while time.monotonic() < since + seconds:
        time.sleep(0.1)
        now = look()
        if by(now) != by(seen):
            seen, since = now, time.monotonic()
    return seen


def run(command):
    say(f"$ {command}")
    subprocess.run(command, shell=True, check=True)


def output(machine, command):
    """Returns what a command prints on a machine."""
    say(f"[{machine}] {command}")
    with inside(machine):
        return subprocess.run(command, shell=True, check=True, stdout=subprocess.PIPE, text=True).stdout.rstrip()


def entries(machine, options=""):
    """Returns a machine's conntrack entries, without times and reference counts, sorted."""
    lines = output(machine, f"conntrack -L {options} 2>/dev/null").split("\n")
    return "\n".join(sorted(re.sub(r"^(\w+ +\d+) \d+| use=\d+| secctx=\S+", r"\1", line) for line in lines))


def netns(*names):
    """Deletes all named network namespaces and creates new ones, with lo up."""
    topology.netns(*names)
    for name in names:
        configure(name, ["ip link set lo up"])
