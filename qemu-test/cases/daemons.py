"""Sync daemons: started, listed and stopped by netlink and by socket options. The
results must be C's for every request, device state and set of running daemons."""
# Covers: src/sync src/ctl/daemon

import fcntl
import subprocess
import time

from case import enter, fail, netns, observe, run, wait_for
from genl import *
import options

GOOD = dict(STATE=u32(1), MCAST_IFN=string("nosuch"), SYNC_ID=u32(1))
MASTER, BACKUP = 1, 2

netns("director", "plain", "tiny", "unused")
enter("director")
ipvs = Family()
since = options.mark("daemons: begins")
wait_for("the module to be at rest", lambda: options.module_uses() == 0, instead=options.module_uses)


def tell(label, name, body=b""):
    observe(f"{name} {label}", ipvs.outcome(command(name), body))


def daemon(**changes):
    fields = {**GOOD, **changes}
    return attr(3, [attr(DAEMON.index(k), v) for k, v in fields.items() if v is not None])


def used():
    return f"uses {options.module_uses():+}"


# --- wrong requests, and an interface that does not exist

for name in ("NEW_DAEMON", "DEL_DAEMON"):
    tell("no attributes", name)
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
observe("no daemon runs", str(len(ipvs.dump(command("GET_DAEMON")))))
observe("GET_DAEMON, not dumped", ipvs.outcome(command("GET_DAEMON")))

# --- running daemons, and requests that fail meanwhile

NETS = {"director": """
link add eth0 type veth peer name eth1
link add big mtu 9000 type veth peer name big1
link add jumbo mtu 65535 type veth peer name jumbo1
link add bare type veth peer name bare1
link add dark type veth peer name dark1
link add small type veth peer name small1
link add quiet type veth peer name quiet1
link set dev bare addrgenmode none
link set dev quiet multicast off
addr add 192.168.1.1/24 dev eth0
addr add 192.168.4.1/24 dev dark
addr add 192.168.5.1/24 dev quiet
addr add 2001:db8:1::1/64 dev eth0
link set eth0 up
link set eth1 up
link set big up
link set big1 up
link set jumbo up
link set jumbo1 up
link set bare up
link set bare1 up
link set small up
link set small1 up
link set quiet up
link set quiet1 up
link set small mtu 1279
""", "plain": """
link add bare type veth peer name bare1
link add dark type veth peer name dark1
link set dev bare addrgenmode none
link set bare up
link set bare1 up
"""}
for net, lines in NETS.items():
    subprocess.run(["ip", "-n", net, "-batch", "-"], input=lines.strip(), text=True, check=True)
sockopts = options.Options()


def running():
    by_option = options.daemons_text(sockopts.ask("DAEMON", bytes(48))[2])
    return "\n".join([text(body) for _, body in ipvs.dump(command("GET_DAEMON"))] + [by_option, used()])


def start(role, device="eth0", **more):
    said = ipvs.outcome(command("NEW_DAEMON"), daemon(STATE=u32(role), MCAST_IFN=string(device), **more))
    options.wait_for_daemons()
    return said


def start_by_option(role, device, syncid=0):
    said = sockopts.set("STARTDAEMON", options.daemon(role, device, syncid))
    options.wait_for_daemons()
    return said


def wait_for_links():
    with socket.socket(V4, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            while True:
                flags, = struct.unpack("=16xH14x", fcntl.ioctl(sock, 0x8913, struct.pack("16s16x", name.encode())))
                if flags & 0x41 != 0x01:  # not: up, but not running
                    break
                time.sleep(0.01)


def stop(role):
    return ipvs.outcome(command("DEL_DAEMON"), daemon(STATE=u32(role)))


observe("a master", f"{start(MASTER)}\n{running()}")
observe("another", f"{start(MASTER)} {start(MASTER, 'bare')} {start(MASTER, 'nosuch')} {start(3)} {start(0, 'nosuch')} {used()}")
observe("a backup", f"{start(BACKUP, 'big', SYNC_ID=u32(255))}\n{running()}")
observe("by socket option", " ".join(start_by_option(role, device) for role, device in (
    (MASTER, b"eth0"), (BACKUP, b"eth0"), (MASTER, b"nosuch"), (3, b"eth0"), (0, b"eth0"), (-1, b"eth0"))))
if subprocess.run(["rmmod", "ip_vs"], capture_output=True).returncode == 0:
    fail("the module was unloaded while daemons ran")
tunnel = dict(FWD_METHOD=u32(2), ADDR_FAMILY=u16(V6))
ipvs.call(command("NEW_SERVICE"), service(**whole()))
mixed = service(**ident()) + real(**server("2001:db8:2::11", **tunnel))
tell("of another family, with both", "NEW_DEST", mixed)
tell("of the same family, with both", "NEW_DEST", service(**ident()) + real(**server()))
observe("stopped, the master", f"{stop(MASTER)} {stop(MASTER)}\n{running()}")
tell("of another family, with a backup", "NEW_DEST", mixed)
observe("stopped, the backup", f"{stop(BACKUP)} {stop(BACKUP)}\n{running()}")
tell("of another family", "NEW_DEST", mixed)
observe("with a dest of another family", f"{start(MASTER)} {start(BACKUP)} {start(MASTER, 'nosuch')}")
observe("by socket option", f"{start_by_option(MASTER, b'eth0', -1)}\n{running()}")
tell("of another family, again", "SET_DEST", mixed)
tell("of another family, deleted", "DEL_DEST", mixed)
observe("stopped by socket option", " ".join(sockopts.set("STOPDAEMON", options.daemon(role)) for role in (
    MASTER, MASTER, BACKUP, 3, 0)) + f"\n{running()}")
observe("names by socket option", " ".join(start_by_option(MASTER, device) for device in (
    b"", b"x" * 15, b"x" * 16, b"\0eth0", b"eth0\0junk")) + " " + stop(MASTER))
tell("", "FLUSH")

# --- the values shown, and the defaults of absent ones

for role in (MASTER, BACKUP):
    for field, values in (("SYNC_MAXLEN", [u16(n) for n in (0, 1, 1023, 1024, 1473, 65507, 65508, 65535)]),
                          ("MCAST_PORT", [u16(n) for n in (0, 8849, 65535)]), ("MCAST_TTL", [u8(n) for n in (0, 1, 255)]),
                          ("SYNC_ID", [u32(n) for n in (0, 256, 0xFFFFFFFF)]),
                          ("MCAST_GROUP6", [pton("ff02::81")])):
        for value in values:
            observe(f"{role}, {field} {value.hex()}", f"{start(role, **{field: value})}\n{running()}")
            stop(role)
observe("IPv6, lengths", "\n".join(start(BACKUP, "jumbo", MCAST_GROUP6=pton("ff05::81"), SYNC_MAXLEN=u16(n)) + f"\n{running()}\n{stop(BACKUP)}"
                                   for n in (0, 65535)))

# --- devices of every kind


def on_devices(*devices):
    wait_for_links()
    for device in devices:
        for role in (MASTER, BACKUP):
            for group in ("224.0.0.81", "239.1.1.1", "ff02::81", "ff05::81", "ff0e::81"):
                field = "MCAST_GROUP6" if ":" in group else "MCAST_GROUP"
                said = start(role, device, **{field: pton(group)})
                maxlen = [dict(attributes(dict(attributes(body))[3]))[4].hex() for _, body in ipvs.dump(command("GET_DAEMON"))]
                yield f"{device}, {role}, {group}: {said} {maxlen} {stop(role)}"


observe("devices", "\n".join(on_devices("lo", "eth0", "big", "jumbo", "bare", "dark", "small", "quiet")))


def set_sysctl(name, value):
    with open(f"/proc/sys/net/ipv4/{name}", "w") as f:
        f.write(str(value))


def may_bind(may):
    """Sets or clears the effective CAP_NET_BIND_SERVICE."""
    header, sets = struct.pack("=Ii", 0x20080522, 0), options.ctypes.create_string_buffer(24)
    options.libc.capget(header, sets)
    effective, *others = struct.unpack("=6I", sets.raw)
    effective = effective | 1 << 10 if may else effective & ~(1 << 10)
    if options.libc.capset(header, struct.pack("=6I", effective, *others)) != 0:
        fail("could not set capabilities")


def on_ports(*ports):
    for device, group in (("eth0", "224.0.0.81"), ("bare", "224.0.0.81"), ("eth0", "ff02::81"), ("small", "ff02::81")):
        field = "MCAST_GROUP6" if ":" in group else "MCAST_GROUP"
        for port in ports:
            for role in (MASTER, BACKUP):
                said = start(role, device, **{field: pton(group), "MCAST_PORT": u16(port)})
                yield f"{device}, {role}, {group}, {port}: {said} {stop(role)}"


for may in (True, False):
    may_bind(may)
    for ports in (1, 2, 4):
        set_sysctl("vs/sync_ports", ports)
        observe(f"{ports} ports, {may}", "\n".join(on_ports(0, 1, 80, 1023, 1024, 65533, 65535)))
    # A running daemon keeps its number of ports.
    began = start(MASTER)
    set_sysctl("vs/sync_ports", 1)
    observe(f"fewer ports, {may}", f"{began} {start(BACKUP, MCAST_PORT=u16(65535))} {stop(MASTER)} {stop(BACKUP)}")
    observe(f"fewer ports, again, {may}", f"{start(BACKUP, MCAST_PORT=u16(65535))} {stop(BACKUP)}")
    set_sysctl("ip_unprivileged_port_start", 0)
    observe(f"no port is privileged, {may}", "\n".join(on_ports(1)))
    set_sysctl("ip_unprivileged_port_start", 1024)
may_bind(True)
for number in (0, -1, 1):
    set_sysctl("igmp_max_memberships", number)
    observe(f"igmp_max_memberships {number}", "\n".join(on_ports(0)))
set_sysctl("igmp_max_memberships", 20)
run("ip netns exec director sysctl -qw net.ipv4.ip_nonlocal_bind=1")
observe("devices, with ip_nonlocal_bind", "\n".join(on_devices("dark")))
enter("plain")
ipvs, sockopts = Family(), options.Options()
observe("devices without any address", "\n".join(on_devices("lo", "bare", "dark")))

enter("tiny")
run("ip -n tiny link set lo mtu 60")
ipvs, sockopts = Family(), options.Options()
observe("a device with an MTU too small for IP", "\n".join(on_devices("lo")))
enter("plain")
ipvs, sockopts = Family(), options.Options()

# --- a device is deleted, and a namespace

observe("before", f"{start(MASTER, 'bare')} {start(BACKUP, 'dark')} {used()}")
run("ip -n plain link set dark up && ip -n plain link set dark name renamed && ip -n plain link del bare && ip -n plain link del renamed")
observe("their devices are deleted", f"{running()}\n{stop(MASTER)} {start(MASTER, 'bare')} {used()}")
enter("unused")
ipvs, sockopts = Family(), options.Options()
table = lambda: "a table" if sockopts.info()[1] else "no table"
observe("the table of connections", " ".join([table(), start(MASTER, "lo"), stop(MASTER), table(), start(BACKUP, "nosuch"), table()]))
enter("director")
ipvs, sockopts = None, None
run("ip netns del plain")
wait_for("no use", lambda: options.module_uses() == 0, instead=options.module_uses)
observe("its namespace is deleted", used())
observe("logged", "\n".join(line for word in ("interface: ", "Error ", "You probably") for line in options.log_since(since, word)))
