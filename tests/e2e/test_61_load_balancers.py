"""PROXY protocol: behind a load balancer the visitor is who it says, and nobody else may say so."""

import json
import os
import shutil
import socket
import ssl
import struct
import subprocess

import pytest
from conftest import Own, sanitizer_words
from testenv import net
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.origin import Origin
from testenv.program import PATIENCE, Program, clean_env
from testenv.visitor import Raw
from testenv.wait import wait_until

HOST = f"app.{ZONE}"
BALANCER, VISITOR = "127.0.0.2", "127.0.0.9"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
HEADERS = 'adit_edge_proxy_headers_total{result="%s"}'

HAPROXY = """
global
    nbthread 1
defaults
    mode tcp
    timeout connect 20s
    timeout client 100s
    timeout server 100s
"""
LINK = """
listen {name}
    bind 127.0.0.1:{port}
    server edge 127.0.0.1:{to} {how} source {source}
"""


def v2(command, family, body=b""):
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack(">H", len(body)) + body


def v2_ipv4(source):
    return v2(1, 0x11, socket.inet_aton(source) + socket.inet_aton("127.0.0.1") + struct.pack(">HH", 1234, 443))


class Place:
    def __init__(self, folder):
        self.own, self.folder, self.origin = Own(folder), folder, Origin()
        self.edge = self.own.edge(settings=f"proxy-protocol-from: {BALANCER}/32\ntimeout-handshake: 3s\n")
        self.cli = self.own.cli(self.edge)
        self.tunnel = self.cli.create("place")
        self.cli.route(self.tunnel, HOST)
        self.config = write_config(folder / "config.yml", self.tunnel, [{"hostname": HOST, "service": self.origin.service}])
        self.ports = {name: net.free_port() for name in ("v1", "v2", "plain", "http", "tunnel")}
        links = {"v1": (self.edge.https, "send-proxy"), "v2": (self.edge.https, "send-proxy-v2 proxy-v2-options ssl,unique-id"),
                 "plain": (self.edge.https, ""), "http": (self.edge.http, "send-proxy-v2"),
                 "tunnel": (self.edge.tunnel, "send-proxy-v2")}  # fmt: skip
        (folder / "haproxy.cfg").write_text(HAPROXY + "".join(
            LINK.format(name=n, port=self.ports[n], to=to, how=how, source=BALANCER) for n, (to, how) in links.items()))  # fmt: skip
        binary = shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
        self.own.helpers.append(Program("haproxy", [binary, "-db", "-f", folder / "haproxy.cfg"], folder))
        for port in self.ports.values():
            wait_until(lambda port=port: socket.socket().connect_ex(("127.0.0.1", port)) == 0, "haproxy")
        self.own.connect(self.cli, self.tunnel, self.config)
        self.seen = []
        self.path = self.origin.on(self.handle)

    def handle(self, request):
        self.seen.append([request.all(name) for name in ("cf-connecting-ip", "x-forwarded-for")])
        request.reply(body=b"hello")

    def curl(self, *args):
        done = subprocess.run(["curl", "-sS", "--max-time", str(30 * PATIENCE), "--cacert", str(self.edge.ca), *map(str, args)],
                              capture_output=True, text=True, env=clean_env(), check=False)  # fmt: skip
        return done.returncode, done.stdout

    def through(self, name, *args):
        port = self.ports[name]
        return self.curl("--interface", VISITOR, "--connect-to", f"::127.0.0.1:{port}", *args, f"https://{HOST}{self.path}")

    def raw(self, header, source=BALANCER):
        """TLS behind a header of one's own."""
        sock = socket.create_connection(("127.0.0.1", self.edge.https), 30 * PATIENCE, (source, 0))
        for piece in header if isinstance(header, list) else [header]:
            sock.sendall(piece)
        context = ssl.create_default_context(cafile=str(self.edge.ca))
        return context.wrap_socket(sock, server_hostname=HOST)

    def ask(self, sock):
        sock.sendall(f"GET {self.path} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while data := sock.recv(65536):
            answer += data
        return answer

    def close(self):
        self.own.close()
        self.origin.close()
        assert not sanitizer_words()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    p = Place(tmp_path_factory.mktemp("balancers"))
    yield p
    p.close()


@pytest.mark.parametrize("http", ["--http1.1", "--http2"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_haproxy_tells_who_the_visitor_is(place, version, http):
    place.seen.clear()
    assert place.through(version, http) == (0, "hello")
    assert place.seen == [[[VISITOR], [VISITOR]]]
    place.edge.program.wait_log(rf" client={VISITOR} method=GET")


def test_the_port_that_redirects(place):
    port = place.ports["http"]
    code, out = place.curl("--interface", VISITOR, "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{port}/")
    assert (code, out) == (0, "301")


def test_curl_as_the_balancer(place):
    place.seen.clear()
    at = ["--connect-to", f"::127.0.0.1:{place.edge.https}", f"https://{HOST}{place.path}"]
    assert place.curl("--interface", BALANCER, "--haproxy-protocol", *at) == (0, "hello")
    assert place.seen == [[[BALANCER], [BALANCER]]]
    # Without the header it would be taken for the visitor; and nobody else may send one.
    assert place.curl("--interface", BALANCER, *at)[0] != 0
    assert place.curl("--haproxy-protocol", *at)[0] != 0
    assert place.curl(*at) == (0, "hello")
    assert place.seen[1:] == [[["127.0.0.1"], ["127.0.0.1"]]]


def test_a_balancer_without_a_header(place):
    before = place.edge.gauge(HEADERS % "bad")
    assert place.through("plain")[0] != 0
    assert place.edge.gauge(HEADERS % "bad") > before
    place.edge.program.wait_log(r"without the PROXY header that proxy-protocol-from asks for.* from=127\.0\.0\.2")


def test_a_connector_behind_a_balancer(place):
    connector = place.own.connect(place.cli, place.tunnel, place.config, name="balanced", protocol="http2", wait=1,
                                  args=["--edge", f"127.0.0.1:{place.ports['tunnel']}"])  # fmt: skip
    wait_until(lambda: place.edge.gauge("adit_edge_tunnel_connections") > 4, "a connector through haproxy", 30 * PATIENCE)
    info = json.loads(place.cli.check("tunnel", "info", "--output", "json", place.tunnel.id))
    assert "127.0.0.1" in {c["origin_ip"] for one in info["conns"] for c in one["conns"]}
    connector.stop()
    place.own.connectors.remove(connector)


@pytest.mark.parametrize("header, shown", [
    (v2_ipv4("198.51.100.7"), "198.51.100.7"),
    (v2(1, 0x21, socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes(16) + struct.pack(">HH", 1, 2)), "2001:db8::7"),
    (b"PROXY TCP6 2001:db8::8 ::1 1234 443\r\n", "2001:db8::8"),
    (b"PROXY UNKNOWN\r\n", BALANCER),
    (v2(0, 0), BALANCER),
    (v2(1, 0x31, bytes(216)), BALANCER),
    ([bytes([b]) for b in v2_ipv4("198.51.100.8")], "198.51.100.8"),
    ([bytes([b]) for b in b"PROXY TCP4 198.51.100.9 1.1.1.1 1 1\r\n"], "198.51.100.9"),
], ids=["v2", "v2-ipv6", "v1-ipv6", "v1-unknown", "v2-local", "v2-unix", "v2-bytes", "v1-bytes"])  # fmt: skip
def test_headers(place, header, shown):
    place.seen.clear()
    sock = place.raw(header)
    assert place.ask(sock).endswith(b"hello")
    sock.close()
    assert place.seen == [[[shown], [shown]]]


@pytest.mark.parametrize("header", [b"", v2(1, 0x11, b"123"), v2(1, 0x11, bytes(5000)), b"PROXY " + b"x" * 200, SIGNATURE])
def test_what_is_no_header_ends_the_connection(place, header):
    """What never comes whole does so at the deadline."""
    with pytest.raises((ssl.SSLError, ConnectionError)):
        place.raw(header)
    place.edge.wait_idle()


def test_a_header_from_anybody_else_is_no_tls(place):
    with pytest.raises((ssl.SSLError, ConnectionError)):
        place.raw(v2_ipv4("198.51.100.7"), "127.0.0.3")
    sock = Raw(place.edge, HOST)
    sock.request("GET", place.path)
    assert sock.read().status == 200
    sock.close()
