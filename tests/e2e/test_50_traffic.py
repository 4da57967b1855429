"""Requests and responses pass unharmed, whoever the visitor and the connector are."""

import gzip
import json
import subprocess

import pytest

from testenv.origin import BLOCK
from testenv.wait import wait_until


def test_get(site, visitor, origin):
    path = origin.on(lambda r: r.reply(200, [("Content-Type", "text/plain"), ("X-One", "1")], b"hello\n"))
    answer = visitor.get(site.host("app"), path)
    assert (answer.status, answer.body) == (200, b"hello\n")
    assert answer.get("content-type") == "text/plain" and answer.get("x-one") == "1"
    assert answer.get("content-length") == "6"
    assert answer.version == ("HTTP/2" if visitor.version == "http2" else "HTTP/1.1")
    [request] = origin.requests(path)
    assert request.request_line == f"GET {path} HTTP/1.1"
    assert request.get("content-length") is None and request.get("transfer-encoding") is None


def test_head(site, visitor, origin):
    path = origin.on(lambda r: r.reply(200, [("X-One", "1")], b"never sent"))
    answer = visitor.get(site.host("app"), path, method="HEAD")
    assert (answer.status, answer.get("content-length"), answer.body) == (200, "10", b"")
    assert origin.requests(path)[0].method == "HEAD"


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_body_with_length(site, visitor, origin, method):
    path = origin.on(lambda r: r.reply(200, body=r.read_body()[::-1]))
    body = BLOCK[:70000]
    answer = visitor.get(site.host("app"), path, data=body, method=method)
    assert answer.body == body[::-1]
    [request] = origin.requests(path)
    assert request.get("content-length") == "70000" and request.get("transfer-encoding") is None


def test_body_without_length(site, visitor, origin):
    path = origin.on(lambda r: r.reply(200, body=r.read_body()))
    body = BLOCK[:200000]
    # HTTP/2 has no chunks, but curl leaves the length out just the same.
    answer = visitor.get(
        site.host("app"), path, headers=[("Transfer-Encoding", "chunked"), ("Expect", "")], data=body
    )
    assert answer.body == body
    [request] = origin.requests(path)
    assert request.get("transfer-encoding") == "chunked" and request.get("content-length") is None


def test_empty_post(site, visitor, origin):
    path = origin.on(lambda r: r.reply(200, body=b"%d" % len(r.read_body())))
    answer = visitor.get(site.host("app"), path, data=b"", method="POST")
    assert answer.body == b"0"
    if site.kind == "adit":  # Go's client leaves it out
        assert origin.requests(path)[0].get("content-length") == "0"


def test_chunked_response(site, visitor, origin):
    def handler(r):
        r.head(200, [("Transfer-Encoding", "chunked"), ("Content-Type", "text/plain")])
        for part in (b"one ", b"two ", b"three"):
            r.chunk(part)
        r.last_chunk()

    answer = visitor.get(site.host("app"), origin.on(handler))
    assert answer.body == b"one two three" and answer.get("content-length") is None


def test_response_until_close(site, visitor, origin):
    def handler(r):
        r.keep_alive = False
        r.head(200, [("Connection", "close")])
        r.send(b"until the end")

    answer = visitor.get(site.host("app"), origin.on(handler))
    assert answer.body == b"until the end" and answer.get("connection") in (None, "keep-alive")


@pytest.mark.parametrize("status", [204, 304])
def test_status_without_body(site, visitor, origin, status):
    path = origin.on(lambda r: r.reply(status, [("ETag", '"x"')]))
    answer = visitor.get(site.host("app"), path)
    assert (answer.status, answer.body, answer.get("etag")) == (status, b"", '"x"')
    assert answer.get("transfer-encoding") is None


@pytest.mark.parametrize("status", [200, 201, 206, 301, 302, 307, 400, 401, 403, 404, 405, 418, 429, 500, 502, 503, 504])
def test_status_of_the_origin_is_untouched(site, stage, origin, raw, status):
    path = origin.on(lambda r: r.reply(status, [("Location", "/x")], b"mine"))
    connection = raw(site.host("app"))
    connection.request("GET", path, [("Accept", "text/html")])
    answer = connection.read()
    assert (answer.status, answer.body, answer.get("location")) == (status, b"mine", "/x")


def test_informational_responses_are_swallowed(site, visitor, origin):
    def handler(r):
        r.head(103, [("Link", "</style.css>; rel=preload")])
        r.reply(200, body=b"final")

    answer = visitor.get(site.host("app"), origin.on(handler))
    assert (answer.status, answer.body) == (200, b"final")


def test_large_headers_both_ways(site, visitor, origin):
    path = origin.on(lambda r: r.reply(200, [("X-Back", r.get("x-large")[::-1])], b"ok"))
    value = "".join(chr(33 + i % 90) for i in range(15000)).replace(",", "_")
    answer = visitor.get(site.host("app"), path, headers=[("X-Large", value)])
    assert answer.status == 200
    assert origin.requests(path)[0].get("x-large") == value and answer.get("x-back") == value[::-1]


def test_many_headers_both_ways(site, visitor, origin):
    path = origin.on(lambda r: r.reply(200, [(f"X-Back-{i}", f"b{i}") for i in range(100)], b"ok"))
    answer = visitor.get(site.host("app"), path, headers=[(f"X-There-{i}", f"t{i}") for i in range(100)])
    assert answer.status == 200
    [request] = origin.requests(path)
    assert [request.get(f"x-there-{i}") for i in range(100)] == [f"t{i}" for i in range(100)]
    assert [answer.get(f"x-back-{i}") for i in range(100)] == [f"b{i}" for i in range(100)]


def test_headers_beyond_the_limit_are_refused(ours, visitor, origin):
    path = origin.on(lambda r: r.reply(200))
    answer = visitor.fetch(ours.host("app"), path, headers=[(f"X-There-{i}", "t") for i in range(300)])
    assert answer.status == 431 or answer.curl_exit != 0
    assert origin.requests(path) == []
    answer = visitor.fetch(ours.host("app"), path, headers=[("X-Large", "x" * 100_000)])
    assert answer.status == 431 or answer.curl_exit != 0
    assert origin.requests(path) == []


TARGETS = [
    "?a=1&b=2&b=3",
    "?x=%20%2F%3F%25+y&empty=&=novalue&&",
    "?q=a/../b//c?d",
    "?utf8=%E2%9C%93&raw=[]{}|^`",
    "?" + "long=" + "v" * 7000,
]


@pytest.mark.parametrize("query", TARGETS, ids=range(len(TARGETS)))
def test_query_is_verbatim(site, visitor, origin, query):
    path = origin.on(lambda r: r.reply(200))
    answer = visitor.get(site.host("app"), path + query, "--globoff")
    assert answer.status == 200
    assert origin.requests(path)[0].target == path + query


@pytest.mark.parametrize(
    "path", ["/a%2Fb/../c//d/./e", "/%41%zz", "//double", "/semi;colon=1,2", "/pct%25", "/dot/..", "/~tilde/*!'()"]
)
def test_path_is_verbatim(site, origin, raw, path):
    if site.kind == "stock" and "%zz" in path:
        pytest.skip("Go's HTTP/2 server refuses what is no percent-encoding")
    connection = raw(site.host("app"))
    connection.request("GET", path)
    assert connection.read().status == 200
    assert [r.target for r in origin.seen] == [path]


def test_cookies(site, visitor, origin):
    sent = "session=abc123; theme=dark; odd=a=b=c"
    cookies = ["a=1; Path=/; HttpOnly", "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "c=3; SameSite=Lax"]
    path = origin.on(lambda r: r.reply(200, [("Set-Cookie", c) for c in cookies]))
    answer = visitor.get(site.host("app"), path, headers=[("Cookie", sent)])
    assert answer.all("set-cookie") == cookies
    assert "; ".join(origin.requests(path)[0].all("cookie")) == sent


def test_repeated_headers_keep_their_order(site, visitor, origin):
    path = origin.on(lambda r: r.reply(200, [("X-Many", "1"), ("X-Many", "2"), ("Vary", "a"), ("Vary", "b")]))
    answer = visitor.get(site.host("app"), path, headers=[("X-Rep", "one"), ("X-Rep", "two"), ("X-Rep", "three")])
    assert answer.all("x-many") == ["1", "2"] and answer.all("vary") == ["a", "b"]
    assert ", ".join(origin.requests(path)[0].all("x-rep")) == "one, two, three"


def test_gzip_passes_untouched(site, visitor, origin):
    packed = gzip.compress(b"text " * 1000, mtime=0)
    path = origin.on(lambda r: r.reply(200, [("Content-Encoding", "gzip"), ("Content-Type", "text/plain")], packed))
    answer = visitor.get(site.host("app"), path, headers=[("Accept-Encoding", "gzip, br")])
    assert answer.body == packed and answer.get("content-encoding") == "gzip"
    assert answer.get("content-length") == str(len(packed))
    assert origin.requests(path)[0].get("accept-encoding") == "gzip, br"


def test_no_compression_that_nobody_asked_for(site, visitor, stage):
    """The visitor did not name gzip: what it gets is what it would get from the origin."""
    answer = visitor.get(site.host("nginx"), "/gzip/page.html")
    assert answer.get("content-encoding") is None
    assert answer.body == (stage.nginx.www / "page.html").read_bytes()
    answer = visitor.get(site.host("nginx"), "/gzip/page.html", headers=[("Accept-Encoding", "gzip")])
    assert answer.get("content-encoding") == "gzip"
    assert gzip.decompress(answer.body) == (stage.nginx.www / "page.html").read_bytes()


def test_files_ranges_and_validators(site, visitor, stage):
    host, whole = site.host("nginx"), (stage.nginx.www / "medium").read_bytes()
    answer = visitor.get(host, "/medium")
    assert answer.body == whole and answer.get("accept-ranges") == "bytes"
    part = visitor.get(host, "/medium", headers=[("Range", "bytes=1000-1999")])
    assert (part.status, part.body) == (206, whole[1000:2000])
    assert part.get("content-range") == f"bytes 1000-1999/{len(whole)}"
    same = visitor.get(host, "/medium", headers=[("If-None-Match", answer.get("etag"))])
    assert (same.status, same.body, same.get("etag")) == (304, b"", answer.get("etag"))
    assert visitor.get(host, "/nothing-here").status == 404


def test_expect_100_continue(site, visitor, origin):
    path = origin.on(lambda r: r.reply(200, body=b"%d" % len(r.read_body())))
    answer = visitor.get(site.host("app"), path, headers=[("Expect", "100-continue")], data=b"x" * 5000)
    assert answer.body == b"5000"


def test_connections_to_the_origin_are_reused(ours, raw, origin):
    """Forty requests one after the other need one connection per tunnel connection at most."""
    path = origin.on(lambda r: r.reply(200, body=b"x"))
    connection = raw(ours.host("app"))
    before = origin.accepted
    for _ in range(40):
        connection.request("GET", path)
        assert connection.read().status == 200
    assert origin.accepted - before <= 4


def test_visitor_keeps_its_connection(site, stage, origin, raw):
    path = origin.on(lambda r: r.reply(200, body=r.read_body()))
    connection = raw(site.host("app"))
    for size in (0, 1, 5000, 0, 100_000):
        connection.request("POST", path, [("Content-Length", str(size))], b"x" * size)
        assert len(connection.read().body) == size


def test_connection_close_is_honoured(site, origin, raw):
    path = origin.on(lambda r: r.reply(200, body=b"bye"))
    connection = raw(site.host("app"))
    connection.request("GET", path, [("Connection", "close")])
    answer = connection.read()
    assert answer.body == b"bye" and (answer.get("connection") or "").lower() == "close"
    assert connection.is_closed()


def test_http_1_0(site, origin, raw):
    def handler(r):
        r.head(200, [("Transfer-Encoding", "chunked")])
        r.chunk(b"no chunks for you")
        r.last_chunk()

    path = origin.on(handler)
    connection = raw(site.host("app"))
    connection.send(f"GET {path} HTTP/1.0\r\nHost: {site.host('app')}\r\n\r\n")
    answer = connection.read_head()
    assert answer.status == 200 and answer.get("transfer-encoding") is None
    assert connection.reader.read() == b"no chunks for you"


def test_pipelining(site, origin, raw):
    path = origin.on(lambda r: r.reply(200, body=r.target[-3:].encode()))
    connection = raw(site.host("app"))
    one = "".join(f"GET {path}?{i:03} HTTP/1.1\r\nHost: {site.host('app')}\r\n\r\n" for i in range(20))
    connection.send(one)
    assert [connection.read().body for _ in range(20)] == [b"%03d" % i for i in range(20)]


def test_pipelined_bodies(site, origin, raw):
    path = origin.on(lambda r: r.reply(200, body=r.read_body()))
    connection = raw(site.host("app"))
    bodies = [b"a" * 10, b"", b"b" * 30000, b"c"]
    for body in bodies:
        connection.request("POST", path, [("Content-Length", str(len(body)))], body)
    assert [connection.read().body for _ in bodies] == bodies


def test_many_streams_on_one_http2_connection(site, h2, origin):
    path = origin.on(lambda r: r.reply(200, body=r.target.encode()))
    connection = h2(site.host("app"))
    streams = [connection.headers(f"{path}?{i}") for i in range(100)]
    for i, stream in enumerate(streams):
        assert connection.response(stream).body == f"{path}?{i}".encode()


def test_trailers_of_the_response(ours, h2, origin):
    """HTTP/2 visitors get them; HTTP/1.1 visitors did not ask (no TE: trailers)."""

    def handler(r):
        r.head(200, [("Transfer-Encoding", "chunked"), ("Trailer", "X-Sum")])
        r.chunk(b"body")
        r.last_chunk(b"X-Sum: 42\r\n")

    path = origin.on(handler)
    connection = h2(ours.host("app"))
    answer = connection.response(connection.headers(path, extra=[("te", "trailers")]))
    assert answer.body == b"body" and ("x-sum", "42") in answer.trailers


def h2load(stage, host, path, *args):
    out = subprocess.run(
        ["h2load", f"--connect-to=127.0.0.1:{stage.edge.https}", *args, f"https://{host}:{stage.edge.https}{path}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=100,
    ).stdout  # fmt: skip
    counts = {}
    for line in out.splitlines():
        if line.startswith("requests:"):
            counts = {part.split()[1]: int(part.split()[0]) for part in line[len("requests:"):].split(",")}
        if line.startswith("status codes:"):
            counts["2xx"] = int(line.split()[2])
    assert counts, out
    return counts, out


@pytest.mark.parametrize("version", ["h2", "http/1.1"])
def test_concurrent_requests(site, stage, version):
    args = ["-n", "2000", "-c", "20", "-m", "10"] + (["--h1"] if version == "http/1.1" else [])
    if version == "http/1.1":
        args[5] = "1"
    counts, out = h2load(stage, site.host("nginx"), "/small", *args)
    assert counts["succeeded"] == counts["2xx"] == 2000 and counts["failed"] == counts["errored"] == 0, out


def test_echo_of_json(site, visitor):
    sent = json.dumps({"k": ["ü", 1, None]}).encode()
    answer = visitor.get(site.host("app"), "/echo", data=sent, headers=[("Content-Type", "application/json")])
    assert answer.body == sent and answer.get("content-type") == "application/json"


def test_work_is_spread_over_the_connections(ours, stage, origin, h2):
    """Slow requests occupy all four connections, not one."""
    import threading

    gate = threading.Event()
    waiting = []

    def handler(r):
        waiting.append(r)
        gate.wait(30)
        r.reply(200)

    path = origin.on(handler)
    connection = h2(ours.host("app"))
    streams = [connection.headers(path) for _ in range(40)]
    wait_until(lambda: len(waiting) == 40, "40 requests at the origin")
    gate.set()
    assert all(connection.response(s).status == 200 for s in streams)
