"""Services that are not HTTP: TCP, bastion and SOCKS behind a WebSocket, and the built-in test pages."""

import contextlib
import hashlib
import json
import os
import re
import select
import socket
import ssl
import struct
import subprocess
import threading
import time

import pytest

from testenv import net
from testenv import websocket as ws
from testenv.connector import KINDS, Cli, write_config
from testenv.edge import ZONE
from testenv.origin import BLOCK, Origin
from testenv.program import PATIENCE, STOCK, Program, clean_env
from testenv.wait import exactly, wait_settled, wait_until

NAMES = ("hello", "tcp", "ssh", "down", "bastion", "socks", "denied", "fixed")
OURS = ("proxied", "quiet")


class Service:
    """A TCP server; each connection is given to `handle` on a thread of its own, or kept for accept()."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.handle = None
        self.waiting = []
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                sock.settimeout(20 * PATIENCE)
                if self.handle:
                    threading.Thread(target=self.run, args=(self.handle, sock), daemon=True).start()
                else:
                    self.waiting.append(sock)

    @staticmethod
    def run(handle, sock):
        with sock, contextlib.suppress(OSError):
            handle(sock)

    def accept(self):
        """One that lives: a connection of the test before may have come late, and be over."""

        def one():
            while self.waiting:
                sock = self.waiting.pop()
                with contextlib.suppress(ConnectionError):
                    if not select.select([sock], [], [], 0)[0] or sock.recv(1, socket.MSG_PEEK):
                        return sock
                sock.close()
            return None

        return wait_until(one, "connection to the service", 20 * PATIENCE)

    def forget(self):
        self.handle = None
        for sock in self.waiting:
            sock.close()
        self.waiting.clear()

    def close(self):
        self.forget()
        self.listener.close()


def echo(sock):
    while data := sock.recv(65536):
        sock.sendall(data)


class Streams:
    """The services, and one connector of each kind that reaches them."""

    def __init__(self, stage, folder):
        self.stage, self.folder = stage, folder
        self.tcp = Service()
        self.web = Origin()
        self.down = net.free_port()
        self.sites = {}

    def rules(self, host, kind):
        tcp = f"tcp://127.0.0.1:{self.tcp.port}"
        loopback = [{"prefix": "127.0.0.2/32", "allow": False}, {"prefix": "127.0.0.0/8", "allow": True},
                    {"prefix": "::1/128", "ports": [self.tcp.port], "allow": True}]  # fmt: skip
        both = {
            "hello": ("hello_world", {}),
            "tcp": (tcp, {}),
            "ssh": (f"ssh://localhost:{self.tcp.port}", {}),
            "down": (f"tcp://127.0.0.1:{self.down}", {}),
            "bastion": ("bastion", {}),
            "socks": ("socks-proxy", {"ipRules": loopback}),
            "denied": ("socks-proxy", {}),
            "fixed": (tcp, {"proxyType": "socks"}),
        }
        ours = {
            "proxied": (tcp, {"proxyProtocol": "v1"}),
            "quiet": (tcp, {"idleTimeout": "2s"}),
        }
        wanted = {**both, **ours} if kind == "adit" else both
        return [{"hostname": host(name), "service": s, "originRequest": o} for name, (s, o) in wanted.items()]

    def site(self, kind):
        if kind not in self.sites:
            self.sites[kind] = StreamsSite(self, kind)
        return self.sites[kind]

    def forget(self):
        self.tcp.forget()
        self.web.forget()

    def close(self):
        for site in self.sites.values():
            site.connector.stop()
        self.tcp.close()
        self.web.close()


class StreamsSite:
    def __init__(self, streams, kind):
        self.streams, self.kind = streams, kind
        folder = streams.folder / kind
        folder.mkdir()
        cli = Cli(kind, streams.stage.edge, folder).log_in()
        tunnel = cli.create(f"streams-{kind}")
        cli.route(tunnel, *[self.host(name) for name in (NAMES + OURS if kind == "adit" else NAMES)])
        config = write_config(folder / "streams.yml", tunnel, streams.rules(self.host, kind))
        self.connector = cli.connect(tunnel, config, name=f"streams-{kind}")

    def host(self, name):
        return f"{self.kind}-stream-{name}.{ZONE}"


@pytest.fixture(scope="module")
def streams(stage, tmp_path_factory):
    s = Streams(stage, tmp_path_factory.mktemp("streams"))
    yield s
    s.close()


@pytest.fixture(params=KINDS)
def site(request, streams):
    from conftest import need

    need(request.param)
    yield streams.site(request.param)
    streams.forget()


@pytest.fixture
def ours(streams):
    yield streams.site("adit")
    streams.forget()


@pytest.fixture
def service(streams):
    return streams.tcp


@pytest.fixture
def web(streams):
    return streams.web


def opened(connection, headers=()):
    response = ws.open_through(connection, "/", headers)
    assert response.status == 101, response
    return connection


def say(connection, data, opcode=ws.BINARY):
    connection.send(ws.frame(opcode, data, masked=True))


def hear(connection, size):
    """So many bytes of payload, in however many frames."""
    data = b""
    while len(data) < size:
        frame = ws.read_frame(connection.reader)
        assert frame and frame[0] == ws.BINARY, frame
        data += frame[1]
    assert len(data) == size
    return data


# --- TCP ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["tcp", "ssh"])
def test_bytes_both_ways(site, raw, service, name):
    service.handle = echo
    connection = opened(raw(site.host(name)))
    for size in (1, 125, 126, 1000, 16000):
        data = os.urandom(size)
        say(connection, data)
        assert hear(connection, size) == data
    say(connection, b"", ws.PING)
    assert ws.read_frame(connection.reader) == (ws.PONG, b"")
    say(connection, b"are you there", ws.PING)
    assert ws.read_frame(connection.reader) == (ws.PONG, b"are you there")
    say(connection, struct.pack(">H", 1000), ws.CLOSE)
    assert ws.read_frame(connection.reader) == (ws.CLOSE, struct.pack(">H", 1000))
    assert connection.is_closed()


def test_the_service_speaks_first(site, raw, service):
    service.handle = lambda sock: (sock.sendall(b"SSH-2.0-test\r\n"), echo(sock))
    connection = opened(raw(site.host("tcp")))
    assert hear(connection, 14) == b"SSH-2.0-test\r\n"


def test_bytes_behind_the_handshake(site, raw, service):
    service.handle = echo
    connection = raw(site.host("tcp"))
    host = site.host("tcp")
    head = (f"GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {ws.new_key()}\r\nSec-WebSocket-Version: 13\r\n\r\n")  # fmt: skip
    connection.send(head.encode() + ws.frame(ws.BINARY, b"early", masked=True))
    assert connection.read_head().status == 101
    assert hear(connection, 5) == b"early"


def test_fragments(site, raw, service):
    service.handle = echo
    connection = opened(raw(site.host("tcp")))
    connection.send(ws.frame(ws.BINARY, b"frag", masked=True, final=False)
                    + ws.frame(ws.PING, b"p", masked=True)
                    + ws.frame(0, b"ments", masked=True))  # fmt: skip
    got = {}
    while b"".join(got.get(ws.BINARY, [])) != b"fragments" or ws.PONG not in got:
        opcode, data = ws.read_frame(connection.reader)
        got.setdefault(opcode, []).append(data)
    assert got[ws.PONG] == [b"p"]


def test_no_subprotocol_is_chosen(site, raw, service):
    service.handle = echo
    connection = raw(site.host("tcp"))
    response = ws.open_through(connection, "/", [("Sec-WebSocket-Protocol", "binary, base64"),
                                                 ("Sec-WebSocket-Extensions", "permessage-deflate")])  # fmt: skip
    assert response.status == 101
    assert not response.get("sec-websocket-protocol") and not response.get("sec-websocket-extensions")


def test_the_visitor_closes(site, raw, service):
    connection = opened(raw(site.host("tcp")))
    peer = service.accept()
    for _ in range(50):
        say(connection, b"x" * 10000)
    say(connection, struct.pack(">H", 1000), ws.CLOSE)
    assert len(exactly(peer, 500000)) == 500000
    assert peer.recv(1) == b""
    assert ws.read_frame(connection.reader)[0] == ws.CLOSE
    assert connection.is_closed()


def test_the_visitor_vanishes(site, raw, service):
    connection = opened(raw(site.host("tcp")))
    peer = service.accept()
    say(connection, b"x")
    assert peer.recv(10) == b"x"
    connection.reset()
    with contextlib.suppress(ConnectionResetError):
        assert peer.recv(10) == b""


def test_the_service_closes(site, raw, service):
    connection = opened(raw(site.host("tcp")))
    with service.accept() as peer:
        peer.sendall(b"x" * 300000)
    assert hear(connection, 300000) == b"x" * 300000
    end = ws.read_frame(connection.reader)
    # A stock connector just ends the connection, which a browser calls an error (1006).
    assert end == ((ws.CLOSE, struct.pack(">H", 1000)) if site.kind == "adit" else None)
    assert connection.is_closed()


def test_the_service_resets(ours, raw, service):
    connection = opened(raw(ours.host("tcp")))
    peer = service.accept()
    peer.sendall(b"half")
    assert hear(connection, 4) == b"half"
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    opcode, data = ws.read_frame(connection.reader)
    assert (opcode, data[:2]) == (ws.CLOSE, struct.pack(">H", 1011))


def test_the_service_is_down(site, raw):
    connection = raw(site.host("down"))
    response = ws.open_through(connection, "/")
    assert response.status == 502
    if site.kind == "adit":
        body = connection.reader.read(int(response.get("content-length"))).decode()
        assert "ECONNREFUSED" in body and str(site.streams.down) in body


def test_violations(ours, raw, service):
    for wrong in (ws.frame(ws.BINARY, b"x", masked=False), b"\xc2\x80\0\0\0\0", b"\x83\x80\0\0\0\0",
                  b"\x88\x81\0\0\0\0\x03", b"\x89\xfe\x00\x7e\0\0\0\0"):  # fmt: skip
        connection = opened(raw(ours.host("tcp")))
        peer = service.accept()
        connection.send(ws.frame(ws.BINARY, b"fine", masked=True) + wrong)
        assert exactly(peer, 4) == b"fine"
        assert peer.recv(1) == b""
        opcode, data = ws.read_frame(connection.reader)
        assert (opcode, data[:2]) == (ws.CLOSE, struct.pack(">H", 1002)), wrong


def test_large_frames_and_text(ours, raw, service):
    """A stock connector cuts messages off after 16 KiB and swallows text."""
    service.handle = echo
    connection = opened(raw(ours.host("tcp")))
    data = os.urandom(3_000_000)
    assert transfer(connection, ws.frame(ws.BINARY, data, masked=True), len(data)) == data
    say(connection, "grüße".encode(), ws.TEXT)
    assert hear(connection, 7) == "grüße".encode()


def transfer(connection, to_send, expect_payload):
    """Sends frames and reads payload at the same time from one thread: what came, as one run."""
    sock, received, got = connection.sock, bytearray(), bytearray()
    to_send = memoryview(to_send)
    sock.setblocking(False)
    while len(got) < expect_payload:
        select.select([sock], [sock] if to_send else [], [], 20)
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if to_send:
                to_send = to_send[sock.send(to_send[:65536]) :]
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            while True:
                data = sock.recv(65536)
                assert data, "the connection ended"
                received += data
        unframe(received, got)
    sock.setblocking(True)
    return bytes(got)


def unframe(received, payload):
    """Takes whole unmasked frames off the front."""
    at = 0
    while len(received) - at >= 2:
        opcode, size, start = received[at] & 15, received[at + 1], 2
        if size >= 126:
            width = 2 if size == 126 else 8
            if len(received) - at < 2 + width:
                break
            size, start = int.from_bytes(received[at + 2 : at + 2 + width], "big"), 2 + width
        if len(received) - at < start + size:
            break
        assert opcode == ws.BINARY, opcode
        payload += received[at + start : at + start + size]
        at += start + size
    del received[:at]


def test_large_transfers_both_ways_at_once(site, raw, service):
    service.handle = echo
    connection = opened(raw(site.host("tcp")))
    blocks = [BLOCK[i : i + 16000] for i in range(0, len(BLOCK), 16000)] * 16
    frames = b"".join(ws.frame(ws.BINARY, b, masked=True) for b in blocks)
    got = transfer(connection, frames, 16 * len(BLOCK))
    assert hashlib.sha256(got).digest() == hashlib.sha256(BLOCK * 16).digest()


def test_a_visitor_who_does_not_read(site, raw, service):
    size, sent = 64 << 20, [0]

    def pour(sock):
        sock.settimeout(60 * PATIENCE)
        for _ in range(size >> 20):
            for at in range(0, len(BLOCK), 65536):
                sock.sendall(BLOCK[at : at + 65536])
                sent[0] += 65536

    service.handle = pour
    connection = opened(raw(site.host("tcp"), rcvbuf=65536))
    stuck_at = wait_settled(lambda: sent[0], 30 * PATIENCE)
    assert stuck_at < 24 << 20
    if site.kind == "adit":
        assert site.connector.memory("VmRSS") < 400 << 20
    digest, want, left = hashlib.sha256(), hashlib.sha256(), size
    while left:
        opcode, data = ws.read_frame(connection.reader)
        assert opcode == ws.BINARY
        digest.update(data)
        left -= len(data)
    for _ in range(size >> 20):
        want.update(BLOCK)
    assert digest.digest() == want.digest()


def test_a_service_that_does_not_read(site, raw, service):
    connection = opened(raw(site.host("tcp")))
    peer = service.accept()
    frame = ws.frame(ws.BINARY, BLOCK[:16000], masked=True)
    sent = [0]
    connection.sock.settimeout(60 * PATIENCE)

    def pour():
        for _ in range(2000):
            connection.send(frame)
            sent[0] += 16000

    writer = threading.Thread(target=pour, daemon=True)
    writer.start()
    assert wait_settled(lambda: sent[0], 30 * PATIENCE) < 24 << 20
    for _ in range(2000):
        assert exactly(peer, 16000) == BLOCK[:16000]
    writer.join(20 * PATIENCE)
    assert not writer.is_alive()


def test_over_http2(site, h2, service):
    import h2.events as events

    service.handle = echo
    connection = h2(site.host("tcp"))
    connection.wait(events.RemoteSettingsChanged)
    extra = [(":protocol", "websocket"), ("sec-websocket-version", "13")]
    stream = connection.headers("/", method="CONNECT", extra=extra, end=False)
    head = connection.wait(events.ResponseReceived, stream)
    assert dict(head.headers)[":status"] == "200"
    connection.data(stream, ws.frame(ws.BINARY, b"over h2", masked=True))

    def echoed():
        connection.pump()
        return b"".join(e.data for e in connection.events if isinstance(e, events.DataReceived))

    wait_until(lambda: echoed() == ws.frame(ws.BINARY, b"over h2", masked=False), "echo")
    connection.data(stream, ws.frame(ws.CLOSE, b"\x03\xe8", masked=True))
    assert connection.wait(events.StreamEnded, stream)
    connection.conn.end_stream(stream)
    connection.flush()


def test_a_browser_is_told_what_this_is(ours, visitor):
    answer = visitor.get(ours.host("ssh"), "/")
    assert answer.status == 400 and answer.get("content-type") == "text/html; charset=utf-8"
    assert f"adit access ssh --hostname {ours.host('ssh')}" in answer.text
    assert visitor.get(ours.host("tcp"), "/x", method="POST", data=b"x" * 100000).status == 400
    assert "adit access tcp" in visitor.get(ours.host("denied"), "/").text


def test_proxy_header(ours, raw, service):
    opened(raw(ours.host("proxied")))
    peer = service.accept()
    assert exactly(peer, 26) == b"PROXY TCP4 127.0.0.1 127.0"


def test_idle_timeout(ours, raw, service):
    service.handle = echo
    connection = opened(raw(ours.host("quiet")))
    began = time.monotonic()
    while time.monotonic() - began < 3.5:
        say(connection, b"x")
        assert hear(connection, 1) == b"x"
    opcode, data = ws.read_frame(connection.reader)
    assert (opcode, data[:2]) == (ws.CLOSE, struct.pack(">H", 1001))
    assert connection.is_closed()


# --- half-close ---------------------------------------------------------------------------------------


HALF = [("Adit-Half-Close", "1")]


def test_half_close_by_the_visitor(ours, raw, service):
    connection = raw(ours.host("tcp"))
    assert ws.open_through(connection, "/", HALF).get("adit-half-close") == "1"
    peer = service.accept()
    say(connection, b"everything I have")
    say(connection, b"")
    assert exactly(peer, 17) == b"everything I have"
    assert peer.recv(1) == b""
    peer.sendall(b"checksum")
    assert hear(connection, 8) == b"checksum"
    peer.close()
    assert ws.read_frame(connection.reader) == (ws.BINARY, b"")
    assert ws.read_frame(connection.reader) == (ws.CLOSE, struct.pack(">H", 1000))
    assert connection.is_closed()


def test_half_close_by_the_service(ours, raw, service):
    connection = opened(raw(ours.host("tcp")), HALF)
    peer = service.accept()
    peer.sendall(b"all there is")
    peer.shutdown(socket.SHUT_WR)
    assert hear(connection, 12) == b"all there is"
    assert ws.read_frame(connection.reader) == (ws.BINARY, b"")
    for _ in range(100):
        say(connection, b"y" * 10000)
    assert exactly(peer, 1000000) == b"y" * 1000000
    say(connection, b"")
    assert peer.recv(1) == b""
    assert ws.read_frame(connection.reader) == (ws.CLOSE, struct.pack(">H", 1000))


def test_half_close_is_not_offered_unasked(site, raw, service):
    connection = raw(site.host("tcp"))
    response = ws.open_through(connection, "/")
    assert response.status == 101 and not response.get("adit-half-close")
    peer = service.accept()
    say(connection, b"")
    say(connection, b"x")
    assert peer.recv(1) == b"x"


# --- bastion ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "localhost:{}", "ssh://127.0.0.1:{}", "tcp://127.0.0.1:{}/path?query"])
def test_bastion(site, raw, service, form):
    service.handle = echo
    connection = opened(raw(site.host("bastion")), [("Cf-Access-Jump-Destination", form.format(service.port))])
    say(connection, b"jump")
    assert hear(connection, 4) == b"jump"


def test_bastion_without_a_destination(site, raw):
    for headers in ([], [("Cf-Access-Jump-Destination", "no-port")]):
        connection = raw(site.host("bastion"))
        response = ws.open_through(connection, "/", headers)
        assert response.status == (400 if site.kind == "adit" else 502)
        if site.kind == "adit":
            body = connection.reader.read(int(response.get("content-length")))
            assert b"--destination host:port" in body


def test_bastion_to_nobody(site, raw, streams):
    connection = raw(site.host("bastion"))
    headers = [("Cf-Access-Jump-Destination", f"127.0.0.1:{streams.down}")]
    assert ws.open_through(connection, "/", headers).status == 502


# --- SOCKS --------------------------------------------------------------------------------------------


class Bridge:
    """A local port whose connections go through WebSockets, as `access tcp --url` has it."""

    def __init__(self, raw, host):
        self.raw, self.host = raw, host
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                local, _ = self.listener.accept()
                threading.Thread(target=self.carry, args=(local,), daemon=True).start()

    def carry(self, local):
        connection = opened(self.raw(self.host))
        sock, received, payload = connection.sock, bytearray(), bytearray()
        with local, contextlib.suppress(OSError, AssertionError):
            while True:
                ready = [sock] if sock.pending() else select.select([sock, local], [], [], 20 * PATIENCE)[0]
                if not ready:
                    break
                if local in ready:
                    data = local.recv(16000)
                    if not data:
                        break
                    say(connection, data)
                if sock in ready:
                    data = sock.recv(65536)
                    received += data
                    try:
                        unframe(received, payload)
                    finally:
                        local.sendall(payload)
                        payload.clear()
                    if not data:
                        break
        connection.close()

    def close(self):
        self.listener.close()


@pytest.fixture
def bridge(raw):
    made = []

    def make(host):
        made.append(Bridge(raw, host))
        return made[-1]

    yield make
    for b in made:
        b.close()


def curl_through(bridge, url, *args):
    return subprocess.run(
        ["curl", "-sS", "--max-time", str(20 * PATIENCE), "--socks5-hostname", f"127.0.0.1:{bridge.port}", *args, url],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip


def test_socks_with_curl(site, bridge, web):
    b = bridge(site.host("socks"))
    path = web.on(lambda r: r.reply(200, body=BLOCK * 4))
    for host in ("127.0.0.1", "localhost"):
        done = curl_through(b, f"http://{host}:{web.port}{path}")
        assert done.returncode == 0, done.stderr
        assert done.stdout == BLOCK * 4


def socks(connection, request):
    """The answer to a request after the greeting."""
    say(connection, b"\x05\x01\x00")
    assert hear(connection, 2) == b"\x05\x00"
    say(connection, request)
    opcode, data = ws.read_frame(connection.reader)
    assert opcode == ws.BINARY
    return data


def to_ip(ip, port, command=1):
    return b"\x05" + bytes([command]) + b"\x00\x01" + socket.inet_aton(ip) + struct.pack(">H", port)


def to_name(name, port):
    return b"\x05\x01\x00\x03" + bytes([len(name)]) + name.encode() + struct.pack(">H", port)


def test_socks_replies(site, raw, service, streams):
    service.handle = echo

    def ask(request, name="socks"):
        connection = opened(raw(site.host(name)))
        return connection, socks(connection, request)

    connection, reply = ask(to_ip("127.0.0.1", service.port))
    assert reply[:3] == b"\x05\x00\x00"
    say(connection, b"through")
    assert hear(connection, 7) == b"through"
    for request, code, name in (
        (to_ip("127.0.0.2", service.port), 2, "socks"),
        (to_ip("10.0.0.1", 80), 2, "socks"),
        (to_name("127.0.0.2", service.port), 2, "socks"),
        (to_ip("127.0.0.1", service.port), 2, "denied"),
        (to_ip("127.0.0.1", streams.down), 5, "socks"),
        (to_ip("127.0.0.1", service.port, command=2), 7, "socks"),
        (to_ip("127.0.0.1", service.port, command=3), 7, "socks"),
    ):
        connection, reply = ask(request, name)
        assert reply[1] == code, request
        assert connection.is_closed()


def test_socks_names_that_do_not_exist(ours, raw):
    """Cloudflared says "denied by a rule"; RFC 1928 has a word for it."""
    connection = opened(raw(ours.host("socks")))
    assert socks(connection, to_name("no-such-host.invalid", 80))[1] == 4


def test_socks_without_a_method_in_common(site, raw):
    connection = opened(raw(site.host("socks")))
    say(connection, b"\x05\x01\x02")
    assert hear(connection, 2) == b"\x05\xff"
    assert connection.is_closed()


def test_socks_in_front_of_a_service(site, raw, service):
    """proxyType: socks. Whatever the client asks for, it gets the rule's service."""
    service.handle = echo
    connection = opened(raw(site.host("fixed")))
    reply = socks(connection, to_name("example.com", 80))
    assert reply[:2] == b"\x05\x00"
    say(connection, b"fixed")
    assert hear(connection, 5) == b"fixed"


# --- the stock client ---------------------------------------------------------------------------------


class ProxyToEdge:
    """An HTTP proxy for CONNECT, through which a program finds the edge under any name."""

    def __init__(self, edge):
        self.edge = edge
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self.carry, args=(sock,), daemon=True).start()

    def carry(self, sock):
        with sock, contextlib.suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += sock.recv(1)
            with socket.create_connection(("127.0.0.1", self.edge.https)) as edge:
                sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                threading.Thread(target=self.copy, args=(edge, sock), daemon=True).start()
                self.copy(sock, edge)

    @staticmethod
    def copy(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for s in (source, sink):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def stock_client(stage, tmp_path):
    """stock_client(host, …): the port of a `cloudflared access tcp`."""
    from conftest import need

    need("stock")
    proxy, started = ProxyToEdge(stage.edge), []

    def start(host, *args):
        port = net.free_port()
        env = clean_env(HTTPS_PROXY=f"http://127.0.0.1:{proxy.port}", SSL_CERT_FILE=stage.edge.ca, HOME=tmp_path)
        argv = [STOCK, "access", "tcp", "--hostname", host, "--url", f"127.0.0.1:{port}", *args]
        client = Program("access", argv, tmp_path, env)
        started.append(client)
        client.wait_log("Start Websocket listener")
        return port

    yield start
    for client in started:
        client.kill()
    proxy.listener.close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_stock_client(streams, kind, stock_client, service):
    def handle(sock):
        sock.sendall(b"banner")
        for _ in range(100):
            sock.sendall(exactly(sock, 10000))

    service.handle = handle
    with socket.create_connection(("127.0.0.1", stock_client(streams.site(kind).host("tcp")))) as local:
        local.settimeout(20 * PATIENCE)
        assert exactly(local, 6) == b"banner"
        for _ in range(100):
            local.sendall(BLOCK[:10000])
        assert exactly(local, 1000000) == BLOCK[:10000] * 100
        assert local.recv(1) == b""
    service.forget()


def test_the_stock_client_ends(ours, stock_client, service):
    """It closes its connection without a close frame. (A stock connector learns of that by its next ping.)"""
    with socket.create_connection(("127.0.0.1", stock_client(ours.host("tcp")))) as local:
        local.sendall(b"and that was it")
        peer = service.accept()
        assert exactly(peer, 15) == b"and that was it"
    assert peer.recv(1) == b""


def test_the_stock_client_sees_the_end(ours, stock_client, service):
    service.handle = lambda sock: sock.sendall(BLOCK)
    with socket.create_connection(("127.0.0.1", stock_client(ours.host("tcp")))) as local:
        local.settimeout(20 * PATIENCE)
        assert exactly(local, len(BLOCK)) == BLOCK
        assert local.recv(1) == b""


def test_the_stock_client_with_a_destination(ours, stock_client, service):
    service.handle = echo
    port = stock_client(ours.host("bastion"), "--destination", f"127.0.0.1:{service.port}")
    with socket.create_connection(("127.0.0.1", port)) as local:
        local.sendall(b"jump")
        assert exactly(local, 4) == b"jump"


def test_the_stock_client_with_socks(ours, stock_client, web):
    path = web.on(lambda r: r.reply(200, body=b"through socks"))

    class Local:
        port = stock_client(ours.host("socks"))

    assert curl_through(Local, f"http://localhost:{web.port}{path}").stdout == b"through socks"


# --- hello_world --------------------------------------------------------------------------------------


def test_hello_pages(site, visitor):
    host = site.host("hello")
    answer = visitor.get(host, "/any?x=<b>", headers=[("X-Evil", "<script>")], data=b"the <body>")
    assert answer.status == 200 and answer.get("content-type") == "text/html; charset=utf-8"
    for text in ("POST", host, "/any?x=&lt;b&gt;", "X-Evil", "&lt;script&gt;", "the &lt;body&gt;"):
        assert text in answer.text, text
    assert "<script>" not in answer.text
    answer = visitor.get(host, "/_health")
    assert (answer.status, answer.text) == (200, "ok")
    assert answer.get("content-type") == "text/plain; charset=utf-8"
    answer = visitor.get(host, "/uptime")
    assert (answer.status, answer.get("content-type")) == (200, "application/json")
    got = json.loads(answer.text)
    assert sorted(got) == ["startTime", "uptime"]
    assert re.fullmatch(r"(\d+h)?(\d+m)?[\d.]+(s|ms|µs)", got["uptime"])
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", got["startTime"])
    answer = visitor.get(host, "/ws")
    assert (answer.status, answer.text) == (400, "Bad Request\n")
    assert answer.get("content-type") == "text/plain; charset=utf-8" and answer.get("sec-websocket-version") == "13"
    assert visitor.get(host, "/", method="HEAD").status == 200


def test_hello_page_needs_nothing_from_elsewhere(ours, visitor):
    text = visitor.get(ours.host("hello"), "/").text
    assert not re.search(r"https?://|src=|href=|@import|url\(", text.split("<h2>Request</h2>")[0])


def test_hello_events(site, visitor):
    curl = visitor.start(site.host("hello"), "/sse?freq=50ms", "-i")
    lines = []
    while len([line for line in lines if re.fullmatch(rb"(data: )?\d+\n", line)]) < 3:
        line = curl.stdout.readline()
        assert line
        lines.append(line)
    head = b"".join(lines).lower()
    assert b" 200" in lines[0] and b"content-type: text/event-stream; charset=utf-8" in head
    # Without the word "data:" a browser's EventSource hears nothing.
    events = [line for line in lines if re.fullmatch(rb"(data: )?\d+\n", line)]
    prefix = b"data: " if site.kind == "adit" else b""
    assert events == [prefix + b"%d\n" % i for i in range(3)]
    curl.kill()


def test_hello_websocket(site, raw):
    connection = raw(site.host("hello"))
    assert ws.open_through(connection, "/ws").status == 101
    for opcode, data in ((ws.TEXT, b"hello"), (ws.BINARY, os.urandom(10000)), (ws.TEXT, b"")):
        say(connection, data, opcode)
        # What arrives in parts goes back in fragments.
        assert ws.read_message(connection.reader) == (opcode, data)
    say(connection, struct.pack(">H", 1000), ws.CLOSE)
    assert ws.read_frame(connection.reader) == (ws.CLOSE, struct.pack(">H", 1000))


@pytest.mark.parametrize("origin, status", [("https://{}", 101), ("https://evil.example", 403)])
def test_hello_websocket_is_for_its_own_pages(site, raw, origin, status):
    host = site.host("hello")
    assert ws.open_through(raw(host), "/ws", [("Origin", origin.format(host))]).status == status
