"""Public TCP and UDP ports of the edge, and the services behind tunnels that they lead to."""

import contextlib
import hashlib
import json
import random
import re
import shutil
import socket
import struct
import threading
import time
import urllib.error
import urllib.request

import pytest

from testenv import net, sshd
from testenv import stage as stages
from testenv.connector import write_config
from testenv.origin import Origin, TcpService
from testenv.path import Path
from testenv.program import ADIT_EDGE, PATIENCE, Program, run
from testenv.wait import exactly, wait_settled, wait_until

from conftest import Own, edges, need

NOBODY = "f4b2f4a0-7c10-4f8e-9d8c-111111111111"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"


def echo(sock):
    """What comes goes back; its end ends with a word of our own."""
    while data := sock.recv(65536):
        sock.sendall(data)
    sock.sendall(b"<end>")


def until_end(sock):
    got = b""
    while part := sock.recv(1 << 16):
        got += part
    return got


def failed(done, code, *texts):
    assert done.returncode == code, done
    for text in texts:
        assert text in done.stderr, (text, done.stderr)


KINDS = ("adit", "adit over http2", "stock", pytest.param("stock over quic", marks=pytest.mark.slow))


class UdpService:
    """A UDP port: each datagram goes back, upside down; `handler(data, address)` may say otherwise."""

    def __init__(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        self.handler, self.clients = None, set()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                data, client = self.socket.recvfrom(65536)
            except OSError:
                return
            self.clients.add(client)
            answer = self.handler(data) if self.handler else data[::-1]
            if answer is not None:
                self.socket.sendto(answer, client)

    def close(self):
        self.socket.close()


def name_of(kind):
    return "ports-" + kind.replace(" ", "-")


class Place:
    """An edge with public ports, and for each kind of connector a tunnel: `wires` is how a port may lead to the same
    service, by a hostname of the ingress rules or by its address."""

    def __init__(self, folder):
        self.folder = folder
        self.own = Own(folder)
        first = net.free_port()
        self.refused = first
        self.edge = self.own.edge(settings='ports-allow: ["12000-31999", "40000/udp"]\nports-bind: ["127.0.0.1"]\n')
        self.cli = self.own.cli(self.edge)
        self.service, self.udp = TcpService(), UdpService()
        self.service.handler = echo
        self.origin = Origin()
        self.tunnels, self.connectors, self.hosts = {}, {}, {"adit": self.cli}

    def tunnel(self, kind):
        """Connected at its first use: "adit", "adit over http2", "stock over quic"."""
        if kind not in self.tunnels:
            way, _, protocol = kind.partition(" over ")
            need(way)
            tunnel = self.cli.create(name_of(kind))
            tcp = f"tcp://127.0.0.1:{self.service.port}"
            rules = [{"hostname": "tcp.example.com", "service": tcp},
                     {"hostname": "web.example.com", "service": self.origin.service},
                     {"hostname": "down.example.com", "service": f"tcp://127.0.0.1:{net.free_port()}"}]  # fmt: skip
            if way == "adit":
                rules += [{"hostname": "udp.example.com", "service": f"udp://127.0.0.1:{self.udp.port}"}]
                rules += [{"hostname": "proxied.example.com", "service": tcp, "originRequest": {"proxyProtocol": "v2"}}]
                rules += [{**rules[-2], "hostname": "proxied-udp.example.com", "originRequest": {"proxyProtocol": "v2"}}]
            config = write_config(self.folder / f"{tunnel.name}.yml", tunnel, rules, **{"warp-routing": {"allow": ["127.0.0.0/8"]}})
            if way not in self.hosts:
                self.hosts[way] = self.own.cli(self.edge, way)
            self.connectors[kind] = self.own.connect(self.hosts[way], tunnel, config, protocol=protocol or None)
            self.tunnels[kind] = tunnel
        return self.tunnels[kind]

    def add(self, kind, service, *args, protocol="tcp", port=None):
        port = port or net.free_port()
        self.cli.check("tunnel", "route", "port", *args, self.tunnel(kind).id, f"{protocol}://:{port}", service)
        assert self.state(port, protocol)["status"] == "open"
        return port

    def target(self, wire):
        return "tcp.example.com" if wire == "hostname" else f"127.0.0.1:{self.service.port}"

    def list(self):
        return json.loads(self.edge.command("port", "list", "--json").stdout)

    def state(self, port, protocol="tcp"):
        return next(p["state"] for p in self.list() if (p["port"], p["protocol"]) == (port, protocol))

    def close(self):
        self.own.close()
        self.service.close()
        self.udp.close()
        self.origin.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    p = Place(tmp_path_factory.mktemp("ports"))
    yield p
    p.close()


@pytest.fixture
def service(place):
    place.service.handler = echo
    yield place.service
    place.service.handler = echo


def connect(port, host="127.0.0.1"):
    """The listener comes a moment after the answer that there is one."""

    def attempt():
        with contextlib.suppress(ConnectionRefusedError):
            return socket.create_connection((host, port), timeout=60)
        return None

    return wait_until(attempt, f"a listener on {port}")


def is_refused(port):
    """The reset may come before connect() has returned."""
    with contextlib.suppress(ConnectionResetError), connect(port) as s:
        assert s.recv(1) == b""


WIRES = ("hostname", "address")


# --- TCP -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("kind", KINDS)
def test_bytes_go_there_and_back(place, service, kind, wire):
    port = place.add(kind, place.target(wire))
    mark = place.edge.program.mark()
    with connect(port) as s:
        s.sendall(b"hello")
        assert exactly(s, 5) == b"hello"
        s.shutdown(socket.SHUT_WR)
        # A stock connector ends both directions when one has ended.
        assert until_end(s) == (b"<end>" if kind.startswith("adit") else b"")
    place.edge.wait_idle()
    wait_until(lambda: place.state(port)["connections"] == 0, "port without connections")
    assert place.state(port)["total"] == 1
    access = place.edge.program.wait_log(rf"request .*path=:{port} .*", since=mark)[0]
    assert "method=TCP" in access and "bytesIn=5 " in access and "client=127.0.0.1 " in access, access
    assert f"tunnel={name_of(kind)} " in access, access
    assert ("bytesOut=10 " if kind.startswith("adit") else "bytesOut=5 ") in access, access


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("kind", ("adit", "adit over http2", pytest.param("stock", marks=pytest.mark.slow)))
def test_much_goes_both_ways_at_once(place, service, kind, wire):
    size = 8 << 20
    data = random.Random(4711).randbytes(size)
    with connect(place.add(kind, place.target(wire))) as s:
        sender = threading.Thread(target=s.sendall, args=(data,))
        sender.start()
        got = exactly(s, size)
        sender.join()
    assert hashlib.sha256(got).digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("wire", WIRES)
def test_each_direction_ends_by_itself(place, service, wire):
    said, heard = threading.Event(), []

    def handler(sock):
        sock.sendall(b"last words")
        sock.shutdown(socket.SHUT_WR)
        said.wait(30)
        heard.append(until_end(sock))

    service.handler = handler
    with connect(place.add("adit", place.target(wire))) as s:
        assert until_end(s) == b"last words"
        said.set()
        s.sendall(b"x" * 300000)
        s.shutdown(socket.SHUT_WR)
        wait_until(lambda: heard, "what the visitor sent after the service's end")
    assert heard == [b"x" * 300000]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("kind", ("adit", "stock"))
def test_a_slow_visitor_gets_everything(place, service, kind, wire):
    """The service has long gone when the visitor begins to read."""
    size, gone = 3 << 20, threading.Event()
    data = random.Random(11).randbytes(size)

    def handler(sock):
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        gone.set()

    service.handler = handler
    with connect(place.add(kind, place.target(wire))) as s:
        s.settimeout(60)
        exactly(s, 1)
        gone.wait(3)
        assert until_end(s) == data[1:]


@pytest.mark.parametrize("wire", WIRES)
def test_a_visitor_that_leaves_and_a_service_that_breaks(place, service, wire):
    seen = []

    def wait_for_end(sock):
        try:
            seen.append(until_end(sock))
        except ConnectionResetError:
            seen.append("reset")

    service.handler = wait_for_end
    port = place.add("adit", place.target(wire))
    s = connect(port)
    s.sendall(b"abc")
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_until(lambda: place.state(port)["connections"] == 1, "the connection")
    s.close()
    wait_until(lambda: seen, "the end at the service")

    def break_off(sock):
        sock.recv(3)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    service.handler = break_off
    with connect(port) as s:
        s.sendall(b"abc")
        with pytest.raises(ConnectionResetError):
            until_end(s)


def test_a_connection_that_no_service_has_seen_goes_to_another_replica(place, service, tmp_path):
    """One replica's service is dead: nobody notices, and after a few tries it is left out."""
    tunnel = place.cli.create("pair")
    for name, target in (("dead", net.free_port()), ("alive", service.port)):
        rules = [{"hostname": "tcp.example.com", "service": f"tcp://127.0.0.1:{target}"}]
        config = write_config(tmp_path / f"{name}.yml", tunnel, rules)
        place.own.connect(place.cli, tunnel, config, name=name)
    port = net.free_port()
    place.cli.check("tunnel", "route", "port", tunnel.id, f"tcp://:{port}", "tcp.example.com")
    for _ in range(20):
        with connect(port) as s:
            s.sendall(b"hello")
            assert exactly(s, 5) == b"hello"
    place.edge.program.wait_log("a replica's service fails, others take its requests.*tcp.example.com")
    assert place.edge.metrics()["adit_edge_requests_retried_total"] >= 3


def test_many_connections(place, service):
    port = place.add("adit", "tcp.example.com")
    socks = [connect(port) for _ in range(60)]
    for i, s in enumerate(socks):
        s.sendall(b"%04d" % i)
    for i, s in enumerate(socks):
        assert exactly(s, 4) == b"%04d" % i
    assert place.state(port)["connections"] == 60
    for s in socks:
        s.close()
    place.edge.wait_idle()
    assert place.edge.metrics()["adit_edge_port_connections"] == 0


def test_no_more_connections_than_one_address_may_have(place, service):
    port = place.add("adit", "tcp.example.com")
    with contextlib.ExitStack() as stack:
        for _ in range(512):
            stack.enter_context(connect(port))
        wait_until(lambda: place.state(port)["connections"] == 512, "512 connections")
        is_refused(port)
        assert place.state(port)["refused"] == 1
    wait_until(lambda: place.state(port)["connections"] == 0, "no connection", 60)


def test_http_services_get_the_bytes_as_they_are(place):
    path = place.origin.on(lambda r: r.reply(200, [], b"from " + r.get("host").encode()))
    port = place.add("adit", "web.example.com")
    with connect(port) as s:
        s.sendall(f"GET {path} HTTP/1.1\r\nHost: whoever:99\r\n\r\n".encode())
        s.shutdown(socket.SHUT_WR)
        got = until_end(s)
    assert got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"from whoever:99"), got


def test_a_visitor_of_a_website_cannot_pretend_to_be_a_port(place, service):
    """Adit-Port is the edge's word alone: with it the connector would hand the bytes of a WebSocket over."""
    place.cli.route(place.tunnels.get("adit") or place.tunnel("adit"), "web.example.com")
    heads = []

    def handler(request):
        heads.append(request)
        request.reply(200, [], b"as HTTP")

    path = place.origin.on(handler)
    args = ["curl", "-sS", "--http1.1", *place.edge.curl_args("web.example.com"), "-H", "Adit-Port: tcp",
            "-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "-H", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "-H", "Sec-WebSocket-Version: 13", f"https://web.example.com:{place.edge.https}{path}"]  # fmt: skip
    assert run(args).stdout == "as HTTP"
    assert heads[0].get("adit-port") is None


@pytest.mark.parametrize("kind", ("adit", "stock"))
@pytest.mark.parametrize("wire", WIRES)
def test_the_service_sees_the_visitor_in_a_proxy_header(place, service, kind, wire):
    got = []

    def handler(sock):
        got.append(exactly(sock, 28 + 5))

    service.handler = handler
    port = place.add(kind, place.target(wire), "--proxy-protocol", "v2")
    with connect(port) as s:
        mine = s.getsockname()
        s.sendall(b"hello")
        wait_until(lambda: got, "the bytes")
    ip = socket.inet_aton("127.0.0.1")
    assert got[0] == b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + ip + ip + struct.pack(">HH", mine[1], port) + b"hello"


def test_one_proxy_header_is_enough(place, service):
    """The route has one, and so has the rule."""
    got = []
    service.handler = lambda sock: got.append(until_end(sock))
    for args, size in (((), 28), (("--proxy-protocol", "v2"), 28)):
        got.clear()
        with connect(place.add("adit", "proxied.example.com", *args)) as s:
            s.sendall(b"x")
            s.shutdown(socket.SHUT_WR)
            wait_until(lambda: got, "the bytes")
        assert got[0].count(b"QUIT") == 1 and len(got[0]) == size + 1


@pytest.mark.parametrize("kind", ("adit", "stock"))
def test_a_service_that_is_down_or_no_stream(place, kind):
    for host, word in (("down.example.com", "reached no service"), ("nobody.example.com", "takes no stream|reached no service")):
        mark = place.edge.program.mark()
        is_refused(place.add(kind, host))
        place.edge.program.wait_log(word, since=mark)


def test_a_tunnel_without_connectors(place):
    tunnel = place.cli.create("asleep")
    port = net.free_port()
    place.cli.check("tunnel", "route", "port", "asleep", f"tcp://:{port}", "tcp.example.com")
    mark = place.edge.program.mark()
    is_refused(port)
    place.edge.program.wait_log("reached no service.*no connector of its tunnel", since=mark)
    assert place.cli.run("tunnel", "delete", tunnel.id).returncode == 0
    assert not [p for p in place.list() if p["port"] == port]
    wait_until(lambda: not listens(port), "the port to be closed")


@pytest.mark.skipif(bool(stages.have("sshd", "ssh", "ssh-keygen")), reason="no OpenSSH here")
@pytest.mark.parametrize("kind", ("adit", pytest.param("stock", marks=pytest.mark.slow)))
def test_ssh(place, kind, tmp_path):
    server = sshd.start(tmp_path / "sshd")
    try:
        tunnel = place.cli.create(f"ssh-{kind}")
        rules = [{"hostname": "ssh.example.com", "service": f"ssh://127.0.0.1:{server.port}"}]
        need(kind)
        host = place.cli if kind == "adit" else place.own.cli(place.edge, kind, tmp_path)
        place.own.connect(host, tunnel, write_config(tmp_path / "ssh.yml", tunnel, rules))
        port = net.free_port()
        place.cli.check("tunnel", "route", "port", tunnel.name, f"tcp://:{port}", "ssh.example.com")
        connect(port).close()
        ssh = ["ssh", *server.options(), "-p", str(port), f"{server.user}@127.0.0.1"]
        done = run([*ssh, "cat; echo over; exit 3"], input="through the port\n", seconds=60)
        assert (done.returncode, done.stdout) == (3, "through the port\nover\n"), done
    finally:
        server.program.kill()


# --- UDP -----------------------------------------------------------------------------------------------


QUIC_KINDS = ("adit", "stock over quic")


@pytest.fixture
def udp(place):
    yield place.udp
    place.udp.handler = None


def udp_target(place, wire):
    return "udp.example.com" if wire == "hostname" else f"127.0.0.1:{place.udp.port}"


def udp_client(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(20)
    s.connect(("127.0.0.1", port))
    return s


def ask(s, data, answer=None, tries=10):
    """A datagram may be lost on the way, and the first one may come before the port is open. The answer to one that was
    given up may still come: it is not taken for this one's."""
    wanted = data[::-1] if answer is None else answer
    s.settimeout(2 * PATIENCE)
    for _ in range(tries):
        try:
            s.send(data)
            while s.recv(65536) != wanted:
                pass
            return wanted
        except TimeoutError:
            pass
        except ConnectionRefusedError:
            time.sleep(0.1)  # until it is open
    raise AssertionError(f"no answer to {data[:20]}")


@pytest.mark.parametrize(("kind", "wire"), [("adit", "hostname"), ("adit", "address"), ("stock over quic", "address")])
def test_datagrams_go_there_and_back(place, udp, kind, wire):
    port = place.add(kind, udp_target(place, wire), protocol="udp")
    mark = place.edge.program.mark()
    with udp_client(port) as one, udp_client(port) as two:
        assert ask(one, b"hello") == b"olleh"
        assert ask(two, b"abc" * 300) == b"cba" * 300
        assert ask(one, b"again") == b"niaga"
        assert place.state(port, "udp")["flows"] == 2
    # The service tells its clients apart; the visitor's socket hears from the port alone.
    assert len(udp.clients) >= 2
    place.cli.check("tunnel", "route", "port", "delete", f"udp://:{port}")
    line = place.edge.program.wait_log(rf"request .*path=:{port} .*", since=mark)[0]
    assert "method=UDP" in line and "client=127.0.0.1 " in line, line


@pytest.mark.parametrize("wire", WIRES)
def test_every_datagram_begins_with_a_proxy_header(place, udp, wire):
    got = []
    udp.handler = lambda data: got.append(data) or b"ok"
    port = place.add("adit", udp_target(place, wire), "--proxy-protocol", "v2", protocol="udp")
    ip = socket.inet_aton("127.0.0.1")
    with udp_client(port) as s:
        assert ask(s, b"one", b"ok") and ask(s, b"two", b"ok")
        head = b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c" + ip + ip + struct.pack(">HH", s.getsockname()[1], port)
    assert got[-1] == head + b"two" and got[0] == head + b"one"


def test_one_proxy_header_is_enough_for_a_datagram(place, udp):
    """The route has one, and so has the rule; without the route's the rule's counts."""
    got = []
    udp.handler = lambda data: got.append(data) or b"ok"
    for args, family in ((("--proxy-protocol", "v2"), b"\x21\x12"), ((), b"\x21\x12")):
        port = place.add("adit", "proxied-udp.example.com", *args, protocol="udp")
        with udp_client(port) as s:
            got.clear()
            assert ask(s, b"x", b"ok")
            assert got[-1].count(b"QUIT") == 1 and len(got[-1]) == 29, got
            assert got[-1][12:14] == family and got[-1][24:26] == struct.pack(">H", s.getsockname()[1])


@pytest.mark.parametrize("wire", WIRES)
def test_datagrams_of_no_bytes_go_there_and_back(place, udp, wire):
    got = []
    udp.handler = lambda data: got.append(data) or b""
    with udp_client(place.add("adit", udp_target(place, wire), protocol="udp")) as s:
        ask(s, b"x", b"")
        ask(s, b"", b"")
    assert got[-1] == b""


def test_flows_cross_to_the_worker_that_has_the_session(place, udp, tmp_path):
    """One connection, two workers: the kernel spreads clients over both."""
    tunnel = place.cli.create("narrow")
    rules = [{"hostname": "udp.example.com", "service": f"udp://127.0.0.1:{udp.port}"}]
    config = write_config(tmp_path / "narrow.yml", tunnel, rules, **{"ha-connections": 1})
    connector = place.own.connect(place.cli, tunnel, config, wait=1, protocol="quic")
    port = net.free_port()
    place.cli.check("tunnel", "route", "port", tunnel.id, f"udp://:{port}", "udp.example.com")
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(udp_client(port)) for _ in range(16)]
        for i, s in enumerate(socks):
            assert ask(s, b"%03d" % i) == (b"%03d" % i)[::-1]
        for i, s in enumerate(socks):
            s.send(b"x%03d" % i)
        for i, s in enumerate(socks):
            s.settimeout(20 * PATIENCE)
            while s.recv(100) != (b"x%03d" % i)[::-1]:
                pass
        # The connector leaves, and with it the flows; another one comes, and they go on with that.
        connector.stop()
        place.own.connect(place.cli, tunnel, config, wait=1, protocol="quic")
        for i, s in enumerate(socks):
            assert ask(s, b"%03d" % i) == (b"%03d" % i)[::-1]
        assert place.state(port, "udp")["flows"] == 16
        mark = place.edge.program.mark()
        place.cli.check("tunnel", "route", "port", "delete", f"udp://:{port}")
        place.edge.program.wait_log(rf"request .*path=:{port} ", count=16, since=mark)


def test_http2_carries_no_udp_and_the_port_says_so(place, udp):
    port = place.add("adit over http2", udp_target(place, "hostname"), protocol="udp")
    with udp_client(port) as s:

        def said():
            s.send(b"x")
            return place.state(port, "udp")["error"]

        assert wait_until(said, "trouble") == "its tunnel has no connection over QUIC, and HTTP/2 carries no UDP"
    assert "no connection over QUIC" in place.cli.check("tunnel", "route", "port", "list")
    assert place.edge.metrics()['adit_edge_port_datagrams_dropped_total{reason="no_quic"}'] >= 1
    place.edge.program.wait_log(rf"its tunnel has no connection over QUIC.*port={port}")
    assert place.state(port, "udp")["flows"] == 0


def test_a_udp_service_that_is_not_there(place, udp):
    port = place.add("adit", "nobody.example.com", protocol="udp")
    with udp_client(port) as s:

        def refused():
            s.send(b"x")
            return place.edge.metrics()['adit_edge_port_datagrams_dropped_total{reason="refused"}'] >= 1

        wait_until(refused, "a drop")
    place.edge.program.wait_log(rf"A flow of a port reached no service.*port={port}")


@pytest.mark.skipif(bool(stages.have("dig", "unbound")), reason="no dig, or no unbound here")
@pytest.mark.parametrize(("kind", "wire"), [("adit", "hostname"), ("stock over quic", "address")])
def test_dns(place, kind, wire, tmp_path):
    """A real name server behind the tunnel, asked through a public UDP port."""
    at = net.free_port()
    zone = "".join(f'local-data: "host{i}.lab. A 192.0.2.{i}"\n' for i in range(1, 21))
    (tmp_path / "unbound.conf").write_text(
        f'server:\ninterface: 127.0.0.1\nport: {at}\nusername: ""\nchroot: ""\ndirectory: "{tmp_path}"\n'
        f'pidfile: ""\nuse-syslog: no\ndo-daemonize: no\nlocal-zone: "lab." static\n{zone}'
        f'local-data: "long.lab. TXT {" ".join(["x" * 200] * 4)}"\nremote-control:\ncontrol-enable: no\n'
    )
    server = Program("unbound", [shutil.which("unbound", path="/usr/sbin:/usr/bin:/sbin"), "-c", tmp_path / "unbound.conf"],
                     tmp_path)  # fmt: skip
    try:
        if wire == "hostname":
            tunnel = place.cli.create("names")
            rules = [{"hostname": "dns.example.com", "service": f"udp://127.0.0.1:{at}"}]
            place.own.connect(place.cli, tunnel, write_config(tmp_path / "dns.yml", tunnel, rules))
            port = net.free_port()
            place.cli.check("tunnel", "route", "port", tunnel.id, f"udp://:{port}", "dns.example.com")
        else:
            port = place.add(kind, f"127.0.0.1:{at}", protocol="udp")
        dig = ["dig", "+short", "+tries=5", "+timeout=3", "@127.0.0.1", "-p", str(port)]
        wait_until(lambda: run([*dig, "host1.lab", "A"], seconds=30).stdout == "192.0.2.1\n", "an answer", 30)
        for i in range(2, 21):
            assert run([*dig, f"host{i}.lab", "A"], seconds=30).stdout == f"192.0.2.{i}\n"
        # dig asks from another port nearly each time: so many flows.
        assert place.state(port, "udp")["flows"] >= 15
    finally:
        server.kill()


@pytest.mark.parametrize("wire", WIRES)
def test_ten_thousand_datagrams(place, udp, wire):
    """Over loopback nothing is lost on the path; what is, a full queue has dropped. A window of datagrams in flight
    keeps those empty."""
    count, window = 10000, 64
    seen = set()

    def handler(data):
        seen.add(data[:4])
        return data

    udp.handler = handler
    port = place.add("adit", udp_target(place, wire), protocol="udp")
    with udp_client(port) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        ask(s, b"first", b"first")
        back = set()
        for at in range(0, count, window):
            part = [struct.pack(">I", i) for i in range(at, min(at + window, count))]
            for number in part:
                s.send(number + b"x" * 500)
            s.settimeout(20 * PATIENCE)
            while not back.issuperset(part):
                back.add(s.recv(65536)[:4])
    seen.discard(b"firs")
    back.discard(b"firs")
    assert (len(seen), len(back)) == (count, count)


class Lossy(Path):
    """Loses a share of the UDP packets, once told so, and counts those towards the connector."""

    def __init__(self, to):
        self.share, self.dice = 0, random.Random(4711)
        self.passed = self.lost = 0
        super().__init__(to)

    def _pass(self, key):
        self.udp = self.dice.random() >= self.share
        super()._pass(key)
        if key.data is not None and self.share:
            self.passed += self.udp
            self.lost += not self.udp


@pytest.mark.slow
def test_what_the_path_loses_is_lost_and_no_more(own, udp, tmp_path):
    """10,000 datagrams over a path that loses one packet in twenty: nothing is sent again, nothing waits behind a gap."""
    count, seen = 10000, set()
    edge = own.edge(settings='ports-allow: ["12000-31999"]\nports-bind: ["127.0.0.1"]\n')
    cli = own.cli(edge)
    tunnel, path, port = cli.create("lossy"), Lossy(edge.tunnel), net.free_port()
    config = write_config(tmp_path / "lossy.yml", tunnel, [{"hostname": "udp.example.com", "service": f"udp://127.0.0.1:{udp.port}"}])
    own.connect(cli, tunnel, config, protocol="quic", args=("--edge", f"127.0.0.1:{path.port}"))
    cli.check("tunnel", "route", "port", tunnel.id, f"udp://:{port}", "udp.example.com")
    with udp_client(port) as s:
        ask(s, b"first")
        udp.handler = lambda data: seen.add(data[:4])
        path.share = 0.05
        for i in range(count):
            s.send(struct.pack(">I", i) + b"x" * 1000)
            if i % 10 == 9:
                time.sleep(0.006)  # the rate, not a wait: 1.5 MB/s
        wait_settled(lambda: len(seen))
    loss, of_path = 1 - len(seen) / count, path.lost / (path.lost + path.passed)
    # A sender that is faster than a lossy path takes it (or than a busy machine) fills the queue: that is counted.
    drops = sum(n for name, n in edge.metrics().items() if "port_datagrams_dropped" in name) / count
    print(f"the path lost {of_path:.4f}, the port {loss:.4f}, of which {drops:.4f} had no room")
    path.share = 0
    assert abs(loss - drops - of_path) < 0.01 and drops < 0.1, (loss, of_path, drops)
    for connector in own.connectors:
        connector.stop()
    path.close()


# --- who may have what ---------------------------------------------------------------------------------


def listens(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


def test_ports_are_added_listed_and_deleted(place):
    tunnel, port = place.tunnel("adit"), net.free_port()
    done = place.cli.run("tunnel", "route", "port", "--comment", "the lab", tunnel.name, f"tcp://:{port}", "TCP.example.com")
    assert (done.returncode, done.stdout) == (
        0, f"Successfully routed TCP port {port} of the edge to tcp.example.com over tunnel {tunnel.id}\n")  # fmt: skip
    rows = place.cli.check("tunnel", "route", "port", "list").splitlines()
    assert re.fullmatch(r"ID +PORT +SERVICE +TUNNEL +PROXY +STATUS +COMMENT +CREATED *", rows[0])
    row = next(r for r in rows if f"tcp://:{port} " in r)
    assert re.match(rf"({UUID}) +tcp://:{port} +tcp.example.com +ports-adit +- +open +the lab +\d{{4}}-", row), row
    said = next(p for p in json.loads(place.cli.check("tunnel", "route", "port", "list", "-o", "json")) if p["port"] == port)
    assert list(said) == ["id", "protocol", "port", "service", "tunnel_id", "tunnel_name", "proxy_protocol", "comment",
                          "created_at", "status", "error"]  # fmt: skip
    assert f"{port}/tcp" in place.edge.command("port", "list").stdout
    status = json.loads(place.edge.command("status", "--json").stdout)["edge"]
    assert status["ports_open"] >= 1 and status["ports_failed"] == 0
    wait_until(lambda: listens(port), "the port")
    done = place.cli.run("tunnel", "route", "port", "delete", f"tcp://:{port}")
    assert (done.returncode, done.stdout) == (0, f"Successfully deleted the port with ID {said['id']}\n")
    wait_until(lambda: not listens(port), "the port to be closed")
    failed(place.cli.run("tunnel", "route", "port", "delete", said["id"]), 1, "code: 1020")
    failed(place.cli.run("tunnel", "route", "port", "delete", f"tcp://:{port}"), 1, "no tunnel of this account has the port")


def test_what_is_refused(place):
    name, cli = place.tunnel("adit").name, place.cli
    route = ("tunnel", "route", "port")
    failed(cli.run(*route, name, "tcp://:2222"), 255, "expects the format")
    failed(cli.run(*route, name, "tcp://:99999", "a.example.com"), 1, "is no public port: write tcp://:2222")
    failed(cli.run(*route, name, "http://:80", "a.example.com"), 1, "is no public port")
    failed(cli.run(*route, name, "tcp://:12001", "a.example.com:22"), 1, "a hostname of the tunnel's ingress rules, without a port")
    failed(cli.run(*route, name, "tcp://:12001", "10.0.0.5"), 1, "needs a port")
    failed(cli.run(*route, name, "tcp://:12001", "*.example.com"), 1, "one hostname")
    failed(cli.run(*route, name, "tcp://:12001", "management.argotunnel.com"), 1, "belongs to the edge itself")
    failed(cli.run(*route, "--proxy-protocol", "v1", name, "tcp://:12001", "a.example.com"), 1, 'proxy_protocol must be "v2"')
    failed(cli.run(*route, name, "tcp://:22", "a.example.com"), 1, "the port 22/tcp is not among those", "12000-31999, 40000/udp")
    failed(cli.run(*route, name, "tcp://:40000", "a.example.com"), 1, "the port 40000/tcp is not among those")
    failed(cli.run(*route, "nobody", "tcp://:12001", "a.example.com"), 1, "Invalid tunnel")
    failed(cli.run(*route, NOBODY, "tcp://:12001", "a.example.com"), 1, "there is no tunnel")
    port = place.add("adit", "tcp.example.com")
    failed(cli.run(*route, name, f"tcp://:{port}", "a.example.com"), 1, f"the port {port}/tcp of this edge is taken")


def test_an_edge_without_public_ports_says_how_to_have_some(own):
    cli = own.cli(own.edge())
    cli.create("t")
    failed(cli.run("tunnel", "route", "port", "t", "tcp://:2222", "a.example.com"), 1,
           "this edge has no public ports for tunnels", "ports-allow: ['2222/tcp']")  # fmt: skip


def test_two_accounts_cannot_have_one_port(place, tmp_path):
    """The second account is written where an administrator of several would have written it."""
    import sqlite3

    port = place.add("adit", "tcp.example.com")
    other, token = "b" * 32, "a-token-of-another-account"
    digest = token_hash(token)
    with sqlite3.connect(place.edge.data / "db/adit.db", timeout=30) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(accounts)")]
        db.execute(f"INSERT INTO accounts ({', '.join(columns)}) SELECT "
                   f"{', '.join('?' if c == 'id' else c for c in columns)} FROM accounts LIMIT 1", (other,))  # fmt: skip
        columns = [row[1] for row in db.execute("PRAGMA table_info(tokens)")]
        new = {"hash": digest, "account": other, "id": NOBODY}
        wanted = ", ".join("?" if c in new else c for c in columns)
        db.execute(f"INSERT INTO tokens ({', '.join(columns)}) SELECT {wanted} FROM tokens LIMIT 1",
                   [new[c] for c in columns if c in new])  # fmt: skip
    db.close()

    def ask(method, path, body=None):
        request = urllib.request.Request(f"{place.edge.api_url}/accounts/{other}{path}", method=method,
                                         data=json.dumps(body).encode() if body is not None else None,
                                         headers={"Authorization": f"Bearer {token}"})  # fmt: skip
        context = __import__("ssl").create_default_context(cafile=place.edge.ca)
        try:
            with urllib.request.urlopen(request, timeout=30, context=context) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as e:
            return e.code, json.load(e)

    secret = __import__("base64").b64encode(b"s" * 32).decode()
    status, made = ask("POST", "/cfd_tunnel", {"name": "theirs", "tunnel_secret": secret})
    assert status == 200, made
    theirs = made["result"]["id"]
    body = {"protocol": "tcp", "port": port, "tunnel_id": theirs, "service": "x.example.com"}
    status, said = ask("POST", "/ports", body)
    assert (status, said["errors"][0]["code"]) == (409, 1106)
    assert ask("GET", "/ports")[1]["result"] == []
    mine = next(p["id"] for p in place.list() if p["port"] == port)
    assert ask("DELETE", f"/ports/{mine}")[0] == 404 and ask("GET", f"/ports/{mine}")[0] == 404
    # Nor is another account's tunnel a target.
    body = {**body, "port": net.free_port(), "tunnel_id": place.tunnel("adit").id}
    assert ask("POST", "/ports", body)[0] == 404
    body = {**body, "tunnel_id": theirs}
    status, said = ask("POST", "/ports", body)
    assert status == 200 and said["result"]["state"]["status"] == "open", said
    assert ask("DELETE", f"/ports/{said['result']['id']}")[0] == 200


def token_hash(token):
    return hashlib.blake2b(token.encode(), digest_size=32).digest()


@pytest.mark.slow
def test_a_port_that_is_in_use_is_said_and_tried_again(place, service):
    port = net.free_port()
    with socket.create_server(("127.0.0.1", port)):
        done = place.cli.run("tunnel", "route", "port", place.tunnel("adit").name, f"tcp://:{port}", "tcp.example.com")
        assert done.returncode == 0
        assert "The edge could not open it yet, and goes on trying: cannot listen: " in done.stderr, done
        assert "Address already in use" in place.state(port)["error"] and place.state(port)["status"] == "failed"
        assert "Address already in use" in place.cli.check("tunnel", "route", "port", "list")
        place.edge.program.wait_log(rf"a public port is not open.*port={port}")
    wait_until(lambda: place.state(port)["status"] == "open", "the port to be opened", 60)
    with connect(port) as s:
        s.sendall(b"x")
        assert s.recv(1) == b"x"


def test_a_successor_has_the_ports_without_a_gap(own, tmp_path):
    """`adit-edge run --takeover`: nobody is refused meanwhile, and who is connected stays so."""
    service, udp = TcpService(), UdpService()
    service.handler = echo
    edge = own.edge(settings='ports-allow: ["12000-31999"]\nports-bind: ["127.0.0.1"]\ntakeover-grace: 20s\n')
    cli, port = own.cli(edge), net.free_port()
    tunnel = cli.create("moving")
    rules = [{"hostname": "tcp.example.com", "service": f"tcp://127.0.0.1:{service.port}"},
             {"hostname": "udp.example.com", "service": f"udp://127.0.0.1:{udp.port}"}]  # fmt: skip
    own.connect(cli, tunnel, write_config(tmp_path / "moving.yml", tunnel, rules))
    cli.check("tunnel", "route", "port", tunnel.id, f"tcp://:{port}", "tcp.example.com")
    cli.check("tunnel", "route", "port", tunnel.id, f"udp://:{port}", "udp.example.com")
    served, answered, lost, failed_with, is_over = [], [], [], [], threading.Event()

    def visit():
        while not is_over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", port), timeout=60) as s:
                    s.sendall(b"hello")
                    served.append(exactly(s, 5))
            except (OSError, AssertionError) as e:
                failed_with.append(repr(e))

    def ask_on():
        with udp_client(port) as s:
            while not is_over.is_set():
                try:
                    ask(s, b"%06d" % len(answered), tries=1)
                    answered.append(1)
                except AssertionError:
                    lost.append(len(answered))

    with connect(port) as stays, udp_client(port) as asks:
        stays.sendall(b"before")
        assert exactly(stays, 6) == b"before"
        assert ask(asks, b"abc") == b"cba"
        visitor = threading.Thread(target=visit)
        asker = threading.Thread(target=ask_on)
        visitor.start()
        asker.start()
        old = edge.program
        new = Program("edge-2", [ADIT_EDGE, "run", "--data", edge.data, "--takeover"], edge.folder)
        new.wait_log("edge is ready")
        old.wait_log("a successor has taken over")
        edge.program = new
        count, replies = len(served), len(answered)
        wait_until(lambda: len(served) > count + 20, "visitors of the successor")
        wait_until(lambda: len(answered) > replies + 20, "answers of the successor")
        stays.sendall(b"after")
        assert exactly(stays, 5) == b"after"
        assert ask(asks, b"abc") == b"cba"
        is_over.set()
        visitor.join()
        asker.join()
    assert not failed_with, failed_with[:5]
    print(f"of {len(answered) + len(lost)} datagrams without an answer: {lost}")
    assert len(lost) <= 1, lost  # who asks one after the other loses what was under way
    assert json.loads(edge.command("status", "--json").stdout)["edge"]["ports_open"] == 2
    assert old.wait(60) == 0
    service.close()
    udp.close()
