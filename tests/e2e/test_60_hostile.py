"""Hostile visitors, hostile connectors, a hostile edge: a clean refusal, and everybody else is served."""

import base64
import contextlib
import json
import pathlib
import random
import select
import socket
import ssl
import threading
import time

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import hpack
import pytest

from testenv.certs import OriginCerts
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.program import PATIENCE
from testenv.visitor import Visitor, frames, tls_connect
from testenv.wait import wait_until

MIB = 1 << 20
# What a program may grow by under attack: bounded by windows and queues, not by what the peer sends.
GROWTH = 64 * MIB if PATIENCE == 1 else 400 * MIB
VECTORS = {
    v["name"]: bytes.fromhex(v["hex"])
    for v in json.loads((pathlib.Path(__file__).parents[1] / "data/vectors.json").read_text())["vectors"]
}


@pytest.fixture
def bounded(stage):
    """The edge's memory stays bounded over the test."""
    edge = stage.edge.program
    edge.forget_peak()
    before = edge.memory("VmRSS")
    yield
    grown = edge.memory("VmHWM") - before
    print(f"the edge grew by {grown / MIB:.1f} MiB at its peak")
    assert grown < GROWTH


def assert_serves(stage, host, folder):
    """Over both versions of HTTP, and all the way to the service."""
    for version in ("http1.1", "http2"):
        visitor = Visitor(stage.edge, version, folder)
        assert visitor.get(host, "/echo", data=b"still here").body == b"still here"
        visitor.close()


# --- HTTP/1.1 ------------------------------------------------------------------------------------------

# {host} is a host that is served, {next} a complete request that must never reach anybody.
POST = "POST /hostile HTTP/1.1\r\nHost: {host}\r\n"
GET = "GET /hostile HTTP/1.1\r\nHost: {host}\r\n"
CHUNKED = POST + "Transfer-Encoding: chunked\r\n\r\n"
HTTP1 = {
    # Two lengths, or one that can be read in two ways.
    "length-and-chunked": POST + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{next}",
    "chunked-and-length": POST + "Transfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\n{next}",
    "chunked-twice": POST + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{next}",
    "chunked-then-identity": POST + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{next}",
    "unknown-coding": POST + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{next}",
    "coding-with-vertical-tab": POST + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n{next}",
    "coding-in-quotes": POST + 'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n{next}',
    "coding-and-http-1.0": "POST /hostile HTTP/1.0\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{next}",
    "two-lengths": POST + "Content-Length: 0\r\nContent-Length: 44\r\n\r\n{next}",
    "list-of-lengths": POST + "Content-Length: 0, 44\r\n\r\n{next}",
    "negative-length": POST + "Content-Length: -1\r\n\r\n{next}",
    "signed-length": POST + "Content-Length: +0\r\n\r\n{next}",
    "hexadecimal-length": POST + "Content-Length: 0x0\r\n\r\n{next}",
    "empty-length": POST + "Content-Length: \r\n\r\n{next}",
    "length-beyond-64-bits": POST + "Content-Length: 18446744073709551616\r\n\r\n{next}",
    # Chunks.
    "huge-chunk": CHUNKED + "fffffffffffffffff\r\n{next}",
    "chunk-size-that-wraps": CHUNKED + "10000000000000000\r\n{next}",
    "negative-chunk": CHUNKED + "-1\r\n{next}",
    "chunk-with-prefix": CHUNKED + "0x0\r\n\r\n{next}",
    "chunk-without-size": CHUNKED + "\r\n\r\n{next}",
    "chunk-without-end": CHUNKED + "3\r\nabcdef\r\n0\r\n\r\n{next}",
    "chunk-extension-flood": CHUNKED + "1;" + "a" * 4096 + "\r\nx\r\n0\r\n\r\n{next}",
    "chunk-line-with-bare-lf": CHUNKED + "1\nx\r\n0\r\n\r\n{next}",
    "chunk-extension-with-lf": CHUNKED + "1;a\nx\r\n0\r\n\r\n{next}",
    "trailer-without-colon": CHUNKED + "0\r\nno colon\r\n\r\n{next}",
    "trailer-flood": CHUNKED + "0\r\n" + "a: b\r\n" * 300 + "\r\n{next}",
    # Fields.
    "folded-field": GET + "X-A: b\r\n c\r\n\r\n{next}",
    "folded-coding": POST + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n{next}",
    "space-before-colon": POST + "Content-Length : 5\r\n\r\n{next}",
    "space-before-colon-of-coding": POST + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{next}",
    "space-before-the-first-field": "GET /hostile HTTP/1.1\r\n Host: {host}\r\n\r\n{next}",
    "nul-in-value": GET + "X-A: b\0c\r\n\r\n{next}",
    "nul-in-name": GET + "X\0A: b\r\n\r\n{next}",
    "bare-cr-in-value": GET + "X-A: b\rX-C: d\r\n\r\n{next}",
    "bare-lf-between-fields": GET + "X-A: b\nTransfer-Encoding: chunked\r\n\r\n{next}",
    "bare-lf-everywhere": "GET /hostile HTTP/1.1\nHost: {host}\n\n{next}",
    "no-colon": GET + "Nothing here\r\n\r\n{next}",
    "empty-name": GET + ": b\r\n\r\n{next}",
    "name-with-brackets": GET + "X(A): b\r\n\r\n{next}",
    "too-many-fields": GET + "a: b\r\n" * 300 + "\r\n{next}",
    "head-too-large": GET + ("X-A: " + "b" * 8000 + "\r\n") * 12 + "\r\n{next}",
    "target-too-long": "GET /" + "a" * 40000 + " HTTP/1.1\r\nHost: {host}\r\n\r\n{next}",
    "endless-field": GET + "X-A: " + "b" * 200_000,
    # Whom it is for.
    "no-host": "GET /hostile HTTP/1.1\r\n\r\n{next}",
    "two-hosts": GET + "Host: other.example.com\r\n\r\n{next}",
    "same-host-twice": GET + "Host: {host}\r\n\r\n{next}",
    "empty-host": "GET /hostile HTTP/1.1\r\nHost: \r\n\r\n{next}",
    "list-of-hosts": "GET /hostile HTTP/1.1\r\nHost: {host}, other.example.com\r\n\r\n{next}",
    "host-with-a-path": "GET /hostile HTTP/1.1\r\nHost: {host}/x\r\n\r\n{next}",
    "host-with-a-user": "GET /hostile HTTP/1.1\r\nHost: x@{host}\r\n\r\n{next}",
    # What it says on the first line.
    "method-with-brackets": "GE(T /hostile HTTP/1.1\r\nHost: {host}\r\n\r\n{next}",
    "space-before-method": " GET /hostile HTTP/1.1\r\nHost: {host}\r\n\r\n{next}",
    "endless-method": "A" * 100_000,
    "two-spaces": "GET  /hostile HTTP/1.1\r\nHost: {host}\r\n\r\n{next}",
    "space-in-target": "GET /hostile x HTTP/1.1\r\nHost: {host}\r\n\r\n{next}",
    "nul-in-target": "GET /hostile\0 HTTP/1.1\r\nHost: {host}\r\n\r\n{next}",
    "no-target": "GET HTTP/1.1\r\nHost: {host}\r\n\r\n{next}",
    "target-without-slash": "GET hostile HTTP/1.1\r\nHost: {host}\r\n\r\n{next}",
    "no-version": "GET /hostile\r\nHost: {host}\r\n\r\n{next}",
    "other-version": "GET /hostile HTTP/3.0\r\nHost: {host}\r\n\r\n{next}",
    "lower-case-version": "GET /hostile http/1.1\r\nHost: {host}\r\n\r\n{next}",
    "connect": "CONNECT {host}:443 HTTP/1.1\r\nHost: {host}\r\n\r\n{next}",
    "http2-preface": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{next}",
    "no-http": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03{next}",
}


@pytest.mark.parametrize("case", HTTP1)
def test_http1(ours, stage, raw, origin, case):
    host = ours.host("app")
    origin.forget()
    connection = raw(host)
    following = f"GET /smuggled HTTP/1.1\r\nHost: {host}\r\n\r\n"
    text = HTTP1[case].replace("/hostile", f"/hostile/{case}", 1)
    with contextlib.suppress(OSError):  # it may close before it has read everything
        connection.send(text.replace("{host}", host).replace("{next}", following))
    said = everything(connection)
    heads = said.count(b"HTTP/1.1 ")
    assert heads <= 1, f"more than one answer: {said[:2000]}"
    if said:
        status = int(said.split(b" ", 2)[1])
        assert said.startswith(b"HTTP/1.1 ") and 400 <= status < 600, said[:500]
    # What comes later on the same way has overtaken nothing.
    after = raw(host)
    after.request("GET", "/echo")
    assert after.read().status == 200
    assert not origin.requests("/smuggled"), "the origin was asked twice"
    # What was cut off in an earlier case may reach the origin only now.
    late = tuple(f"/hostile/{other}" for other in HTTP1 if other != case)
    assert len([r for r in origin.seen if r.target != "/echo" and r.target not in late]) <= 1
    for r in origin.seen:
        assert "smuggled" not in r.raw_head.decode("latin-1")


def everything(connection):
    """Until the edge closes, and it has to."""
    data = b""
    try:
        while block := connection.reader.read1(65536):
            data += block
    except TimeoutError:
        raise AssertionError(f"the connection stays open after {data[:300]}") from None
    except OSError:
        pass
    return data


def test_http1_absolute_form_names_the_host(ours, raw, origin):
    """The target wins over Host (RFC 9112, 3.2.2): no way to be routed by one and checked by the other."""
    origin.forget()
    connection = raw(ours.host("app"))
    connection.send(f"GET https://nobody.{ZONE}/hostile HTTP/1.1\r\nHost: {ours.host('app')}\r\n\r\n")
    assert 400 <= connection.read().status < 500
    assert not origin.requests("/hostile")


def test_http1_bytes_after_a_refused_upload_are_no_request(ours, raw, origin):
    """An answer that comes before the body was read must not make the body a request."""
    path = origin.on(lambda r: r.reply(403, [("Connection", "close")], b"no") or r.cut())
    connection = raw(ours.host("app"))
    inner = f"GET /smuggled HTTP/1.1\r\nHost: {ours.host('app')}\r\n\r\n".encode()
    with contextlib.suppress(OSError):
        connection.request("POST", path, [("Content-Length", str(len(inner) * 200))], inner)
        assert connection.read().status in (403, 502)
        connection.send(inner * 199)
        # Either it is over, or the next request is the next request.
        connection.request("GET", "/echo", [("Connection", "close")])
        answer = connection.read()
        assert answer is None or (answer.status == 200 and not everything(connection))
    assert not origin.requests("/smuggled")


def test_slow_heads_hold_nobody_up(ours, stage, raw, tmp_path, bounded):
    connections = [raw(ours.host("app")) for _ in range(60)]
    for byte in b"GET / HT":
        for connection in connections:
            connection.send(bytes([byte]))
    assert_serves(stage, ours.host("app"), tmp_path)
    for connection in connections:  # and they are still welcome, should they go on
        connection.send(f"TP/1.1\r\nHost: {ours.host('status')}\r\n\r\n")
    assert [c.read_head().status for c in connections] == [418] * len(connections)


# --- HTTP/2 --------------------------------------------------------------------------------------------

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload):
    """Also of kinds and sizes that no library would send."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8


class Attack:
    """What a hostile visitor sends first, and then for ever."""

    def __init__(self, first=b"", forever=None, preface=PREFACE + frame(SETTINGS, 0, 0, b"")):
        self.first, self.forever, self.preface = first, forever, preface


def head(authority, path="/hostile", method="GET", more=()):
    fields = [(":method", method), (":scheme", "https"), (":authority", authority), (":path", path), *more]
    # Never indexed: the same bytes can be sent again.
    return b"".join(hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*f)]) for f in fields)


def rapid_reset(authority):
    block = head(authority)
    stream = 1
    while stream < 1 << 30:
        out = []
        for _ in range(200):
            out.append(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
            out.append(frame(RST, 0, stream, b"\0\0\0\x08"))
            stream += 2
        yield b"".join(out)


def made_to_reset(authority):
    """The other side is made to reset: each request is malformed after its head."""
    block = head(authority, method="POST")
    stream = 1
    while stream < 1 << 30:
        out = []
        for _ in range(200):
            out.append(frame(HEADERS, END_HEADERS, stream, block))
            out.append(frame(WINDOW, 0, stream, b"\0\0\0\0"))
            stream += 2
        yield b"".join(out)


def again(data):
    return lambda _: iter(lambda: data, None)


def upload(authority):
    return frame(HEADERS, END_HEADERS, 1, head(authority, "/echo", "POST"))


LITERAL = b"\x00\x03x-a" + b"\x7f\x81\x1e" + b"b" * 4000  # one field of 4000 bytes, not indexed
HTTP2 = {
    "rapid-reset": Attack(forever=rapid_reset),
    "made-to-reset": Attack(forever=made_to_reset),
    "ping-flood": Attack(forever=again(frame(PING, 0, 0, b"12345678") * 500)),
    "settings-flood": Attack(forever=again(frame(SETTINGS, 0, 0, b"\0\4\0\0\xff\xff") * 500)),
    "empty-data-flood": Attack(upload, again(frame(DATA, 0, 1, b"") * 1000)),
    # Small, so that the window before our acknowledgement (65535 bytes) is not what ends it.
    "padding-flood": Attack(upload, again(frame(DATA, PADDED, 1, b"\0") * 500)),
    "priority-flood": Attack(forever=again(frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") * 500)),
    "reset-flood": Attack(upload, again(frame(RST, 0, 1, b"\0\0\0\x08") * 500)),
    "continuation-flood": Attack(
        lambda a: frame(HEADERS, END_STREAM, 1, head(a)), again(frame(CONTINUATION, 0, 1, LITERAL * 4))
    ),
    "empty-continuation-flood": Attack(
        lambda a: frame(HEADERS, END_STREAM, 1, head(a)), again(frame(CONTINUATION, 0, 1, b"") * 500)
    ),
    "window-update-of-zero": Attack(frame(WINDOW, 0, 0, b"\0\0\0\0")),
    "window-overflow": Attack(frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2),
    "bad-preface": Attack(preface=b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + bytes(64)),
    "http1-instead-of-preface": Attack(preface=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "no-settings-first": Attack(preface=PREFACE + frame(PING, 0, 0, b"12345678")),
    "hpack-garbage": Attack(frame(HEADERS, END_HEADERS | END_STREAM, 1, random.Random(1).randbytes(400))),
    "hpack-index-out-of-range": Attack(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff\xff\xff\xff\x0f")),
    "hpack-endless-integer": Attack(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\xff" * 200)),
    "hpack-table-too-large": Attack(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x3f\xe1\xff\xff\x03\x82")),
    "hpack-cut-off": Attack(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x00\x7f\xff")),
    "data-on-stream-0": Attack(frame(DATA, 0, 0, b"x")),
    "data-on-idle-stream": Attack(frame(DATA, 0, 5, b"x")),
    "headers-on-even-stream": Attack(lambda a: frame(HEADERS, END_HEADERS | END_STREAM, 2, head(a))),
    "headers-on-stream-0": Attack(lambda a: frame(HEADERS, END_HEADERS | END_STREAM, 0, head(a))),
    "push-promise": Attack(lambda a: frame(PUSH, END_HEADERS, 1, b"\0\0\0\2" + head(a))),
    "frame-too-large": Attack(frame(DATA, 0, 1, bytes(1 << 20))),
    "settings-of-odd-size": Attack(frame(SETTINGS, 0, 0, b"\0\4\0")),
    "settings-window-too-large": Attack(frame(SETTINGS, 0, 0, b"\0\4\xff\xff\xff\xff")),
    "settings-push-of-2": Attack(frame(SETTINGS, 0, 0, b"\0\2\0\0\0\2")),
    "settings-frame-size-of-1": Attack(frame(SETTINGS, 0, 0, b"\0\5\0\0\0\1")),
    "settings-on-a-stream": Attack(frame(SETTINGS, 0, 1, b"")),
    "ping-of-odd-size": Attack(frame(PING, 0, 0, b"123")),
    "reset-of-idle-stream": Attack(frame(RST, 0, 7, b"\0\0\0\x08")),
    "padding-beyond-the-frame": Attack(lambda a: upload(a) + frame(DATA, PADDED, 1, b"\xffab")),
    "continuation-alone": Attack(frame(CONTINUATION, END_HEADERS, 1, b"\x82")),
    "other-frame-inside-a-head": Attack(lambda a: frame(HEADERS, 0, 1, head(a)) + frame(PING, 0, 0, b"12345678")),
}


# Those whose answers pile up when nobody reads them.
DEAF = ("rapid-reset", "made-to-reset", "ping-flood", "settings-flood", "empty-data-flood")


@pytest.mark.parametrize(
    ("case", "reads"), [*((c, True) for c in HTTP2), *((c, False) for c in DEAF)],
    ids=[*HTTP2, *(f"{c}-deaf" for c in DEAF)],
)  # fmt: skip
def test_http2(ours, stage, tmp_path, bounded, case, reads):
    attack = HTTP2[case]
    authority = f"{ours.host('app')}:{stage.edge.https}"
    sock = tls_connect(stage.edge, ours.host("app"), ["h2"], seconds=20)
    try:
        ended = assault(sock, attack, authority, reads)
    finally:
        sock.close()
    assert ended, "the edge takes it for ever"
    assert_serves(stage, ours.host("app"), tmp_path)


def assault(sock, attack, authority, reads):
    """True once the edge has ended the connection, or does not take any more from one who is deaf. One
    thread: OpenSSL does not allow reading and writing of one connection at the same time."""

    def made(what):
        return what(authority) if callable(what) else what

    sock.setblocking(False)
    left, blocks = attack.preface + made(attack.first), iter(made(attack.forever) or ())
    deadline = time.monotonic() + 15 * PATIENCE
    moved = time.monotonic()
    while time.monotonic() < deadline:
        left = left or next(blocks, b"")
        try:
            if left:
                left = left[sock.send(left) :]
                moved = time.monotonic()
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            pass
        except OSError:
            return True
        try:
            if reads and not sock.recv(65536):
                return True
            if reads:
                continue
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            return True
        if not reads and time.monotonic() - moved > 1:
            return True
        select.select([sock] if reads else [], [sock] if left or attack.forever else [], [], 0.1)
    return False


BAD_HEADS = {
    "crlf-in-value": [("x-a", "b\r\nx-c: d")],
    "lf-in-value": [("x-a", "b\nx-c: d")],
    "nul-in-value": [("x-a", "b\0c")],
    "crlf-in-name": [("x-a: b\r\nx-c", "d")],
    "colon-in-name": [("x-a:b", "c")],
    "upper-case-name": [("X-A", "b")],
    "empty-name": [("", "b")],
    "transfer-encoding": [("transfer-encoding", "chunked")],
    "connection": [("connection", "x-a")],
    "te-other-than-trailers": [("te", "gzip")],
    "two-lengths": [("content-length", "0"), ("content-length", "5")],
    "length-no-number": [("content-length", "-1")],
    "pseudo-after-field": [("x-a", "b"), (":path", "/smuggled")],
    "path-twice": [(":path", "/smuggled")],
    "unknown-pseudo": [(":nothing", "x")],
    "status": [(":status", "200")],
}
BAD_PSEUDO = {
    "space-in-path": {":path": "/hostile x HTTP/1.1"},
    "crlf-in-path": {":path": "/hostile HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled"},
    "empty-path": {":path": ""},
    "path-without-slash": {":path": "hostile"},
    "crlf-in-method": {":method": "GET /smuggled HTTP/1.1\r\nX: "},
    "space-in-method": {":method": "GET /smuggled"},
    "crlf-in-authority": {":authority": "{authority}\r\nX-A: b"},
    "user-in-authority": {":authority": "x@{authority}"},
    "no-path": {":path": None},
    "no-method": {":method": None},
    "no-authority": {":authority": None},
}


@pytest.mark.parametrize("case", [*BAD_HEADS, *BAD_PSEUDO])
def test_http2_head_that_would_be_another_in_http1(ours, h2, origin, case):
    origin.forget()
    connection = h2(ours.host("app"))
    pseudo = {":method": "GET", ":scheme": "https", ":authority": connection.authority, ":path": "/hostile"}
    for name, value in BAD_PSEUDO.get(case, {}).items():
        pseudo[name] = value and value.replace("{authority}", connection.authority)
    fields = [(n, v) for n, v in pseudo.items() if v is not None] + BAD_HEADS.get(case, [])
    block = b"".join(hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*f)]) for f in fields)
    stream = connection.conn.get_next_available_stream_id()
    # The library has to know of the stream to understand an answer; the edge gets our own head.
    connection.conn.send_headers(stream, [(n, v) for n, v in GOOD_HEAD.items()], end_stream=True)
    connection.conn.clear_outbound_data_buffer()
    connection.sock.sendall(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
    answer = connection.response(stream)
    assert answer is None or 400 <= answer.status < 500, answer
    if not connection.closed:
        after = connection.headers("/echo")
        assert connection.response(after).status == 200
    assert not [r for r in origin.seen if r.target != "/echo"]


GOOD_HEAD = {":method": "GET", ":scheme": "https", ":authority": "a", ":path": "/"}


def test_http2_head_bomb(ours, stage, h2, tmp_path, bounded):
    """A few bytes that stand for megabytes: one large field in the table, named thousands of times."""
    connection = h2(ours.host("app"))
    block = b"".join(
        [head(connection.authority), b"\x40\x03x-a\x7f\x81\x1e" + b"b" * 4000, b"\xbe" * 12000]
    )
    connection.conn.send_headers(1, list(GOOD_HEAD.items()), end_stream=True)
    connection.conn.clear_outbound_data_buffer()
    connection.sock.sendall(frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
    answer = connection.response(1)
    assert answer is None or answer.status in (400, 431)
    assert_serves(stage, ours.host("app"), tmp_path)


@pytest.mark.parametrize("sent", [3, 50], ids=["less", "more"])
def test_http2_body_is_not_as_long_as_said(ours, h2, origin, sent):
    """Neither may the origin get a whole request of it."""
    whole = []
    path = origin.on(lambda r: whole.append(r.read_body()) or r.reply(200))
    connection = h2(ours.host("app"))
    stream = connection.headers(path, "POST", [("content-length", "10")], end=False)
    connection.frame(frames.DataFrame(stream, b"x" * sent, flags=["END_STREAM"]))
    answer = connection.response(stream)
    assert answer is None or 400 <= answer.status < 500
    assert not whole or (sent == 50 and whole == [b"x" * 10])


# --- no TLS at all -------------------------------------------------------------------------------------

GARBAGE = {
    "random": random.Random(7).randbytes(5000),
    "zeros": bytes(5000),
    "http": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "http2": PREFACE + frame(SETTINGS, 0, 0, b""),
    "record-too-large": b"\x16\x03\x01\xff\xff" + b"\x01" * 70000,
    "hello-of-nothing": b"\x16\x03\x01\x00\x04\x01\x00\x00\x00",
    "hello-cut-off": b"\x16\x03\x01\x00\x30\x01\x00\x00\x2c\x03\x03" + bytes(10),
    "alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "empty-records": b"\x16\x03\x01\x00\x00" * 2000,
    "application-data": b"\x17\x03\x03\x00\x20" + bytes(32),
    "nothing": b"",
}


@pytest.mark.parametrize("port", ["https", "tunnel", "http"])
def test_garbage_instead_of_tls(ours, stage, tmp_path, bounded, port):
    for name, data in GARBAGE.items():
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", getattr(stage.edge, port)), timeout=20 * PATIENCE) as s:
                with contextlib.suppress(OSError):
                    s.sendall(data)
                    s.shutdown(socket.SHUT_WR)
                    try:
                        while s.recv(65536):
                            pass
                    except TimeoutError:
                        raise AssertionError(f"{name}: neither an answer nor an end") from None
    assert_serves(stage, ours.host("app"), tmp_path)


def test_handshakes_that_stop_hold_nobody_up(ours, stage, tmp_path, bounded):
    with contextlib.ExitStack() as stack:
        for port in (stage.edge.https, stage.edge.tunnel) * 40:
            s = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            s.sendall(GARBAGE["hello-cut-off"])
        assert_serves(stage, ours.host("app"), tmp_path)


# --- connectors ----------------------------------------------------------------------------------------

BOOTSTRAP = VECTORS["register-ok-remotely-managed/01-bootstrap"]
REGISTER = VECTORS["register-ok-remotely-managed/02-call-registerConnection"]
# What the captured call carries.
ACCOUNT, SECRET = b"0123456789abcdef0123456789abcdef", b"0123456789ABCDEF0123456789ABCDEF"
TUNNEL = bytes.fromhex("112233445566478899aabbccddeeff00")


class FakeConnector:
    """The HTTP/2 server's end of a tunnel connection, up to the control stream."""

    def __init__(self, edge, seconds=20):
        context = ssl.create_default_context(cafile=str(edge.ca))
        sock = socket.create_connection(("127.0.0.1", edge.tunnel), timeout=seconds * PATIENCE)
        self.sock = context.wrap_socket(sock, server_hostname="h2.cftunnel.com")
        config = h2.config.H2Configuration(
            client_side=False, validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.conn = h2.connection.H2Connection(config)
        self.conn.initiate_connection()
        self.flush()
        self.control = None
        self.said = b""  # by the edge on the control stream
        self.asked = []  # requests of visitors

    def flush(self):
        self.sock.sendall(self.conn.data_to_send())

    def pump(self):
        """Reads once; False at the end of the connection."""
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            raise AssertionError("the edge leaves the connection open") from None
        except OSError:
            return False
        if not data:
            return False
        try:
            for event in self.conn.receive_data(data):
                self.note(event)
            self.flush()
        except (h2.exceptions.ProtocolError, OSError):
            pass  # it is us who broke the rules; what counts is what the edge does now
        return True

    def note(self, event):
        if isinstance(event, h2.events.RequestReceived):
            fields = dict(event.headers)
            if fields.get(b"cf-cloudflared-proxy-connection-upgrade") == b"control-stream":
                self.control = event.stream_id
            else:
                self.asked.append(event.stream_id)
        elif isinstance(event, h2.events.DataReceived):
            if event.stream_id == self.control:
                self.said += event.data
            if event.flow_controlled_length:
                self.conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)

    def open_control(self):
        while not self.control:
            assert self.pump(), "the edge closed before it opened a control stream"
        self.conn.send_headers(self.control, [(":status", "200")])
        self.flush()
        return self

    def say(self, data, end=False):
        """On the control stream; the edge may close before it has everything."""
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            while data:
                room = min(self.conn.local_flow_control_window(self.control), 16384)
                if not room:
                    if not self.pump():
                        return self
                    continue
                self.conn.send_data(self.control, data[:room])
                self.flush()
                data = data[room:]
            if end:
                self.conn.end_stream(self.control)
                self.flush()
        return self

    def register(self, tunnel):
        """As the tunnel's own connector does it."""
        said = json.loads(tunnel.credentials.read_text())
        account, secret = said["AccountTag"].encode(), base64.b64decode(said["TunnelSecret"])
        uuid = bytes.fromhex(tunnel.id.replace("-", ""))
        assert (len(account), len(secret)) == (32, 32)
        call = REGISTER.replace(ACCOUNT, account).replace(SECRET, secret).replace(TUNNEL, uuid)
        self.say(BOOTSTRAP + call)
        while b"test" not in self.said:  # the edge's location
            assert self.pump(), f"not registered: {self.said}"
        return self

    def wait_end(self):
        while self.pump():
            pass
        self.sock.close()

    def wait_asked(self):
        while not self.asked:
            assert self.pump(), "closed before a visitor came"
        return self.asked[-1]

    def close(self):
        self.sock.close()


@pytest.fixture
def fake(stage):
    made = []

    def connect(**kwargs):
        made.append(FakeConnector(stage.edge, **kwargs))
        return made[-1]

    yield connect
    for connector in made:
        connector.close()


@pytest.fixture(scope="module")
def lured(stage):
    """A tunnel for hostile connectors, and the host that leads to it."""
    cli = stage.site("adit").cli
    tunnel = cli.create("hostile")
    host = f"hostile.{ZONE}"
    cli.route(tunnel, host)
    return tunnel, host


def test_connector_of_an_unknown_tunnel(ours, stage, fake):
    connector = fake().open_control().say(BOOTSTRAP + REGISTER)
    connector.wait_end()
    assert b"Unauthorized: Tunnel not found" in connector.said
    stage.edge.program.wait_log(r"connector refused.*11223344-5566-4788-99aa-bbccddeeff00")


@pytest.mark.parametrize("wrong", ["secret", "short-secret", "account"])
def test_connector_with_wrong_credentials(ours, stage, fake, lured, wrong):
    said = json.loads(lured[0].credentials.read_text())
    account, secret = said["AccountTag"].encode(), base64.b64decode(said["TunnelSecret"])
    secret = bytes([secret[0] ^ 1]) + secret[1:] if wrong != "account" else secret
    account = b"f" * 32 if wrong == "account" else account
    call = REGISTER.replace(TUNNEL, bytes.fromhex(lured[0].id.replace("-", "")))
    call = call.replace(ACCOUNT, account).replace(SECRET, secret)
    if wrong == "short-secret":
        # The list's length is in its pointer: 32 bytes become none.
        pointer = bytes.fromhex("1500000002010000")
        assert call.count(pointer) == 1
        call = call.replace(pointer, bytes.fromhex("1500000002000000"))
    connector = fake().open_control().say(BOOTSTRAP + call)
    connector.wait_end()
    assert b"Unauthorized" in connector.said
    assert stage.edge.gauge("adit_edge_tunnel_connections") == stage.connections()


def mutations():
    """Of the two messages that register: cut off everywhere, and changed anywhere."""
    whole = BOOTSTRAP + REGISTER
    for size in range(1, len(whole), 29):
        yield whole[:size]
    chance = random.Random(42)
    for _ in range(60):
        message = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 8))):
            message[chance.randrange(len(message))] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        yield bytes(message)


@pytest.mark.timeout(300)
def test_connector_whose_messages_are_broken(ours, stage, tmp_path, bounded):
    for message in mutations():
        connector = FakeConnector(stage.edge)
        connector.open_control().say(message, end=True)
        connector.wait_end()
    assert stage.edge.gauge("adit_edge_tunnel_connections") == stage.connections()
    assert_serves(stage, ours.host("app"), tmp_path)


def words(*numbers):
    return b"".join(n.to_bytes(4, "little") for n in numbers)


RPC = {
    "a-gigabyte-announced": words(0, 1 << 27),
    "largest-segment": words(0, 0xFFFFFFFF),
    "largest-count": words(0xFFFFFFFF, 1) + bytes(4096),
    "hundred-segments": words(99, *[1] * 100, 0) + bytes(800),
    "larger-than-before-registration": words(0, 65536) + bytes(65536 * 8),
    "empty-messages": words(0, 0) * 20000,
    "zeros": bytes(100_000),
    "ones": b"\xff" * 100_000,
    "random": random.Random(3).randbytes(100_000),
    "bootstrap-flood": b"".join(BOOTSTRAP.replace(words(0) + words(0) * 3, words(0) * 4) for _ in range(3000)),
    "many-questions": b"".join(
        BOOTSTRAP[:24] + words(n) + BOOTSTRAP[28:] for n in range(3000)
    ),
    "points-at-itself": words(0, 2, 0xFFFFFFFC, 0x00010000, 0, 0),
    "far-pointer-to-nowhere": words(0, 1, 0x00000002, 0x7FFFFFFF),
    "list-of-everything": words(0, 3, 0, 0x00010001, 8, 0, 0x00000001, 0xFFFFFFFF),
    "call-before-bootstrap": REGISTER,
    "text-instead-of-a-message": b"POST / HTTP/1.1\r\n" * 2000,
}


@pytest.mark.parametrize("case", RPC)
def test_connector_that_says_anything(ours, stage, fake, bounded, tmp_path, case):
    connector = fake().open_control().say(RPC[case], end=True)
    connector.wait_end()
    assert stage.edge.gauge("adit_edge_tunnel_connections") == stage.connections()
    assert_serves(stage, ours.host("app"), tmp_path)


@pytest.mark.parametrize("case", ["largest-segment", "a-gigabyte-announced", "zeros", "ones", "random"])
def test_registered_connector_that_says_anything(ours, stage, fake, lured, bounded, tmp_path, case):
    connector = fake().open_control().register(lured[0])
    stage.edge.wait_connections(stage.connections() + 1)
    connector.say(RPC[case], end=True)
    connector.wait_end()
    stage.edge.wait_connections(stage.connections())
    assert_serves(stage, ours.host("app"), tmp_path)


def test_connectors_that_never_register(ours, stage, fake, tmp_path):
    """Each is silent from another step on, and none is waited for without end."""
    silent = [fake(seconds=25)]
    silent.append(fake(seconds=25).open_control())
    silent.append(fake(seconds=25).open_control().say(BOOTSTRAP))
    silent.append(fake(seconds=25).open_control().say(BOOTSTRAP + REGISTER[:200]))
    assert_serves(stage, ours.host("app"), tmp_path)
    for connector in silent:
        connector.wait_end()


def answer(*fields):
    return [(":status", "200"), *fields]


SERIALIZED = "cf-cloudflared-response-headers"
META = ("cf-cloudflared-response-meta", '{"src":"origin"}')


def encoded(*fields):
    def b64(text):
        return base64.b64encode(text.encode("latin-1")).decode().rstrip("=")

    return SERIALIZED, ";".join(f"{b64(n)}:{b64(v)}" for n, v in fields)


ANSWERS = {
    "status-99": [(":status", "99")],
    "status-no-number": [(":status", "2x0")],
    "no-status": [("x-a", "b")],
    "crlf-in-value": answer(("x-a", "b\r\nset-cookie: c=d")),
    "upper-case-name": answer(("X-A", "b")),
    "hop-by-hop": answer(("transfer-encoding", "chunked")),
    "serialized-garbage": answer((SERIALIZED, "!!!:???;;;:"), META),
    "serialized-cut-off": answer((SERIALIZED, "eC1h"), META),
    "serialized-crlf-in-value": answer(encoded(("x-a", "b\r\nset-cookie: c=d")), META),
    "serialized-crlf-in-name": answer(encoded(("x-a: b\r\nset-cookie", "c=d")), META),
    "serialized-two-lengths": answer(encoded(("content-length", "3"), ("content-length", "5")), META),
    "serialized-coding": answer(encoded(("transfer-encoding", "chunked")), META),
    "serialized-pseudo": answer(encoded((":status", "200")), META),
    "serialized-flood": answer(encoded(*[("x-a", "b")] * 3000), META),
    "meta-garbage": answer(("cf-cloudflared-response-meta", "{{{{")),
    "two-lengths": answer(("content-length", "3"), ("content-length", "5")),
    "fields-without-end": answer(*[("x-a", "b" * 4000)] * 40),
}


@pytest.mark.parametrize("version", ["http1.1", "http2"])
def test_connector_whose_answers_are_broken(ours, stage, fake, lured, tmp_path, version):
    """The visitor gets an error or a harmless answer; nothing of it becomes a field of its own."""
    visitor = Visitor(stage.edge, version, tmp_path)
    for case, fields in ANSWERS.items():
        connector = fake().open_control().register(lured[0])
        stage.edge.wait_connections(stage.connections() + 1)
        curl = visitor.start(lured[1], "/", "-i", "--max-time", "20")
        try:
            stream = connector.wait_asked()
            block = b"".join(hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*f)]) for f in fields)
            for at in range(0, len(block), 16384):
                last = at + 16384 >= len(block)
                kind = CONTINUATION if at else HEADERS
                flags = (END_HEADERS if last else 0) | (0 if at else END_STREAM)
                with contextlib.suppress(OSError):
                    connector.sock.sendall(frame(kind, flags, stream, block[at : at + 16384]))
            out, _ = curl.communicate(timeout=25 * PATIENCE)
        finally:
            connector.close()
        text = out.decode("latin-1").lower()
        assert curl.returncode != 28, f"{case}: the visitor was left waiting"
        assert "\nset-cookie" not in text and text.count("content-length:") <= 1, (case, text)
        assert not ("content-length:" in text and "transfer-encoding:" in text), (case, text)
        stage.edge.wait_connections(stage.connections())
    visitor.close()


# What a registered connector may send, as attacks of its own on the edge's HTTP/2 client.
FROM_CONNECTOR = {
    "ping-flood": frame(PING, 0, 0, b"12345678") * 500,
    "settings-flood": frame(SETTINGS, 0, 0, b"\0\4\0\0\xff\xff") * 500,
    "window-overflow": frame(WINDOW, 0, 0, b"\x7f\xff\xff\xff") * 2,
    "push-promise": frame(PUSH, END_HEADERS, 1, b"\0\0\0\2\x82"),
    "data-on-idle-stream": frame(DATA, 0, 99, b"x"),
    "garbage": random.Random(5).randbytes(16384),
    "goaway": frame(GOAWAY, 0, 0, b"\0\0\0\0\0\0\0\0"),
}


@pytest.mark.parametrize("case", FROM_CONNECTOR)
def test_connector_that_floods(ours, stage, fake, lured, tmp_path, bounded, case):
    connector = fake().open_control().register(lured[0])
    attack = Attack(forever=again(FROM_CONNECTOR[case]), preface=b"")
    assert assault(connector.sock, attack, "", reads=True), "the edge takes it for ever"
    stage.edge.wait_connections(stage.connections())
    assert_serves(stage, ours.host("app"), tmp_path)


# --- an edge that is not ours --------------------------------------------------------------------------


class EdgeCerts(OriginCerts):
    NAME = "h2.cftunnel.com"


GOOD = PREFACE + frame(SETTINGS, 0, 0, b"")


def control_stream():
    fields = [(":method", "GET"), (":scheme", "https"), (":authority", "a"), (":path", "/"),
              ("cf-cloudflared-proxy-connection-upgrade", "control-stream")]  # fmt: skip
    return GOOD + frame(HEADERS, END_HEADERS, 1, hpack.Encoder().encode(fields))


def said(data):
    return control_stream() + b"".join(frame(DATA, 0, 1, data[i : i + 16384]) for i in range(0, len(data), 16384))


RETURNED = VECTORS["register-ok-remotely-managed/03-return-bootstrap"]
REGISTERED_RETURN = VECTORS["register-ok-remotely-managed/05-return-results"]
# What a connection gets: without TLS (False) or inside it (True).
FALSE_EDGE = {
    "closed": (False, b""),
    "garbage-instead-of-tls": (False, random.Random(11).randbytes(3000)),
    "http-instead-of-tls": (False, b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
    "tls-and-closed": (True, b""),
    "garbage-instead-of-http2": (True, random.Random(12).randbytes(3000)),
    "http1": (True, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
    "frames-of-garbage": (True, GOOD + random.Random(13).randbytes(3000)),
    "hpack-garbage": (True, GOOD + frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\x0f")),
    "control-stream-and-closed": (True, control_stream()),
    "rpc-garbage": (True, said(random.Random(14).randbytes(3000))),
    "rpc-a-gigabyte-announced": (True, said(words(0, 1 << 27))),
    "rpc-cut-off": (True, said(RETURNED + REGISTERED_RETURN[:-40])),
    "rpc-points-at-itself": (True, said(RPC["points-at-itself"])),
    "rpc-changed": (True, said(RETURNED + REGISTERED_RETURN.replace(words(1, 0x25), words(9, 0x7FFFFFFF)))),
    "settings-flood": (True, control_stream() + frame(SETTINGS, 0, 0, b"\0\4\0\0\xff\xff") * 30000),
    "registered-and-garbage": (True, said(RETURNED + REGISTERED_RETURN) + random.Random(15).randbytes(3000)),
}


class FalseEdge:
    """Gives every connection the next of FALSE_EDGE, and then leads to the real edge."""

    def __init__(self, context, real):
        self.context, self.real = context, real
        self.left = list(FALSE_EDGE.values())
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        with self.lock:
            case = self.left.pop(0) if self.left else None
        with sock, contextlib.suppress(OSError):
            if not case:
                self.lead_on(sock)
                return
            sock.settimeout(10)
            inside, data = case
            if inside:
                sock = self.context.wrap_socket(sock, server_side=True)
            sock.sendall(data)
            # Closing with unread bytes would be a reset, and take what was sent with it.
            sock.settimeout(0.3)
            while sock.recv(65536):
                pass

    def lead_on(self, sock):
        with socket.create_connection(("127.0.0.1", self.real)) as up:
            ways = {sock: up, up: sock}
            while True:
                for ready in select.select(list(ways), [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    ways[ready].sendall(data)

    def close(self):
        self.listener.close()


@pytest.mark.timeout(240)
def test_false_edge(ours, stage, lured, tmp_path):
    """The connector goes on trying, whatever it meets, and serves once it meets the real one."""
    certs = EdgeCerts(tmp_path / "certs")
    both = tmp_path / "both.pem"
    both.write_text(certs.ca.read_text() + stage.edge.ca.read_text())
    false = FalseEdge(certs.server(), stage.edge.tunnel)
    config = write_config(tmp_path / "c.yml", lured[0], [{"hostname": lured[1], "service": "http_status:418"}])
    try:
        connector = ours.cli.connect(
            lured[0], config, name="lured", wait=0,
            args=["--edge", f"127.0.0.1:{false.port}", "--cacert", both, "--retries", "0", "--ha-connections", "1"],
        )  # fmt: skip
        before = connector.memory("VmRSS")
        wait_until(lambda: not false.left or not connector.is_running(), lambda: f"end of {false.left}", 60 * PATIENCE)
        stage.edge.wait_connections(stage.connections() + 1, seconds=40)
        visitor = Visitor(stage.edge, "http1.1", tmp_path)
        assert visitor.get(lured[1], "/").status == 418
        assert connector.memory("VmHWM") - before < GROWTH
        connector.stop()
    finally:
        false.close()
    stage.edge.wait_connections(stage.connections())
