"""What visitors may do, and how slow they may be: limits per address, and slow-loris in all its shapes."""

import concurrent.futures
import contextlib
import json
import socket
import ssl
import threading
import time

import pytest
from conftest import Own, sanitizer_words
from test_60_hostile import CONTINUATION, DATA, END_HEADERS, HEADERS, PREFACE, SETTINGS, frame, head
from testenv import net, websocket
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.origin import Origin, TcpService
from testenv.program import PATIENCE
from testenv.visitor import H2, Raw, Visitor, tls_connect
from testenv.wait import exactly, wait_until

HOST = f"app.{ZONE}"
LIMITED = 'adit_edge_limited_total{limit="%s"}'


class Place:
    """An edge with settings of its own, and a service behind it."""

    def __init__(self, folder, settings):
        self.own, self.folder = Own(folder), folder
        self.origin, self.tcp = Origin(), TcpService()
        self.edge = self.own.edge(settings=settings)
        self.cli = self.own.cli(self.edge)
        self.tunnel = self.cli.create("place")
        self.cli.route(self.tunnel, HOST)
        config = write_config(folder / "config.yml", self.tunnel, [{"hostname": HOST, "service": self.origin.service}],
                              **{"warp-routing": {"allow": ["127.0.0.0/8"]}})  # fmt: skip
        self.own.connect(self.cli, self.tunnel, config)

    def raw(self, source):
        return Raw(self.edge, HOST, source=source)

    def refused(self, limit):
        return self.edge.gauge(LIMITED % limit)

    def assert_serves(self):
        for version in ("http1.1", "http2"):
            visitor = Visitor(self.edge, version, self.folder)
            assert visitor.get(HOST, "/echo", data=b"still here").body == b"still here"
            visitor.close()

    def close(self):
        self.own.close()
        self.origin.close()
        self.tcp.close()
        assert not sanitizer_words()


def module_place(name, settings):
    @pytest.fixture(scope="module", name=name)
    def make(tmp_path_factory):
        place = Place(tmp_path_factory.mktemp(name), settings)
        yield place
        place.close()

    return make


# --- per address ---------------------------------------------------------------------------------------

# The visitor of the harness comes from 127.0.0.1, those who are limited from other addresses of loopback.
limited = module_place("limited", """limit-exempt: "127.0.0.1/32"
limit-connections: 3
limit-connection-rate: 4
limit-requests: 2
limit-request-rate: 4
ports-allow: "12000-31999"
ports-bind: "127.0.0.1"
""")


def is_refused(connect):
    """Closed before there was any TLS."""
    try:
        connect().close()
    except (ssl.SSLError, ConnectionError):
        return True
    return False


def test_connections_of_an_address_at_once(limited):
    before = limited.refused("connections")
    held = [limited.raw("127.0.0.2") for _ in range(3)]
    assert is_refused(lambda: limited.raw("127.0.0.2"))
    assert limited.refused("connections") > before
    # Nobody else feels it, and when one has gone another may come.
    limited.raw("127.0.0.3").close()
    limited.assert_serves()
    held.pop().close()

    def another():
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            held.append(limited.raw("127.0.0.2"))
        return len(held) == 3

    wait_until(another, "room for another connection", 30 * PATIENCE)
    held[-1].request("GET", "/echo")
    assert held[-1].read().status == 200
    for connection in held:
        connection.close()


def test_exempt_addresses_may_have_any_number(limited):
    held = [Raw(limited.edge, HOST) for _ in range(10)]
    for connection in held:
        connection.request("GET", "/echo")
    assert [c.read().status for c in held] == [200] * 10
    for connection in held:
        connection.close()


def test_plain_http_counts_too(limited):
    held = []

    def ask():
        sock = socket.create_connection(("127.0.0.1", limited.edge.http), 30 * PATIENCE, ("127.0.0.4", 0))
        held.append(sock)
        try:
            sock.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            return exactly(sock, 12) == b"HTTP/1.1 301"
        except ConnectionError:
            return False

    assert [ask() for _ in range(4)] == [True, True, True, False]
    for sock in held:
        sock.close()


def test_new_connections_per_second(limited):
    """Twenty in one go (five seconds' worth), and then as fast as the bucket fills: never forty."""
    before = limited.refused("connection-rate")
    seen = []
    while limited.refused("connection-rate") == before:
        assert len(seen) < 4000, "nothing limits them"
        sock = socket.create_connection(("127.0.0.1", limited.edge.https), 30 * PATIENCE, ("127.0.0.5", 0))
        sock.close()
        seen.append(sock)
    assert len(seen) >= 20
    limited.assert_serves()


@pytest.mark.parametrize("version", ["h1", "h2"])
def test_requests_per_second_are_told_to_wait(limited, version):
    source = {"h1": "127.0.0.6", "h2": "127.0.0.7"}[version]
    asked, answer = 0, None
    if version == "h1":
        connection = limited.raw(source)
        while answer is None or answer.status == 200:
            connection.send(f"GET /echo HTTP/1.1\r\nHost: {HOST}\r\nAccept: application/json\r\n\r\n")
            answer = connection.read()
            asked += 1
            assert asked < 4000, "nothing limits them"
        said = json.loads(answer.body)
    else:
        connection = H2(limited.edge, HOST, source=source)
        while answer is None or answer.status == 200:
            answer = connection.response(connection.headers("/echo", extra=[("accept", "application/json")]))
            asked += 1
            assert asked < 4000, "nothing limits them"
        said = json.loads(answer.body)
    assert asked > 20
    assert answer.status == 429 and int(answer.get("retry-after")) >= 1
    assert said["status"] == 429 and said["hop"] == "request" and "more requests than it may" in said["detail"]
    assert limited.refused("request-rate") >= 1
    limited.assert_serves()
    connection.close()


def test_whoever_never_stops_asking_is_closed(limited):
    """A refusal costs an answer: after a hundred of them in a row the connection ends."""
    connection = limited.raw("127.0.0.8")
    statuses, closed = [], False
    while not closed and len(statuses) < 5000:
        try:
            connection.send(f"GET /echo HTTP/1.1\r\nHost: {HOST}\r\n\r\n" * 50)
            for _ in range(50):
                answer = connection.read()
                if not answer:
                    closed = True
                    break
                statuses.append(answer.status)
        except ConnectionError:
            closed = True
    assert closed and set(statuses) == {200, 429}
    connection.close()
    limited.assert_serves()


def test_requests_at_once(limited):
    gate = threading.Event()

    def slowly(request):
        gate.wait(60 * PATIENCE)
        request.reply(body=b"at last")

    path = limited.origin.on(slowly, "parked")
    connection = H2(limited.edge, HOST, source="127.0.0.9")
    parked = [connection.headers(path) for _ in range(2)]
    answer = connection.response(connection.headers("/echo"))
    assert answer.status == 429 and answer.get("retry-after") == "1"
    assert "under way at once" in answer.text
    # A page for browsers.
    page = connection.response(connection.headers("/echo", extra=[("accept", "text/html")]))
    assert page.status == 429 and "<title>429 Too many requests</title>" in page.text
    gate.set()
    assert [connection.response(s).body for s in parked] == [b"at last"] * 2
    assert connection.response(connection.headers("/echo")).status == 200
    connection.close()
    limited.origin.forget()


def test_public_ports_count_connections_too(limited):
    port = net.free_port()
    limited.cli.check("tunnel", "route", "port", limited.tunnel.id, f"tcp://:{port}", f"127.0.0.1:{limited.tcp.port}")

    def connect():
        return socket.create_connection(("127.0.0.1", port), 30 * PATIENCE, ("127.0.0.10", 0))

    held = [connect() for _ in range(3)]
    wait_until(lambda: limited.edge.gauge("adit_edge_port_connections") == 3, "three connections", 30 * PATIENCE)
    more = connect()
    try:
        assert more.recv(1) == b""
    except ConnectionError:
        pass
    assert is_refused(lambda: limited.raw("127.0.0.10"))
    for sock in (*held, more):
        sock.close()


def test_status_shows_limits_rates_and_certificates(limited):
    status = json.loads(limited.edge.command("status", "--json").stdout)
    table = {row["limit"]: row for row in status["limits"]["settings"]}
    assert table["limit-connections"]["value"] == 3
    assert table["limit-connections"]["refused"] == limited.refused("connections")
    assert status["rates"]["requests_per_second"] >= 0
    assert any(HOST.split(".", 1)[1] in c["hostnames"] for c in status["certificates"])
    assert {"hostname": HOST, "tunnel": "place", "connections": 4} in status["names"]
    shown = limited.edge.command("status").stdout
    for title in ("\nConnectors\n", "\nVisitors\n", "\nRates, over a minute\n", "\nLimits\n", "\nNames\n", "\nCertificates\n"):
        assert title in shown, shown


# --- all together --------------------------------------------------------------------------------------


def test_connections_of_all_visitors(tmp_path):
    place = Place(tmp_path, "limit-all-connections: 4\n")
    held = [Raw(place.edge, HOST) for _ in range(4)]
    assert is_refused(lambda: Raw(place.edge, HOST))
    assert place.refused("all-connections") >= 1
    for connection in held:
        connection.close()
    wait_until(lambda: not is_refused(lambda: Raw(place.edge, HOST)), "room for another", 30 * PATIENCE)
    place.close()


# --- slow ----------------------------------------------------------------------------------------------

slow = module_place("slow", """timeout-handshake: 2s
timeout-head: 2s
timeout-keepalive: 2s
min-body-rate: 20000
min-body-grace: 2s
""")


def said_to(sock, data=b"", seconds=60):
    """Sends a byte of `data` every twentieth of a second, then nothing; returns what comes until the edge closes."""
    deadline = time.monotonic() + seconds * PATIENCE
    sock.settimeout(0.05)
    said, left = b"", data
    while time.monotonic() < deadline:
        try:
            got = sock.recv(65536)
            if not got:
                return said
            said += got
            continue
        except TimeoutError:
            pass
        except ssl.SSLWantReadError:
            pass
        except (ConnectionError, ssl.SSLError):
            return said
        try:
            if left:
                sock.sendall(left[:1])
                left = left[1:]
        except (ConnectionError, ssl.SSLError):
            return said
    raise AssertionError(f"the edge keeps it for ever; it said {said[:200]!r}")


def tls(place, alpn="http/1.1", **kwargs):
    return tls_connect(place.edge, HOST, [alpn], **kwargs)


def h2_begin(place, *frames):
    sock = tls(place, "h2")
    sock.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + b"".join(frames))
    return sock


def silent_before_tls(place):
    return said_to(socket.create_connection(("127.0.0.1", place.edge.https)))


def slow_client_hello(place):
    sock = socket.create_connection(("127.0.0.1", place.edge.https))
    return said_to(sock, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500))


def silent_after_tls(place):
    return said_to(tls(place))


def slow_head(place):
    return said_to(tls(place), b"GET /echo HTTP/1.1\r\nX-A: " + b"a" * 5000)


def slow_plain_head(place):
    sock = socket.create_connection(("127.0.0.1", place.edge.http))
    return said_to(sock, b"GET /echo HTTP/1.1\r\nX-A: " + b"a" * 5000)


def idle_after_a_request(place):
    sock = tls(place)
    sock.sendall(f"GET /echo HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    return said_to(sock)


def slow_body(place):
    sock = tls(place)
    sock.sendall(f"POST /echo HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000000\r\n\r\n".encode())
    return said_to(sock, b"x" * 5000)


def slow_chunk_extensions(place):
    sock = tls(place)
    sock.sendall(f"POST /echo HTTP/1.1\r\nHost: {HOST}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    return said_to(sock, b"1;a=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\nx\r\n" * 100)


def deaf_to_a_download(place):
    sock = tls(place, rcvbuf=4096)
    sock.sendall(f"GET {place.download} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
    return wait_for_reset(sock)


def deaf_to_a_download_over_h2(place):
    sock = tls(place, "h2", rcvbuf=4096)
    big = b"\0\4\x7f\xff\xff\xff"  # as far as windows go, the edge may send all of it
    sock.sendall(PREFACE + frame(SETTINGS, 0, 0, big) + frame(8, 0, 0, b"\x7f\xfe\0\0")
                 + frame(HEADERS, END_HEADERS | 1, 1, head(f"{HOST}:{place.edge.https}", place.download)))  # fmt: skip
    return wait_for_reset(sock)


def wait_for_reset(sock):
    """Without reading; the kernel knows what became of the connection."""
    raw = socket.socket(fileno=sock.detach())
    closed = (7, 8)  # TCP_CLOSE, TCP_CLOSE_WAIT
    wait_until(lambda: raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in closed, "an end", 60 * PATIENCE)
    raw.close()
    return b""


def silent_h2(place):
    return said_to(tls(place, "h2"))


def idle_h2(place):
    return said_to(h2_begin(place))


def slow_continuation(place):
    sock = h2_begin(place, frame(HEADERS, 0, 1, head(f"{HOST}:{place.edge.https}")))
    return said_to(sock, frame(CONTINUATION, 0, 1, b"") * 500)


def slow_continuation_beside_a_request(place):
    """Something is under way all the time: that the connection is not idle must not help."""
    authority = f"{HOST}:{place.edge.https}"
    sock = h2_begin(place, frame(HEADERS, END_HEADERS | 1, 1, head(authority, place.parked)),
                    frame(HEADERS, 0, 3, head(authority)))  # fmt: skip
    return said_to(sock, frame(CONTINUATION, 0, 3, b"") * 500)


def slow_h2_frame(place):
    return said_to(h2_begin(place), frame(99, 0, 0, bytes(5000)))


def slow_h2_body(place):
    """The stream ends with a 408, and then the connection has nothing left to do."""
    sock = h2_begin(place, frame(HEADERS, END_HEADERS, 1, head(f"{HOST}:{place.edge.https}", "/echo", "POST")))
    return said_to(sock, frame(DATA, 0, 1, b"x") * 30)


LORIS = {f.__name__: f for f in (
    silent_before_tls, slow_client_hello, silent_after_tls, slow_head, slow_plain_head, idle_after_a_request, slow_body,
    slow_chunk_extensions, deaf_to_a_download, deaf_to_a_download_over_h2, silent_h2, idle_h2, slow_continuation,
    slow_continuation_beside_a_request, slow_h2_frame, slow_h2_body,
)}  # fmt: skip
SAYS = {
    "slow_head": b"HTTP/1.1 408 ",
    "slow_plain_head": b"HTTP/1.1 408 ",
    "idle_after_a_request": b"HTTP/1.1 200 ",
    "slow_body": b"HTTP/1.1 408 ",
    "slow_chunk_extensions": b"HTTP/1.1 408 ",
}


@pytest.fixture(scope="module")
def victims(slow):
    """All of them at once, beside some who only look slow."""
    gate = threading.Event()

    def parked(request):
        gate.wait(100 * PATIENCE)
        request.reply(body=b"at last")

    def events(request):
        request.head(200, [("Content-Type", "text/event-stream"), ("Transfer-Encoding", "chunked")])
        request.chunk(b"data: 1\n\n")
        gate.wait(100 * PATIENCE)
        request.chunk(b"data: 2\n\n")
        request.last_chunk()

    def download(request):
        request.head(200, [("Content-Length", str(64 << 20))])
        request.send_pattern(64 << 20)

    slow.parked, slow.events = slow.origin.on(parked, "parked"), slow.origin.on(events, "events")
    slow.download = slow.origin.on(download, "download")
    patient = {}
    for version in ("h1", "h2"):
        for what in ("parked", "events"):
            c = patient[version, what] = Raw(slow.edge, HOST) if version == "h1" else H2(slow.edge, HOST)
            c.stream = c.request("GET", getattr(slow, what)) if version == "h1" else c.headers(getattr(slow, what))
    socket_path = slow.origin.on(websocket.serve_echo, "socket")
    ws = Raw(slow.edge, HOST)
    websocket.open_through(ws, socket_path)
    grpc = H2(slow.edge, HOST)
    grpc_path = slow.origin.on(parked, "grpc")
    grpc.stream = grpc.headers(grpc_path, "POST", [("content-type", "application/grpc"), ("te", "trailers")], end=False)
    with concurrent.futures.ThreadPoolExecutor(len(LORIS)) as pool:
        found = {name: pool.submit(attack, slow) for name, attack in LORIS.items()}
        slow.assert_serves()
        concurrent.futures.wait(found.values())
    slow.assert_serves()
    gate.set()
    for (version, what), c in patient.items():
        found[version, what] = (c.read() if version == "h1" else c.response(c.stream)).body
    found["grpc"] = grpc.response(grpc.stream).body
    ws.send(websocket.frame(1, b"still here", True))
    found["websocket"] = websocket.read_frame(ws.reader)[-1]
    for c in (*patient.values(), ws, grpc):
        c.close()
    slow.origin.forget()
    return found


@pytest.mark.parametrize("name", LORIS)
def test_slow_loris(victims, name):
    said = victims[name].result()
    assert said.startswith(SAYS.get(name, b"")), said[:300]


@pytest.mark.parametrize("version", ["h1", "h2"])
def test_long_polls_and_events_may_take_their_time(victims, version):
    assert victims[version, "parked"] == b"at last"
    assert victims[version, "events"] == b"data: 1\n\ndata: 2\n\n"


def test_websockets_and_grpc_calls_may_be_silent(victims):
    assert victims["websocket"] == b"still here"
    assert victims["grpc"] == b"at last"


def test_windows_that_stay_closed(tmp_path):
    """The answer waits for a stream's window: nothing else of the connection is slow."""
    place = Place(tmp_path, "timeout-body: 2s\n")
    asked = threading.Event()

    def download(request):
        asked.set()
        request.head(200, [("Content-Length", str(1 << 20))])
        request.send_pattern(1 << 20)

    path = place.origin.on(download, "download")
    sock = tls(place, "h2")
    authority = f"{HOST}:{place.edge.https}"
    sock.sendall(PREFACE + frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0")
                 + frame(HEADERS, END_HEADERS | 1, 1, head(authority, path)))  # fmt: skip
    assert asked.wait(30 * PATIENCE)
    wait_until(lambda: place.edge.gauge("adit_edge_exchanges") == 0, "its end", 60 * PATIENCE)
    sock.close()
    place.close()
