"""FTP through NAT: vsftpd as real servers, curl and ftplib as clients; active and passive, by PORT, EPRT, PASV and EPSV;
the data connections, /proc/net/ip_vs_app, and the module ip_vs_ftp."""
# Covers: src/xmit/app src/conn/app src/conn/cport src/wire/ftp modules rust-out-of-tree/net/nat_helper

import ftplib
import hashlib
import os
import re
import subprocess

import agent
from case import SLOW, configure, expect, observe, output, run, wait_for
from topology import NAT, build, inside

MANY = 300000  # bytes of a transfer, several windows
DATA = (bytes(range(256)) * (MANY // 256 + 1))[:MANY]
MD5 = hashlib.md5(DATA).hexdigest()
PASSIVE = 50001  # the port of passive data connections
REALS = ("rs1", "rs2", "rs3")
SETTINGS = f"""
    listen=NO listen_ipv6=YES background=NO anonymous_enable=YES no_anon_password=YES write_enable=YES
    anon_upload_enable=YES anon_umask=022 run_as_launching_user=YES seccomp_sandbox=NO connect_from_port_20=YES
    pasv_min_port={PASSIVE} pasv_max_port={PASSIVE} ftp_username=root secure_chroot_dir=/run/vsftpd-empty
    use_localtime=NO isolate=NO isolate_network=NO"""

daemons = []
v6, here = False, {}


def lay_out(family):
    """Creates the machines, each real server with a vsftpd."""
    global v6, here
    v6 = family == 6
    end_daemons()
    agent.reset()
    here = {name: pair[v6] for name, pair in NAT.addresses.items()}
    build(NAT.machines)
    os.makedirs("/run/vsftpd-empty", exist_ok=True)
    for name in REALS:
        root = f"/tmp/ftp-{name}"
        run(f"rm -rf {root} && mkdir -p {root}/up && chmod 777 {root}/up")
        with open(f"{root}/many", "wb") as f:
            f.write(DATA)
        with open(f"{root}.conf", "w") as f:
            print(*SETTINGS.split(), f"anon_root={root}", f"ftpd_banner={name}", sep="\n", file=f)
        with inside(name):
            daemons.append(subprocess.Popen(["vsftpd", f"{root}.conf"]))
        wait_for(f"vsftpd on {name}", lambda name=name: ":21 " in output(name, "ss -ltnH"))


def end_daemons():
    while daemons:
        daemon = daemons.pop()
        daemon.kill()
        daemon.wait()


def at(name, port):
    return f"[{here[name]}]:{port}" if v6 else f"{here[name]}:{port}"


def service(*reals, port=21, scheduler="rr", to=21):
    configure("director", [f"ipvsadm -A -t {at('VIP', port)} -s {scheduler}",
                           *(f"ipvsadm -a -t {at('VIP', port)} -r {at('RIP' + name[-1], to)} -m" for name in reals)])


def tell(label, text):
    observe(f"IPv{6 if v6 else 4}: {label}", text)


def apps():
    return output("director", "cat /proc/net/ip_vs_app")


def proc():
    """Returns the fields of each conn in /proc."""
    with inside("director"), open("/proc/thread-self/net/ip_vs_conn") as file:
        return [line.split() for line in file][1:]


def ended():
    """Returns the conns once their connections are over."""
    wait_for("the end of all", lambda: {f[7] for f in proc()} <= {"TIME_WAIT", "CLOSE", "ASSURED"}, instead=conns)
    return conns()


def conns():
    """Returns the conns. The client's ports, which are random, are `any`, unless they are not known."""
    return "\n".join(sorted(" ".join([f[0], f[1], "0000" if f[2] == "0000" else "any", *f[3:8]]) for f in proc()))


def times():
    """Returns the remaining seconds of conns by the service's port."""
    return {f[4]: int(f[8]) for f in proc()}


def listing():
    return output("director", "ipvsadm -Ln | tail -n +4")


def uses():
    return output("director", "awk '$1 == \"ip_vs_ftp\" { print $3 }' /proc/modules")


def curl(*words):
    return output("client", f"curl -sS --max-time {60 * SLOW} {' '.join(words)}")


def become(wanted, label):
    """Waits until the conns have these states."""
    def states():
        return " ".join(sorted(line.split()[7] for line in conns().split("\n") if line))
    wait_for(label, lambda: states() == wanted, instead=states)


def clear():
    """Ends services and conns. Conns of a removed dest are flushed; a template may need a second flush."""
    def gone():
        configure("director", [f"ipvsadm -A -t {at('VIP', 9)}", f"ipvsadm -a -t {at('VIP', 9)} -r {at('RIP1', 9)} -m", "ipvsadm -C"])
        return not conns()

    configure("director", ["sysctl -w net.ipv4.vs.expire_nodest_conn=1", "ipvsadm -C"])
    wait_for("no conns", gone, instead=conns)
    configure("director", ["sysctl -w net.ipv4.vs.expire_nodest_conn=0"])


# --- transfers


def transfers():
    """Downloads, uploads and listings by curl. Each URL of a command uses the same control connection."""
    url = f"ftp://{'[' + here['VIP'] + ']' if v6 else here['VIP']}"
    modes = {"EPSV": "", "EPRT": "-P -", "PASV": "--disable-epsv", "PORT": "-P - --disable-eprt"}
    for mode, options in modes.items():
        if v6 and mode in ("PASV", "PORT"):
            continue
        service(*REALS)
        for number in range(3):
            seen = curl(options, f"{url}/many {url}/many -o /tmp/got1 -o /tmp/got2 && md5sum </tmp/got1 && md5sum </tmp/got2")
            expect(f"{mode}: download {number}", f"{MD5}  -\n{MD5}  -", seen)
            curl(options, f"-T /tmp/got1 {url}/up/{mode}{number}")
        sums = output("client", f"md5sum /tmp/ftp-rs?/up/{mode}*")
        expect(f"{mode}: uploads", {MD5}, {line.split()[0] for line in sums.split("\n")})
        tell(f"{mode}: uploads went to", "\n".join(sorted(line.split()[1] for line in sums.split("\n"))))
        clear()
        service(*REALS)
        tell(f"{mode}: directory", curl(options, f"{url}/ | awk '{{ print $5, $NF }}'"))
        tell(f"{mode}: conns", ended())
        clear()
    tell("app without conns", apps())
    tell("app elsewhere", output("client", "cat /proc/net/ip_vs_app"))


# --- data connections while they are open


def login():
    """Returns a client with a control connection, and the real server that it is with."""
    with inside("client"):
        client = ftplib.FTP()
        client.connect(here["VIP"], timeout=30 * SLOW)
        client.login()
    return client, client.welcome.split()[1]


def finish(client, data):
    """Reads the rest of a transfer and closes the connections."""
    seen = b""
    while part := data.recv(1 << 16):
        seen += part
    data.close()
    expect("transfer", MD5, hashlib.md5(seen).hexdigest())
    client.voidresp()


def held():
    """Data connections in the middle of a transfer, and the announced ones."""
    for active in (True, False):
        service("rs1")
        client, _ = login()
        client.set_pasv(not active)
        with inside("client"):
            data = client.transfercmd("RETR many")
        label = "active" if active else "passive"
        become("ESTABLISHED ESTABLISHED", label)
        tell(f"{label}: conns", conns())
        tell(f"{label}: listing", listing())
        tell(f"{label}: app", apps())
        tell(f"{label}: uses of the module", uses())
        expect(f"{label}: rmmod", 1, subprocess.run("rmmod ip_vs_ftp 2>/dev/null", shell=True).returncode)
        finish(client, data)
        # The control connection goes on after the change of its sequence numbers.
        tell(f"{label}: later", " ".join(client.sendcmd(word)[:3] for word in ("NOOP", "PWD", "SYST", "NOOP")))
        client.quit()
        clear()
    service("rs1")
    client, _ = login()
    with inside("client"):
        reply = client.sendcmd("EPSV" if v6 else "PASV")
    tell("announced: the client sees", reply)
    tell("announced: conns", conns())
    tell("announced: listing", listing())
    with inside("client"):
        tell("announced again: the client sees", client.sendcmd("EPSV"))
    tell("announced again: conns", conns())
    # The data connection's conn keeps the one of the control connection, which is idle for longer than its timeout.
    output("director", "ipvsadm --set 1 0 0")
    client.sendcmd("NOOP")
    wait_for("the timeout of the control connection", lambda: 30 < times()["0015"] <= 60, instead=times)
    output("director", "ipvsadm --set 900 0 0")
    client.quit()
    client.close()
    become("LISTEN TIME_WAIT", "the end of the control connection")
    tell("control ended: listing", listing())
    clear()


def persistent():
    """A persistent service: the data connections are to the server of the control connection."""
    service(*REALS, scheduler="rr -p 300")
    client, name = login()
    for active in (True, False):
        client.set_pasv(not active)
        with inside("client"):
            data = client.transfercmd("RETR many")
        finish(client, data)
    client.quit()
    tell("persistent: conns", ended())
    tell("persistent: app", apps())
    clear()


# --- the module


def without():
    """Without ip_vs_ftp a client gets the real server's address, which it cannot use."""
    run("rmmod ip_vs_ftp")
    tell("no module: app", apps())
    service("rs1")
    client, _ = login()
    with inside("client"):
        tell("no module: the client sees", client.sendcmd("EPSV" if v6 else "PASV"))
    tell("no module: conns", conns())
    # It binds new conns only.
    run("modprobe ip_vs_ftp")
    tell("bound later: app", apps())
    client.close()
    clear()


def ports():
    """Other ports, which are those of the service."""
    run("rmmod ip_vs_ftp")
    for words in ("ports=21,21", "ports=1,2,3,4,5,6,7,8,9", "ports=70000"):
        said = subprocess.run(f"modprobe ip_vs_ftp {words} 2>&1", shell=True, stdout=subprocess.PIPE, text=True)
        tell(words, f"{said.returncode} {said.stdout.strip()}")
        expect("loaded", 1, subprocess.run("grep -q '^ip_vs_ftp ' /proc/modules", shell=True).returncode)
    run("modprobe ip_vs_ftp ports=2121,0,21")
    tell("ports: app", apps())
    tell("ports: parameter", output("director", "cat /sys/module/ip_vs_ftp/parameters/ports"))
    service("rs2", port=2121, scheduler="rr -p 300")
    # Nothing enables connection tracking here, unlike for port 21.
    output("director", "nft 'table inet track { chain in { type filter hook input priority 0; ct state new counter; }; }'")
    url = f"ftp://{at('VIP', 2121)}/many"
    expect("ports: passive", f"{MD5}  -", curl(url, "| md5sum"))
    tell("ports: conns", conns())
    tell("ports: app in use", apps())
    expect("ports: active", f"{MD5}  -", curl(url, "-P - | md5sum"))
    output("director", "nft delete table inet track")
    clear()
    run("rmmod ip_vs_ftp; modprobe ip_vs_ftp")


def tracked():
    """The entries of connection tracking, and related connections in a firewall."""
    output("director", "sysctl -qw net.ipv4.vs.conntrack=1")
    tables = "ip6tables" if v6 else "iptables"
    configure("director", [
        f"{tables} -t raw -A PREROUTING -p tcp --dport 21 -j CT --helper ftp",
        f"{tables} -A INPUT -p tcp --dport 21 -j ACCEPT",
        f"{tables} -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        f"{tables} -A INPUT -p tcp -j DROP",
        f"{tables} -A OUTPUT -m ipvs --vportctl 21",
        f"{tables} -A OUTPUT -m ipvs --vportctl 22"])
    service("rs3")
    client, _ = login()
    with inside("client"):
        data = client.transfercmd("RETR many")
    become("ESTABLISHED ESTABLISHED", "tracked")
    entries = output("director", f"conntrack -L -p tcp -f ipv{6 if v6 else 4} 2>/dev/null")
    entries = re.sub(r"port=(?!21 |50001)\d+", "port=x", re.sub(r" use=\d+| secctx=\S+", "", entries))
    tell("tracked: entries", "\n".join(sorted(re.sub(r"^(tcp +6) \d+", r"\1", line) for line in entries.split("\n"))))
    finish(client, data)
    client.quit()
    rules = output("director", f"{tables} -nvxL OUTPUT").split("\n")[2:]
    tell("tracked: packets of data connections", " ".join("some" if int(rule.split()[0]) else "none" for rule in rules))
    configure("director", [f"{tables} -F", f"{tables} -t raw -F"])
    output("director", "sysctl -qw net.ipv4.vs.conntrack=0")
    clear()


try:
    run("modprobe -a ip_vs_ftp nf_conntrack_ftp")
    for family in (4, 6):
        lay_out(family)
        tell("app", apps())
        for part in (transfers, held, persistent, tracked, without, ports):
            part()
finally:
    end_daemons()
agent.reset()
configure("director", ["ipvsadm -C"])
run("rmmod ip_vs_ftp nf_conntrack_ftp")
