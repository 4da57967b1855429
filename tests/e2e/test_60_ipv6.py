"""IPv6 from end to end: listeners, what services and logs are told, connectors, ports, command lines."""

import json
import re
import socket
import ssl

import pytest
from conftest import Own
from testenv import net
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.origin import Origin, TcpService
from testenv.program import PATIENCE
from testenv.visitor import Raw
from testenv.wait import exactly, wait_until

HOST = f"app.{ZONE}"


class Six:
    """An edge that listens on [::1] alone, but for its metrics."""

    def __init__(self, folder):
        self.own, self.folder = Own(folder), folder
        self.origin, self.tcp = Origin(), TcpService()
        self.edge = self.own.edge(control="::1", start=False, settings='ports-allow: "12000-31999"\nports-bind: ["0.0.0.0", "::"]\n')
        path = self.edge.data / "edge.yml"
        text = re.sub(r'^(https|http|tunnel): "127.0.0.1:', r'\1: "[::1]:', path.read_text(), flags=re.MULTILINE)
        path.write_text(text)
        self.edge.start()
        self.cli = self.own.cli(self.edge)
        self.tunnel = self.cli.create("six")
        self.cli.route(self.tunnel, HOST)
        # A service that has IPv6 only.
        self.service = socket.create_server(("::1", 0), family=socket.AF_INET6)
        self.config = write_config(folder / "config.yml", self.tunnel, [{"hostname": HOST, "service": self.origin.service}],
                                   **{"warp-routing": {"allow": ["127.0.0.0/8", "::1/128"]}})  # fmt: skip

    def connect(self, protocol):
        return self.own.connect(self.cli, self.tunnel, self.config, name=f"connector-{protocol}", protocol=protocol)

    def visitor(self, alpn="http/1.1"):
        context = ssl.create_default_context(cafile=str(self.edge.ca))
        context.set_alpn_protocols([alpn])
        sock = socket.create_connection(("::1", self.edge.https), 30 * PATIENCE)
        raw = Raw.__new__(Raw)
        raw.sock, raw.host = context.wrap_socket(sock, server_hostname=HOST), HOST
        raw.reader = raw.sock.makefile("rb")
        return raw

    def close(self):
        self.own.close()
        self.origin.close()
        self.tcp.close()
        self.service.close()


@pytest.fixture
def six(tmp_path):
    place = Six(tmp_path)
    yield place
    place.close()


@pytest.mark.parametrize("protocol", ["http2", "quic"])
def test_from_end_to_end(six, protocol):
    """The command line asks https://[::1]:PORT, the connector dials [::1], and everybody is told of ::1."""
    assert f"[::1]:{six.edge.tunnel}" in six.edge.command("check").stdout
    six.connect(protocol)
    seen = {}

    def handler(request):
        seen.update({name: request.all(name) for name in ("cf-connecting-ip", "x-forwarded-for")})
        request.reply(body=b"hello")

    visitor = six.visitor()
    visitor.request("GET", six.origin.on(handler))
    assert visitor.read().body == b"hello"
    assert seen == {"cf-connecting-ip": ["::1"], "x-forwarded-for": ["::1"]}
    visitor.close()
    six.edge.program.wait_log(r" client=::1 method=GET")
    info = json.loads(six.cli.check("tunnel", "info", "--output", "json", six.tunnel.id))
    assert {c["origin_ip"] for one in info["conns"] for c in one["conns"]} == {"::1"}


def test_plain_http_redirects(six):
    sock = socket.create_connection(("::1", six.edge.http), 30 * PATIENCE)
    sock.sendall(f"GET /a HTTP/1.1\r\nHost: [::1]:{six.edge.http}\r\nConnection: close\r\n\r\n".encode())
    answer = b"".join(iter(lambda: sock.recv(65536), b""))
    assert f"Location: https://[::1]:{six.edge.https}/a\r\n".lower() in answer.decode().lower(), answer
    sock.close()


def test_ports_on_every_address_of_both_families(six):
    """0.0.0.0 and :: beside each other, TCP and UDP: the one has IPv4, the other the rest."""
    six.connect("quic")
    port = net.free_port()
    at = f"127.0.0.1:{six.tcp.port}"
    six.cli.check("tunnel", "route", "port", six.tunnel.id, f"tcp://:{port}", at)
    six.cli.check("tunnel", "route", "port", six.tunnel.id, f"udp://:{port}", at)
    states = {p["protocol"]: p["state"] for p in json.loads(six.edge.command("port", "list", "--json").stdout)}
    assert {s["status"] for s in states.values()} == {"open"}, states
    six.tcp.handler = lambda sock: sock.sendall(b"hello")
    for family, ip in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as sock:
            sock.settimeout(30 * PATIENCE)
            sock.connect((ip, port))
            assert exactly(sock, 5) == b"hello", ip
    wait_until(lambda: six.edge.gauge("adit_edge_port_connections") == 0, "no connection", 30 * PATIENCE)


def test_ipv4_visitors_of_a_dual_listener_are_ipv4(own, tmp_path):
    """They arrive as ::ffff:127.0.0.1, and nobody may see that."""
    edge = own.edge(start=False)
    path = edge.data / "edge.yml"
    path.write_text(re.sub(r'^https: "127.0.0.1:', 'https: ":', path.read_text(), flags=re.MULTILINE))
    edge.start()
    origin = Origin()
    cli = own.cli(edge)
    tunnel = cli.create("dual")
    cli.route(tunnel, HOST)
    own.connect(cli, tunnel, write_config(tmp_path / "c.yml", tunnel, [{"hostname": HOST, "service": origin.service}]))
    seen = []

    def handler(request):
        seen.append((request.get("cf-connecting-ip"), request.get("x-forwarded-for")))
        request.reply(body=b"hello")

    visitor = Raw(edge, HOST)
    visitor.request("GET", origin.on(handler), [("X-Forwarded-For", "::ffff:192.0.2.1")])
    assert visitor.read().body == b"hello"
    assert seen == [("127.0.0.1", "::ffff:192.0.2.1,127.0.0.1")] or seen == [("127.0.0.1", "::ffff:192.0.2.1, 127.0.0.1")]
    visitor.close()
    assert "::ffff:127.0.0.1" not in edge.program.text()
    origin.close()
