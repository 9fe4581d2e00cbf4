# SPDX-License-Identifier: GPL-2.0
"""report.py DIR: writes the benchmark's figures in DIR as a table (stdout and
table.txt), results.json, packets.svg and schedulers.svg. Exits with 1 if a
target is missed."""

import json
import math
import pathlib
import sys

MODULES = ("c", "rust")
# C's figures from which the targets were set, with WAY=pktgen.
RECIPE_OWN = {"dr": 2849, "nat": 3131}
BYTES = 256
# Instructions that a new connection may cost more with this many dests than with one.
FLAT = {1000: 250, 10000: 400}
# Steps in which C restarts from the beginning for each message or chunk; and the sizes with which a
# size is compared.
RESCANNED = ("list", "save", "dump_services", "dump_dests", "proc")
SMALLER = {"1000x10": ["100x10"], "10000x10": ["1000x10"], "1x10000": ["1x1000"]}
KINDS = {"udp4": "UDP without checksum", "udp4sum": "UDP", "tcp4": "TCP"}
# Established packets whose own share is at most 0.6 of C's.
TUNNELS = {"gue": "GUE", "guecsum": "GUE with checksum", "gre": "GRE", "grecsum": "GRE with checksum"}
SIX_TENTHS = {
    ("udp4ct", "dr"): "UDP, DR, conntrack=1", ("udp4ct", "nat"): "UDP, NAT, conntrack=1",
    ("sctp4", "dr"): "SCTP, DR", ("sctp4", "nat"): "SCTP, NAT with a changed port: both compute a CRC32c",
    **{(f"udp{family}", method): f"UDP over IPv{family}, {name}" for family in (4, 6) for method, name in TUNNELS.items()}}
# The maximum time for which drop_entry may hold a CPU, in instructions.
PASS = 1e6
WAYS = {
    "nic": "packets as a network card delivers them (pktgen with !SHARED)",
    "pktgen": "packets that pktgen keeps a reference on: the stack clones each, the first writer copies it",
}


def rows(path):
    """Returns the `row NAME VALUE` lines of a guest; None for failed ones."""
    found = {}
    if path.exists():
        for line in path.read_text().splitlines():
            if line.startswith("row "):
                _, name, value = line.split()
                found[name] = None if value == "failed" else float(value)
    return found


def load(directory):
    data = {}
    for module in MODULES:
        here = directory / module
        trace = here / "trace" / "trace.json"
        data[module] = {
            "packets": {way: rows(here / f"packets-{way}" / "results") for way in WAYS},
            "schedulers": rows(here / "schedulers" / "results"),
            "control": rows(here / "control" / "results"),
            "memory": rows(here / "memory" / "results"),
            "defences": rows(here / "defences" / "results"),
            "trace": json.loads(trace.read_text()) if trace.exists() else {},
        }
    return data


def number(value, form="{:,.0f}"):
    return "-" if value is None else form.format(value)


def ratio(c, rust):
    return f"{rust / c:.2f}" if c and rust is not None else "-"


def table(title, header, lines):
    """Formats a table with minimal column widths; the first column is left-aligned."""
    out = ["", title, ""]
    cells = [header, *lines]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells:
        out.append("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))).rstrip())
    return out


def over(figures, name):
    """Returns a case's figure above the floor of its protocol and family."""
    value, floor = figures.get(name), figures.get(name.split("-")[0].removesuffix("ct").removesuffix("sync") + "-floor")
    return None if value is None or floor is None else value - floor


def own(figures, method, kind="udp4"):
    """Returns IPVS's own share: dropped at output minus dropped at input."""
    last, first = (figures.get(f"{kind}-{method}-drop-{hook}") for hook in ("output", "input"))
    return None if last is None or first is None else last - first


def packets(data, way):
    c, rust = (data[m]["packets"][way] for m in MODULES)
    names = [n for n in dict.fromkeys([*c, *rust])]
    if not names:
        return []
    out = table(f"Instructions a packet: {WAYS[way]}", ["case", "C", "Rust", "ratio", "over floor: C", "Rust", "ratio"], [
        [n, number(c.get(n)), number(rust.get(n)), ratio(c.get(n), rust.get(n)),
         number(over(c, n)), number(over(rust, n)), ratio(over(c, n), over(rust, n))]
        for n in names if "-drop-" not in n])
    hooks = ("prerouting", "input", "output", "postrouting")
    lines = []
    for kind in ("udp4", "udp4sum", "udp4ct", "udp4sync", "tcp4", "tcp4sync", "sctp4", "udp6", "udp6sum", "tcp6"):
        plain = kind.removesuffix("sum").removesuffix("ct").removesuffix("sync")
        for method in ("dr", "nat", *TUNNELS):
            for module, figures in zip(MODULES, (c, rust)):
                values = [figures.get(f"{kind}-{method}-drop-{h}") for h in hooks]
                if any(v is not None for v in values):
                    lines.append([f"{kind} {method} {module}", number(figures.get(f"{plain}-floor")), *map(number, values),
                                  number(figures.get(f"{plain}-{method}-established")), number(own(figures, method, kind))])
    if lines:
        out += table("An established packet dropped at", ["", "ingress", *hooks, "not at all", "own share"], lines)
    return out


def scheduled(figures, kind="scheduled"):
    """{scheduler: {dests: instructions}}"""
    found = {}
    for name, value in figures.items():
        if name.startswith(f"{kind}-"):
            _, scheduler, dests = name.split("-")
            found.setdefault(scheduler, {})[int(dests)] = value
    return found


def with_gaps(figures):
    return scheduled(figures, "gaps")


def refused(figures):
    return scheduled(figures, "refused")


def changed(figures):
    """{scheduler: [add, edit, remove]}"""
    found = {}
    for name, value in figures.items():
        if name.startswith("changed-"):
            found.setdefault(name.split("-")[1], []).append(value)
    return found


def schedulers(data):
    c, rust = (data[m]["schedulers"] for m in MODULES)
    if not c and not rust:
        return []
    out = []
    for title, of in (("Instructions of a new connection, by scheduler and number of dests", scheduled),
                      ("The same after the removal of every 40th dest", with_gaps),
                      ("Instructions of a connection that is refused, as all dests have weight 0", refused),
                      ("Instructions to add a dest, edit its weight and remove it; mean of 4,000", changed)):
        c, rust = (of(data[m]["schedulers"]) for m in MODULES)
        if of is not changed:
            columns = sorted({dests for counts in (*c.values(), *rust.values()) for dests in counts})
            cells = [[number(counts.get(name, {}).get(dests)) for counts in (c, rust) for dests in columns]
                     for name in dict.fromkeys([*c, *rust])]
        else:
            columns = ("add", "edit", "remove")
            cells = [[number(value) for changes in (c, rust) for value in changes.get(name, [None] * 3)]
                     for name in dict.fromkeys([*c, *rust])]
        if not cells:
            continue
        names = [f"{column:,}" if of is not changed else column for column in columns]
        header = ["", "C: " + names[0], *names[1:], "Rust: " + names[0], *names[1:]]
        out += table(title, header, [[name, *row] for name, row in zip(dict.fromkeys([*c, *rust]), cells)])
    return out


def sized(name):
    """Returns the number of services and of dests in a step of `control`."""
    return tuple(map(int, name.split("-")[1].split("x")))


def control_steps(data):
    """Yields (name, C's and our instructions, C's and our instructions in the kernel)."""
    c, rust = (data[m]["control"] for m in MODULES)
    for name in dict.fromkeys([*c, *rust]):
        if name.endswith("-kernel"):
            step = name.removesuffix("-kernel")
            yield step, (c.get(step), rust.get(step)), (c.get(name), rust.get(name))


def control(data):
    c, rust = (data[m]["control"] for m in MODULES)
    if not c and not rust:
        return []
    millions = [[f"{value / 1e6:,.1f}" if value is not None else "-" for value in pair] + [ratio(*pair)]
                for _, *pairs in control_steps(data) for pair in pairs]
    out = table("Millions of instructions of a command, by number of services and dests of each; and the part in the kernel",
                ["", "C", "Rust", "ratio", "kernel: C", "Rust", "ratio"],
                [["{} services x {} dests: ".format(*sized(name)) + name.split("-")[2], *whole, *kernel]
                 for (name, *_), whole, kernel in zip(control_steps(data), millions[::2], millions[1::2])])
    return out + table("Other control figures", ["", "C", "Rust", "ratio"], [
        [text, number(c.get(name)), number(rust.get(name)), ratio(c.get(name), rust.get(name))] for text, name in (
            ("bytes a service, for 16 CPUs", "control-memory-service"),
            ("bytes a dest, for 16 CPUs", "control-memory-dest"),
            ("rates of 100,000 dests, instructions a second", "control-10000x10-rates"),
            ("rates of 100,000 dests, most in a tenth of a second", "control-10000x10-rates-most"),
            ("a new connection, one service", "control-beside-0-new"),
            ("a new connection, with 10,000 other services", "control-beside-10000-new"),
            ("an established packet, one service", "control-beside-0-established"),
            ("an established packet, with 10,000 other services", "control-beside-10000-established"))])


def memory(data):
    c, rust = (data[m]["memory"] for m in MODULES)
    if not c and not rust:
        return []
    lines = [[n.removeprefix("memory-"), number(c.get(n), "{:,.1f}"), number(rust.get(n), "{:,.1f}"), ratio(c.get(n), rust.get(n))]
             for n in dict.fromkeys([*c, *rust]) if n.startswith("memory-") and "objects" not in n]
    out = table("Bytes a connection at 1,000,000", ["", "C", "Rust", "ratio"], lines)
    lines = []
    for method in ("dr", "nat"):
        for size in ("1k", "1m"):
            name = f"lookup-{method}-{size}"
            shares = [f[f"{name}-output"] - f[f"{name}-input"] if f.get(f"{name}-output") else None for f in (c, rust)]
            lines.append([f"{method}, {size}", *map(number, shares), ratio(*shares),
                          number(c.get(f"{name}-all")), number(rust.get(f"{name}-all"))])
    out += table("Established packets among so many connections: own share, whole path",
                 ["", "C", "Rust", "ratio", "path: C", "Rust"], lines)
    return out


def defences(data):
    c, rust = (data[m]["defences"] for m in MODULES)
    if not c and not rust:
        return []
    return table("drop_entry with 1,000,000 conns: conns dropped in four runs, instructions of a run, and for which another task waits",
                 ["", "C", "Rust"], [[text, number(c.get(name)), number(rust.get(name))] for text, name in (
                     ("a task of the highest priority, no work", "defence-idle-delay"),
                     ("UDP, none to drop: dropped", "defence-udp-dropped"),
                     ("UDP, none to drop: longest run", "defence-udp-run"),
                     ("UDP, none to drop: longest wait", "defence-udp-delay"),
                     ("TCP, half-open: dropped", "defence-tcp-dropped"),
                     ("TCP, half-open: longest run", "defence-tcp-run"),
                     ("TCP, half-open: longest wait", "defence-tcp-delay"))])


def where(data):
    c, rust = (data[m]["trace"] for m in MODULES)
    if not c and not rust:
        return []
    lines = []
    for name in dict.fromkeys([*c, *rust]):
        values = []
        for trace in (c.get(name), rust.get(name)):
            if trace is None:
                values += [None] * 5
            else:
                values += [trace["own"], sum(trace["atomics"].values()), sum(trace["locks"].values()),
                           trace["lines"]["shared"], trace["lines"]["own"]]
        lines.append([name, *(number(v, "{:,.0f}" if i % 5 == 0 else "{:.1f}") for i, v in enumerate(values))])
    columns = ["instructions", "atomics", "locks", "lines: shared", "conn's"]
    out = table("IPVS's own share of a packet, traced: atomic read-modify-writes, locks taken, and lines written that are "
                "neither\nthe packet's, the stack's nor per-CPU: those of every packet, and those of the connection "
                "(C's five columns, ours)", ["", *columns, *columns], lines)
    for name in ("udp4-dr-established", "udp4-nat-established"):
        for module, trace in zip(MODULES, (c.get(name), rust.get(name))):
            if trace:
                few = sum(n for n in trace["functions"].values() if n < 5)
                out += table(f"Where the {trace['own']:,.0f} instructions of {name} go, {module} "
                             f"(as calls: {module}/trace/{name}.calls)", ["function", "instructions", "atomics"],
                             [[f, number(n), number(trace["atomics"].get(f), "{:.1f}")]
                              for f, n in trace["functions"].items() if n >= 5] + [["all others", number(few), "-"]])
    return out


def targets(data):
    """Yields (text, measured, met); measured is None without a measurement."""
    for way in WAYS:
        c, rust = (data[m]["packets"][way] for m in MODULES)
        both = [n for n in rust if "-drop-" not in n and n.split("-")[1] not in ("floor", "limit", "forward")
                and rust[n] and c.get(n)]
        above = [f"{n} ({rust[n]:,.0f}, C {c[n]:,.0f})" for n in both if rust[n] > c[n]]
        failed = [f"{n} failed" for n in rust if rust[n] is None]
        yield (f"whole path not above C's in any row ({way})",
               ", ".join(above + failed) or f"{len(both)} rows below" if both or failed else None, not above + failed)
    for kind, method in (("udp4", "dr"), ("udp4sum", "dr"), ("tcp4", "dr"), ("udp4sum", "nat"), ("tcp4", "nat")):
        share, theirs = (own(data[m]["packets"]["nic"], method, kind) for m in ("rust", "c"))
        yield (f"own share of an established packet at most half of C's ({KINDS[kind]}, {method.upper()}, nic)",
               f"{share:,.0f} of {theirs:,.0f}" if share and theirs else None, share and theirs and share <= theirs / 2)
    for (kind, method), text in SIX_TENTHS.items():
        share, theirs = (own(data[m]["packets"]["nic"], method, kind) for m in ("rust", "c"))
        yield (f"own share of an established packet at most 0.6 of C's ({text}, nic)",
               f"{share:,.0f} of {theirs:,.0f}" if share and theirs else None, share and theirs and share <= 0.6 * theirs)
    ours = data["rust"]["schedulers"]
    at_one = {s: counts[1] for s, counts in scheduled(ours).items() if counts.get(1)}
    for found, what in ((scheduled(ours), ""), (with_gaps(ours), " after the removal of every 40th")):
        for dests, allowed in FLAT.items():
            more = {s: counts[dests] - at_one[s] for s, counts in found.items() if counts.get(dests) and s in at_one}
            worst = max(more, key=more.get, default=None)
            yield (f"a new connection at {dests:,} dests{what} at most {allowed} more than at one",
                   worst and f"{worst} {more[worst]:+,.0f}, of {len(more)} schedulers", worst and more[worst] <= allowed)
    c, rust = (refused(data[m]["schedulers"]) for m in MODULES)
    dearer = [f"{s} at {dests:,} ({rust[s][dests]:,.0f}, C {c[s][dests]:,.0f})" for s in rust for dests in rust[s]
              if rust[s][dests] and c.get(s, {}).get(dests) and rust[s][dests] > c[s][dests]]
    yield ("a connection that is refused at no more than C's cost",
           ", ".join(dearer) or f"{len(rust)} schedulers" if rust and c else None, not dearer)
    c, rust = (changed(data[m]["schedulers"]) for m in MODULES)
    dearer = [f"{s} ({sum(rust[s]):,.0f}, C {sum(c[s]):,.0f})" for s in rust if s in c and all(rust[s] + c[s]) and sum(rust[s]) > sum(c[s])]
    yield ("4,000 dests added, edited and removed at no more than C's cost",
           ", ".join(dearer) or f"{len(rust)} schedulers" if rust and c else None, not dearer)
    yield from control_targets(data)
    for kind in ("udp", "tcp"):
        wait = data["rust"]["defences"].get(f"defence-{kind}-delay")
        yield (f"drop_entry with 1,000,000 conns holds the CPU for at most a millisecond ({kind.upper()})",
               wait and f"{wait:,.0f} instructions", wait and wait <= PASS)
    figures = data["rust"]["memory"]
    for method in RECIPE_OWN:
        size = figures.get(f"memory-{method}-total")
        yield (f"at most {BYTES} bytes a connection ({method})", number(size, "{:.1f}") if size else None, size and size <= BYTES)
    for method in RECIPE_OWN:
        try:
            few, many = (figures[f"lookup-{method}-{s}-output"] - figures[f"lookup-{method}-{s}-input"] for s in ("1k", "1m"))
            yield f"lookup at 1,000,000 within 5 % of 1,000 ({method}, own share)", f"{many / few - 1:+.1%}", many <= few * 1.05
        except KeyError:
            yield f"lookup at 1,000,000 within 5 % of 1,000 ({method}, own share)", None, False


def control_targets(data):
    steps = {name: figures for name, *figures in control_steps(data)}
    above, more_than_half, steep = [], [], []
    for name, ((c, rust), (c_kernel, rust_kernel)) in steps.items():
        _, size, step = name.split("-")
        if c and rust and rust > c:
            above.append(f"{size} {step} ({rust / 1e6:,.1f}, C {c / 1e6:,.1f})")
        services, dests = sized(name)
        read = {"dump_services": services, "dump_dests": dests}.get(step, services * dests)
        if step in RESCANNED and read >= 1000 and c_kernel and rust_kernel and rust_kernel > c_kernel / 2:
            more_than_half.append(f"{size} {step} ({rust_kernel / 1e6:,.1f}, C {c_kernel / 1e6:,.1f})")
        for smaller in SMALLER.get(size, ()):
            before = steps.get(f"control-{smaller}-{step}")
            if before and rust and before[0][1]:
                entries, fewer = (math.prod(sized(n)) for n in (name, f"control-{smaller}-{step}"))
                growth, allowed = rust / before[0][1], entries * math.log(entries) / (fewer * math.log(fewer))
                if growth > allowed:
                    steep.append(f"{step} {smaller} to {size}: {growth:.1f} times, {allowed:.1f} allowed")
    both = any(c and rust for (c, rust), _ in steps.values())
    yield "each command at no more than C's cost", ", ".join(above) or f"{len(steps)} figures" if both else None, not above
    yield ("kernel part of listing, saving, dumps and /proc at most half of C's, from 1,000 entries",
           ", ".join(more_than_half) or "all" if both else None, not more_than_half)
    yield "no command's cost grows faster than n log n", ", ".join(steep) or "none" if steps else None, not steep
    c, rust = (data[m]["control"] for m in MODULES)
    for what in ("service", "dest"):
        name = f"control-memory-{what}"
        cpus = {data[m]["control"].get("control-memory-cpus") for m in MODULES}
        yield f"memory of a {what} measured with 16 possible CPUs in both", f"{cpus}" if name in rust else None, cpus == {16}
        yield (f"memory of a {what} below C's", f"{rust[name]:,.0f}, C {c[name]:,.0f}" if name in rust and name in c else None,
               name in c and name in rust and rust[name] < c[name])
    mean, most = (rust.get(f"control-10000x10-rates{s}") for s in ("", "-most"))
    yield ("rates of 100,000 dests: no tenth of a second takes twice its share",
           f"{most:,.0f} of {mean / 10:,.0f}" if mean else None, mean and most <= mean / 5)
    for what in ("new", "established"):
        few, many = (rust.get(f"control-beside-{n}-{what}") for n in (0, 10000))
        yield (f"a packet ({what}) with 10,000 other services costs at most 1 % more than without",
               f"{many:,.0f}, {few:,.0f}" if few and many else None, few and many and many <= few * 1.01)


def out_of_reach(data):
    """Yields targets that cannot be reached, with the figures that show it."""
    for method, recipe in RECIPE_OWN.items():
        share, bare = (own(data["rust"]["packets"][way], method) for way in ("pktgen", "nic"))
        if share and bare:
            yield (f"own share of {method.upper()}, pktgen's packets: {share:,.0f}; half of C's {recipe:,} is {recipe / 2:,.0f}, and the copy "
                   f"of a packet that pktgen holds costs {share - bare:,.0f} alone, in both modules")
    share, theirs = (own(data[m]["packets"]["nic"], "nat") for m in ("rust", "c"))
    if share and theirs:
        yield (f"own share of NAT, UDP without checksum: {share:,.0f}, C {theirs:,.0f} ({share / theirs:.2f}); "
               "both compute the checksum over the whole packet")


def aims(data):
    figures = data["rust"]["packets"]["nic"]
    share, dr, forward = own(figures, "dr"), figures.get("udp4-dr-established"), figures.get("udp4-forward")
    if share and dr and forward:
        yield f"own share of DR: {share:,.0f}, aim 800: {'reached' if share <= 800 else 'missed'}"
        yield f"DR packet {dr:,.0f}, plain forwarding {forward:,.0f}: {'cheaper' if dr < forward else 'not yet cheaper'}"


def chart_of_schedulers(data, pyplot, path):
    """Draws a line for each scheduler, C's and ours next to each other; names are spread to avoid overlaps."""
    sides = [(title, scheduled(data[m]["schedulers"])) for title, m in (("C IPVS", "c"), ("Rust IPVS", "rust"))]
    if not all(counts for _, counts in sides):
        return
    figure, both = pyplot.subplots(1, 2, sharey=True, figsize=(9, 5))
    for axes, (title, counts) in zip(both, sides):
        lowest = 0
        for name, costs in sorted(counts.items(), key=lambda item: list(item[1].values())[-1] or 0):
            dests, values = zip(*((d, v) for d, v in costs.items() if v))
            line, = axes.plot(dests, values, marker=".")
            at = max(values[-1], lowest * 1.12)
            lowest = at
            axes.annotate(name, (dests[-1], values[-1]), (1.6 * max(costs), at), fontsize=8, color=line.get_color(), va="center",
                          arrowprops={"arrowstyle": "-", "color": line.get_color(), "lw": 0.4})
        axes.set(xscale="log", yscale="log", title=title, xlabel="dests of the service")
        axes.set_xlim(right=6 * max(max(costs) for costs in counts.values()))
        axes.spines[["top", "right"]].set_visible(False)
    both[0].set_ylabel("instructions of a new connection")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def chart_of_packets(data, pyplot, path):
    c, rust = (data[m]["packets"]["nic"] for m in MODULES)
    names = [n for n in c if "-drop-" not in n and not n.endswith(("-floor", "-limit")) and over(c, n) and over(rust, n)]
    if not names:
        return
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.3 * len(names)))
    y = range(len(names))
    axes.barh([i - 0.2 for i in y], [over(c, n) for n in names], 0.38, label="C IPVS", color="#b0b0b0")
    axes.barh([i + 0.2 for i in y], [over(rust, n) for n in names], 0.38, label="Rust IPVS", color="#c1440e")
    axes.set_yticks(list(y), [n.replace("-", " ") for n in names])
    axes.invert_yaxis()
    axes.set_xlabel("instructions a packet, over generator and veth pair")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main(directory):
    data = load(directory)
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "ipvs"
    from matplotlib import pyplot
    out = ["C IPVS with conn_tab_bits=20; instructions of the guest, counted by QEMU (-icount; a round of a",
           "repeated string instruction counts as one)."]
    for way in WAYS:
        out += packets(data, way)
    out += schedulers(data) + control(data) + where(data) + memory(data) + defences(data) + [""]
    judged = [(text, measured, bool(met)) for text, measured, met in targets(data) if measured is not None]
    for text, measured, met in judged:
        out.append(f"{'ok    ' if met else 'missed'}  {text}: {measured}")
    out += [f"limit   {a}" for a in out_of_reach(data)] + [f"aim     {a}" for a in aims(data)]
    passed = sum(met for _, _, met in judged)
    out.append(f"{passed} passed, {len(judged) - passed} failed")
    text = "\n".join(out) + "\n"
    print(text, end="")
    (directory / "table.txt").write_text(text)
    (directory / "results.json").write_text(json.dumps(
        {**data, "targets": [{"target": t, "measured": m, "met": ok} for t, m, ok in judged]}, indent=1) + "\n")
    chart_of_packets(data, pyplot, directory / "packets.svg")
    chart_of_schedulers(data, pyplot, directory / "schedulers.svg")
    return passed < len(judged)


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
