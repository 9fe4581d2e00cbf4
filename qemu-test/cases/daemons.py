"""Requests for C's daemons, which tell other directors of the connections, over
netlink: those that C refuses whatever comes of them. (We have none, and so an
interface that exists is not tried.)"""

from case import enter, netns, observe
from genl import *

DAEMON = "- STATE MCAST_IFN SYNC_ID SYNC_MAXLEN MCAST_GROUP MCAST_GROUP6 MCAST_PORT MCAST_TTL".split()
GOOD = dict(STATE=u32(1), MCAST_IFN=string("nosuch"), SYNC_ID=u32(1))

netns("director")
enter("director")
ipvs = Family()


def tell(label, name, body=b""):
    observe(f"{name} {label}", ipvs.outcome(command(name), body))


def daemon(**changes):
    fields = {**GOOD, **changes}
    return attr(3, [attr(DAEMON.index(k), v) for k, v in fields.items() if v is not None])


for name in ("NEW_DAEMON", "DEL_DAEMON"):
    tell("without anything", name)
    tell("empty", name, attr(3, []))
    tell("of a service", name, service(**ident()))
    for field, value in GOOD.items():
        tell(f"without {field}", name, daemon(**{field: None}))
        if field != "MCAST_IFN":
            tell(f"{field} cut by one", name, daemon(**{field: value[:-1]}))
    for state in (0, 1, 2, 3, 4, 0xFFFFFFFF):
        tell(f"state {state}", name, daemon(STATE=u32(state)))
    for field, value in (("MCAST_GROUP", pton("10.0.0.1")), ("MCAST_GROUP", pton("224.0.0.1")),
                         ("MCAST_GROUP6", pton("2001::1")), ("MCAST_GROUP6", pton("ff02::1")),
                         ("MCAST_GROUP6", b"\xff" * 15), ("MCAST_TTL", u8(0)), ("MCAST_PORT", u16(0)),
                         ("SYNC_MAXLEN", u16(0)), ("MCAST_IFN", string("x" * 16)), ("MCAST_IFN", string("")),
                         ("SYNC_ID", u32(256))):
        tell(f"{field} {value.hex()}", name, daemon(**{field: value}))
observe("none runs", str(len(ipvs.dump(command("GET_DAEMON")))))
observe("GET_DAEMON, not dumped", ipvs.outcome(command("GET_DAEMON")))
