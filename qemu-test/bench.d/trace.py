# SPDX-License-Identifier: GPL-2.0
"""trace.py DIR [MODULE.ko]: analyses the trace that trace.rs wrote to DIR/trace, by
packet and function. Writes DIR/trace.json, and the call trees of the hooks to
DIR/*.calls. With debugging information in the module, inlined functions are shown too.

IPVS's own share is the code that runs below a netfilter hook of the module,
without the code after the packet is given back to the stack (LOCAL_OUT and
later). Dropping packets at input and at output measures the same.
"""

import bisect
import collections
import json
import pathlib
import re
import struct
import subprocess
import sys

CHECKOUT = str(pathlib.Path(__file__).resolve().parents[2]) + "/"
LINE = 64
PAGE = 4096

PREFIXES = {0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65, 0x66, 0x67, 0xF0, 0xF2, 0xF3}
# Functions by which the module gives the packet back to the stack.
HAND_BACK = {"nf_hook_slow", "ip_output", "ip6_output", "ip_local_out", "ip6_local_out", "dst_output"}
LOCKS = ("_raw_spin_lock", "_raw_spin_trylock", "_raw_read_lock", "_raw_write_lock", "mutex_lock", "mutex_trylock")
# Writes of PACKETS functions are to packet memory; writes of PRIVATE functions are
# private to a CPU or a task.
PACKETS = ("pskb_expand_head", "skb_", "__skb_")
PRIVATE = ("__rcu_read", "kmem_cache_", "kmalloc_", "__kmalloc", "kfree")
OUTSIDE, OWN, BACK = range(3)


class Symbols:
    def __init__(self, path):
        found = []
        with open(path) as lines:
            for line in lines:
                address, kind, name, *module = line.split()
                if kind in "tTwW":
                    found.append((int(address, 16), name, bool(module) and module[0] == "[ip_vs]"))
        found.sort(key=lambda f: f[0])
        self.starts = [f[0] for f in found]
        self.names = [f[1] for f in found]
        self.ours = [f[2] for f in found]
        self.readable = [short(name) for name in demangle(self.names)]

    def at(self, address):
        """Returns the index of the function at `address`."""
        return bisect.bisect_right(self.starts, address) - 1


def demangle(names):
    text = subprocess.run(["c++filt", "-i"], input="\n".join(names), capture_output=True, text=True, check=True)
    return text.stdout.splitlines()


def short(name):
    """Returns a Rust path without crate name, generic arguments and traits."""
    name = name.split(".llvm.")[0].replace("ip_vs::", "")
    if name.startswith("<"):  # <Type as Trait>::function
        depth = 0
        for end, letter in enumerate(name):
            depth += (letter == "<") - (letter == ">")
            if depth == 0:
                break
        name = name[1:end].split(" as ")[0] + name[end + 1:]
    while (shorter := re.sub(r"(::)?<[^<>]*>", "", name)) != name:
        name = shorter
    return name.removeprefix("&mut ").removeprefix("&")


class Inlined:
    """Sets the inline chain of the module's instructions: functions of the
    checkout, from the outermost to the innermost."""

    def __init__(self, module):
        self.module = module
        self.starts = {}
        table = subprocess.run(["objdump", "-t", module], capture_output=True, text=True, check=True).stdout
        for line in table.splitlines():
            fields = line.split()
            if ".text" in fields and " F " in line:
                self.starts[fields[-1]] = int(fields[0], 16)

    def resolve(self, insns, symbols):
        at = {}
        for insn in insns:
            i = symbols.at(insn.address)
            start = self.starts.get(symbols.names[i])
            if start is not None:
                at[start + insn.address - symbols.starts[i]] = insn
        text = subprocess.run(["addr2line", "-a", "-i", "-f", "-C", "-j", ".text", "-e", self.module],
                              input="\n".join(map(hex, at)), capture_output=True, text=True, check=True).stdout
        frames, insn = [], None
        for line in text.splitlines():
            if line.startswith("0x"):
                insn, frames, name = at[int(line, 16)], [], None
            elif name is None:
                name = line
            else:
                if line.startswith(CHECKOUT):
                    frames.append(short(name))
                    insn.chain = tuple(reversed(frames))
                name = None


class Insn:
    """The relevant properties of an instruction, decoded from its bytes."""

    def __init__(self, address, code, symbols):
        self.address = address
        at = symbols.at(address)
        self.name, self.ours = symbols.readable[at], symbols.ours[at]
        self.chain = (self.name,)
        self.entry = address == symbols.starts[at]
        i, prefixes = 0, set()
        while i < len(code) and code[i] in PREFIXES:
            prefixes.add(code[i])
            i += 1
        if i < len(code) and code[i] & 0xF0 == 0x40:
            i += 1
        opcode, modrm = code[i], code[i + 1] if i + 1 < len(code) else 0
        self.call = opcode == 0xE8 or opcode == 0xFF and modrm >> 3 & 7 == 2
        self.ret = opcode in (0xC2, 0xC3)
        self.percpu = 0x65 in prefixes
        # xchg with memory is locked without a prefix.
        self.atomic = 0xF0 in prefixes or opcode in (0x86, 0x87) and modrm < 0xC0
        self.bit_lock = 0xF0 in prefixes and opcode == 0x0F and (
            modrm == 0xAB or modrm == 0xBA and code[i + 2] >> 3 & 7 == 5)


def windows(path, symbol_paths, inlined):
    """Yields a list of (Insn, reads, writes) for every window."""

    def ready():
        if inlined:
            inlined.resolve([i for i in insns.values() if i.ours], symbols)
        return steps

    with open(path, "rb") as file:
        data = file.read()
    steps, insns, code, window = [], {}, {}, -1
    number = struct.Struct("<Q").unpack_from
    i, end = 0, len(data)
    symbols = None
    while i + 9 <= end:
        letter, value = data[i], number(data, i + 1)[0]
        i += 9
        if letter == 0x69:  # i
            insn = insns.get(value)
            if insn is None:
                insn = insns[value] = Insn(value, code[value], symbols)
            reads, writes = [], []
            steps.append((insn, reads, writes))
        elif letter == 0x72:  # r
            reads.append(value)
            i += 1
        elif letter == 0x77:  # w
            writes.append(value)
            i += 1
        elif letter == 0x63:  # c
            length = data[i]
            code[value] = data[i + 1:i + 1 + length]
            insns.pop(value, None)
            i += 1 + length
        else:  # m
            if window >= 0:
                yield ready()
            window += 1
            steps, insns = [], {}
            symbols = Symbols(symbol_paths[window])
    if window >= 0:
        yield ready()


def phases(steps):
    """Yields (phase, Insn, reads, writes, callers), following calls and returns."""
    stack = [[0, None, OUTSIDE, None]]  # address of the return address, function, phase, last instruction
    for insn, reads, writes in steps:
        top = stack[-1]
        if top[1] != insn.name:
            top[1] = insn.name
            if top[2] == OUTSIDE and insn.ours and len(stack) > 1 and stack[-2][1] == "nf_hook_slow":
                top[2] = OWN
            elif top[2] == OWN and insn.name in HAND_BACK:
                top[2] = BACK
        top[3] = insn
        yield top[2], insn, reads, writes, stack
        if insn.call and writes:
            stack.append([writes[-1], None, top[2], None])
        elif insn.ret and reads:
            for depth in range(len(stack) - 1, 0, -1):
                if stack[depth][0] == reads[-1]:
                    del stack[depth:]
                    break


def packets_of(steps):
    """Returns the steps of each packet: from one entry of veth_xmit to the next."""
    packets, current = [], None
    for phase, insn, reads, writes, stack in phases(steps):
        if insn.entry and insn.name == "veth_xmit":
            current = []
            packets.append(current)
        if current is not None:
            calls = tuple(name for f in stack if f[2] == OWN for name in f[3].chain) if phase == OWN else ()
            current.append((phase, insn, writes, calls))
    # Without the first packets, which warm up, the last one, which includes the end
    # of the generator, and those with an interrupt.
    return [p for p in packets[5:-1] if not any(s[1].name.startswith(("asm_sysvec", "asm_common_int")) for s in p)]


def lines_written(packets, percpu_chunks):
    """Returns the number of cache lines that IPVS writes per packet, without stack,
    packet and per-CPU memory: those shared by all packets, and those of the conn."""
    stack = {w // PAGE for p in packets for _, insn, writes, _ in p if insn.call for w in writes}
    static = {w // PAGE for p in packets for _, insn, writes, _ in p if insn.percpu for w in writes}
    static = [p for p in static if not any(first <= p * PAGE < last for first, last in percpu_chunks)]
    percpu_chunks = percpu_chunks + [(min(static) * PAGE, (max(static) + 1) * PAGE)]

    lines = collections.defaultdict(lambda: [0, set()])
    for packet in packets:
        theirs = {w // PAGE for phase, _, writes, _ in packet if phase != OWN for w in writes}
        for _, _, writes, calls in packet:
            if writes and any(c.startswith(PACKETS) for c in calls):
                theirs.update(w // PAGE for w in writes)
        written = collections.defaultdict(set)
        for phase, insn, writes, calls in packet:
            for w in writes if phase == OWN else ():
                if w // PAGE not in stack and w // PAGE not in theirs and \
                        not any(first <= w < last for first, last in percpu_chunks) and \
                        not any(c.startswith(PRIVATE) for c in calls):
                    written[w // LINE].add(insn.chain[-1])
        for line, names in written.items():
            lines[line][0] += 1
            lines[line][1] |= names
    shared = [(count, names) for count, names in lines.values() if count > len(packets) / 2]
    return {
        "shared": sum(count for count, _ in shared) / len(packets),
        "own": sum(count for count, _ in lines.values() if count <= len(packets) / 2) / len(packets),
        "shared_by": [sorted(names) for _, names in shared],
    }


def analyse(packets, percpu_chunks):
    """Returns means over the packets."""
    n = len(packets)
    own = [(insn, calls) for p in packets for phase, insn, _, calls in p if phase == OWN]

    def means(names):
        return {name: round(count / n, 2) for name, count in collections.Counter(names).most_common()}

    tree = collections.Counter()
    for _, calls in own:
        for depth in range(1, len(calls) + 1):
            tree[calls[:depth]] += 1
    return {
        "packets": n,
        "total": round(sum(map(len, packets)) / n, 1),
        "own": round(len(own) / n, 1),
        "functions": means(insn.chain[-1] for insn, _ in own),
        "atomics": means(insn.chain[-1] for insn, _ in own if insn.atomic),
        "locks": means(insn.chain[-1] for insn, _ in own
                       if insn.atomic and (insn.bit_lock or insn.name.startswith(LOCKS))),
        "lines": lines_written(packets, percpu_chunks),
    }, {path: count / n for path, count in tree.items()}


def draw(tree):
    """Formats the call tree, with the instructions below and in each function."""
    below = collections.Counter()
    for path, count in tree.items():
        below[path[:-1]] += count

    def walk(parent):
        for path in sorted((p for p in tree if p[:-1] == parent), key=lambda p: -tree[p]):
            if tree[path] >= 0.5:
                yield f"{tree[path]:8.0f} {tree[path] - below[path]:6.0f}  {'  ' * len(parent)}{path[-1]}"
                yield from walk(path)
    return "\n".join(["   below     by", "      it itself", *walk(())]) + "\n"


def main(directory, module=None):
    rows = [line.split() for line in (directory / "results").read_text().splitlines() if line.startswith("row ")]
    names = [row[1] for row in rows if row[2] != "failed"]
    files = directory / "files"
    result = {}
    inlined = module and Inlined(module)
    for name, steps in zip(names, windows(directory / "trace", [files / f"{n}.symbols" for n in names], inlined)):
        chunks = [[int(a, 16) for a in line.split()[0].split("-")]
                  for line in (files / f"{name}.vmalloc").read_text().splitlines() if "pcpu" in line]
        result[name], tree = analyse(packets_of(steps), chunks)
        (directory / f"{name}.calls").write_text(draw(tree))
    (directory / "trace.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), *sys.argv[2:])
