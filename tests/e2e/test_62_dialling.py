"""How the connector reaches its edges: names, families, proxies, a network that changes, and no hot loop ever.

Most of it happens on a second host: a namespace with a cable to us, at whose end the edge listens.
"""

import json
import re
import shutil
import socket
import ssl
import time

import pytest

from testenv import lab as labs, net, proxies
from testenv.certs import OriginCerts
from testenv.connector import REGISTERED, write_config
from testenv.edge import ZONE, Edge
from testenv.program import ADIT, PATIENCE, Program, check, run
from testenv.visitor import Visitor
from testenv.wait import wait_until

HOST = f"app.{ZONE}"
PLACE = "Found the addresses of the edge|The addresses of the edge have changed"

pytestmark = pytest.mark.skipif(
    bool([p for p in ("ip", "ss", "nsenter", "unshare") if not shutil.which(p, path="/usr/sbin:/usr/bin:/sbin:/bin")]),
    reason="no iproute2 or util-linux",
)


class World:
    """One edge that listens everywhere, one tunnel that answers 204."""

    def __init__(self, own, folder, tunnel_on=":"):
        self.own, self.folder = own, folder
        self.edge = own.edge(start=False)
        self.listen(tunnel_on)
        self.edge.start()
        self.cli = own.cli(self.edge)
        self.tunnel = self.cli.create("far")
        self.cli.route(self.tunnel, HOST)
        self.config = write_config(folder / "config.yml", self.tunnel, [{"hostname": HOST, "service": "http_status:204"}])
        self.port = self.edge.tunnel

    def listen(self, at):
        path = self.edge.data / "edge.yml"
        text = re.sub(r'(?m)^tunnel: .*$', f'tunnel: "{at}{self.edge.tunnel}"', path.read_text())
        path.write_text(text)

    def connect(self, *edges, lab=None, name="connector", wait=4, env=None, args=(), drop_edges=False, program_args=()):
        """Runs `tunnel run` on the other host, or here without one."""
        if drop_edges:
            credentials = json.loads(self.tunnel.credentials.read_text())
            del credentials["Edge"]
            self.tunnel.credentials.chmod(0o600)
            self.tunnel.credentials.write_text(json.dumps(credentials))
            (self.cli.dot / "cert.pem").rename(self.folder / "cert.pem")
        argv = [ADIT, "--config", self.config, *program_args, "tunnel", "--loglevel", "debug", "--transport-loglevel",
                "debug", "--metrics", "127.0.0.1:0", "run"]  # fmt: skip
        for edge in edges:
            argv += ["--edge", edge]
        argv += [*args, self.tunnel.id]
        program = Program(name, lab.host(argv) if lab else argv, self.cli.home, self.cli.env(**(env or {})))
        self.own.connectors.append(program)
        if wait:
            program.wait_log(REGISTERED, count=wait)
        return program

    def status(self):
        visitor = Visitor(self.edge, "http1.1", self.folder)
        try:
            return visitor.get(HOST, "/").status
        finally:
            visitor.close()


@pytest.fixture
def lab(tmp_path):
    made = labs.Lab(tmp_path)
    yield made
    made.close()


@pytest.fixture
def world(lab, own, tmp_path):
    return World(own, tmp_path)


@pytest.fixture
def here(own, tmp_path):
    """Without another host."""
    return World(own, tmp_path)


def ips(connector, since=None):
    """Of the registrations: {connIndex: ip}, the last of each."""
    rows = re.findall(rf"{REGISTERED} .*?connIndex=(\d+).*? ip=(\S+)", connector.text(since))
    return {int(index): ip for index, ip in rows}


def tell(what, seconds):
    print(f"RECOVERY {what}: {seconds:.2f} s")


def recovery(connector, mark, count=4, seconds=30):
    """How long it takes from now until so many have registered since `mark`."""
    start = time.monotonic()
    connector.wait_log(REGISTERED, count=count, since=mark, seconds=seconds)
    return time.monotonic() - start


# --- addresses -------------------------------------------------------------------------------------------


def test_a_name_has_all_its_addresses_and_both_families(world, lab):
    dns = lab.serve_names({("edge.test", "A"): [labs.OURS4], ("edge.test", "AAAA"): [labs.OURS6]})
    connector = world.connect(f"edge.test:{world.port}", lab=lab)
    assert sorted(ips(connector).values()) == [labs.OURS4] * 2 + [labs.OURS6] * 2
    assert world.status() == 204
    assert {("edge.test", "A"), ("edge.test", "AAAA")} <= set(dns.asked)
    # What people see is the name, and the address beside it.
    assert re.search(rf"edge=edge\.test:{world.port}", connector.text())


def test_addresses_are_spread(world, lab):
    """Two edges of two addresses each: each connection is somewhere else."""
    lab.ip("addr", "add", "10.91.0.5/24", "dev", lab.ours)
    lab.ip("addr", "add", "fd91::5/64", "dev", lab.ours, "nodad")
    lab.serve_names({
        ("a.test", "A"): [labs.OURS4], ("a.test", "AAAA"): [labs.OURS6],
        ("b.test", "A"): ["10.91.0.5"], ("b.test", "AAAA"): ["fd91::5"],
    })  # fmt: skip
    connector = world.connect(f"a.test:{world.port}", f"b.test:{world.port}", lab=lab)
    assert sorted(ips(connector).values()) == sorted([labs.OURS4, labs.OURS6, "10.91.0.5", "fd91::5"])


@pytest.mark.parametrize(("version", "expected"), (("4", labs.OURS4), ("6", labs.OURS6)))
def test_edge_ip_version(world, lab, version, expected):
    lab.serve_names({("edge.test", "A"): [labs.OURS4], ("edge.test", "AAAA"): [labs.OURS6]})
    connector = world.connect(f"edge.test:{world.port}", lab=lab, args=("--edge-ip-version", version))
    assert set(ips(connector).values()) == {expected}


def test_an_ip_version_that_the_edge_has_not_is_named(world, lab):
    lab.serve_names({("edge.test", "A"): [labs.OURS4]})
    connector = world.connect(f"edge.test:{world.port}", lab=lab, args=("--edge-ip-version", "6"), wait=0)
    connector.wait_log(r"Unable to establish connection with the edge.*looking up edge\.test: ")


def test_ipv6_only(own, tmp_path):
    lab = labs.Lab(tmp_path, v4=False)
    try:
        world = World(own, tmp_path)
        lab.serve_names({("edge.test", "AAAA"): [labs.OURS6]}, at=labs.OURS6)
        connector = world.connect(f"edge.test:{world.port}", lab=lab)
        assert set(ips(connector).values()) == {labs.OURS6}
        assert world.status() == 204
        own.close()
        own.connectors.clear()
        own.edges.clear()
    finally:
        lab.close()


def test_a_dead_family_does_not_delay(world, lab):
    """IPv6 is announced and leads nowhere: nobody answers, and nobody says so."""
    lab.there("route", "add", "fd92::/64", "via", labs.OURS6)
    lab.ip("-6", "route", "add", "blackhole", "fd92::/64")
    lab.serve_names({("edge.test", "A"): [labs.OURS4], ("edge.test", "AAAA"): ["fd92::1"]})
    start = time.monotonic()
    connector = world.connect(f"edge.test:{world.port}", lab=lab)
    took = time.monotonic() - start
    assert set(ips(connector).values()) == {labs.OURS4}
    assert took < 3 * PATIENCE, took


def test_bind_address(world, lab):
    lab.there("addr", "add", "10.91.0.12/24", "dev", "eth0")
    lab.serve_names({("edge.test", "A"): [labs.OURS4], ("edge.test", "AAAA"): [labs.OURS6]})
    args = ("--edge-bind-address", "10.91.0.12", "--protocol", "http2")
    connector = world.connect(f"edge.test:{world.port}", lab=lab, args=args)
    # Its family is theirs.
    assert set(ips(connector).values()) == {labs.OURS4}
    assert lab.peers_of(world.port) == ["10.91.0.12"] * 4
    # The address goes and comes back.
    mark = connector.mark()
    lab.there("addr", "del", "10.91.0.12/24", "dev", "eth0")
    connector.wait_log(r"Unable to establish.*connect from 10\.91\.0\.12 to \S+: Cannot assign", since=mark)
    mark = connector.mark()
    lab.there("addr", "add", "10.91.0.12/24", "dev", "eth0")
    tell("bind address back", recovery(connector, mark))


def test_own_srv_records(world, lab):
    lab.serve_names({
        ("_adit-tunnel._tcp.edges.test", "SRV"): [f"10 5 {world.port} a.edges.test", f"10 5 {world.port} b.edges.test"],
        ("a.edges.test", "A"): [labs.OURS4], ("b.edges.test", "AAAA"): [labs.OURS6],
    })  # fmt: skip
    connector = world.connect("edges.test", lab=lab)
    assert sorted(ips(connector).values()) == [labs.OURS4] * 2 + [labs.OURS6] * 2


def test_a_domain_without_srv_records_is_a_host(world, lab):
    lab.serve_names({("edge.test", "A"): [labs.OURS4]})
    connector = world.connect("edge.test", lab=lab, wait=0)
    connector.wait_log(r"connect to 10\.91\.0\.1:7844: Connection refused")


@pytest.mark.parametrize("region", ("", "us"))
def test_stock_srv_records(world, lab, region):
    """Nothing names an edge: the stock service's name is asked."""
    name = f"_{region}-v2-origintunneld._tcp.argotunnel.com" if region else "_v2-origintunneld._tcp.argotunnel.com"
    lab.serve_names({
        (name, "SRV"): [f"1 1 {world.port} region1.test", f"2 1 {world.port} region2.test"],
        ("region1.test", "A"): [labs.OURS4], ("region2.test", "A"): [labs.OURS4],
    })  # fmt: skip
    args = ("--cacert", str(world.edge.ca), *(("--region", region) if region else ()))
    connector = world.connect(lab=lab, args=args, drop_edges=True)
    assert set(ips(connector).values()) == {labs.OURS4}
    assert "Neither --edge nor the credentials name an edge" in connector.text()


# --- proxies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ("env", "config", "flag", "HTTPS_PROXY"))
def test_connect_proxy(here, where):
    user = None if where == "flag" else "me:p%40ss"
    proxy = proxies.ConnectProxy(user="me:p@ss" if user else None, to=("127.0.0.1", here.port))
    url = f"http://{user + '@' if user else ''}127.0.0.1:{proxy.port}"
    env, args, edge = {}, (), "edge.invalid:7844"
    if where == "env":
        env = {"TUNNEL_EDGE_PROXY": url}
    elif where == "HTTPS_PROXY":
        env = {"HTTPS_PROXY": url}
    elif where == "flag":
        args = ("--edge-proxy", url)
    else:
        config = json.loads(here.config.read_text())
        here.config.write_text(json.dumps({**config, "edge-proxy": url}))
    connector = here.connect(edge, env=env, args=args)
    assert here.status() == 204
    # The proxy looks names up.
    assert len(proxy.heads) == 4 and all(h.startswith(f"CONNECT {edge} HTTP/1.1\r\n") for h in proxy.heads)
    assert "p@ss" not in connector.text() and "p%40ss" not in connector.text()
    assert f"proxy=http://127.0.0.1:{proxy.port}" in connector.text()
    # Nor does the local API tell it.
    address = re.search(r"Starting metrics server on (\S+)/metrics", connector.text())[1]
    shown = check(["curl", "-sS", f"http://{address}/diag/configuration"])
    assert "p%40ss" not in shown and "p@ss" not in shown
    probe = json.loads(check(["curl", "-sS", f"http://{address}/diag/probe"]))
    assert [edge["ok"] for edge in probe["edges"]] == [True], probe
    connector.stop()
    proxy.close()


def test_no_proxy_goes_directly(here):
    proxy = proxies.ConnectProxy(refuse="503 Never")
    url = f"http://127.0.0.1:{proxy.port}"
    # Loopback always does, and so does everything with "none".
    for name, env, args in (
        ("loopback", {"HTTPS_PROXY": url}, ()),
        ("listed", {"HTTPS_PROXY": url, "NO_PROXY": "localhost,127.0.0.0/8"}, ()),
        ("none", {"HTTPS_PROXY": url}, ("--edge-proxy", "none")),
    ):
        connector = here.connect(f"127.0.0.1:{here.port}", env=env, args=args, name=name)
        connector.stop()
    assert proxy.accepted == 0
    proxy.close()


def test_https_proxy(here, tmp_path):
    """TLS to the edge within TLS to the proxy."""
    certs = OriginCerts(tmp_path / "proxy-certs")
    cert, key = certs.issue("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    proxy = TlsConnectProxy(context, to=("127.0.0.1", here.port))
    env = {"TUNNEL_EDGE_PROXY": f"https://localhost:{proxy.port}", "SSL_CERT_FILE": str(certs.ca)}
    connector = here.connect("edge.invalid:7844", env=env)
    assert here.status() == 204
    connector.stop()
    proxy.close()


class TlsConnectProxy(proxies.ConnectProxy):
    """Python's TLS sockets are not for two threads: bytes go through a socket pair."""

    def __init__(self, context, **kwargs):
        self.context = context
        super().__init__(**kwargs)

    def _one(self, sock):
        import contextlib
        import select
        import threading

        with contextlib.suppress(OSError, ValueError):
            secure = self.context.wrap_socket(sock, server_side=True)
            mine, theirs = socket.socketpair()
            threading.Thread(target=lambda: self.carry_and_close(theirs), daemon=True).start()
            while True:
                ready = [secure] if secure.pending() else select.select([secure, mine], [], [])[0]
                for source, sink in ((secure, mine), (mine, secure)):
                    if source in ready:
                        data = source.recv(65536)
                        if not data:
                            secure.close()
                            mine.close()
                            return
                        sink.sendall(data)

    def carry_and_close(self, sock):
        with sock:
            self.carry(sock)


@pytest.mark.parametrize(("scheme", "kind"), (("socks5", 1), ("socks5h", 3)))
@pytest.mark.parametrize("user", (None, "me:pass-word"), ids=("open", "guarded"))
def test_socks_proxy(world, lab, scheme, kind, user):
    """socks5 looks names up itself, socks5h lets the proxy do it."""
    lab.serve_names({("edge.test", "A"): [labs.OURS4]} if kind == 1 else {})
    proxy = proxies.SocksProxy(at=labs.OURS4, user=user, to=("127.0.0.1", world.port))
    url = f"{scheme}://{user + '@' if user else ''}{labs.OURS4}:{proxy.port}"
    connector = world.connect(f"edge.test:{world.port}", lab=lab, env={"TUNNEL_EDGE_PROXY": url})
    assert world.status() == 204
    host = labs.OURS4 if kind == 1 else "edge.test"
    assert proxy.asked == [(kind, host, world.port)] * 4
    assert "pass-word" not in connector.text()
    connector.stop()
    proxy.close()


def test_ssh_as_a_socks_proxy(here, tmp_path):
    """A real one: ssh -D."""
    if not shutil.which("ssh") or not shutil.which("sshd", path="/usr/sbin:/usr/bin"):
        pytest.skip("no openssh")
    for name in ("host", "user"):
        check(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name])
    (tmp_path / "authorized").write_text((tmp_path / "user.pub").read_text())
    port, socks = net.free_port(), net.free_port()
    (tmp_path / "sshd_config").write_text(
        f"HostKey {tmp_path}/host\nAuthorizedKeysFile {tmp_path}/authorized\nStrictModes no\nUsePAM no\n"
        f"ListenAddress 127.0.0.1\nPort {port}\nPidFile none\n"
    )
    import pathlib

    pathlib.Path("/run/sshd").mkdir(exist_ok=True)
    sshd = Program("sshd", [shutil.which("sshd", path="/usr/sbin:/usr/bin"), "-D", "-e", "-f", tmp_path / "sshd_config"],
                   tmp_path)  # fmt: skip
    here.own.helpers.append(sshd)
    sshd.wait_log("Server listening")
    import getpass

    ssh = Program("ssh", ["ssh", "-N", "-D", f"127.0.0.1:{socks}", "-p", port, "-i", tmp_path / "user", "-o",
                          "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-F", "none",
                          f"{getpass.getuser()}@127.0.0.1"], tmp_path)  # fmt: skip
    here.own.helpers.append(ssh)

    def open_now():
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", socks)) == 0

    wait_until(open_now, "ssh -D that listens", 20 * PATIENCE)
    connector = here.connect(f"localhost:{here.port}", args=("--edge-proxy", f"socks5h://127.0.0.1:{socks}"))
    assert here.status() == 204
    connector.stop()


@pytest.mark.parametrize(
    ("make", "text"),
    (
        (lambda: proxies.ConnectProxy(user="a:b"), "refused CONNECT 127.0.0.1:7844: 407 Proxy Authentication Required"),
        (lambda: proxies.ConnectProxy(refuse="503 Busy"), "refused CONNECT 127.0.0.1:7844: 503 Service Unavailable"),
        (lambda: proxies.Hasty(), "it closed the connection"),
    ),
)
def test_what_a_proxy_says_is_told(here, make, text):
    proxy = make()
    url = f"http://127.0.0.1:{proxy.port}"
    connector = here.connect("127.0.0.1:7844", args=("--edge-proxy", url), wait=0)
    line = connector.wait_log(r"Unable to establish connection with the edge.*$")[0]
    assert f"the proxy {url}: " in line and text in line, line
    proxy.close()


@pytest.mark.parametrize(
    ("code", "user", "text"),
    ((2, None, "2 not allowed by its rules"), (5, None, "5 connection refused"), (0, "a:b", "wants a name and password")),
)
def test_what_a_socks_proxy_says_is_told(here, code, user, text):
    proxy = proxies.SocksProxy(code=code, user=user)
    connector = here.connect("127.0.0.1:7844", args=("--edge-proxy", f"socks5://127.0.0.1:{proxy.port}"), wait=0)
    line = connector.wait_log(r"Unable to establish connection with the edge.*$")[0]
    assert f"the proxy socks5://127.0.0.1:{proxy.port}: " in line and text in line, line
    proxy.close()


def test_a_mute_proxy_ends_within_the_dial_timeout(here):
    proxy = proxies.Mute()
    args = ("--edge-proxy", f"http://127.0.0.1:{proxy.port}", "--dial-edge-timeout", "1s")
    connector = here.connect("127.0.0.1:7844", args=args, wait=0)
    connector.wait_log(r"Unable to establish.*the proxy \S+: it did not answer in time", count=2, seconds=6)
    proxy.close()


def test_a_password_on_the_command_line_is_refused(here):
    done = run([ADIT, "tunnel", "--config", here.config, "run", "--edge-proxy", "http://me:secret@127.0.0.1:1"],
               env=here.cli.env())  # fmt: skip
    assert done.returncode == 1 and "everybody on this host can read a command line" in done.stderr
    assert "secret" not in done.stderr


# --- a network that changes ------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_cable_is_pulled_and_put_back(world, lab):
    connector = world.connect(f"{labs.OURS4}:{world.port}", lab=lab)
    mark = connector.mark()
    lab.pull()
    # It is noticed at once, not at the next ping: a link that is down is reason to ask.
    start = time.monotonic()
    connector.wait_log(r"Connection terminated", count=4, since=mark, seconds=10)
    tell("cable pulled, until noticed", time.monotonic() - start)
    time.sleep(max(0, 20 - (time.monotonic() - start)))  # the outage itself
    mark = connector.mark()
    lab.put_back()
    took = recovery(connector, mark)
    tell("cable put back after 20 s", took)
    assert took < 2 * PATIENCE
    assert world.status() == 204


def test_a_short_outage_costs_nothing(world, lab):
    """TCP sends again before the check ends: no connection is given up."""
    connector = world.connect(f"{labs.OURS4}:{world.port}", lab=lab)
    mark = connector.mark()
    lab.pull()
    time.sleep(1)  # the outage itself
    lab.put_back()
    wait_until(lambda: world.status() == 204, "an answer after the outage", 20 * PATIENCE)
    time.sleep(5)  # longer than a check takes
    assert "Lost connection" not in connector.text(mark)
    assert world.status() == 204


def test_the_address_changes_under_the_connector(world, lab):
    """Over HTTP/2. Over QUIC connections survive it (test_66_protocols.py)."""
    connector = world.connect(f"{labs.OURS4}:{world.port}", lab=lab, args=("--protocol", "http2"))
    mark = connector.mark()
    # With the first address of a network all others go, too.
    lab.there("addr", "del", f"{labs.THEIRS4}/24", "dev", "eth0")
    lab.there("addr", "replace", "10.91.0.22/24", "dev", "eth0")
    lab.there("route", "replace", "default", "via", labs.OURS4)
    took = recovery(connector, mark)
    tell("local address changed", took)
    assert took < 2 * PATIENCE
    assert "The local address of a connection is gone" in connector.text(mark)
    assert lab.peers_of(world.port).count("10.91.0.22") >= 4
    assert world.status() == 204


def test_another_way_out_appears(world, lab):
    """Booted without a network: the first address is used at once."""
    lab.there("addr", "flush", "dev", "eth0")
    connector = world.connect(f"{labs.OURS4}:{world.port}", lab=lab, wait=0)
    connector.wait_log(r"Unable to establish.*Network is unreachable", count=4)
    mark = connector.mark()
    lab.there("addr", "add", f"{labs.THEIRS4}/24", "dev", "eth0")
    took = recovery(connector, mark)
    tell("first address", took)
    assert took < 2 * PATIENCE


@pytest.mark.slow
def test_a_silent_outage(world, lab):
    """The way breaks somewhere else: nothing on this host changes."""
    connector = world.connect(f"{labs.OURS4}:{world.port}", lab=lab)
    mark = connector.mark()
    lab.ip("route", "add", "blackhole", f"{labs.THEIRS4}/32")
    start = time.monotonic()
    connector.wait_log(r"Connection terminated", count=4, since=mark, seconds=40)
    tell("silent outage, until noticed", time.monotonic() - start)
    time.sleep(max(0, 35 - (time.monotonic() - start)))  # the outage itself
    mark = connector.mark()
    lab.ip("route", "del", "blackhole", f"{labs.THEIRS4}/32")
    took = recovery(connector, mark)
    tell("silent outage of 35 s over", took)
    assert took < 6 * PATIENCE
    assert world.status() == 204


def test_the_edge_restarts(world, lab):
    connector = world.connect(f"{labs.OURS4}:{world.port}", lab=lab)
    mark = connector.mark()
    world.edge.kill()
    connector.wait_log(r"Unable to establish.*Connection refused", count=8, since=mark)
    mark = connector.mark()
    start = time.monotonic()
    world.edge.start()
    up = time.monotonic() - start
    took = recovery(connector, mark)
    tell(f"edge restarted (it took {up:.2f} s itself)", took)
    assert world.status() == 204


def test_the_edge_moves_to_another_address(world, lab):
    """Edge and DNS change; the connector has the new address from a look-up after the first failure."""
    lab.ip("addr", "add", "10.91.0.7/24", "dev", lab.ours)
    dns = lab.serve_names({("edge.test", "A"): [labs.OURS4]})
    connector = world.connect(f"edge.test:{world.port}", lab=lab)
    assert set(ips(connector).values()) == {labs.OURS4}
    mark = connector.mark()
    world.edge.stop()
    connector.wait_log(r"Unable to establish.*Connection refused", since=mark)
    dns.names[("edge.test", "A")] = ["10.91.0.7"]
    world.listen("10.91.0.7:")
    world.edge.start()
    mark = connector.mark()
    took = recovery(connector, mark)
    tell("edge moved in DNS", took)
    assert set(ips(connector, mark).values()) == {"10.91.0.7"}
    assert re.search(r"addresses of the edge have changed.*10\.91\.0\.7", connector.text())
    assert world.status() == 204
    assert took < 4 * PATIENCE


@pytest.mark.slow
def test_the_edge_moves_and_its_old_address_is_mute(world, lab):
    """The same with nobody there who could refuse."""
    lab.ip("addr", "add", "10.91.0.7/24", "dev", lab.ours)
    dns = lab.serve_names({("edge.test", "A"): [labs.OURS4]}, at="10.91.0.7")
    lab.resolv_conf.write_text("nameserver 10.91.0.7\noptions timeout:1 attempts:1\n")
    connector = world.connect(f"edge.test:{world.port}", lab=lab)
    mark = connector.mark()
    dns.names[("edge.test", "A")] = ["10.91.0.7"]
    # The other host keeps its neighbour's hardware address, we just do not feel meant any more.
    lab.ip("addr", "del", f"{labs.OURS4}/24", "dev", lab.ours)
    lab.ip("addr", "replace", "10.91.0.7/24", "dev", lab.ours)
    start = time.monotonic()
    connector.wait_log(r"Connection terminated", count=4, since=mark, seconds=40)
    tell("mute old address, until noticed", time.monotonic() - start)
    took = recovery(connector, mark, seconds=40)
    tell("mute old address, after that", took)
    assert took < 8 * PATIENCE


def test_a_dead_name_server_does_not_matter_while_the_edge_is_there(world, lab):
    dns = lab.serve_names({("edge.test", "A"): [labs.OURS4]})
    connector = world.connect(f"edge.test:{world.port}", lab=lab)
    dns.answers = False
    mark = connector.mark()
    world.edge.kill()
    world.edge.start()
    took = recovery(connector, mark)
    tell("edge restarted without DNS", took)
    assert took < 4 * PATIENCE


# --- no hot loop -----------------------------------------------------------------------------------------

WINDOW = 5  # seconds
# One connection; waits of 0.1 s (jitter makes it 0.05) that double up to 1.6 s make at most 9 attempts in 5 s.
MOST = 9


def attempts(connector, pattern, mark):
    return len(re.findall(pattern, connector.text(mark)))


def count_attempts(connector, pattern=r"Retrying connection"):
    """In a window that begins with the first failure."""
    connector.wait_log(pattern)
    time.sleep(WINDOW)  # the window
    return attempts(connector, pattern, None)


def one(world, *edges, **kwargs):
    kwargs["args"] = ("--ha-connections", "1", *kwargs.get("args", ()))
    return world.connect(*edges, wait=0, **kwargs)


def fake_edge(tmp_path, *names, carry=None):
    """TLS with a certificate of its own authority for these names; hangs up after the handshake."""
    certs = OriginCerts(tmp_path / "edge-certs")
    cert, key = certs.issue(*names)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return proxies.Listener(tls=context), certs.ca


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    ("refused", "hangs up", "after tls", "wrong name", "untrusted", "proxy refuses", "proxy is down", "dns fails",
     "dns is mute", "no route"),
)  # fmt: skip
def test_no_failure_is_a_hot_loop(world, lab, tmp_path, case):
    kwargs, most = {}, MOST
    closed = f"{labs.OURS4}:{net.free_port()}"
    if case == "refused":
        edges, error = [closed, closed], "Connection refused"
    elif case == "hangs up":
        server = proxies.Listener(at=labs.OURS4)
        edges, error = [f"{labs.OURS4}:{server.port}"], ""
    elif case in ("after tls", "wrong name", "untrusted"):
        name = "elsewhere.example" if case == "wrong name" else "h2.cftunnel.com"
        server, ca = fake_edge(tmp_path, name)
        relay = proxies.Relay(("127.0.0.1", server.port), at=labs.OURS4)
        edges, error = [f"{labs.OURS4}:{relay.port}"], ""
        if case != "untrusted":
            kwargs["args"] = ("--cacert", str(ca))
    elif case == "proxy refuses":
        server = proxies.ConnectProxy(at=labs.OURS4, refuse="403 No")
        edges, error = ["edge.test:7844"], "403 Forbidden"
        kwargs["args"] = ("--edge-proxy", f"http://{labs.OURS4}:{server.port}")
    elif case == "proxy is down":
        edges, error = ["edge.test:7844"], "Connection refused"
        kwargs["args"] = ("--edge-proxy", f"http://{closed}")
    elif case == "dns fails":
        lab.serve_names({})
        edges, error = ["edge.test:7844"], "looking up edge.test"
    elif case == "dns is mute":
        lab.serve_names({}).answers = False
        edges, error = ["edge.test:7844"], "looking up edge.test"
    else:
        edges, error = ["203.0.113.1:7844"], "unreachable"
        lab.there("route", "del", "default")
    connector = one(world, *edges, lab=lab, **kwargs)
    count = count_attempts(connector)
    text = connector.text()
    print(f"ATTEMPTS {case}: {count} in {WINDOW} s")
    assert 1 <= count <= most, text[-2000:]
    assert error in text
    assert len(text.splitlines()) < 40 + 12 * count
    assert connector.is_running()
    if lab.dns:
        assert len(lab.dns.asked) <= 4 * (count + 2)


@pytest.mark.slow
def test_an_edge_that_takes_and_drops_is_no_hot_loop(world, lab):
    """Registered, and gone 0.3 s later, again and again."""
    relay = proxies.Relay(("127.0.0.1", world.port), lifetime=0.3 * PATIENCE, at=labs.OURS4)
    connector = one(world, f"{labs.OURS4}:{relay.port}", lab=lab)
    count = count_attempts(connector)
    print(f"ATTEMPTS registered and dropped: {count} in {WINDOW} s")
    assert attempts(connector, REGISTERED, None) >= 2
    assert count <= MOST


@pytest.mark.slow
def test_a_refused_registration_is_asked_again_patiently(world, lab):
    """The tunnel is gone; the edge says so."""
    text = world.tunnel.credentials.read_text()
    check([ADIT, "tunnel", "delete", "-f", world.tunnel.id], env=world.cli.env())
    if not world.tunnel.credentials.exists():
        world.tunnel.credentials.write_text(text)
    connector = one(world, f"{labs.OURS4}:{world.port}", lab=lab)
    count = count_attempts(connector)
    print(f"ATTEMPTS refused registration: {count} in {WINDOW} s")
    assert count <= 4


@pytest.mark.slow
def test_a_link_that_flaps_is_no_hot_loop(world, lab):
    """Ten changes a second, and an edge that is not there."""
    connector = one(world, f"{labs.OURS4}:{net.free_port()}", lab=lab)
    connector.wait_log(r"Retrying connection")
    mark, end = connector.mark(), time.monotonic() + WINDOW
    while time.monotonic() < end:
        lab.there("addr", "add", "10.99.0.1/32", "dev", "eth0")
        lab.there("addr", "del", "10.99.0.1/32", "dev", "eth0")
    count = attempts(connector, "Retrying connection", mark)
    print(f"ATTEMPTS flapping: {count} in {WINDOW} s")
    # Once a second one is due at once, and the next after 0.2 to 0.4 s.
    assert count <= 4 * WINDOW
