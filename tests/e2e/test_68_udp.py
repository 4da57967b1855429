"""UDP through a tunnel, from a public port of the edge to a service behind a connector: ours over both versions of
datagrams and by hostname, the stock one over both versions."""

import contextlib
import re
import select
import shutil
import socket
import struct
import sys
import threading
import time
import urllib.request

import pytest

from testenv import lab as labs, net
from testenv.connector import REGISTERED, write_config
from testenv.edge import ZONE
from testenv.program import ADIT, PATIENCE, Program, run
from testenv.visitor import Visitor
from testenv.wait import wait_until

from conftest import Own, need

SO_RCVBUFFORCE = 33  # no name in this Python
V3 = ("--features", "support_datagram_v3_2")
# How a connector is run, and what a port leads to.
WAYS = {
    "hostname": ("adit", (), "udp.example.com"),
    "hostname, v3": ("adit", V3, "udp.example.com"),
    "address, v2": ("adit", (), None),
    "address, v3": ("adit", V3, None),
    "stock, v2": ("stock", (), None),
    "stock, v3": ("stock", V3, None),
}


class UdpService:
    """Answers datagrams: `handler(data, peer)` returns the answer or None."""

    def __init__(self):
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.sock.bind(("127.0.0.1", 0))
        self.port = self.sock.getsockname()[1]
        self.forget()
        threading.Thread(target=self._serve, daemon=True).start()

    def forget(self):
        self.handler = lambda data, peer: data
        self.peers, self.got = [], []

    def _serve(self):
        while True:
            try:
                data, peer = self.sock.recvfrom(65536)
            except OSError:
                return
            if data == b"that was all" and peer[1] == self.port:
                return
            if peer not in self.peers:
                self.peers.append(peer)
            self.got.append(data)
            answer = self.handler(data, peer)
            if answer is not None:
                self.sock.sendto(answer, peer)

    def close(self):
        self.sock.sendto(b"that was all", ("127.0.0.1", self.port))
        self.sock.close()


def client(port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # A busy machine lets us wait for longer than the usual buffer lasts.
    with contextlib.suppress(OSError):
        s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
    s.connect(("127.0.0.1", port))
    s.settimeout(20)
    return s


def ask(sock, data, tries=20):
    """As a program over UDP does: again when no answer comes."""
    for _ in range(tries):
        sock.settimeout(1)
        try:
            sock.send(data)
            while (got := sock.recv(65536)) != data:
                pass
            return got
        except (TimeoutError, ConnectionRefusedError):
            continue
    raise AssertionError(f"no answer to {data[:20]}")


def metric(connector, name):
    with urllib.request.urlopen(f"http://{connector.metrics_address()}/metrics", timeout=20) as page:
        text = page.read().decode()
    return sum(int(float(n)) for n in re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", text, re.M))


class Place:
    def __init__(self, folder):
        self.folder, self.own = folder, Own(folder)
        self.edge = self.own.edge(settings='ports-allow: ["12000-60999"]\nports-bind: ["127.0.0.1"]\n')
        self.cli = self.own.cli(self.edge)
        self.service = UdpService()
        self.hosts, self.tunnels, self.connectors, self.ports = {"adit": self.cli}, {}, {}, {}

    def rules(self):
        at = f"udp://127.0.0.1:{self.service.port}"
        return [{"hostname": "udp.example.com", "service": at},
                {"hostname": "proxied.example.com", "service": at, "originRequest": {"proxyProtocol": "v2"}},
                {"hostname": "short.example.com", "service": at, "originRequest": {"idleTimeout": "1s"}},
                {"hostname": "dead.example.com", "service": f"udp://127.0.0.1:{net.free_port()}"}]  # fmt: skip

    def run(self, name, kind, *args, protocol="quic"):
        """A connector of a tunnel of its own, once."""
        if name not in self.tunnels:
            need(kind)
            tunnel = self.cli.create("udp-" + re.sub(r"\W+", "-", name))
            config = write_config(self.folder / f"{tunnel.name}.yml", tunnel, self.rules() if kind == "adit" else [],
                                  **{"warp-routing": {"allow": ["127.0.0.0/8"]}})  # fmt: skip
            if kind not in self.hosts:
                self.hosts[kind] = self.own.cli(self.edge, kind)
            self.connectors[name] = self.own.connect(self.hosts[kind], tunnel, config, args=args, protocol=protocol)
            self.tunnels[name] = (tunnel, config)
        return self.tunnels[name][0]

    def port(self, name, kind, args, target, *more, protocol="quic"):
        """A public UDP port that leads there."""
        tunnel = self.run(name, kind, *args, protocol=protocol)
        port = net.free_port()
        self.cli.check("tunnel", "route", "port", *more, tunnel.id, f"udp://:{port}",
                       target or f"127.0.0.1:{self.service.port}")  # fmt: skip
        return port

    def way(self, way):
        if way not in self.ports:
            kind, args, target = WAYS[way]
            self.ports[way] = self.port(f"{kind}{' v3' if args else ''}", kind, args, target)
        return self.ports[way]

    def connector(self, way):
        kind, args, _ = WAYS[way]
        return self.connectors[f"{kind}{' v3' if args else ''}"]

    def close(self):
        self.own.close()
        self.service.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    p = Place(tmp_path_factory.mktemp("udp"))
    yield p
    p.close()


@pytest.fixture
def service(place):
    place.service.forget()
    yield place.service
    place.service.forget()


@pytest.mark.parametrize("way", WAYS)
def test_there_and_back(place, service, way):
    port = place.way(way)
    before = metric(place.connector(way), "cloudflared_udp_total_(?:sessions|flows)")
    clients = [client(port) for _ in range(3)]
    for i, c in enumerate(clients):
        assert ask(c, b"hello %d" % i) == b"hello %d" % i
    # Each is another client to the service.
    assert len(service.peers) == 3
    for i, c in enumerate(clients):
        assert ask(c, b"again %d" % i) == b"again %d" % i
    assert len(service.peers) == 3
    for size in (1, 512, 1000, 1280):
        assert ask(clients[0], b"x" * size) == b"x" * size
    for c in clients:
        c.close()
    after = metric(place.connector(way), "cloudflared_udp_total_(?:sessions|flows)")
    assert after - before == 3


@pytest.mark.parametrize("way", WAYS)
def test_ten_thousand_and_none_is_lost(place, service, way):
    """Loopback loses nothing when it is paced, and so does the tunnel."""
    port, count, ahead = place.way(way), 10000, 32
    sock = client(port)
    ask(sock, b"first")
    got = set()
    for n in range(count):
        sock.send(struct.pack("!I", n) + bytes(200))
        while n + 1 - len(got) >= ahead:
            got.add(struct.unpack("!I", sock.recv(2000)[:4])[0])
    try:
        while len(got) < count:
            got.add(struct.unpack("!I", sock.recv(2000)[:4])[0])
    except TimeoutError:
        pass
    print(f"{way}: {count - len(got)} of {count} lost")
    sock.close()
    assert len(got) == count


def answer_dns(data, peer):
    """A record of type A with 192.0.2.53 for whatever is asked."""
    end = data.index(b"\0", 12) + 5
    return data[:2] + b"\x84\0\0\1\0\1\0\0\0\0" + data[12:end] + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\xc0\0\2\x35"


@pytest.mark.parametrize("way", ("hostname", "stock, v2"))
def test_dig(place, service, way):
    if not shutil.which("dig"):
        pytest.skip("no dig")
    service.handler = answer_dns
    done = run(["dig", "+short", "+tries=5", "@127.0.0.1", "-p", str(place.way(way)), "www.example.org", "A"])
    assert (done.returncode, done.stdout.strip()) == (0, "192.0.2.53"), done


def test_each_datagram_says_who_sent_it(place, service):
    service.handler = lambda data, peer: data[28:]
    sock = client(place.port("adit", "adit", (), "proxied.example.com"))
    assert ask(sock, b"one") == b"one" and ask(sock, b"two") == b"two"
    ip, port = sock.getsockname()
    for data in service.got:
        assert data[:16] == b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c", data
        assert (socket.inet_ntoa(data[16:20]), struct.unpack("!H", data[24:26])[0]) == (ip, port)
        assert struct.unpack("!H", data[26:28])[0] == service.port
    sock.close()


def test_larger_than_the_stock_wire_carries(place, service):
    """Between our own programs as much as the path takes; what is too large is dropped, and the flow goes on."""
    sock = client(place.way("hostname"))
    assert ask(sock, b"y" * 1380) == b"y" * 1380
    sock.send(b"z" * 2000)
    service.handler = lambda data, peer: b"w" * 2000 if data == b"big" else data
    sock.send(b"big")
    assert ask(sock, b"small") == b"small"
    assert b"z" * 2000 not in service.got
    connector = place.connector("hostname")
    connector.wait_log("Datagram of a service is too large for the tunnel")
    assert metric(connector, "cloudflared_udp_dropped_datagrams") > 0
    sock.close()


def test_refusals_are_told(place, service):
    sock = client(place.port("adit", "adit", (), "nobody.example.com"))
    adit = place.connectors["adit"]
    sock.send(b"x")
    adit.wait_log("UDP flow refused .*target=nobody.example.com")
    other = client(place.port("adit", "adit", (), "192.0.2.1:53"))
    other.send(b"x")
    adit.wait_log("UDP flow refused .*warp-routing.allow")
    dead = client(place.port("adit", "adit", (), "dead.example.com"))
    dead.send(b"x")
    adit.wait_log("UDP service is not reachable .*ECONNREFUSED")
    for s in (sock, other, dead):
        s.close()


def test_http_to_a_udp_service_says_what_it_is(place, service):
    visitor = Visitor(place.edge, "http1.1", place.folder)
    host = f"web.{ZONE}"
    own = place.cli.create("udp-web")
    config = write_config(place.folder / "web.yml", own, [{"hostname": host, "service": f"udp://127.0.0.1:{service.port}"}])
    place.cli.route(own, host)
    place.own.connect(place.cli, own, config, name="udp-web")
    got = visitor.fetch(host, "/")
    assert got.status == 502 and "speaks UDP" in got.body.decode(), got
    visitor.close()


def test_a_quiet_flow_ends(place, service):
    port = place.port("adit", "adit", (), "short.example.com")
    connector = place.connectors["adit"]
    sock = client(port)
    ask(sock, b"one")
    mark = connector.mark()
    connector.wait_log("UDP flow ended .*reason=timeout", since=mark)
    # The next datagram begins another.
    assert ask(sock, b"two") == b"two" and len(service.peers) == 2
    sock.close()


@pytest.mark.parametrize("way", ("hostname", "address, v2", "address, v3"))
def test_a_connector_that_leaves_takes_no_flow_with_it(place, service, way):
    """Two connectors; the one that carries the flow is told to stop. The client notices at most what was on its way."""
    kind, args, target = WAYS[way]
    name = f"two {way}"
    port = place.port(name, kind, args, target)
    tunnel, config = place.tunnels[name]
    leaver = place.connectors[name]
    sock = client(port)
    ask(sock, b"first")
    second = place.own.connect(place.cli, tunnel, config, name="second", args=args, protocol="quic")
    answered, lost, is_over = 0, 0, threading.Event()
    sock.settimeout(2 * PATIENCE)

    def stop():
        leaver.stop()
        is_over.set()

    stopper = threading.Thread(target=stop)
    deadline = time.monotonic() + 60 * PATIENCE
    n = after = 0
    while after < 50 and time.monotonic() < deadline:
        if n == 20:
            stopper.start()
        data = b"%d" % n
        sock.send(data)
        try:
            while sock.recv(100) != data:
                pass
            answered += 1
        except TimeoutError:
            lost += 1
        n += 1
        after += is_over.is_set()
        time.sleep(0.005)
    stopper.join()
    print(f"{way}: {lost} of {n} lost, {len(service.peers)} ports at the service")
    assert lost <= 2 and after == 50
    assert len(service.peers) >= 2
    assert metric(second, "cloudflared_udp_active_sessions") >= 1
    sock.close()


def test_over_http2_there_is_none(place, service):
    sock = client(place.port("adit over http2", "adit", (), "udp.example.com", protocol="http2"))
    for _ in range(3):
        sock.send(b"x")
    wait_until(lambda: place.edge.metrics().get('adit_edge_port_datagrams_dropped_total{reason="no_quic"}', 0) > 0,
               "the edge to count what it drops", 20 * PATIENCE)  # fmt: skip
    assert service.got == []
    sock.close()


# --- A bad line ----------------------------------------------------------------------------------------

ECHO = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
s.bind(("127.0.0.1", 5300))
print("up", flush=True)
got = 0
while True:
    data, peer = s.recvfrom(65536)
    got += len(data) == 200
    s.sendto(b"%d" % got if data == b"how many" else data, peer)
"""


@pytest.mark.slow
@pytest.mark.skipif(labs.why_no_line() is not None, reason=str(labs.why_no_line()))
@pytest.mark.parametrize(("loss", "protocol"), ((0, "v3"), (5, "v2")))
def test_loses_what_the_path_loses(own, tmp_path, loss, protocol):
    """10,000 datagrams, two each millisecond, and as many back, between two hosts: what is missing is what the line
    has swallowed. Nothing is sent again, nothing is late because of another."""
    count = 10000
    edge = own.edge(settings='ports-allow: ["12000-60999"]\nports-bind: ["127.0.0.1"]\n', start=False)
    path = edge.data / "edge.yml"
    path.write_text(re.sub(r"(?m)^tunnel: .*$", f'tunnel: ":{edge.tunnel}"', path.read_text()))
    edge.start()
    cli = own.cli(edge)
    tunnel = cli.create("far")
    config = write_config(tmp_path / "far.yml", tunnel, [{"hostname": "echo.example.com", "service": "udp://127.0.0.1:5300"}])
    lab = labs.Lab(tmp_path, line={"delay": 10})
    try:
        echo = Program("echo", lab.host([sys.executable, "-c", ECHO]), tmp_path)
        own.helpers.append(echo)
        echo.wait_log("up")
        argv = [ADIT, "--config", config, "tunnel", "--loglevel", "debug", "run", "--protocol", "quic",
                "--edge", f"{labs.OURS4}:{edge.tunnel}", *(V3 if protocol == "v3" else ()), tunnel.id]  # fmt: skip
        connector = Program("far", lab.host(argv), cli.home, cli.env())
        own.connectors.append(connector)
        connector.wait_log(REGISTERED, count=4)
        port = net.free_port()
        cli.check("tunnel", "route", "port", tunnel.id, f"udp://:{port}", "echo.example.com")
        sock = client(port)
        ask(sock, b"first")
        lab.line.set(loss=loss)
        got, due = set(), time.monotonic()
        sock.setblocking(False)
        for n in range(count):
            sock.send(struct.pack("!I", n) + bytes(196))
            due = max(due + 1 / 2000, time.monotonic() + 1 / 5000)  # who comes late does not catch up in a burst
            while (wait := due - time.monotonic()) > 0:
                select.select([sock], [], [], wait)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        got.add(sock.recv(2000)[:4])
        while select.select([sock], [], [], 3)[0]:
            got.add(sock.recv(2000)[:4])
        lab.line.set(loss=0)
        sock.settimeout(1)
        arrived = int(ask_for_number(sock))
        there, back = 100 * (1 - arrived / count), 100 * (1 - len(got) / arrived)
        print(f"UDP {protocol} over a line that loses {loss} %: {there:.2f} % lost there, {back:.2f} % back")
        if loss == 0:
            assert arrived == len(got) == count
        # Four standard deviations, and as much again for datagrams that share a packet.
        slack = 8 * (loss * (100 - loss) / count) ** 0.5
        assert abs(there - loss) <= slack and abs(back - loss) <= slack
        sock.close()
        connector.stop()
    finally:
        lab.close()


def ask_for_number(sock):
    for _ in range(20):
        sock.send(b"how many")
        with contextlib.suppress(TimeoutError):
            while not (got := sock.recv(2000)).isdigit():
                pass
            return got
    raise AssertionError("the service does not answer")
