"""Services that speak HTTP/2: h2c:// in clear, and https:// with http2Origin.

nghttpd for what programs do, a scripted service for what they rarely do.
"""

import concurrent.futures
import os
import re
import shutil
import signal
import threading

import h2.settings
import hpack
import hyperframe.frame
import pytest

from conftest import need
from testenv import net
from testenv.certs import OriginCerts
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.h2_origin import H2Origin
from testenv.origin import BLOCK, Origin, pattern_file
from testenv.program import PATIENCE, Program, run
from testenv.visitor import Raw, Visitor
from testenv.wait import wait_settled, wait_until
from testenv.websocket import BINARY, CLOSE, TEXT, frame, open_through, read_frame, serve_echo

WAYS = [("adit", "h2c"), ("adit", "h2"), ("stock", "h2")]  # a stock connector knows no h2c
CANCEL, REFUSED, INTERNAL, HTTP_1_1_REQUIRED = 8, 7, 2, 13
EXTENDED = {h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}


def nghttpd(folder, name, port, *args, certs=None):
    binary = shutil.which("nghttpd", path=os.environ["PATH"] + ":/usr/sbin:/sbin")
    end = [port, certs.key, certs.cert] if certs else ["--no-tls", port]
    program = Program(name, [binary, "-a", "127.0.0.1", "--echo-upload", "-d", folder / "www", *args, *end], folder)
    wait_until(lambda: connections_to(port) is not None, f"{name} that listens")
    return program


def connections_to(port):
    """How many are established; None when nobody listens."""
    with open("/proc/net/tcp") as f:
        rows = [line.split()[1:4] for line in f.readlines()[1:]]
    local = [state for where, _, state in rows if int(where.split(":")[1], 16) == port]
    return local.count("01") if "0A" in local else None


class Services:
    """Everything a rule of these tests may name, and a connector of each kind in front of it."""

    def __init__(self, stage, folder):
        self.stage, self.folder = stage, folder
        self.certs = OriginCerts(folder / "certs")
        www = folder / "www"
        www.mkdir()
        (www / "small").write_text("small answer\n")
        pattern_file(www / "large", 8 << 20)
        self.ports = {name: net.free_port() for name in ("h2c", "h2", "narrow-h2c", "narrow-h2", "fragile-h2c",
                                                         "fragile-h2")}  # fmt: skip
        self.programs = {}
        for name in self.ports:
            self.start(name)
        self.scripted = {"h2c": H2Origin(settings=EXTENDED), "h2": H2Origin(tls=self.certs.server(), settings=EXTENDED)}
        self.plain = {"h2c": H2Origin(), "h2": H2Origin(tls=self.certs.server())}  # no extended CONNECT
        http1 = self.certs.server()
        http1.set_alpn_protocols(["http/1.1"])
        self.http1 = Origin(tls=http1)
        self.old = Origin()  # speaks HTTP/1.1 where h2c is expected
        self.connectors = {}

    def start(self, name):
        args = {
            "narrow": ["-m", "4"],
            "fragile": [],
        }.get(name.split("-")[0], ["--trailer", "x-checksum: 7"])
        certs = self.certs if name.endswith("h2") else None
        self.programs[name] = nghttpd(self.folder, f"nghttpd-{name}", self.ports[name], *args, certs=certs)

    def rules(self, kind):
        def rule(name, service, **origin_request):
            return {"hostname": f"{kind}-{name}.{ZONE}", "service": service, "originRequest": origin_request}

        pool = {"caPool": str(self.certs.ca), "originServerName": self.certs.NAME, "http2Origin": True}
        rules = []
        for name, port in self.ports.items():
            if name.endswith("h2"):
                rules.append(rule(f"ng-{name}", f"https://127.0.0.1:{port}", **pool))
            else:
                rules.append(rule(f"ng-{name}", f"h2c://127.0.0.1:{port}"))
        for way in ("h2c", "h2"):
            more = pool if way == "h2" else {}
            rules.append(rule(f"py-{way}", self.scripted[way].service, **more))
            rules.append(rule(f"plain-{way}", self.plain[way].service, **more))
            rules.append(rule(f"renamed-{way}", self.scripted[way].service, httpHostHeader="inside.internal", **more))
        rules.append(rule("http1", self.http1.service, **pool))
        rules.append(rule("old", f"h2c://127.0.0.1:{self.old.port}"))
        closed = net.free_port()
        rules.append(rule("refused-h2c", f"h2c://127.0.0.1:{closed}"))
        rules.append(rule("refused-h2", f"https://127.0.0.1:{closed}", **pool))
        if kind == "adit":
            rules.append(rule("silent-h2c", self.scripted["h2c"].service, idleTimeout="1s"))
        return [r for r in rules if kind == "adit" or not r["service"].startswith("h2c")]

    def connector(self, kind):
        if kind not in self.connectors or not self.connectors[kind].is_running():
            cli = self.stage.site(kind).cli
            tunnel = cli.create(f"{kind}-h2-origins")
            rules = self.rules(kind)
            cli.route(tunnel, *[r["hostname"] for r in rules])
            config = write_config(self.folder / f"{kind}.yml", tunnel, rules)
            self.connectors[kind] = cli.connect(tunnel, config, name=f"h2-connector-{kind}")
        return self.connectors[kind]

    def close(self):
        for connector in self.connectors.values():
            connector.stop()
        for program in self.programs.values():
            program.kill()
        for origin in (*self.scripted.values(), *self.plain.values(), self.http1, self.old):
            origin.close()


@pytest.fixture(scope="module")
def services(stage, tmp_path_factory):
    if not shutil.which("nghttpd", path=os.environ["PATH"] + ":/usr/sbin:/sbin"):
        pytest.skip("nghttpd is not installed")
    s = Services(stage, tmp_path_factory.mktemp("h2-origins"))
    yield s
    s.close()


class Way:
    def __init__(self, services, kind, way):
        self.services, self.kind, self.way = services, kind, way
        self.connector = services.connector(kind)
        self.scripted, self.plain = services.scripted[way], services.plain[way]

    def host(self, name):
        """"ng" -> "adit-ng-h2c.example.com"."""
        return f"{self.kind}-{name}-{self.way}.{ZONE}"

    def connections(self, name=None):
        return connections_to(self.services.ports[f"{name}-{self.way}" if name else self.way])


@pytest.fixture(params=WAYS, ids="-".join)
def way(request, services):
    need(request.param[0])
    yield Way(services, *request.param)
    for origin in (*services.scripted.values(), *services.plain.values()):
        origin.forget()


@pytest.fixture(params=WAYS[:2], ids="-".join)
def our_way(request, services):
    yield Way(services, *request.param)
    for origin in (*services.scripted.values(), *services.plain.values()):
        origin.forget()


# --- nghttpd -----------------------------------------------------------------------------------------


def test_file(way, visitor):
    answer = visitor.get(way.host("ng"), "/small")
    assert (answer.status, answer.body) == (200, b"small answer\n")
    assert answer.get("server").startswith("nghttpd")
    assert visitor.get(way.host("ng"), "/missing").status == 404


def test_head(way, visitor):
    answer = visitor.get(way.host("ng"), "/large", method="HEAD")
    assert (answer.status, answer.body, answer.get("content-length")) == (200, b"", str(8 << 20))


def test_large_response(way, visitor):
    answer = visitor.get(way.host("ng"), "/large", seconds=60)
    assert answer.body == BLOCK * 8


def test_upload_and_back(way, visitor):
    body = BLOCK * 4
    answer = visitor.get(way.host("ng"), "/echo", data=body, method="POST", seconds=60)
    assert answer.body == body


def test_trailers_of_a_response(way, h2):
    """Also behind a body with a length."""
    visitor = h2(way.host("ng"))
    answer = visitor.response(visitor.headers("/small"))
    assert answer.body == b"small answer\n"
    assert ("x-checksum", "7") in answer.trailers


def test_one_connection_is_enough(way, stage, tmp_path):
    """Sixty at once over one connection, as long as the service allows a hundred streams."""
    visitor = Visitor(stage.edge, "http2", tmp_path)
    visitor.get(way.host("ng"), "/small")
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: visitor.get(way.host("ng"), "/small"), range(60)))
    assert {a.body for a in answers} == {b"small answer\n"}
    assert way.connections() <= 2  # the other kind's idle one may still be there


def h2load(stage, host, path, *args):
    done = run(["h2load", f"--connect-to=127.0.0.1:{stage.edge.https}", *args,
                f"https://{host}:{stage.edge.https}{path}"], seconds=60)  # fmt: skip
    counts = re.search(r"requests: .* (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", done.stdout)
    assert counts, done.stdout + done.stderr
    return [int(n) for n in counts.groups()], done.stdout


@pytest.mark.parametrize("name", ["ng", "ng-narrow"])
def test_many_at_once(way, stage, name):
    """More streams than the service allows on one connection (100, or 4)."""
    if (way.kind, name) == ("stock", "ng-narrow"):
        pytest.skip("a stock connector does not wait for the limit, and answers refused streams with 502")
    counts, out = h2load(stage, way.host(name), "/small", "-n1500", "-c5", "-m50")
    assert counts == [1500, 0, 0, 0], out


def test_service_that_was_restarted(our_way, visitor):
    """The idle connection is gone: nobody notices."""
    host, name = our_way.host("ng-fragile"), f"fragile-{our_way.way}"
    assert visitor.get(host, "/small").status == 200
    our_way.services.programs[name].kill()
    assert visitor.get(host, "/small").status == 502
    our_way.services.start(name)
    assert visitor.get(host, "/small").status == 200


@pytest.mark.slow
def test_service_that_hangs(our_way, stage, tmp_path):
    """A peer that says nothing at all, not even to a ping, is given up: 504."""
    if our_way.way == "h2c" and not os.environ.get("ADIT_LONG"):
        pytest.skip("takes long: ADIT_LONG=1")
    visitor = Visitor(stage.edge, "http2", tmp_path)
    host = our_way.host("ng-fragile")
    program = our_way.services.programs[f"fragile-{our_way.way}"]
    assert visitor.get(host, "/small").status == 200
    program.signal(signal.SIGSTOP)
    try:
        answer = visitor.get(host, "/echo", data=b"not to be repeated", seconds=60)
    finally:
        program.signal(signal.SIGCONT)
    assert answer.status == 504
    assert "ping" in answer.text
    assert visitor.get(host, "/small").status == 200


def test_refused(way, visitor):
    answer = visitor.get(way.host("refused"), "/")
    assert answer.status == 502
    if way.kind == "adit":
        assert "refused" in answer.text


def test_service_of_http1_behind_h2c(services, visitor):
    services.connector("adit")
    answer = visitor.get(f"adit-old.{ZONE}", "/")
    assert answer.status == 502
    # (Its 400 is lost when it closes before it has read everything.)
    assert "does not speak HTTP/2" in answer.text or "closed" in answer.text


def test_alpn_falls_back_to_http1(kind, services, visitor):
    """http2Origin only offers: a service that chooses HTTP/1.1 gets it, and connections are kept."""
    services.connector(kind)
    before = services.http1.accepted
    path = services.http1.on(lambda r: r.reply(200, body=r.read_body() or b"one"))
    for _ in range(5):
        assert visitor.get(f"{kind}-http1.{ZONE}", path).body == b"one"
    assert visitor.get(f"{kind}-http1.{ZONE}", path, data=b"up").body == b"up"
    assert services.http1.accepted - before <= 2
    assert services.http1.requests(path)[0].version == "HTTP/1.1"
    services.http1.forget()


# --- the scripted service: requests ------------------------------------------------------------------


def test_request_as_the_service_sees_it(way, stage, visitor):
    path = way.scripted.on(lambda s: s.reply(200, body=s.read_body()))
    headers = [("X-Thing", "one"), ("X-Thing", "two"), ("Cookie", "a=b; c=d")]
    host = way.host("py")
    visitor.get(host, path + "?q=%20x", headers=headers)
    stream = way.scripted.wait_request(path)
    assert stream.get(":method") == "GET"
    assert stream.get(":scheme") == ("http" if way.way == "h2c" else "https")
    assert stream.get(":authority") == f"{host}:{stage.edge.https}"
    assert stream.get(":path") == path + "?q=%20x"
    assert [v for n, v in stream.headers if n == "x-thing"] == ["one", "two"]
    # (Go takes cookies apart for better compression.)
    assert "; ".join(v for n, v in stream.headers if n == "cookie") == "a=b; c=d"
    names = {n for n, _ in stream.headers}
    assert not names & {"connection", "upgrade", "transfer-encoding", "keep-alive", "host", "content-length", "expect"}
    assert all(n == n.lower() for n in names)
    assert stream.ended and stream.read_body() == b""


def test_http_host_header(way, stage, visitor):
    path = way.scripted.on(lambda s: s.reply(200))
    visitor.get(way.host("renamed"), path)
    stream = way.scripted.wait_request(path)
    assert stream.get(":authority") == "inside.internal"
    assert stream.get("x-forwarded-host") == f"{way.host('renamed')}:{stage.edge.https}"


@pytest.mark.parametrize("body", [b"", b"x", BLOCK], ids=len)
def test_post(way, visitor, body):
    path = way.scripted.on(lambda s: s.reply(201, body=s.read_body() or b"-"))
    answer = visitor.get(way.host("py"), path, data=body, method="POST")
    assert (answer.status, answer.body) == (201, body or b"-")
    if way.kind == "adit":
        assert way.scripted.wait_request(path).get("content-length") == str(len(body))


def test_body_of_unknown_length(way, visitor):
    path = way.scripted.on(lambda s: s.reply(200, body=s.read_body()))
    answer = visitor.get(way.host("py"), path, data=BLOCK, headers=[("Transfer-Encoding", "chunked")])
    assert answer.body == BLOCK
    assert way.scripted.wait_request(path).get("transfer-encoding") is None


def test_trailers_of_a_request(our_way, h2):
    path = our_way.scripted.on(lambda s: (s.read_body(), s.reply(200)))
    visitor = h2(our_way.host("py"))
    stream = visitor.headers(path, "POST", [("te", "trailers"), ("trailer", "x-sum")], end=False)
    visitor.data(stream, b"hello")
    visitor.conn.send_headers(stream, [("x-sum", "5")], end_stream=True)
    visitor.flush()
    visitor.response(stream)
    request = our_way.scripted.wait_request(path)
    assert request.get("te") == "trailers"
    wait_until(lambda: request.trailers, "trailers")
    assert ("x-sum", "5") in request.trailers


def test_slow_service_stops_the_visitor(our_way, stage, tmp_path):
    """What it does not read stays with the visitor, bounded by windows."""
    gate = threading.Event()

    def handler(stream):
        gate.wait(60)
        total = sum(len(b) for b in stream.blocks())
        stream.reply(200, body=str(total).encode())

    path = our_way.scripted.on(handler)
    big = pattern_file(tmp_path / "big", 32 << 20)
    visitor = Visitor(stage.edge, "http2", tmp_path)
    our_way.connector.forget_peak()
    before = our_way.connector.memory("VmRSS")
    curl = visitor.start(our_way.host("py"), path, "-T", big)
    our_way.scripted.wait_request(path)
    wait_settled(lambda: our_way.connector.memory("VmRSS"))  # the visitor sends what it can
    grown = our_way.connector.memory("VmHWM") - before
    gate.set()
    out, err = curl.communicate(timeout=60 * PATIENCE)
    assert out == str(32 << 20).encode(), err
    assert grown < (24 << 20)
    visitor.close()


def test_expect_continue(our_way, raw):
    """The service's own 100 travels back, once, before a byte of the body."""
    seen = []

    def handler(stream):
        seen.append(stream.get("expect"))
        seen.append(len(stream.chunks))
        stream.head(100)
        stream.reply(200, body=stream.read_body())

    path = our_way.scripted.on(handler)
    connection = raw(our_way.host("py"))
    connection.request("PUT", path, [("Expect", "100-continue"), ("Content-Length", "5")])
    assert connection.read_head().status == 100
    connection.send(b"hello")
    assert connection.read().body == b"hello"
    assert seen == ["100-continue", 0]


def test_expect_refused(our_way, raw):
    path = our_way.scripted.on(lambda s: s.reply(413, body=b"no"))
    connection = raw(our_way.host("py"))
    connection.request("PUT", path, [("Expect", "100-continue"), ("Content-Length", "5000000")])
    answer = connection.read()
    assert (answer.status, answer.body) == (413, b"no")


def test_expect_ignored(our_way, raw):
    """A service that never says 100 gets the body after a second."""
    path = our_way.scripted.on(lambda s: s.reply(200, body=s.read_body()))
    connection = raw(our_way.host("py"))
    connection.request("PUT", path, [("Expect", "100-continue"), ("Content-Length", "5")])
    assert connection.read_head().status == 100
    connection.send(b"hello")
    assert connection.read().body == b"hello"


# --- responses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [200, 201, 204, 206, 301, 304, 400, 404, 418, 500, 503, 599])
def test_statuses(way, visitor, status):
    path = way.scripted.on(lambda s: s.reply(status, [("x-status", "yes")]))
    answer = visitor.get(way.host("py"), path)
    assert (answer.status, answer.body, answer.get("x-status")) == (status, b"", "yes")


def test_set_cookies_stay_apart(way, visitor):
    path = way.scripted.on(lambda s: s.reply(200, [("set-cookie", "a=1"), ("set-cookie", "b=2; Path=/")]))
    assert visitor.get(way.host("py"), path).all("set-cookie") == ["a=1", "b=2; Path=/"]


def test_compressed_stays_compressed(way, visitor):
    path = way.scripted.on(lambda s: s.reply(200, [("content-encoding", "gzip")], b"\x1f\x8bnot really"))
    answer = visitor.get(way.host("py"), path, headers=[("Accept-Encoding", "gzip")])
    assert (answer.get("content-encoding"), answer.body) == ("gzip", b"\x1f\x8bnot really")


def test_trailers_after_an_empty_body(way, h2):
    def handler(stream):
        stream.head(200, [("content-type", "application/grpc")])
        stream.finish([("grpc-status", "5"), ("grpc-message", "not there")])

    visitor = h2(way.host("py"))
    stream = visitor.headers(way.scripted.on(handler), "POST", [("te", "trailers")])
    assert ("grpc-status", "5") in visitor.response(stream).trailers


def test_early_hints(our_way, raw):
    def handler(stream):
        stream.head(103, [("link", "</style.css>; rel=preload")])
        stream.reply(200, body=b"page")

    connection = raw(our_way.host("py"))
    connection.request("GET", our_way.scripted.on(handler))
    hints = connection.read_head()
    assert (hints.status, hints.get("link")) == (103, "</style.css>; rel=preload")
    assert connection.read().body == b"page"


def test_events_are_not_held_back(way, stage, tmp_path):
    """Each is there before the service sends the next."""
    got = threading.Semaphore(0)

    def handler(stream):
        stream.head(200, [("content-type", "text/event-stream")])
        for i in range(5):
            stream.send(b"data: %d\n\n" % i)
            assert got.acquire(timeout=20 * PATIENCE)
        stream.send(b"", end=True)

    visitor = Visitor(stage.edge, "http2", tmp_path)
    curl = visitor.start(way.host("py"), way.scripted.on(handler))
    for i in range(5):
        assert curl.stdout.readline() == b"data: %d\n" % i
        assert curl.stdout.readline() == b"\n"
        got.release()
    assert curl.wait(20 * PATIENCE) == 0
    visitor.close()


def test_answer_before_the_request_is_complete(way, stage, tmp_path):
    """RFC 9113 §8.1: the response counts, the rest of the request does not."""
    def handler(stream):
        next(iter(stream.blocks()))
        stream.reply(413, body=b"too much")
        stream.reset(0)

    path = way.scripted.on(handler)
    big = pattern_file(tmp_path / "big", 16 << 20)
    visitor = Visitor(stage.edge, "http1.1", tmp_path)
    answer = visitor.fetch(way.host("py"), path, "-T", big)
    assert answer.status == 413 and answer.body == b"too much"


def test_silent_service(services, visitor):
    services.connector("adit")
    origin = services.scripted["h2c"]
    path = origin.on(lambda s: s.wait_reset())
    answer = visitor.get(f"adit-silent-h2c.{ZONE}", path)
    assert answer.status == 504
    assert "no byte came or went" in answer.text
    assert origin.wait_request(path).wait_reset() == CANCEL
    origin.forget()


# --- resets, and connections that end ----------------------------------------------------------------


def test_reset_before_the_response(way, visitor):
    path = way.scripted.on(lambda s: s.reset(INTERNAL))
    answer = visitor.get(way.host("py"), path, data=b"x")
    assert answer.status == 502
    if way.kind == "adit":
        assert "INTERNAL_ERROR" in answer.text


def test_reset_inside_the_response(way, visitor):
    def handler(stream):
        stream.head(200, [("content-length", "100")])
        stream.send(b"half")
        stream.reset(INTERNAL)

    answer = visitor.fetch(way.host("py"), way.scripted.on(handler))
    assert answer.curl_exit != 0 or (way.kind == "stock" and answer.status == 502)


def test_refused_stream_is_tried_again(our_way, visitor):
    """(A stock connector answers 502.)"""
    tries = []

    def handler(stream):
        tries.append(stream)
        if len(tries) == 1:
            stream.reset(REFUSED)
        else:
            stream.reply(200, body=b"second")

    assert visitor.get(our_way.host("py"), our_way.scripted.on(handler)).body == b"second"


def test_goaway_spares_what_runs(our_way, stage, tmp_path):
    """Streams below the last id go on, new requests take a new connection."""
    way = our_way
    go_on = threading.Event()

    def slow(stream):
        stream.connection.goodbye(last=stream.number)
        go_on.wait(60)
        stream.reply(200, body=b"old")

    path, other = way.scripted.on(slow), way.scripted.on(lambda s: s.reply(200, body=b"new"))
    visitor = Visitor(stage.edge, "http2", tmp_path)
    curl = visitor.start(way.host("py"), path)
    first = way.scripted.wait_request(path)
    assert visitor.get(way.host("py"), other).body == b"new"
    assert way.scripted.wait_request(other).connection is not first.connection
    # (h2 itself sends nothing after GOAWAY, so the frames are made by hand.)
    go_on.set()
    encoder = hpack.Encoder()
    head = hyperframe.frame.HeadersFrame(first.number, encoder.encode([(":status", "200")]), flags=["END_HEADERS"])
    data = hyperframe.frame.DataFrame(first.number, b"old", flags=["END_STREAM"])
    first.connection.frame(head)
    first.connection.frame(data)
    assert curl.communicate(timeout=20 * PATIENCE)[0] == b"old"
    visitor.close()


def test_goaway_below_the_stream(our_way, visitor):
    """What the service says it has not looked at is asked again."""
    tries = []

    def handler(stream):
        tries.append(stream)
        if len(tries) == 1:
            stream.connection.goodbye(last=0)
        else:
            stream.reply(200, body=b"again")

    assert visitor.get(our_way.host("py"), our_way.scripted.on(handler)).body == b"again"


def test_connection_lost_inside_the_response(way, visitor):
    def handler(stream):
        stream.head(200, [("content-length", "100")])
        stream.send(b"half")
        stream.connection.cut()

    answer = visitor.fetch(way.host("py"), way.scripted.on(handler))
    assert answer.curl_exit != 0 or (way.kind == "stock" and answer.status == 502)


def test_visitor_who_leaves(way, stage, tmp_path):
    def handler(stream):
        stream.head(200)
        stream.send(b"x" * 2000)
        stream.wait_reset()

    path = way.scripted.on(handler)
    visitor = Visitor(stage.edge, "http2", tmp_path)
    curl = visitor.start(way.host("py"), path)
    assert curl.stdout.read(1000)
    curl.kill()
    stream = way.scripted.wait_request(path)
    assert stream.wait_reset() == CANCEL
    assert not stream.lost  # the connection goes on
    visitor.close()


BAD_HEADS = {
    "no status": [("content-type", "text/plain")],
    "101": [(":status", "101")],
    "099": [(":status", "099")],
    "two statuses": [(":status", "200"), (":status", "404")],
    "upper case": [(":status", "200"), ("X-Upper", "x")],
    "connection": [(":status", "200"), ("connection", "close")],
    "pseudo at the end": [("x", "y"), (":status", "200")],
    "two lengths": [(":status", "200"), ("content-length", "1"), ("content-length", "2")],
    "newline": [(":status", "200"), ("x", "a\r\nb: c")],
    "huge": [(":status", "200"), *[(f"x-{i}", "y" * 4000) for i in range(30)]],
    "many": [(":status", "200"), *[(f"x-{i}", "y") for i in range(300)]],
}


@pytest.mark.parametrize("what", BAD_HEADS, ids=str)
def test_malformed_heads(our_way, visitor, what):
    """502 for this one; the next request is served."""
    def handler(stream):
        block = hpack.Encoder().encode(BAD_HEADS[what], huffman=False)
        connection = stream.connection
        first, rest = block[:16000], block[16000:]
        flags = ["END_STREAM"] if rest else ["END_STREAM", "END_HEADERS"]
        with connection.changed:
            connection.frame(hyperframe.frame.HeadersFrame(stream.number, first, flags=flags))
            while rest:
                part, rest = rest[:16000], rest[16000:]
                more = [] if rest else ["END_HEADERS"]
                connection.frame(hyperframe.frame.ContinuationFrame(stream.number, part, flags=more))

    answer = visitor.get(our_way.host("plain"), our_way.plain.on(handler))
    assert answer.status == 502
    good = our_way.plain.on(lambda s: s.reply(200, body=b"fine"))
    assert visitor.get(our_way.host("plain"), good).body == b"fine"


BAD_FRAMES = {
    "window of zero": lambda n: hyperframe.frame.WindowUpdateFrame(n, 0),
    "data before the head": lambda n: hyperframe.frame.DataFrame(n, b"x"),
    "push": lambda n: hyperframe.frame.PushPromiseFrame(n, 2, b"\x88", flags=["END_HEADERS"]),
    "settings with a stream": lambda n: hyperframe.frame.ExtensionFrame(4, n, 0, b""),
    "too large": lambda n: hyperframe.frame.DataFrame(n, b"x" * 20000),
    "head of the visitor's": lambda n: hyperframe.frame.HeadersFrame(2, b"\x82", flags=["END_HEADERS"]),
}


@pytest.mark.parametrize("what", BAD_FRAMES, ids=str)
def test_broken_framing(our_way, visitor, what):
    def handler(stream):
        stream.connection.frame(BAD_FRAMES[what](stream.number))

    answer = visitor.get(our_way.host("plain"), our_way.plain.on(handler), data=b"not to be repeated")
    assert answer.status == 502
    good = our_way.plain.on(lambda s: s.reply(200, body=b"fine"))
    assert visitor.get(our_way.host("plain"), good).body == b"fine"


def test_lengths_that_do_not_hold(our_way, visitor):
    for length, body in ((5, b"long body"), (100, b"short"), (3, b"")):
        def handler(stream, length=length, body=body):
            stream.head(200, [("content-length", str(length))])
            stream.connection.frame(hyperframe.frame.DataFrame(stream.number, body, flags=["END_STREAM"]))

        answer = visitor.fetch(our_way.host("py"), our_way.scripted.on(handler))
        assert answer.status == 502 or answer.curl_exit != 0


# --- WebSockets --------------------------------------------------------------------------------------


class Pipe:
    """A Stream's request body as a file to read from."""

    def __init__(self, stream):
        self.blocks, self.rest = stream.blocks(), b""

    def read(self, size):
        while len(self.rest) < size:
            block = next(self.blocks, None)
            if block is None:
                break
            self.rest += block
        data, self.rest = self.rest[:size], self.rest[size:]
        return data


def websocket_echo(stream):
    """The service's end of a WebSocket that came as an extended CONNECT."""
    stream.head(200, [("sec-websocket-protocol", "echo")])
    pipe = Pipe(stream)
    while got := read_frame(pipe):
        opcode, data = got
        stream.send(frame(opcode, data, masked=False))
        if opcode == CLOSE:
            stream.send(b"", end=True)
            return


def test_websocket_over_http2(our_way, raw):
    """RFC 8441 towards the service."""
    path = our_way.scripted.on(websocket_echo)
    connection = raw(our_way.host("py"))
    response = open_through(connection, path, [("Sec-WebSocket-Protocol", "echo")])
    assert response.status == 101 and response.get("sec-websocket-protocol") == "echo"
    for size in (1, 125, 126, 70_000):
        connection.send(frame(BINARY, BLOCK[:size], masked=True))
        assert read_frame(connection.reader) == (BINARY, BLOCK[:size])
    connection.send(frame(CLOSE, b"\x03\xe8", masked=True))
    assert read_frame(connection.reader) == (CLOSE, b"\x03\xe8")
    stream = our_way.scripted.wait_request(path)
    assert (stream.get(":method"), stream.get(":protocol")) == ("CONNECT", "websocket")
    assert stream.get("sec-websocket-version") == "13" and stream.get("sec-websocket-key") is None


def test_websocket_refused_by_the_service(our_way, raw):
    path = our_way.scripted.on(lambda s: s.reply(403, body=b"no"))
    connection = raw(our_way.host("py"))
    response = open_through(connection, path)
    assert response.status == 403


def test_websocket_where_h2c_has_none(services, raw):
    services.connector("adit")
    connection = raw(f"adit-plain-h2c.{ZONE}")
    response = open_through(connection, "/")
    assert response.status == 502


def test_websocket_falls_back_to_http1(kind, services, stage):
    """Over an HTTP/1.1 connection of its own, whatever ALPN would choose."""
    services.connector(kind)
    path = services.http1.on(serve_echo)
    connection = Raw(stage.edge, f"{kind}-http1.{ZONE}")
    assert open_through(connection, path).status == 101
    connection.send(frame(TEXT, b"hello", masked=True))
    assert read_frame(connection.reader) == (TEXT, b"hello")
    connection.send(frame(CLOSE, b"\x03\xe8", masked=True))
    assert read_frame(connection.reader)[0] == CLOSE
    connection.close()
    services.http1.forget()
