"""pyroute2's IPVS classes: services and dests are added, listed, edited and deleted
as in their documentation."""
# Covers: src/ctl/genl

import socket

from case import enter, expect, netns, observe, run
from pyroute2 import IPVS, IPVSDest, IPVSService, NetlinkError

netns("director")
enter("director")
ipvs = IPVS()


def words(record):
    """Returns an object's fields without statistics, which other cases test."""
    return {key: value for key, value in record.items() if "STATS" not in key}


def listing():
    """Returns all services and their dests as text, with the classes' field names."""
    services = []
    for s in ipvs.service("dump"):
        service = IPVSService.from_message(s)
        lines = [f"Service: {words(service)}"]
        for d in ipvs.dest("dump", service=service):
            dest = IPVSDest.from_message(d)
            lines.append(f"  Real server: {words(dest)}")
        services.append("\n".join(lines))
    # C's order depends on a random key.
    return "\n".join(sorted(services))


def refused(what, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except NetlinkError as e:
        observe(what, str(e))
    else:
        observe(what, "ok")


web = IPVSService(addr="192.168.122.1", port=80, protocol=socket.IPPROTO_TCP)
dns = IPVSService(addr="192.168.122.1", port=53, protocol=socket.IPPROTO_UDP, sched_name="rr", timeout=300,
                  flags={"flags": 1, "mask": 0xFFFF}, netmask="255.255.255.0")
# The classes encode any netmask as an IPv4 address; for IPv6 it is a prefix length.
web6 = IPVSService(addr="2001:db8::1", port=80, protocol=socket.IPPROTO_TCP, netmask="128.0.0.0")
mark = IPVSService(af=socket.AF_INET, fwmark=7, sched_name="wrr", netmask="255.255.255.255")
for service in web, dns, web6, mark:
    ipvs.service("add", service=service)
ipvs.dest("add", service=web, dest=IPVSDest(addr="10.0.2.20", port=80))
ipvs.dest("add", service=web, dest=IPVSDest(addr="10.0.2.21", port=8080, fwd_method=0, weight=3, u_thresh=9, l_thresh=2))
ipvs.dest("add", service=dns, dest=IPVSDest(addr="10.0.2.22", port=53, fwd_method=2))
ipvs.dest("add", service=web6, dest=IPVSDest(addr="2001:db8:2::20", port=80))
ipvs.dest("add", service=mark, dest=IPVSDest(addr="10.0.2.23", port=0))
observe("added", listing())
run("ip netns exec director ipvsadm -Ln | grep -q 'TCP  192.168.122.1:80 wlc'")
# As pyroute2's own test finds a service.
expect("services found", 1, sum(s.get(("service", "addr")) == "192.168.122.1" and s.get(("service", "port")) == 80 and
                                s.get(("service", "protocol")) == socket.IPPROTO_TCP for s in ipvs.service("dump")))
expect("dests", 2, len(ipvs.dest("dump", service=web)))

refused("a service again", ipvs.service, "add", service=web)
refused("a dest again", ipvs.dest, "add", service=web, dest=IPVSDest(addr="10.0.2.20", port=80))
refused("an unknown scheduler", ipvs.service, "add",
        service=IPVSService(addr="192.168.122.1", port=81, protocol=socket.IPPROTO_TCP, sched_name="nosuch"))
refused("IPv6 without a netmask", ipvs.service, "add", service=IPVSService(addr="2001:db8::2", port=80, protocol=socket.IPPROTO_TCP))
refused("a dest too heavy", ipvs.dest, "add", service=web, dest=IPVSDest(addr="10.0.2.23", port=80, weight=0x80000000))
refused("one dest", ipvs.dest, "get", service=web, dest=IPVSDest(addr="10.0.2.20", port=80))

ipvs.service("set", service=IPVSService(addr="192.168.122.1", port=80, protocol=socket.IPPROTO_TCP, sched_name="sh"))
ipvs.dest("set", service=web, dest=IPVSDest(addr="10.0.2.20", port=80, fwd_method=0, weight=0))
observe("edited", listing())
observe("one", "\n".join(str(words(IPVSService.from_message(s))) for s in ipvs.service("get", service=web)))

ipvs.dest("del", service=web, dest=IPVSDest(addr="10.0.2.20", port=80))
ipvs.service("del", service=IPVSService(addr="192.168.122.1", port=53, protocol=socket.IPPROTO_UDP))
observe("deleted", listing())
refused("a dest that is not there", ipvs.dest, "del", service=web, dest=IPVSDest(addr="10.0.2.20", port=80))
refused("a service that is not there", ipvs.service, "del", service=dns)
for s in ipvs.service("dump"):
    ipvs.service("del", service=IPVSService.from_message(s))
expect("services in the end", "", listing())
ipvs.close()
