"""Makes one allocation of the module fail during a netlink request: the first,
the second …, until the request makes no further allocation. The request must
fail with ENOMEM and change nothing, or succeed without the memory. Prints the
number of failures and successes.

    failing.py [loose]

The C module may fail and still change state; `loose` reports this without
failing. Failslab's stack filter (failslab.sh) selects the module's allocations."""

import os
import sys

from case import fail, say
from genl import *

STRICT = "loose" not in sys.argv[1:]
ipvs = Family()


def failing(n, call):
    """Runs `call` with its n-th allocation failing; returns its result and whether there was an n-th."""
    fd = os.open("/proc/thread-self/fail-nth", os.O_RDWR)
    try:
        os.pwrite(fd, b"%d" % n, 0)
        outcome = call()
        left = int(os.pread(fd, 16, 0))
        os.pwrite(fd, b"0", 0)
    finally:
        os.close(fd)
    return outcome, left == 0


def request(name, body=b"", flags=NLM_F_ACK):
    return ipvs.outcome(command(name), body, flags)


def state():
    """Returns services, dests and timeouts as text, without counters."""
    listed = sorted("\n".join(map(without_counts, entries)) for entries in services(ipvs))
    (_, config), = ipvs.call(command("GET_CONFIG"))
    return "\n".join(listed + [text(config)])


def without_counts(entry):
    (kind, body), = attributes(entry)
    names = SVC if kind & ~NESTED == CMD.index("SERVICE") else DEST
    kept = [attr(k, v) for k, v in attributes(body) if "STATS" not in names[k & ~NESTED] and "CONNS" not in names[k & ~NESTED]]
    return text(b"".join(kept), names)


def walk(what, do, prepare=None, restore=None, must_fail=False):
    """Makes the request `do` fail at each of its allocations. Runs `prepare` before
    and `restore` after each attempt, whatever its result. All three get the number
    of the attempt."""
    refused = spared = n = 0
    base = state()
    reached = True
    while reached:
        n += 1
        if prepare:
            prepare(n)
        before = state()
        outcome, reached = failing(n, lambda: do(n))
        if outcome == "ENOMEM" and reached:
            refused += 1
            changed(f"{what}, refused at allocation {n}", before, state())
        elif outcome.startswith("ok"):
            spared += reached
        else:
            fail(f"{what}, allocation {n}: {outcome}")
        if restore:
            restore(n)
        changed(f"{what}, restored, allocation {n}", base, state())
        base = state()
    print(f"{what}: failed {refused} times, succeeded {spared} times", flush=True)
    if must_fail and not refused:
        fail(f"{what}: never failed, so nothing was tested")


def changed(what, before, after):
    if before == after:
        return
    text = f"{what}: before\n{before}\nafter\n{after}"
    if STRICT:
        fail(text)
    say(f"C's module, {text}")


def new_namespace(n):
    """Creates a namespace in a child process, where the allocation fails. It is destroyed with the child."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        outcome, reached = failing(n, unshare)
        os.write(write_end, f"{outcome} {int(not reached)}".encode())
        os._exit(0)
    os.close(write_end)
    outcome, left = os.read(read_end, 100).decode().split()
    os.close(read_end)
    os.waitpid(child, 0)
    with open("/proc/thread-self/fail-nth", "w") as f:
        f.write(left)
    return outcome


def unshare():
    try:
        os.unshare(os.CLONE_NEWNET)
        return "ok"
    except OSError as e:
        return errno.errorcode[e.errno]


# The services that requests refer to.
SOME, SIX = ident(port=1002), ident("2001:db8:1::110", 1003, 17)


def add(key, address, weight=1):
    return request("NEW_DEST", service(**key) + real(**server(address, WEIGHT=u32(weight))))


def delete(key, address):
    return request("DEL_DEST", service(**key) + real(**server(address)))


def edit(key, **fields):
    return request("SET_SERVICE", service(**{**whole(), **key, **fields}))


def scheduler(name):
    return edit(SOME, SCHED_NAME=string(name))


ipvs.call(command("NEW_SERVICE"), service(**whole(port=1002, SCHED_NAME=string("wrr"))))
for i in range(1, 5):
    add(SOME, f"10.1.2.{i}", i)

for name in "GET_INFO", "GET_CONFIG":
    walk(name, lambda _: request(name), must_fail=True)
walk("GET_SERVICE", lambda _: request("GET_SERVICE", service(**SOME)), must_fail=True)
walk("GET_SERVICE, all", lambda _: request("GET_SERVICE", flags=NLM_F_DUMP))
walk("GET_DEST", lambda _: request("GET_DEST", service(**SOME), NLM_F_DUMP))
walk("ZERO", lambda _: request("ZERO", service(**SOME)))
walk("SET_CONFIG", lambda _: request("SET_CONFIG", attr(4, u32(901))), restore=lambda _: request("SET_CONFIG", attr(4, u32(900))))

walk("NEW_SERVICE", lambda n: request("NEW_SERVICE", service(**whole(port=2000 + n))),
     restore=lambda n: request("DEL_SERVICE", service(**ident(port=2000 + n))), must_fail=True)
# Twice: only the very first enables defragmentation, which then stays enabled.
for _ in range(2):
    walk("NEW_SERVICE, the first for IPv6",
         lambda _: request("NEW_SERVICE", service(**whole("2001:db8:1::110", 1003, 17, SCHED_NAME=string("wlc")))),
         restore=lambda _: request("DEL_SERVICE", service(**SIX)), must_fail=True)
ipvs.call(command("NEW_SERVICE"), service(**whole("2001:db8:1::110", 1003, 17)))


def service_with(dests):
    """Returns a `prepare` that adds a service with `dests` dests for attempt n, and the `restore` that deletes it."""
    def prepare(n):
        request("NEW_SERVICE", service(**whole(port=3000 + n, SCHED_NAME=string("wrr"))))
        for i in range(dests):
            add(ident(port=3000 + n), f"10.1.{n}.{i + 1}")

    return dict(prepare=prepare, restore=lambda n: request("DEL_SERVICE", service(**ident(port=3000 + n))))


# Each in a service of its own, as the list of dests does not shrink.
walk("NEW_DEST, the first", lambda n: add(ident(port=3000 + n), "10.2.0.1"), **service_with(0), must_fail=True)
walk("NEW_DEST, the fifth", lambda n: add(ident(port=3000 + n), "10.2.0.5", 8), **service_with(4), must_fail=True)
walk("NEW_DEST, IPv6", lambda n: add(SIX, f"2001:db8:2::{n}"), restore=lambda n: delete(SIX, f"2001:db8:2::{n}"), must_fail=True)


def add_and_delete(n):
    add(SOME, f"10.1.5.{n}", 4)
    delete(SOME, f"10.1.5.{n}")


walk("NEW_DEST, a removed dest", lambda n: add(SOME, f"10.1.5.{n}", 3), add_and_delete, lambda n: delete(SOME, f"10.1.5.{n}"))
walk("SET_DEST", lambda _: request("SET_DEST", service(**SOME) + real(**server(
        "10.1.2.3", WEIGHT=u32(9), FWD_METHOD=u32(3), U_THRESH=u32(7), L_THRESH=u32(5)))),
     restore=lambda _: request("SET_DEST", service(**SOME) + real(**server("10.1.2.3", WEIGHT=u32(3)))))
walk("DEL_DEST", lambda n: delete(SOME, f"10.1.6.{n}"), lambda n: add(SOME, f"10.1.6.{n}", 5), lambda n: delete(SOME, f"10.1.6.{n}"))
for name in "rr", "wlc":
    walk(f"SET_SERVICE, {name} for wrr", lambda _: scheduler(name), restore=lambda _: scheduler("wrr"))
walk("DEL_SERVICE", lambda n: request("DEL_SERVICE", service(**ident(port=3000 + n))), **service_with(3))
walk("new namespace", new_namespace, must_fail=True)

for fields in (SOME, SIX):
    ipvs.call(command("DEL_SERVICE"), service(**fields))
