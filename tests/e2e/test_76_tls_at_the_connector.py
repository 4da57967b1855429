"""TLS that is passed through and ends at the connector: by files that change, by ACME through the tunnel, and not at all."""

import contextlib
import hashlib
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import types

import h2.events
import pytest
from conftest import Own, sanitizer_words
from cryptography import x509
from testenv import h3, websocket
from testenv import pebble as pebbles
from testenv.certs import OriginCerts
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.origin import BLOCK, Origin, pattern_sha256
from testenv.program import ADIT_EDGE, PATIENCE, STOCK, Program, clean_env, run
from testenv.visitor import H2
from testenv.wait import wait_until

HOST, PLAIN, OTHER, PROVEN = f"ended.{ZONE}", f"plain.{ZONE}", f"app.{ZONE}", f"proven.{ZONE}"
CANARY = "canary-77c1b2a9"


class Place:
    def __init__(self, folder, **kwargs):
        self.own, self.folder = Own(folder), folder
        self.certs = OriginCerts(folder / "certs")
        self.cert, self.key = self.certs.issue(HOST)
        self.origin = Origin()
        self.edge = self.own.edge(**kwargs)
        self.cli = self.own.cli(self.edge)
        self.tunnel = self.cli.create("place")

    def connect(self, rules, **kwargs):
        self.config = write_config(self.folder / "config.yml", self.tunnel, rules)
        self.connector = self.own.connect(self.cli, self.tunnel, self.config, **kwargs)
        return self

    def route(self, *hosts):
        for host in hosts:
            self.cli.check("tunnel", "route", "dns", "--passthrough", self.tunnel.name, host)

    def curl(self, host, path, *args, data=None, ca=None):
        argv = ["curl", "-sS", "--max-time", str(60 * PATIENCE), "--cacert", ca or self.certs.ca, "--resolve",
                f"{host}:{self.edge.https}:127.0.0.1", *args, f"https://{host}:{self.edge.https}{path}"]  # fmt: skip
        if data is not None:
            argv += ["--data-binary", "@-"]
        return subprocess.run(list(map(str, argv)), input=data, capture_output=True, env=clean_env(), check=False)

    def open(self, host=HOST, alpn=None, ca=None):
        context = ssl.create_default_context(cafile=str(ca or self.certs.ca))
        if alpn:
            context.set_alpn_protocols([alpn])
        sock = socket.create_connection(("127.0.0.1", self.edge.https), 60 * PATIENCE)
        return context.wrap_socket(sock, server_hostname=host)

    def shown(self, host=HOST):
        """The serial number of the certificate that visitors see."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection(("127.0.0.1", self.edge.https), 20 * PATIENCE) as raw:
            with context.wrap_socket(raw, server_hostname=host) as tls:
                return x509.load_der_x509_certificate(tls.getpeercert(True))

    def close(self):
        self.own.close()
        self.origin.close()
        assert not sanitizer_words()


def serial(path):
    return x509.load_pem_x509_certificate(path.read_bytes()).serial_number


def get(tls, host, path="/echo", *fields):
    head = "".join(f"{field}\r\n" for field in fields)
    tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{head}\r\n".encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = tls.recv(65536)
        assert data, answer
        answer += data
    return int(answer.split()[1])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    p = Place(tmp_path_factory.mktemp("ends"))
    p.route(HOST, PLAIN)
    p.cli.route(p.tunnel, OTHER)
    p.connect([
        {"hostname": HOST, "path": "^/tea", "service": "http_status:418"},
        {"hostname": HOST, "service": p.origin.service, "tls": {"certificate": str(p.cert), "key": str(p.key)}},
        {"hostname": PLAIN, "service": p.origin.service}, {"hostname": OTHER, "service": p.origin.service}])  # fmt: skip
    yield p
    p.close()


@pytest.mark.parametrize("version", ["http1.1", "http2"])
def test_requests(place, version):
    """The certificate is the connector's alone: curl trusts no other."""
    path = place.origin.on(lambda r: r.reply(200, body=r.read_body()))
    done = place.curl(HOST, f"{path}?{CANARY}", f"--{version}", "-H", "Cf-Connecting-IP: 9.9.9.9", "-H",
                      "cf-access-authenticated-user-email: a@example.com", "-H", "X-Forwarded-For: 8.8.8.8", "-w",
                      "%{http_version}", data=CANARY.encode())  # fmt: skip
    assert done.stdout == CANARY.encode() + version[4:].removesuffix(".0").encode(), done
    [request] = place.origin.requests(path)
    assert request.get("cf-connecting-ip") == "127.0.0.1" and request.get("x-forwarded-proto") == "https"
    assert request.get("x-forwarded-for") == "8.8.8.8, 127.0.0.1"
    assert request.get("x-forwarded-host") == f"{HOST}:{place.edge.https}" and request.get("host").startswith(HOST)
    assert not request.get("cf-access-authenticated-user-email")
    assert CANARY not in place.edge.program.text()
    assert place.curl(HOST, "/tea", f"--{version}", "-o", "/dev/null", "-w", "%{http_code}").stdout == b"418"
    assert place.curl(HOST, "/echo", "--tls-max", "1.2", f"--{version}", data=b"x").stdout == b"x"


def test_openssl_and_gnutls(place):
    where = f"127.0.0.1:{place.edge.https}"
    argv = ["openssl", "s_client", "-connect", where, "-servername", HOST, "-CAfile", place.certs.ca, "-verify_return_error",
            "-quiet", "-no_ign_eof"]  # fmt: skip
    done = subprocess.run(list(map(str, argv)), input=b"", capture_output=True, timeout=60 * PATIENCE, check=False)
    assert b"verify error" not in done.stderr and done.returncode == 0, done.stderr
    if not shutil.which("gnutls-cli"):
        pytest.skip("no gnutls-cli: its half is not tried")
    argv = ["gnutls-cli", "-p", place.edge.https, "--sni-hostname", HOST, "--verify-hostname", HOST, "--x509cafile",
            place.certs.ca, "127.0.0.1"]  # fmt: skip
    done = subprocess.run(list(map(str, argv)), input=b"", capture_output=True, timeout=60 * PATIENCE, check=False)
    assert done.returncode == 0 and b"The certificate is trusted" in done.stdout, done.stdout


def test_a_websocket(place):
    path = place.origin.on(websocket.serve_echo)
    with place.open() as tls:
        key = websocket.new_key()
        tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())  # fmt: skip
        reader = tls.makefile("rb")
        assert b" 101 " in reader.readline()
        while reader.readline() != b"\r\n":
            pass
        for size in (1, 1000, 200_000):
            tls.sendall(websocket.frame(websocket.BINARY, BLOCK[:size], masked=True))
            assert websocket.read_message(reader) == (websocket.BINARY, BLOCK[:size])
        reader.close()


def test_a_websocket_over_http2(place):
    """RFC 8441: the connector offers it as the edge does."""
    path = place.origin.on(websocket.serve_echo)
    connection = H2(types.SimpleNamespace(https=place.edge.https, ca=place.certs.ca), HOST)
    connection.wait(h2.events.RemoteSettingsChanged)
    extra = [(":protocol", "websocket"), ("sec-websocket-version", "13")]
    stream = connection.headers(path, method="CONNECT", extra=extra, end=False)
    head = connection.wait(h2.events.ResponseReceived, stream)
    assert dict(head.headers)[":status"] == "200"
    connection.data(stream, websocket.frame(websocket.TEXT, b"over h2", masked=True))

    def echoed():
        connection.pump()
        return b"".join(e.data for e in connection.events if isinstance(e, h2.events.DataReceived))

    wait_until(lambda: echoed() == websocket.frame(websocket.TEXT, b"over h2", masked=False), "echo", 60 * PATIENCE)
    connection.close()


@pytest.mark.parametrize("version", ["http1.1", "http2"])
def test_64_mib_both_ways(place, version):
    size = 64 << 20
    path = place.origin.on(lambda r: r.reply(200, body=r.digest_body().encode()))
    body = BLOCK * 64
    assert place.curl(HOST, path, f"--{version}", data=body).stdout == pattern_sha256(size).encode()

    def send(r):
        r.head(200, [("Content-Length", size)])
        r.send_pattern(size)

    done = place.curl(HOST, place.origin.on(send), f"--{version}")
    assert hashlib.sha256(done.stdout).hexdigest() == pattern_sha256(size), done.stderr


def test_who_takes_nothing_stops_the_service(place):
    size, sent = 256 << 20, [0]

    def send(r):
        r.head(200, [("Content-Length", size)])
        with contextlib.suppress(Exception):
            r.send_pattern(size, sent)

    path = place.origin.on(send)
    with place.open() as tls:
        assert get(tls, HOST, path) == 200
        seen = [-1, 0]

        def stands():
            seen[:] = [seen[1], sent[0]]
            return seen[0] == seen[1] > 0

        wait_until(stands, "the service stops", 60 * PATIENCE)
        assert sent[0] < size / 2


def test_a_visitor_who_ends_its_side(place):
    """close_notify and FIN behind a request that is being answered."""
    with place.open() as tls:
        tls.sendall(f"POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc".encode())
        answer = b""
        while data := tls.recv(65536):
            answer += data
        assert answer.endswith(b"abc"), answer


def test_other_hosts_have_nothing_to_do_here(place):
    for host in (OTHER, "nobody.example", f"x.{HOST}"):
        with place.open() as tls:
            assert get(tls, host) == 421
    with place.open() as tls:
        assert get(tls, f"{HOST.upper()}:443") in (200, 404)


def test_a_service_that_speaks_no_tls(place):
    with pytest.raises((ssl.SSLError, OSError)):
        place.open(PLAIN)
    place.edge.program.wait_log(rf"WRN TLS (cannot be|that is) passed through.*{PLAIN}")
    place.connector.wait_log("The rule has no tls, and its service does not speak TLS")
    assert CANARY not in place.edge.program.text()


def test_a_large_hello(place):
    """As with the key shares of post-quantum groups: 1.7 KB more, and as large as is let in. The extension is unknown."""
    context = ssl.create_default_context(cafile=str(place.certs.ca))
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname=HOST)
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    hello = outgoing.read()
    for more in (1700, 12000, 40000):
        message = bytearray(hello[5:])
        at = 4 + 2 + 32
        at += 1 + message[at]
        at += 2 + int.from_bytes(message[at : at + 2], "big")
        at += 1 + message[at]
        extensions = int.from_bytes(message[at : at + 2], "big") + 4 + more
        message += b"\xfa\xfa" + more.to_bytes(2, "big") + bytes(more)
        message[at : at + 2] = extensions.to_bytes(2, "big")
        message[1:4] = (len(message) - 4).to_bytes(3, "big")
        with socket.create_connection(("127.0.0.1", place.edge.https), 60 * PATIENCE) as sock:
            for i in range(0, len(message), 16000):
                part = bytes(message[i : i + 16000])
                with contextlib.suppress(OSError):
                    sock.sendall(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part)
            with contextlib.suppress(ConnectionError):
                answer = sock.recv(5)
                # The largest is too large: whatever the edge's own TLS makes of it, it is no ServerHello of ours.
                assert answer[:1] == b"\x16" if more < 16000 else answer[:1] in (b"", b"\x15", b"\x16")


def test_a_new_certificate_is_taken(place):
    before = place.shown().serial_number
    assert before == serial(place.cert)
    with place.open() as tls:
        cert, key = place.cert.read_bytes(), place.key.read_bytes()
        place.certs.issue(HOST)
        assert (place.cert.read_bytes(), place.key.read_bytes()) != (cert, key)
        wait_until(lambda: place.shown().serial_number == serial(place.cert), "the new certificate", 60 * PATIENCE)
        assert get(tls, HOST) == 200
    good = place.cert.read_bytes()
    place.cert.write_text("no certificate\n")
    place.connector.wait_log("The new certificate is refused, the old one stays")
    assert place.shown().serial_number == x509.load_pem_x509_certificate(good).serial_number
    place.cert.write_bytes(good)


def test_the_edge_has_no_say(place):
    listed = place.edge.command("tunnel", "routes").stdout
    assert [line.split()[-1] for line in listed.splitlines() if HOST in line] == ["service"]
    assert [line.split()[-1] for line in listed.splitlines() if OTHER in line] == ["edge"]
    assert "passthrough" in place.edge.command("route", "show", HOST).stdout
    # Without --passthrough a route stays as it is; it can be taken back.
    place.cli.route(place.tunnel, HOST)
    assert place.shown().serial_number == serial(place.cert)
    place.cli.check("tunnel", "route", "dns", "--passthrough=false", place.tunnel.name, PLAIN)
    wait_until(lambda: place.shown(PLAIN).issuer.rfc4514_string().find("Adit") >= 0, "the edge's", 60 * PATIENCE)


@pytest.mark.skipif(bool(h3.why_not()), reason=str(h3.why_not()))
def test_quic_is_refused(place):
    """With the alert that says why, not with silence; libcurl takes any refusal for a restart, and tries until its time is over."""
    name = 'adit_edge_tls_failures_total{reason="unrecognized_name"}'
    visitor, before = h3.H3Visitor(place.edge), place.edge.metrics()[name]
    try:
        assert visitor.fetch(OTHER, "/echo").status == 200
        answer = visitor.fetch(HOST, "/echo", seconds=1)
        assert answer.status == 0 and answer.curl_exit, answer
        assert place.edge.metrics()[name] > before
    finally:
        visitor.close()


def test_a_takeover_of_the_edge(place):
    with place.open() as tls:
        assert get(tls, HOST) == 200
        old = place.edge.program
        new = Program("edge-2", [ADIT_EDGE, "run", "--data", place.edge.data, "--takeover"], place.edge.folder)
        new.wait_log(r"ready")
        place.edge.program = new
        assert get(tls, HOST) == 200
        wait_until(lambda: place.curl(HOST, "/echo", data=b"x").stdout == b"x", "service by the new edge", 60 * PATIENCE)
        assert get(tls, HOST) == 200
    assert old.wait() == 0, old.text()[-2000:]


def test_a_connector_that_stops(tmp_path):
    """Connections that are only kept for a further request are ended, and what is being answered is finished."""
    p = Place(tmp_path)
    try:
        p.route(HOST)
        tls = {"certificate": str(p.cert), "key": str(p.key)}
        p.connect([{"hostname": HOST, "service": p.origin.service, "tls": tls}], args=("--grace-period", "3m"))
        go = threading.Event()

        def late(request):
            go.wait(60 * PATIENCE)
            request.reply(200, body=b"late")

        path = p.origin.on(late)
        with p.open() as idle, p.open() as busy:
            assert get(idle, HOST) == 200
            busy.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            p.origin.wait_request(path)
            p.connector.signal(signal.SIGTERM)
            with contextlib.suppress(ssl.SSLEOFError, ConnectionError):
                while idle.recv(65536):
                    pass
            go.set()
            answer = b""
            while data := busy.recv(65536):
                answer += data
            assert answer.endswith(b"late"), answer
        assert p.connector.wait() == 0
        p.own.connectors.remove(p.connector)
    finally:
        p.close()


# --- Configurations that are refused --------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule, words",
    [
        ({"tls": {"certificate": "a", "key": "b", "kye": "c"}}, "unknown key kye in tls"),
        ({"tls": {"certificate": "a"}}, "either certificate and key, or acme"),
        ({"tls": {}}, "neither certificate and key nor acme"),
        ({"tls": "yes"}, "tls is not a map"),
        ({"tls": {"acme": {"directory": "https://ca/dir"}}}, "tls.acme.storage"),
        ({"tls": {"acme": {"directory": "http://ca/dir", "storage": "d"}}}, "tls.acme.directory"),
        ({"tls": {"acme": {"directory": "https://ca/dir", "storage": "d", "x": 1}}}, "unknown key x in tls.acme"),
        ({"tls": {"certificate": "a", "key": "b"}, "path": "/x"}, "a rule without path"),
        ({"tls": {"certificate": "a", "key": "b"}, "service": "tcp://127.0.0.1:1"}, "gets the visitor's TLS as it is"),
        ({"hostname": f"*.{ZONE}", "tls": {"acme": {"directory": "https://ca/dir", "storage": "d"}}}, "has to name it"),
    ],
)
def test_settings_that_cannot_be(place, tmp_path, rule, words):
    config = write_config(tmp_path / "config.yml", place.tunnel, [{"hostname": HOST, "service": "http://localhost:1", **rule}])
    done = run([place.cli.program, "--config", config, "tunnel", "ingress", "validate"], env=place.cli.env())
    assert done.returncode != 0 and words in done.stdout + done.stderr, done.stdout + done.stderr


# --- A stock connector -----------------------------------------------------------------------------------


@pytest.mark.skipif(not STOCK, reason="CLOUDFLARED is not set")
def test_a_stock_connector(tmp_path):
    p = Place(tmp_path)
    try:
        p.certs.cert, p.certs.key = p.cert, p.key
        sealed = Origin(tls=p.certs.server())
        p.route(HOST, PLAIN)
        cli = p.own.cli(p.edge, "stock", tmp_path / "stock")
        config = write_config(p.folder / "stock.yml", p.tunnel, [
            {"hostname": HOST, "service": f"tcp://127.0.0.1:{sealed.port}"}, {"hostname": PLAIN, "service": p.origin.service}])  # fmt: skip
        p.own.connect(cli, p.tunnel, config)
        assert p.curl(HOST, "/echo", data=b"x").stdout == b"x"
        with pytest.raises((ssl.SSLError, OSError)):
            p.open(PLAIN)
        p.edge.program.wait_log(rf"WRN TLS (cannot be|that is) passed through.*{PLAIN}")
        sealed.close()
    finally:
        p.close()


# --- ACME through the tunnel -----------------------------------------------------------------------------


class Proven:
    """A place whose certificate an authority issues."""

    def __init__(self, folder, **kwargs):
        self.place = p = Place(folder)
        names = pebbles.Names(folder)
        p.own.helpers.append(names.program)
        self.pebble = pebbles.Pebble(folder, p.certs, p.edge, f"127.0.0.1:{names.port}", **kwargs).start()
        p.own.helpers.append(self.pebble.program)
        self.stored = folder / "acme" / f"{PROVEN}.pem"
        acme = {"directory": self.pebble.directory, "caFile": str(p.certs.ca), "storage": str(folder / "acme")}
        self.rules = [{"hostname": PROVEN, "service": p.origin.service, "tls": {"acme": {**acme, "email": "a@example.com"}}}]
        p.route(PROVEN)
        p.connect(self.rules)
        p.connector.wait_log("certificate issued", seconds=90)
        assert "Pebble" in p.shown(PROVEN).issuer.rfc4514_string()

    def restart(self):
        self.place.connector.stop()
        self.place.own.connectors.remove(self.place.connector)
        self.place.connect(self.rules)


@pytest.fixture
def proven(tmp_path):
    made = []

    def make(**kwargs):
        made.append(Proven(tmp_path, **kwargs))
        return made[-1], made[-1].place

    yield make
    for one in made:
        one.place.close()


@pytest.mark.skipif(bool(pebbles.missing()), reason="no pebble")
def test_acme_through_the_tunnel(proven, tmp_path):
    one, p = proven()
    root = one.pebble.root(tmp_path / "root.pem")
    assert p.curl(PROVEN, "/echo", data=b"x", ca=root).stdout == b"x"
    # The edge has ordered nothing and has no key of it.
    assert PROVEN not in p.edge.command("tls", "list").stdout
    assert one.stored.stat().st_mode & 0o777 == 0o600
    # A new process has it from the start, authority or not.
    one.pebble.kill()
    one.restart()
    assert p.shown(PROVEN).serial_number == serial(one.stored)


@pytest.mark.long
@pytest.mark.skipif(bool(pebbles.missing()), reason="no pebble")
def test_renewal_and_an_authority_that_is_away(proven):
    one, p = proven(seconds=40)
    first = p.shown(PROVEN).serial_number
    wait_until(lambda: p.shown(PROVEN).serial_number != first, "renewed at two thirds of its life", 90 * PATIENCE)
    one.pebble.kill()
    one.restart()
    assert p.shown(PROVEN).serial_number == serial(one.stored)
    p.connector.wait_log("certificate not issued.*", seconds=90)
    assert p.curl(PROVEN, "/echo", "-k", data=b"x").stdout == b"x"
