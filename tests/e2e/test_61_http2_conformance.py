"""RFC 9113 by its frames: what breaks it gets the answer that the RFC names, what does not is served.

With H2SPEC set to the path of h2spec, that runs, too.
"""

import os
import re
import socket
import ssl
import subprocess

import hpack
import pytest

from testenv.program import PATIENCE
from testenv.visitor import tls_connect

DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITISED = 1, 1, 4, 8, 32
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PROTOCOL, FLOW, CLOSED, SIZE, COMPRESSION, CALM = 1, 3, 5, 6, 9, 11


def frame(kind, flags, stream, payload=b"", length=None):
    size = len(payload) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def block(authority, method="GET", path="/echo", drop=(), more=(), first=()):
    fields = {":method": method, ":scheme": "https", ":authority": authority, ":path": path}
    listed = [*first, *((n, v) for n, v in fields.items() if n not in drop), *more]
    return b"".join(hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*f)]) for f in listed)


def request(authority, stream=1, end=True, **how):
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), stream, block(authority, **how))


def post(authority, stream=1, **how):
    return request(authority, stream, end=False, method="POST", **how)


class Line:
    """A connection of raw frames."""

    def __init__(self, edge, host, settings=b""):
        self.sock = tls_connect(edge, host, ["h2"], seconds=20 * PATIENCE)
        self.left = b""
        self.hpack = hpack.Decoder()
        self.send(PREFACE + frame(SETTINGS, 0, 0, settings))

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            pass  # the edge may have closed before it has read everything

    def next(self):
        """(kind, flags, stream, payload); None at the end."""
        while len(self.left) < 9 or len(self.left) < 9 + int.from_bytes(self.left[:3], "big"):
            try:
                data = self.sock.recv(65536)
            except (OSError, ssl.SSLError) as e:
                assert not isinstance(e, (TimeoutError, socket.timeout)), "the edge says nothing"
                return None
            if not data:
                return None
            self.left += data
        size = int.from_bytes(self.left[:3], "big")
        head, payload, self.left = self.left[:9], self.left[9 : 9 + size], self.left[9 + size :]
        return head[3], head[4], int.from_bytes(head[5:9], "big") & 0x7FFFFFFF, payload

    def outcome(self, stream=1):
        """("goaway", code), ("reset", code), ("status", n) or ("closed", None): whatever comes first."""
        while True:
            got = self.next()
            if got is None:
                return "closed", None
            kind, flags, on, payload = got
            if kind == GOAWAY:
                code = int.from_bytes(payload[4:8], "big")
                if code:
                    return "goaway", code
            elif kind == RST and on == stream:
                return "reset", int.from_bytes(payload[:4], "big")
            elif kind == HEADERS:
                fields = dict(self.hpack.decode(payload))
                if on == stream:
                    return "status", int(fields[":status"])

    def wait_end(self, stream):
        """Until the edge has ended the stream."""
        while True:
            got = self.next()
            assert got, "the edge closed"
            if got[0] == HEADERS:
                self.hpack.decode(got[3])
            if got[2] == stream and got[0] in (HEADERS, DATA) and got[1] & END_STREAM:
                return


@pytest.fixture
def line(ours, stage):
    made = []

    def connect(**how):
        made.append(Line(stage.edge, ours.host("app"), **how))
        return made[-1]

    yield connect
    for one in made:
        one.sock.close()


# Name: (what is sent, what has to come back). A connection error may also just be a closed connection, and
# a stream error a connection error (RFC 9113, 5.4.1, 5.4.2).
WINDOW_MAX = b"\x7f\xff\xff\xff"
TABLE = {
    # 3.4, 4.1, 4.2
    "unknown frame type is ignored": (lambda a: frame(99, 255, 0, b"x" * 20) + request(a), ("status", 200)),
    "undefined flags are ignored": (lambda a: frame(PING, 0xFE, 0, b"12345678") + request(a), ("status", 200)),
    "reserved bit is ignored": (lambda a: frame(PING, 0, 1 << 31, b"12345678") + request(a), ("status", 200)),
    "DATA above the frame size": (lambda a: post(a) + frame(DATA, 0, 1, bytes(16385)), ("goaway", SIZE)),
    "HEADERS above the frame size": (lambda a: frame(HEADERS, 5, 1, block(a) + bytes(16400)), ("goaway", SIZE)),
    # 4.3
    "head that cannot be unpacked": (lambda a: frame(HEADERS, 5, 1, b"\xff" * 30), ("goaway", COMPRESSION)),
    "index 0 of HPACK": (lambda a: frame(HEADERS, 5, 1, b"\x80"), ("goaway", COMPRESSION)),
    "head in pieces": (
        lambda a: frame(HEADERS, END_STREAM, 1, block(a)[:10]) + frame(CONTINUATION, 0, 1, block(a)[10:20])
        + frame(CONTINUATION, END_HEADERS, 1, block(a)[20:]), ("status", 200)),
    "PRIORITY inside a head": (
        lambda a: frame(HEADERS, END_STREAM, 1, block(a)) + frame(PRIORITY, 0, 1, b"\0\0\0\0\1"), ("goaway", PROTOCOL)),
    "HEADERS of another stream inside a head": (
        lambda a: frame(HEADERS, END_STREAM, 1, block(a)) + request(a, 3), ("goaway", PROTOCOL)),
    # 5.1
    "DATA on an idle stream": (lambda a: frame(DATA, END_STREAM, 1, b"x"), ("goaway", PROTOCOL)),
    "RST_STREAM on an idle stream": (lambda a: frame(RST, 0, 1, b"\0\0\0\x08"), ("goaway", PROTOCOL)),
    "WINDOW_UPDATE on an idle stream": (lambda a: frame(WINDOW, 0, 1, b"\0\0\0\1"), ("goaway", PROTOCOL)),
    "CONTINUATION on an idle stream": (lambda a: frame(CONTINUATION, 4, 1, block(a)), ("goaway", PROTOCOL)),
    "DATA after the end": (lambda a: request(a) + frame(DATA, END_STREAM, 1, b"x"), ("reset", CLOSED)),
    "HEADERS after the end": (lambda a: request(a) + request(a), ("reset", CLOSED)),
    "DATA after RST_STREAM": (lambda a: post(a) + frame(RST, 0, 1, b"\0\0\0\x08") + frame(DATA, 1, 1, b"x"), ("goaway", CLOSED)),
    "HEADERS after RST_STREAM": (lambda a: post(a) + frame(RST, 0, 1, b"\0\0\0\x08") + request(a), ("goaway", CLOSED)),
    "WINDOW_UPDATE after RST_STREAM is ignored": (
        lambda a: post(a, 1) + frame(RST, 0, 1, b"\0\0\0\x08") + frame(WINDOW, 0, 1, b"\0\0\0\1") + request(a, 3), ("status", 200, 3)),
    "even stream": (lambda a: request(a, 2), ("goaway", PROTOCOL)),
    "lower stream": (lambda a: request(a, 5) + request(a, 3), ("goaway", PROTOCOL)),
    "stream 0": (lambda a: request(a, 0), ("goaway", PROTOCOL)),
    "DATA on stream 0": (lambda a: frame(DATA, 0, 0, b"x"), ("goaway", PROTOCOL)),
    # 6.1, 6.2
    "DATA padded": (lambda a: post(a) + frame(DATA, PADDED | 1, 1, b"\3abc\0\0\0"), ("status", 200)),
    "DATA of too much padding": (lambda a: post(a) + frame(DATA, PADDED, 1, b"\6abc"), ("goaway", PROTOCOL)),
    "HEADERS padded": (lambda a: frame(HEADERS, 5 | PADDED, 1, b"\4" + block(a) + bytes(4)), ("status", 200)),
    "HEADERS of too much padding": (lambda a: frame(HEADERS, 5 | PADDED, 1, b"\xff" + block(a)), ("goaway", PROTOCOL)),
    "HEADERS with a priority": (lambda a: frame(HEADERS, 5 | PRIORITISED, 1, b"\0\0\0\0\x10" + block(a)), ("status", 200)),
    # 6.3, 6.4
    "PRIORITY is ignored": (lambda a: frame(PRIORITY, 0, 3, b"\0\0\0\0\x10") + request(a), ("status", 200)),
    "PRIORITY on stream 0": (lambda a: frame(PRIORITY, 0, 0, b"\0\0\0\1\x10"), ("goaway", PROTOCOL)),
    "RST_STREAM on stream 0": (lambda a: frame(RST, 0, 0, b"\0\0\0\x08"), ("goaway", PROTOCOL)),
    "RST_STREAM of 3 bytes": (lambda a: post(a) + frame(RST, 0, 1, b"\0\0\x08"), ("goaway", SIZE)),
    # 6.5
    "SETTINGS ACK with a payload": (lambda a: frame(SETTINGS, ACK, 0, b"\0\4\0\0\1\0"), ("goaway", SIZE)),
    "SETTINGS on a stream": (lambda a: frame(SETTINGS, 0, 1), ("goaway", PROTOCOL)),
    "SETTINGS of 3 bytes": (lambda a: frame(SETTINGS, 0, 0, b"\0\4\0"), ("goaway", SIZE)),
    "SETTINGS_ENABLE_PUSH of 2": (lambda a: frame(SETTINGS, 0, 0, b"\0\2\0\0\0\2"), ("goaway", PROTOCOL)),
    "SETTINGS_INITIAL_WINDOW_SIZE too large": (lambda a: frame(SETTINGS, 0, 0, b"\0\4\x80\0\0\0"), ("goaway", FLOW)),
    "SETTINGS_MAX_FRAME_SIZE too small": (lambda a: frame(SETTINGS, 0, 0, b"\0\5\0\0\0\1"), ("goaway", PROTOCOL)),
    "SETTINGS_MAX_FRAME_SIZE too large": (lambda a: frame(SETTINGS, 0, 0, b"\0\5\1\0\0\0"), ("goaway", PROTOCOL)),
    "unknown setting is ignored": (lambda a: frame(SETTINGS, 0, 0, b"\xff\xff\0\0\0\1") + request(a), ("status", 200)),
    # 6.6
    "PUSH_PROMISE of a client": (lambda a: frame(PUSH, 4, 1, b"\0\0\0\2" + block(a)), ("goaway", PROTOCOL)),
    # 6.7
    "PING of 6 bytes": (lambda a: frame(PING, 0, 0, b"123456"), ("goaway", SIZE)),
    "PING on a stream": (lambda a: frame(PING, 0, 1, b"12345678"), ("goaway", PROTOCOL)),
    "PING ACK of nobody's PING is ignored": (lambda a: frame(PING, ACK, 0, b"12345678") + request(a), ("status", 200)),
    # 6.8
    "GOAWAY on a stream": (lambda a: frame(GOAWAY, 0, 1, bytes(8)), ("goaway", PROTOCOL)),
    # 6.9
    "WINDOW_UPDATE of 0 for the connection": (lambda a: frame(WINDOW, 0, 0, bytes(4)), ("goaway", PROTOCOL)),
    "WINDOW_UPDATE of 0 for a stream": (lambda a: post(a) + frame(WINDOW, 0, 1, bytes(4)), ("reset", PROTOCOL)),
    "WINDOW_UPDATE of 3 bytes": (lambda a: frame(WINDOW, 0, 0, bytes(3)), ("goaway", SIZE)),
    "connection window overflows": (lambda a: frame(WINDOW, 0, 0, WINDOW_MAX) * 2, ("goaway", FLOW)),
    "stream window overflows": (lambda a: post(a) + frame(WINDOW, 0, 1, WINDOW_MAX) * 2, ("reset", FLOW)),
    # 6.10
    "CONTINUATION on stream 0": (lambda a: frame(CONTINUATION, 4, 0, block(a)), ("goaway", PROTOCOL)),
    "CONTINUATION after the end of the head": (lambda a: post(a) + frame(CONTINUATION, 4, 1, block(a)), ("goaway", PROTOCOL)),
    # 8.1
    "body longer than its length": (
        lambda a: post(a, more=[("content-length", "1")]) + frame(DATA, 1, 1, b"ab"), ("reset", PROTOCOL)),
    "body shorter than its length": (
        lambda a: post(a, more=[("content-length", "9")]) + frame(DATA, 1, 1, b"ab"), ("reset", PROTOCOL)),
    "trailers without an end": (lambda a: post(a) + frame(HEADERS, 4, 1, b"\x10\3x-a\1b"), ("reset", PROTOCOL)),
    "pseudo field in trailers": (lambda a: post(a) + frame(HEADERS, 5, 1, b"\x10\5:path\1/"), ("reset", PROTOCOL)),
    # 8.2
    "upper-case name": (lambda a: request(a, more=[("X-A", "b")]), ("reset", PROTOCOL)),
    "connection field": (lambda a: request(a, more=[("connection", "keep-alive")]), ("reset", PROTOCOL)),
    "transfer-encoding": (lambda a: request(a, more=[("transfer-encoding", "chunked")]), ("reset", PROTOCOL)),
    "te of gzip": (lambda a: request(a, more=[("te", "trailers, gzip")]), ("reset", PROTOCOL)),
    "te of trailers": (lambda a: request(a, more=[("te", "trailers")]), ("status", 200)),
    # 8.3
    "no :method": (lambda a: request(a, drop=[":method"]), ("reset", PROTOCOL)),
    "no :scheme": (lambda a: request(a, drop=[":scheme"]), ("reset", PROTOCOL)),
    "no :path": (lambda a: request(a, drop=[":path"]), ("reset", PROTOCOL)),
    "empty :path": (lambda a: request(a, path=""), ("reset", PROTOCOL)),
    ":method twice": (lambda a: request(a, first=[(":method", "GET")]), ("reset", PROTOCOL)),
    "unknown pseudo field": (lambda a: request(a, first=[(":what", "x")]), ("reset", PROTOCOL)),
    "pseudo field of a response": (lambda a: request(a, first=[(":status", "200")]), ("reset", PROTOCOL)),
    "pseudo field after a field": (lambda a: request(a, first=[("x-a", "b")]), ("reset", PROTOCOL)),
    "two hosts": (lambda a: request(a, more=[("host", "other.example.com")]), ("reset", PROTOCOL)),
    "host instead of :authority": (lambda a: request(a, drop=[":authority"], more=[("host", a)]), ("status", 200)),
    # 8.5
    "CONNECT": (lambda a: request(a, method="CONNECT", drop=[":scheme", ":path"]), ("status", 501)),
    "CONNECT with a path": (lambda a: request(a, method="CONNECT"), ("reset", PROTOCOL)),
    # RFC 8441
    ":protocol without CONNECT": (lambda a: request(a, first=[(":protocol", "websocket")]), ("reset", PROTOCOL)),
    "CONNECT of an unknown protocol": (
        lambda a: request(a, end=False, method="CONNECT", first=[(":protocol", "telepathy")]), ("status", 501)),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_violation(ours, stage, line, case):
    send, want = TABLE[case]
    authority = f"{ours.host('app')}:{stage.edge.https}"
    connection = line()
    connection.send(send(authority))
    got = connection.outcome(want[2] if len(want) > 2 else 1)
    allowed = [want[:2]]
    if want[0] == "reset":
        allowed += [("goaway", want[1]), ("goaway", CLOSED), ("goaway", PROTOCOL), ("status", 400)]
    if want[0] != "status":
        allowed.append(("closed", None))
    assert got in allowed, f"got {got}, want {want}"


def test_a_frame_after_both_sides_have_ended_is_a_connection_error(ours, stage, line):
    authority = f"{ours.host('app')}:{stage.edge.https}"
    for late in (frame(DATA, END_STREAM, 1, b"x"), request(authority)):
        connection = line()
        connection.send(request(authority))
        connection.wait_end(1)
        connection.send(late)
        assert connection.outcome() in (("goaway", CLOSED), ("closed", None))


def test_what_was_under_way_when_the_edge_reset_a_stream_is_skipped(ours, stage, line):
    """The peer could not know: other streams go on (5.4.2)."""
    authority = f"{ours.host('app')}:{stage.edge.https}"
    connection = line()
    connection.send(post(authority, 1) + frame(WINDOW, 0, 1, WINDOW_MAX) * 2)
    assert connection.outcome(1) == ("reset", FLOW)
    connection.send(frame(DATA, 0, 1, bytes(1000)) * 100 + frame(WINDOW, 0, 1, b"\0\0\xff\xff") * 100)
    connection.send(request(authority, 3))
    assert connection.outcome(3) == ("status", 200)


def test_ping_and_settings_are_acknowledged(line):
    connection = line()
    connection.send(frame(PING, 0, 0, b"87654321"))
    acks = set()
    while acks != {"ping", "settings"}:
        kind, flags, _, payload = connection.next()
        if kind == PING and flags & ACK:
            assert payload == b"87654321"
            acks.add("ping")
        elif kind == SETTINGS and flags & ACK:
            acks.add("settings")


def test_windows_are_kept_to(ours, stage, line):
    """A stream of one byte's window gets one byte at a time (6.9.2)."""
    authority = f"{ours.host('app')}:{stage.edge.https}"
    connection = line(settings=b"\0\4\0\0\0\1")
    body = b"0123456789"
    connection.send(post(authority) + frame(DATA, END_STREAM, 1, body))
    got = b""
    while len(got) < len(body):
        kind, _, stream, payload = connection.next()
        if kind == DATA and stream == 1:
            assert len(payload) == 1
            got += payload
            connection.send(frame(WINDOW, 0, 1, b"\0\0\0\1"))
    assert got == body


# RFC 9113 §5.3.2 has deprecated the tree of priorities: nobody looks into those frames.
DEPRECATED = {"Sends PRIORITY frame that depend on itself"}


@pytest.mark.skipif(not os.environ.get("H2SPEC"), reason="H2SPEC is not set")
def test_h2spec(stage):
    ran = subprocess.run(
        [os.environ["H2SPEC"], "-t", "-k", "-S", "-h", "127.0.0.1", "-p", str(stage.edge.https), "-o", str(3 * PATIENCE)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    failures = ran.stdout.partition("Failures:")[2]
    failed = set(re.findall(r"\u00d7 \d+: (.*)", failures))
    assert "tests, " in ran.stdout, ran.stdout[-2000:] + ran.stderr
    assert failed <= DEPRECATED, failures
