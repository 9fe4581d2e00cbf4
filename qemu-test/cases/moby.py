"""Requests as docker, kube-proxy and kube-router make them with moby/ipvs: nested
attributes without the flag, IPv4 addresses of 4 bytes, dests without a family, and
dumps with an empty service attribute that also request an acknowledgement."""
# Covers: src/ctl/genl

import struct

from case import enter, expect, netns, observe, run
from genl import *

netns("director")
enter("director")
ipvs = Family()


def nest(kind, fields):
    """A nested attribute without NLA_F_NESTED."""
    return attr(kind, b"".join(fields))


def ask(name, service=None, dest=None, dump=False):
    body = nest(1, svc(**service) if service else [])
    if dest:
        body += nest(2, real_fields(dest))
    return ipvs.call(command(name), body, NLM_F_ACK | (NLM_F_DUMP if dump else 0))


def real_fields(fields):
    return [attr(DEST.index(k), v) for k, v in fields.items()]


def told(name, *args):
    try:
        ask(name, *args)
        observe(name, "ok")
    except Refused as e:
        observe(name, str(e))


def listing():
    """Returns the services and their dests as text; the dests are requested with the key from the service's entry."""
    lines = []
    for _, entry in sorted(ask("GET_SERVICE", dump=True)):
        lines.append(text(entry))
        (_, body), = attributes(entry)
        mine = {SVC[kind]: value for kind, value in attributes(body)}
        key = {k: mine[k] for k in ("AF", "PROTOCOL", "ADDR", "PORT", "FWMARK") if k in mine}
        if "ADDR" in key and key["AF"] == u16(V4):
            key["ADDR"] = key["ADDR"][:4]
        lines += [text(e, indent=1) for _, e in ask("GET_DEST", key, dump=True)]
    return "\n".join(lines)


def service(addr, port, protocol, scheduler, flag=0, timeout=0):
    v6 = ":" in addr
    return dict(AF=u16(V6 if v6 else V4), PROTOCOL=u16(protocol), ADDR=pton(addr), PORT=be16(port), SCHED_NAME=string(scheduler),
                FLAGS=flags(flag), TIMEOUT=u32(timeout), NETMASK=u32(128 if v6 else 0xFFFFFFFF))


def backend(addr, port, weight=1):
    return dict(ADDR=pton(addr), PORT=be16(port), FWD_METHOD=u32(0), WEIGHT=u32(weight), U_THRESH=u32(0), L_THRESH=u32(0))


cluster = service("10.96.0.1", 443, 6, "rr")
sticky = service("10.96.0.10", 53, 17, "sh", 1, 10800)
six = service("fd00::1", 443, 6, "wrr")
mark = dict(AF=u16(V4), FWMARK=u32(256), SCHED_NAME=string("rr"), FLAGS=flags(), TIMEOUT=u32(0), NETMASK=u32(0xFFFFFFFF))
for s in (cluster, sticky, six, mark, cluster):
    told("NEW_SERVICE", s)
for s, d in ((cluster, backend("10.244.1.2", 6443)), (cluster, backend("10.244.1.3", 6443)), (sticky, backend("10.244.1.4", 53)),
             (six, backend("fd00:1::2", 6443)), (mark, backend("10.0.0.3", 0)), (cluster, backend("10.244.1.3", 6443))):
    told("NEW_DEST", s, d)
observe("listed", listing())
expect("services", 4, len(ask("GET_SERVICE", dump=True)))
expect("dests", 2, len(ask("GET_DEST", cluster, dump=True)))
(_, one), = ask("GET_SERVICE", cluster)
observe("one service", text(one))

told("SET_DEST", cluster, backend("10.244.1.2", 6443, 0))
told("SET_SERVICE", service("10.96.0.10", 53, 17, "rr"))
told("DEL_DEST", cluster, backend("10.244.1.3", 6443))
told("DEL_DEST", cluster, backend("10.244.1.3", 6443))
told("SET_DEST", cluster, backend("10.244.1.3", 6443))
told("DEL_SERVICE", mark)
told("DEL_SERVICE", mark)
observe("edited", listing())
run("ip netns exec director ipvsadm -Ln | grep -q '10.244.1.2:6443 *Masq *0'")

# All three timeouts at once, and the module's version
observe("SET_CONFIG", ipvs.outcome(command("SET_CONFIG"), attr(4, u32(900)) + attr(5, u32(120)) + attr(6, u32(300))))
(_, config), = ipvs.call(command("GET_CONFIG"))
observe("config", text(config))
(_, info), = ipvs.call(command("GET_INFO"))
observe("version", "%#x" % struct.unpack("=I", dict(attributes(info))[1]))
observe("FLUSH", ipvs.outcome(command("FLUSH")))
expect("services in the end", 0, len(ask("GET_SERVICE", dump=True)))
