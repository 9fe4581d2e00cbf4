"""pyroute2: services and dests are added, listed, edited and deleted, as the
documentation of its IPVS classes does it. Debian 13's pyroute2 (0.7) is older
than these, and gets the part of them that is used here, in its own words."""

import socket

from case import enter, expect, netns, observe, run

try:
    from pyroute2 import IPVS, IPVSDest, IPVSService, NetlinkError
except ImportError:
    from pyroute2 import NetlinkError
    from pyroute2.netlink import NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, genlmsg, nla
    from pyroute2.netlink.generic import GenericNetlinkSocket

    def table(prefix, names):
        return tuple((prefix + name, kind) for name, _, kind in (word.partition(":") for word in names.split()))

    class Message(genlmsg):
        nla_map = table("IPVS_CMD_ATTR_", "UNSPEC:none SERVICE:service DEST:dest")

        class service(nla):
            nla_map = table("IPVS_SVC_ATTR_",
                            "UNSPEC:none AF:uint16 PROTOCOL:uint16 ADDR:ip4addr PORT:be16 FWMARK:uint32 SCHED_NAME:asciiz "
                            "FLAGS:flags TIMEOUT:uint32 NETMASK:ip4addr STATS:hex PE_NAME:asciiz STATS64:hex")

            class flags(nla):
                fields = (("flags", "I"), ("mask", "I"))

        class dest(nla):
            nla_map = table("IPVS_DEST_ATTR_",
                            "UNSPEC:none ADDR:ip4addr PORT:be16 FWD_METHOD:uint32 WEIGHT:uint32 U_THRESH:uint32 L_THRESH:uint32 "
                            "ACTIVE_CONNS:uint32 INACT_CONNS:uint32 PERSIST_CONNS:uint32 STATS:hex ADDR_FAMILY:uint16 "
                            "STATS64:hex TUN_TYPE:uint8 TUN_PORT:uint16 TUN_FLAGS:uint16")

    class Record(dict):
        def __init__(self, **fields):
            super().__init__(self.defaults, **fields)

        def attrs(self, *keys):
            return {"attrs": [(self.prefix + k.upper(), v) for k, v in self.items() if not keys or k in keys]}

    class IPVSService(Record):
        prefix = "IPVS_SVC_ATTR_"
        defaults = {"af": socket.AF_INET, "timeout": 0, "sched_name": "wlc", "flags": {"flags": 0, "mask": 0xFFFF},
                    "netmask": "255.255.255.255"}

    class IPVSDest(Record):
        prefix = "IPVS_DEST_ATTR_"
        defaults = {"addr_family": socket.AF_INET, "fwd_method": 3, "weight": 1, "tun_type": 0, "tun_port": 0,
                    "tun_flags": 0, "u_thresh": 0, "l_thresh": 0}

    class IPVS(GenericNetlinkSocket):
        commands = {"add": 1, "set": 2, "del": 3, "get": 4, "dump": 4}

        def __init__(self):
            super().__init__()
            self.bind("IPVS", Message)

        def ask(self, number, command, attrs):
            message = Message()
            message["cmd"], message["version"], message["attrs"] = number, 1, attrs
            flags = NLM_F_REQUEST | (NLM_F_DUMP if command == "dump" else NLM_F_ACK)
            return self.nlm_request(message, msg_type=self.prid, msg_flags=flags)

        def service(self, command, service=None):
            attrs = [("IPVS_CMD_ATTR_SERVICE", service.attrs())] if service else []
            return self.ask(self.commands[command], command, attrs)

        def dest(self, command, service, dest=None):
            attrs = [("IPVS_CMD_ATTR_SERVICE", service.attrs("af", "protocol", "addr", "port", "fwmark"))]
            attrs += [("IPVS_CMD_ATTR_DEST", dest.attrs())] if dest else []
            return self.ask(self.commands[command] + 4, command, attrs)


netns("director")
enter("director")
ipvs = IPVS()


def fields(message, nest, *names):
    """Of an answer: `names` of what is nested in it."""
    inner = message.get_attr(f"IPVS_CMD_ATTR_{'SERVICE' if nest == 'SVC' else nest}")
    return " ".join(str(inner.get_attr(f"IPVS_{nest}_ATTR_{name}")) for name in names)


def listing(*services):
    """All services, and these ones' dests."""
    lines = sorted(fields(s, "SVC", "PROTOCOL", "ADDR", "PORT", "FWMARK", "SCHED_NAME", "FLAGS", "TIMEOUT", "NETMASK")
                   for s in ipvs.service("dump"))
    for service in services:
        lines += ["  " + fields(d, "DEST", "ADDR", "PORT", "FWD_METHOD", "WEIGHT", "U_THRESH", "L_THRESH", "ACTIVE_CONNS",
                                "ADDR_FAMILY", "TUN_TYPE")
                  for d in ipvs.dest("dump", service=service)]
    return "\n".join(lines)


def refused(what, function, *args, **kwargs):
    try:
        list(function(*args, **kwargs))
    except NetlinkError as e:
        observe(what, str(e))
    else:
        observe(what, "ok")


def do(function, *args, **kwargs):
    return list(function(*args, **kwargs))


web = IPVSService(addr="192.168.122.1", port=80, protocol=socket.IPPROTO_TCP)
dns = IPVSService(addr="192.168.122.1", port=53, protocol=socket.IPPROTO_UDP, sched_name="rr", timeout=300,
                  flags={"flags": 1, "mask": 0xFFFF}, netmask="255.255.255.0")
do(ipvs.service, "add", service=web)
do(ipvs.service, "add", service=dns)
do(ipvs.dest, "add", service=web, dest=IPVSDest(addr="10.0.2.20", port=80))
do(ipvs.dest, "add", service=web, dest=IPVSDest(addr="10.0.2.21", port=8080, fwd_method=0, weight=3, u_thresh=9, l_thresh=2))
do(ipvs.dest, "add", service=dns, dest=IPVSDest(addr="10.0.2.22", port=53, fwd_method=2))
observe("added", listing(web, dns))
expect("dests", 2, len(do(ipvs.dest, "dump", service=web)))
run("ip netns exec director ipvsadm -Ln | grep -q 'TCP  192.168.122.1:80 wlc'")

refused("a service again", ipvs.service, "add", service=web)
refused("a dest again", ipvs.dest, "add", service=web, dest=IPVSDest(addr="10.0.2.20", port=80))
refused("an unknown scheduler", ipvs.service, "add",
        service=IPVSService(addr="192.168.122.1", port=81, protocol=socket.IPPROTO_TCP, sched_name="nosuch"))
refused("a dest too heavy", ipvs.dest, "add", service=web, dest=IPVSDest(addr="10.0.2.23", port=80, weight=0x80000000))

do(ipvs.service, "set", service=IPVSService(addr="192.168.122.1", port=80, protocol=socket.IPPROTO_TCP, sched_name="sh"))
do(ipvs.dest, "set", service=web, dest=IPVSDest(addr="10.0.2.20", port=80, fwd_method=0, weight=0))
observe("edited", listing(web, dns))
observe("one", "\n".join(fields(s, "SVC", "ADDR", "PORT", "SCHED_NAME") for s in ipvs.service("get", service=web)))

do(ipvs.dest, "del", service=web, dest=IPVSDest(addr="10.0.2.20", port=80))
do(ipvs.service, "del", service=dns)
observe("deleted", listing(web))
refused("a dest that is not there", ipvs.dest, "del", service=web, dest=IPVSDest(addr="10.0.2.20", port=80))
refused("a service that is not there", ipvs.service, "del", service=dns)
do(ipvs.service, "del", service=web)
expect("services in the end", "", listing())
ipvs.close()
