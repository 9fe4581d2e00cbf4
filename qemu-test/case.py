"""What lib.sh is to the cases in bash, for those in Python."""

import os
import subprocess
import sys
import time

SLOW = int(os.environ["SLOW"])


def say(text):
    print(text, file=sys.stderr, flush=True)


def observe(label, text):
    with open(os.environ["OBSERVED"], "a") as f:
        print(f"## {label}" + ("\n" + text if text else ""), file=f)
    say(f"{label}\n  | " + text.replace("\n", "\n  | "))


def fail(text):
    say(f"FAILED: {text}")
    sys.exit(1)


def expect(what, wanted, got):
    if wanted != got:
        fail(f"{what}\n  expected: {wanted}\n  got:      {got}")


def wait_for(what, is_so, patience=30 * SLOW, instead=None):
    """Until it is so; `instead` looks at what there is if it never comes."""
    deadline = time.monotonic() + patience
    while not is_so():
        if time.monotonic() > deadline:
            fail(f"waited too long for {what}" + (f" instead of {instead()}" if instead else ""))
        time.sleep(0.05)


def settled(look, seconds, by=lambda seen: seen):
    """What there is to see, once nothing of it, or of what `by` makes of it, has changed for so long."""
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


def netns(*names):
    """New network namespaces; those of before go."""
    run("for ns in /run/netns/*; do [ ! -e $ns ] || ip netns del ${ns##*/}; done")
    for name in names:
        run(f"ip netns add {name} && ip -n {name} link set lo up")


def enter(name):
    with open(f"/run/netns/{name}") as f:
        os.setns(f.fileno(), os.CLONE_NEWNET)
