"""TLS that is passed through: the certificate is the service's, and the edge sees no plaintext."""

import contextlib
import socket
import ssl
import subprocess

import pytest
from conftest import Own, sanitizer_words
from testenv.certs import OriginCerts
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.origin import Origin
from testenv.program import PATIENCE, clean_env
from testenv.visitor import Raw, Visitor
from testenv.wait import wait_until

HOST, OTHER, TCP = f"sealed.{ZONE}", f"app.{ZONE}", f"stream.{ZONE}"
CANARY = "canary-5d1f0e77"


class Place:
    def __init__(self, folder):
        self.own, self.folder = Own(folder), folder
        self.certs = OriginCerts(folder / "certs")
        self.certs.cert, self.certs.key = self.certs.issue(HOST, TCP)
        self.origin, self.plain = Origin(tls=self.certs.server()), Origin()
        self.edge = self.own.edge(settings="timeout-handshake: 5s\n")
        self.cli = self.own.cli(self.edge)
        self.tunnel = self.cli.create("place")
        for host in (HOST, OTHER, TCP):
            self.cli.route(self.tunnel, host)
        for host in (HOST, TCP):
            done = self.edge.command("route", "set", host, "passthrough=on")
            assert done.returncode == 0, done.stderr
        config = write_config(folder / "config.yml", self.tunnel, [
            {"hostname": HOST, "service": self.origin.service}, {"hostname": OTHER, "service": self.plain.service},
            {"hostname": TCP, "service": f"tcp://127.0.0.1:{self.origin.port}"}])  # fmt: skip
        self.own.connect(self.cli, self.tunnel, config)

    def curl(self, host, path, *args, data=None):
        argv = ["curl", "-sS", "--max-time", str(60 * PATIENCE), "--cacert", self.certs.ca, "--resolve",
                f"{host}:{self.edge.https}:127.0.0.1", *args, f"https://{host}:{self.edge.https}{path}"]  # fmt: skip
        if data is not None:
            argv += ["--data-binary", "@-"]
        done = subprocess.run(list(map(str, argv)), input=data, capture_output=True, env=clean_env(), check=False)
        return done.returncode, done.stdout

    def hello(self, host):
        """A client that has said its first word."""
        context = ssl.create_default_context(cafile=str(self.certs.ca))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname=host)
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.do_handshake()
        return tls, incoming, outgoing

    def finish(self, sock, tls, incoming, outgoing):
        while True:
            try:
                tls.do_handshake()
                sock.sendall(outgoing.read())
                return
            except ssl.SSLWantReadError:
                sock.sendall(outgoing.read())
                data = sock.recv(65536)
                assert data, "the connection ended"
                incoming.write(data)

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.edge.https), 30 * PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def close(self):
        self.own.close()
        self.origin.close()
        self.plain.close()
        assert not sanitizer_words()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    p = Place(tmp_path_factory.mktemp("passthrough"))
    yield p
    p.close()


@pytest.mark.parametrize("host", [HOST, TCP])
def test_the_service_ends_the_tls(place, host):
    """The edge's certificate would not do: curl trusts the service's alone."""
    assert place.curl(host, f"/echo?{CANARY}", "-H", f"X-Secret: {CANARY}", data=CANARY.encode()) == (0, CANARY.encode())
    assert CANARY not in place.edge.program.text()
    place.edge.program.wait_log(rf" method=TCP .*{host}|{host}.* method=TCP")


def test_others_are_served_as_ever(place):
    for version in ("http1.1", "http2"):
        visitor = Visitor(place.edge, version, place.folder)
        assert visitor.get(OTHER, "/echo", data=b"x" * 100_000).body == b"x" * 100_000
        visitor.close()


def test_a_large_body_both_ways(place):
    data = bytes(range(256)) * 4096 * 16
    assert place.curl(HOST, "/echo", data=data) == (0, data)


@pytest.mark.parametrize("size", [1, 100])
def test_a_hello_in_pieces(place, size):
    tls, incoming, outgoing = place.hello(HOST)
    hello = outgoing.read()
    with place.connect() as sock:
        for i in range(0, len(hello), size):
            sock.sendall(hello[i : i + size])
        place.finish(sock, tls, incoming, outgoing)
        assert tls.getpeercert()["subject"] == ((("commonName", HOST),),)


def test_a_hello_in_many_records(place):
    """What the service makes of it is its own business; that it gets there is ours."""
    _, _, outgoing = place.hello(HOST)
    body = outgoing.read()[5:]
    with place.connect() as sock:
        for i in range(0, len(body), 50):
            part = body[i : i + 50]
            sock.sendall(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part)
        assert sock.recv(1) in (b"\x16", b"\x15")


def test_garbage_and_hellos_without_a_name(place):
    with place.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert sock.recv(10)[:1] in (b"", b"\x15")
    context = ssl.create_default_context(cafile=str(place.edge.ca))
    context.check_hostname = False
    with place.connect() as sock, context.wrap_socket(sock) as tls:
        assert tls.version()


def test_a_hello_that_never_ends(place):
    _, _, outgoing = place.hello(HOST)
    with place.connect() as sock:
        sock.sendall(outgoing.read()[:50])
        assert sock.recv(1) == b""


def test_a_request_by_way_of_another_name(place):
    raw = Raw(place.edge, OTHER)
    raw.send(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
    assert raw.read().status == 421
    raw.close()


def test_each_direction_ends_by_itself(place):
    """Whoever has said all it will is still answered: by the flight of the service, and by its end after that."""
    with place.connect() as sock:
        sock.sendall(place.hello(TCP)[2].read())
        sock.shutdown(socket.SHUT_WR)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while data := sock.recv(65536):
                answer += data
        assert answer[:1] == b"\x16" and len(answer) > 500


def test_a_visitor_who_resets(place):
    with place.connect() as sock:
        sock.sendall(place.hello(HOST)[2].read())
        assert sock.recv(5)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    wait_until(lambda: place.edge.gauge("adit_edge_port_connections") == 0, "no connection", 60 * PATIENCE)


def test_switching_it_off_and_on(place):
    assert place.edge.command("route", "set", HOST, "passthrough=off").returncode == 0
    wait_until(lambda: place.curl(HOST, "/echo")[0] == 60, "the edge's own certificate", 60 * PATIENCE)
    assert place.edge.command("route", "set", HOST, "passthrough=on").returncode == 0
    wait_until(lambda: place.curl(HOST, "/echo")[0] == 0, "the service's certificate", 60 * PATIENCE)
    assert place.edge.command("zone", "set", ZONE, "passthrough=on").returncode != 0
