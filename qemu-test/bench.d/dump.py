"""dump.py services|dests: counts the instructions of the system calls for a netlink dump of
all services, or of the dests of one. Under -icount an instruction takes a nanosecond."""

import sys
import time

sys.path.insert(0, "/test")
from genl import NESTED, NLM_F_DUMP, NLMSG_DONE, Family, attr, command, ident, svc

ipvs = Family()
sock, calls = ipvs.sock, 0
# Without a timeout, a Python call makes a single system call.
sock.settimeout(None)


def timed(call, *args):
    global calls
    start = time.perf_counter_ns()
    answer = call(*args)
    calls += time.perf_counter_ns() - start
    return answer


def kinds(data):
    while len(data) >= 16:
        yield int.from_bytes(data[4:6], "little")
        data = data[(int.from_bytes(data[:4], "little") + 3) & ~3:]


if sys.argv[1] == "services":
    timed(ipvs.send, command("GET_SERVICE"), b"", NLM_F_DUMP)
else:
    key = b"".join(svc(**ident("10.64.0.1")))
    timed(ipvs.send, command("GET_DEST"), attr(1 | NESTED, key), NLM_F_DUMP)
entries = 0
while True:
    found = list(kinds(timed(sock.recv, 1 << 15)))
    entries += sum(kind == ipvs.id for kind in found)
    if NLMSG_DONE in found:
        break
print(entries, calls)
