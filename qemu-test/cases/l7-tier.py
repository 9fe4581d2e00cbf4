"""A tier of layer 7 behind a fwmark service, in place of KTCPVS: the director balances the ports 80 and 8000 of the VIP as
one service over nginx proxies, each of which chooses a web server by the URL."""
# Covers: src/hook src/service src/xmit

import re
import subprocess

import agent
from case import expect, observe, output, run, wait_for
from topology import NAT, build, configure, enter, inside

MARK = 7
FILES = "/tmp/l7-tier"
# The web servers on rs3 by the start of the URL.
SERVERS = {"/images/": 8081, "/api/": 8082, "/": 8083}
URLS = "/images/a.png", "/api/users", "/index.html", "/images/b.png", "/api/orders", "/about.html"
servers = []

COMMON = """
user root;
worker_processes 1;
daemon off;
pid {files}/{name}.pid;
error_log {files}/{name}.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {files}/{name}.body;
    proxy_temp_path {files}/{name}.proxy;
    fastcgi_temp_path {files}/{name}.fastcgi;
    uwsgi_temp_path {files}/{name}.uwsgi;
    scgi_temp_path {files}/{name}.scgi;
    keepalive_timeout 600;
    {servers}
}}
"""


def nginx(name, text):
    """Starts a web server or proxy on a machine."""
    config = f"{FILES}/{name}.conf"
    with open(config, "w") as f:
        f.write(COMMON.format(files=FILES, name=name, servers=text))
    command = ["nginx", "-e", f"{FILES}/{name}.log", "-c", config]
    servers.append(subprocess.Popen(command, preexec_fn=lambda: enter(name)))


def listen(port):
    return f"listen {port}; listen [::]:{port};"


def proxy(name, backend):
    """The locations of a proxy, which adds its name to answers, and the client's address to requests."""
    locations = "".join(
        f"location {path} {{ proxy_pass http://{backend}:{port}; proxy_set_header X-Forwarded-For $remote_addr;"
        f" add_header X-Proxy {name}; }}" for path, port in SERVERS.items())
    nginx(name, f"server {{ {listen(80)} {listen(8000)} {locations} }}")


def fetch(*urls, port=80, options=""):
    """Fetches URLs of the VIP on one connection; returns the proxy and the web server's answer for each."""
    vip = f"[{here['VIP']}]" if six else here["VIP"]
    lines = output("client", f"curl -s -g --max-time 20 {options} -w '%header{{x-proxy}}\\n' "
                   + " ".join(f"http://{vip}:{port}{url}" for url in urls))
    return re.sub(r"\n(rs\d)$", r" \1", lines, flags=re.M)


def up(name, port):
    with inside(name):
        return subprocess.run(["curl", "-s", "-o", "/dev/null", "--max-time", "2", f"http://127.0.0.1:{port}/"]).returncode == 0


def vs(command):
    configure("director", [f"ipvsadm {command}"])


def tell(label, text):
    observe(f"IPv{6 if six else 4} {label}", text)


def service(options):
    key = f"-f {MARK}" + (" -6" if six else "")
    vs(f"-A {key} -s rr {options}")
    for name in ("RIP1", "RIP2"):
        vs(f"-a {key} -r {f'[{here[name]}]:0' if six else here[name]} -m")
    return key


def tier():
    family = "ip6" if six else "ip"
    rule = f"{family} daddr {here['VIP']} tcp dport {{ 80, 8000 }} meta mark set {MARK}"
    configure("director", [f"nft 'table {family} marks {{ chain before {{ type filter hook prerouting priority mangle; {rule}; }}; }}'"])
    key = service("")
    # One request a connection: the director chooses the proxy in turn, the URL determines the web server.
    tell("one URL a connection", "\n".join(fetch(url) for url in URLS))
    tell("the other port", "\n".join(fetch(url, port=8000) for url in URLS))
    # All URLs on one connection: one proxy, and still the right web server for each.
    tell("one connection", fetch(*URLS))
    tell("one connection to the other port", fetch(*URLS, port=8000))
    tell("POST", fetch("/api/users", options="-d name=value"))
    # The proxy rs2 is drained, and comes back.
    rs2 = f"[{here['RIP2']}]:0" if six else here["RIP2"]
    vs(f"-e {key} -r {rs2} -m -w 0")
    tell("rs2 drained", "\n".join(fetch(url) for url in URLS))
    vs(f"-e {key} -r {rs2} -m -w 1")
    tell("rs2 is back", " ".join(sorted({fetch("/").split()[-1] for _ in range(4)})))
    vs("-C")
    # A client's connections to both ports go to one proxy.
    service("-p 300")
    names = [fetch(url, port=port).split()[-1] for url in URLS for port in (80, 8000)]
    tell("persistent", f"{len(names)} requests, {len(set(names))} proxy")
    tell("listing", "\n".join(output("director", "ipvsadm -Ln").split("\n")[3:4]))
    vs("-C")


agent.reset()
build(NAT.machines)
run(f"rm -rf {FILES} && mkdir {FILES}")
try:
    for six in (False, True):
        here = {name: pair[six] for name, pair in NAT.addresses.items()}
        if not six:
            nginx("rs3", "".join(f"server {{ {listen(port)} location / {{ return 200"
                                 f" \"$request_method $uri port {port} for $http_x_forwarded_for\\n\"; }} }}"
                                 for port in SERVERS.values()))
            for name in ("rs1", "rs2"):
                proxy(name, here["RIP3"])
            for name, port in ("rs1", 80), ("rs2", 80), ("rs3", 8081):
                wait_for(f"{name}'s server", lambda: up(name, port))
        tier()
finally:
    for server in servers:
        server.terminate()
    for server in servers:
        server.wait()
expect("servers", [0, 0, 0], [server.returncode for server in servers])
