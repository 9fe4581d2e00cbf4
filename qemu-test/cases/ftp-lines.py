"""Lines of FTP control connections, good, odd and bad ones, over plain TCP: the segments at the other end, and the conns
that the director creates."""
# Covers: src/wire/ftp src/xmit/app src/conn/cport

import os
import subprocess

import agent
import ftp_lab as lab
from case import configure, expect, observe, output, run, wait_for
from ftp_lab import Session, lay_out, shown
from topology import inside

MODULE = os.environ["MODULE"]


def conns():
    """Returns the conns of data connections."""
    with inside("director"), open("/proc/thread-self/net/ip_vs_conn") as file:
        fields = [line.split() for line in file][1:]
    return {" ".join(f[:8]) for f in fields if f[4] != "0015"}


def tell(label, *lines):
    observe(f"IPv{6 if lab.v6 else 4}: {label}", "\n".join(line.strip() for line in lines if line))


def exchange(commands, replies=()):
    """One control connection. Each command and reply is bytes, or a list of segments."""
    before, session = conns(), Session()
    lines = []
    for name, way, texts in ((">", session.command, commands), ("<", session.reply, replies)):
        for text in texts:
            parts = text if isinstance(text, list) else [text]
            lines.append(f"{name} {shown(way(*parts))}")
    # It still works.
    lines.append(f"> {shown(session.command(b'NOOP' + bytes([13, 10])))}")
    lines.append(f"< {shown(session.reply(b'200 ok' + bytes([13, 10])))}")
    made = sorted(conns() - before)
    session.close()
    tell(" ".join(shown(part)[:80] for text in commands for part in (text if isinstance(text, list) else [text])), *lines, *made)
    return made


def commands4():
    """PORT, each with a port of its own."""
    expect("the data connection", 1, len(exchange([b"PORT 192,168,1,254,3,231\r\n"])))
    number = 1000
    for form in ("port 192,168,1,254,{}", "PORT192,168,1,254,{}", "PORT    192,168,1,254,{}", "PORTx y,192,168,1,254,{}",
                 "PORT 1,2,3,4,{}", "PORT 192,168,1,110,{}", "PORT {z}192,168,1,254,{}", "PORT 192,168,1,254,{},7",
                 "PORT 192,168,1,254,{} ", "PORT  ,192,168,1,254,{}", "PORT 192.168.1.254,{}", "PORT 192,168,1,{}",
                 " PORT 192,168,1,254,{}", "NOOP\r\nPORT 192,168,1,254,{}", "PORT 192,168,1,256,{}", "PORT 192,168,1,254,{o}",
                 "PORT 192,168,1,{o},{}", "PORT -1,168,1,254,{}", "PORT 192, 168,1,254,{}", "PORT", "PORT ", "PORT x"):
        number += 1
        text = form.replace("{z}", "0" * 300).replace("{o}", "1" * 300).replace("{}", f"{number >> 8},{number & 255}")
        exchange([text.encode() + b"\r\n"])
    # Without an end; with a zero; split.
    exchange([b"PORT 192,168,1,254,7,7"])
    exchange([b"PORT 192,168,1,254,7,8\n"])
    exchange([b"PORT 192,168,1,254,,9\r\n"])
    exchange([[b"PO", b"RT 192,168,1,254,7,10\r\n"]])
    exchange([[b"PORT 192,168,1,254,7,1", b"1\r\n"]])
    exchange([[b"PORT 192,168,1,254,7,12", b"\r\n"]])
    # The same end again, and with the service's second port.
    exchange([b"PORT 192,168,1,254,7,13\r\n", b"PORT 192,168,1,254,7,13\r\n", b"PORT 192,168,1,254,7,14\r\n"])


def extended():
    """EPRT, with the forms of addresses."""
    family, other = ("2", "1") if lab.v6 else ("1", "2")
    addr = lab.here["CIP"]
    forms = [f"EPRT |{family}|{addr}|{{}}|", f"eprt |{family}|{addr}|{{}}|", f"EPRT   !{family}!{addr}!{{}}!",
             f"EPRT |{family}|{addr}|000{{}}|", f"EPRT {family}", f"EPRT |{family}|{addr}|{{}}", f"EPRT |{family}|{addr}|0|",
             f"EPRT |{family}|{addr}|65536|", f"EPRT |{family}|{addr}|{'1' * 300}|", f"EPRT |{other}|{addr}|{{}}|",
             "EPRT |||{}|", f"EPRT|{family}|{addr}|{{}}|", f"EPRT |{family}!{addr}|{{}}|", f"EPRT |{family}|{addr}x|{{}}|",
             f"EPRT |{family}||{{}}|", f"EPRT |{family}|{'1' * 300}|{{}}|", "EPRT \x7f1\x7f1.2.3.4\x7f{}\x7f", "EPRT |", "EPRT"]
    if lab.v6:
        forms += [f"EPRT |2|{addr}|{{}}|" for addr in (
            "2001:DB8:1:0:0:0:0:FE", "2001:0db8:0001:0000:0000:0000:0000:00fe", "2001:db8:1::0.0.0.254", "2001:db8:1:0:0::fe",
            "::1", "::", "2001:db8:1::2::3", "2001:db8:1:2:3:4:5:6:7", "2001:db8:1:2:3:4:5", "2001:db8:12345::1", ":1::2", "1::2:")]
    else:
        forms += [f"EPRT |1|{addr}|{{}}|" for addr in ("192.168.1", "192.168.1.254.1", "192.168.1.256", "192.168..254", "1.2.3.4:5")]
        forms += ["EPRT 111192.168.1.2541{}1"]
    for number, form in enumerate(forms, 3000):
        exchange([form.replace("{}", str(number)).encode("latin-1") + b"\r\n"])


def passive():
    """Requests for passive connections, with a reply that is the same for each."""
    rip = lab.here["RIP1"]
    if not lab.v6:
        number = 0xC350
        for command in (b"PASV\r\n", b"pasv\r\n", b"PASV \r\n", b"PASV\n", b"NOOP\r\nPASV\r\n", b"xPASV\r\n", [b"PA", b"SV\r\n"]):
            number += 1
            line = f"227 Entering Passive Mode ({rip.replace('.', ',')},{number >> 8},{number & 255}).\r\n"
            exchange([command], [line.encode()])
        number = 0xC360
        for form in ("227 Entering Passive Mode {}\r\n", "227 ({}", "227 (({})\r\n", "227 (0{})\r\n", "227 ({},9)\r\n",
                     "227-({})\r\n", "227\r\n", "150 x\r\n227 ({})\r\n", "227 (x{})\r\n", "227 ({z}{})\r\n", "227 (1.2.3.4)\r\n",
                     "227 (1,2,3,4,5)\r\n", "227 (1,2,3,4,5,256)\r\n", "227 (1,2,3,4,5,6)\r\n"):
            number += 1
            text = form.replace("{z}", "0" * 300).replace("{}", f"{rip.replace('.', ',')},{number >> 8},{number & 255}")
            exchange([b"PASV\r\n"], [text.encode()])
        exchange([b"PASV\r\n"], [[b"227 (10,1,1,11,", b"7,7)\r\n"], b"227 (10,1,1,11,7,8)\r\n"])
    number = 50100
    for command in (b"EPSV\r\n", b"epsv\r\n", b"EPSV 1\r\n", b"EPSV 2\r\n", b"EPSV 1", b"EPSV ALL\r\n", b"EPSV\n", b"EPSV  1\r\n",
                    b"EPSV 3\r\n", b"EPSV ALL\r\nPASV\r\n"):
        number += 1
        exchange([command], [f"229 Entering Extended Passive Mode (|||{number}|)\r\n".encode()])
    family = "2" if lab.v6 else "1"
    for form in ("229 (!!!{}!)\r\n", "229 (|||{}|", "229 (|||{}\r\n", "229 |||{}|\r\n", "229 (|||0|)\r\n", "229 (|||70000|)\r\n",
                 "229 (||{}|)\r\n", "229 (|||00000{}|)\r\n", f"229 (|{family}|{rip}|{{}}|)\r\n", f"229 (|{family}|{lab.here['RIP2']}|{{}}|)\r\n",
                 "229 (   {} )\r\n", "229 ((((|||{}|)\r\n", "227 (|||{}|)\r\n"):
        number += 1
        exchange([b"EPSV\r\n"], [form.replace("{}", str(number)).encode()])
    # Twice; a second reply; and a port that is known.
    exchange([b"EPSV\r\n"], [b"229 (|||50200|)\r\n", b"229 (|||50201|)\r\n"])
    exchange([b"EPSV\r\n"], [b"229 (|||50200|)\r\n"])
    # A request for a passive connection, then one that names an end.
    text = f"EPRT |{family}|{lab.here['CIP']}|4000|\r\n"
    exchange([b"EPSV\r\n", text.encode()], [b"229 (|||50202|)\r\n"])


def lengths():
    """The sequence numbers after replies that became longer and shorter, with large transfers in between."""
    session = Session()
    for number in (5, 50000, 7, 60000):
        if lab.v6:
            session.command(b"EPSV\r\n")
            line = b"229 (|2|%s|%05d|)\r\n" % (lab.here["RIP1"].encode(), number)
        else:
            session.command(b"PASV\r\n")
            line = b"227 (00010,1,1,011,%d,%d) and more text\r\n" % (number >> 8, number & 255)
        tell(f"length {number}", shown(session.reply(line)))
        many = b"x" * 100000
        for source, sink in ((session.server, session.client), (session.client, session.server)):
            source.setblocking(True)
            seen, sent = b"", 0
            while len(seen) < len(many):
                if sent < len(many):
                    sent += source.send(many[sent:sent + 10000])
                seen += sink.recv(65536)
            expect("many bytes", many, seen)
    session.close()


def lost():
    """A reply that is lost behind the director, and sent again."""
    session = Session()
    session.command(b"EPSV\r\n" if lab.v6 else b"PASV\r\n")
    rules = "table inet lost { chain in { type filter hook input priority 0; tcp sport 21 meta length > 80 counter drop; }; }"
    output("client", f"nft '{rules}'")
    end = b"|||50300|" if lab.v6 else b"10,1,1,11,196,124"
    session.server.sendall(b"22%d Entering Passive Mode (%s)\r\n" % (9 if lab.v6 else 7, end))
    wait_for("the loss", lambda: "counter packets 0 " not in output("client", "nft list table inet lost"))
    output("client", "nft delete table inet lost")
    again = session.client.recv(1000)
    after = session.reply(b"200 ok\r\n"), session.command(b"NOOP\r\n")
    session.close()
    # C lets it pass unchanged, of another length.
    if MODULE == "rust" or lab.v6:
        end = b"|||50300|" if lab.v6 else b"192,168,1,110,196,124"
        expect("the reply that was lost", b"22%d Entering Passive Mode (%s)\r\n" % (9 if lab.v6 else 7, end), again)
        expect("what follows", (b"200 ok\r\n", b"NOOP\r\n"), after)


run("modprobe ip_vs_ftp")
for family in (4, 6):
    lay_out(family)
    for part in ([] if lab.v6 else [commands4]) + [extended, passive, lengths, lost]:
        part()
agent.reset()
# Conns hold a reference to the module.
configure("director", ["sysctl -w net.ipv4.vs.expire_nodest_conn=1", "ipvsadm -C"])
wait_for("unloading", lambda: not subprocess.run("rmmod ip_vs_ftp", shell=True).returncode)
