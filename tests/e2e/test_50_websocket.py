"""WebSockets pass through: frames are the ends' own business."""

import asyncio
import contextlib
import os
import select
import ssl
import threading

import pytest
import websockets

from testenv import websocket as ws
from testenv.edge import ZONE
from testenv.wait import wait_until


def exchange(raw, opcode, data):
    raw.send(ws.frame(opcode, data, masked=True))
    return ws.read_frame(raw.reader)


def test_echo(site, raw, origin):
    connection = raw(site.host("app"))
    answer = ws.open_through(connection, origin.on(ws.serve_echo))
    assert answer.status == 101 and answer.get("x-origin") == "echo"
    assert exchange(connection, ws.TEXT, b"hello") == (ws.TEXT, b"hello")
    for size in (0, 1, 125, 126, 65535, 65536, 300_000):
        data = os.urandom(size)
        assert exchange(connection, ws.BINARY, data) == (ws.BINARY, data), size
    assert exchange(connection, ws.PING, b"p") == (ws.PONG, b"p")
    assert exchange(connection, ws.CLOSE, b"\x03\xe8") == (ws.CLOSE, b"\x03\xe8")
    assert connection.is_closed()


def test_the_origin_sees_a_proper_handshake(site, raw, origin):
    path = origin.on(ws.serve_echo)
    connection = raw(site.host("app"))
    headers = [("Origin", "https://there.example"), ("Cookie", "a=b"), ("Sec-WebSocket-Protocol", "chat, superchat"),
               ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")]  # fmt: skip
    assert ws.open_through(connection, path + "?room=1", headers).status == 101
    [request] = origin.requests(path)
    assert request.request_line == f"GET {path}?room=1 HTTP/1.1"
    assert request.get("upgrade").lower() == "websocket" and "upgrade" in request.get("connection").lower()
    assert request.get("sec-websocket-version") == "13"
    for name, value in headers:
        assert request.get(name) == value
    assert request.get("cf-warp-tag-id") and request.get("x-forwarded-for") == "127.0.0.1"
    assert not [n for n, _ in request.headers if n.lower().startswith("cf-cloudflared-")]
    assert exchange(connection, ws.TEXT, b"x") == (ws.TEXT, b"x")


def test_bytes_behind_the_handshake_are_not_lost(site, raw, origin):
    """A client that does not wait for 101: its first frame travels with the handshake."""
    path = origin.on(ws.serve_echo)
    connection = raw(site.host("app"))
    key = ws.new_key()
    head = (f"GET {path} HTTP/1.1\r\nHost: {site.host('app')}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n")  # fmt: skip
    connection.send(head.encode() + ws.frame(ws.TEXT, b"early", masked=True))
    assert connection.read_head().status == 101
    assert ws.read_frame(connection.reader) == (ws.TEXT, b"early")


def test_the_origin_speaks_first(site, raw, origin):
    def handler(r):
        r.keep_alive = False
        accept = ws.accept_of(r.get("sec-websocket-key"))
        head = f"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
        r.send(head.encode() + ws.frame(ws.TEXT, b"welcome", masked=False))
        r.peer_gone()

    connection = raw(site.host("app"))
    assert ws.open_through(connection, origin.on(handler)).status == 101
    assert ws.read_frame(connection.reader) == (ws.TEXT, b"welcome")


def test_refused_by_the_origin(site, raw, origin):
    path = origin.on(lambda r: r.reply(403, [("X-Why", "no")], b"not for you"))
    connection = raw(site.host("app"))
    key = ws.new_key()
    connection.request("GET", path, [("Upgrade", "websocket"), ("Connection", "Upgrade"),
                                     ("Sec-WebSocket-Key", key), ("Sec-WebSocket-Version", "13")])  # fmt: skip
    answer = connection.read()
    assert (answer.status, answer.body, answer.get("x-why")) == (403, b"not for you", "no")


def test_visitor_vanishes(site, raw, origin):
    ended = []

    def handler(r):
        ws.serve_echo(r)
        ended.append(True)

    connection = raw(site.host("app"))
    ws.open_through(connection, origin.on(handler))
    assert exchange(connection, ws.TEXT, b"x") == (ws.TEXT, b"x")
    connection.reset()
    wait_until(lambda: ended, "end at the origin")


def test_origin_vanishes(site, raw, origin):
    def handler(r):
        r.keep_alive = False
        accept = ws.accept_of(r.get("sec-websocket-key"))
        r.head(101, [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)])
        r.send(ws.frame(ws.TEXT, b"last", masked=False))

    connection = raw(site.host("app"))
    ws.open_through(connection, origin.on(handler))
    assert ws.read_frame(connection.reader) == (ws.TEXT, b"last")
    assert connection.is_closed()


def test_both_ways_at_once(site, raw, origin):
    """16 MiB each way while nobody waits for anybody."""
    connection = raw(site.host("app"))
    ws.open_through(connection, origin.on(ws.serve_echo))
    block, count = os.urandom(64 * 1024), 256
    to_send = memoryview(b"".join(ws.frame(ws.BINARY, block, masked=True) for _ in range(count)))
    echoed = ws.frame(ws.BINARY, block, masked=False) * count
    # One thread for both: OpenSSL's connections are not for two.
    sock, received = connection.sock, bytearray()
    sock.setblocking(False)
    while len(received) < len(echoed):
        select.select([sock], [sock] if to_send else [], [], 20)
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            if to_send:
                to_send = to_send[sock.send(to_send[:65536]) :]
        with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
            data = sock.recv(65536)
            assert data, "the connection ended"
            received += data
    assert received == echoed
    sock.setblocking(True)


def test_upgrade_to_something_else_is_an_ordinary_request(site, raw, origin):
    path = origin.on(lambda r: r.reply(200, body=b"plain"))
    connection = raw(site.host("app"))
    connection.request("GET", path, [("Upgrade", "h2c"), ("Connection", "Upgrade, HTTP2-Settings"),
                                     ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")])  # fmt: skip
    assert connection.read().body == b"plain"
    [request] = origin.requests(path)
    assert request.get("upgrade") is None and request.get("http2-settings") is None


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_a_real_library_on_both_ends(site, stage, compression):
    """python3-websockets as server and client: negotiation, fragments, pings and the closing handshake."""

    async def echo(connection):
        async for message in connection:
            await connection.send(message)

    async def play():
        context = ssl.create_default_context(cafile=str(stage.edge.ca))
        async with websockets.serve(echo, "127.0.0.1", 0, compression=compression, max_size=None) as server:
            port = server.sockets[0].getsockname()[1]
            stage.second.handlers["/library"] = lambda r: relay(r, port)
            async with websockets.connect(
                f"wss://{host}:{stage.edge.https}/library", host="127.0.0.1", port=stage.edge.https, ssl=context,
                server_hostname=host, compression=compression, max_size=None,
            ) as client:  # fmt: skip
                for message in ("text ✓", b"bytes", "x" * 500_000, b"\0" * 500_000):
                    await client.send(message)
                    assert await client.recv() == message
                await client.send(part for part in ["frag", "men", "ted"])
                assert await client.recv() == "fragmented"
                await asyncio.wait_for(await client.ping(), 20)
            assert client.close_code == 1000

    host = f"library.{site.kind}.{ZONE}"
    asyncio.run(asyncio.wait_for(play(), 60))


def relay(request, port):
    """The origin's part of this request is played by a server on another port."""
    import socket

    request.keep_alive = False
    with socket.create_connection(("127.0.0.1", port)) as server:
        server.sendall(request.raw_head)

        def back():
            while data := server.recv(65536):
                request.sock.sendall(data)
            request.sock.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=back, daemon=True)
        thread.start()
        while data := request.reader.read1(65536):
            server.sendall(data)
        server.shutdown(socket.SHUT_WR)
        thread.join(20)


def test_websocket_over_http2(ours, h2, origin):
    """RFC 8441: an extended CONNECT becomes a handshake at the origin, if the edge offers it."""
    import h2.events as events
    from h2.settings import SettingCodes

    connection = h2(ours.host("app"))
    connection.wait(events.RemoteSettingsChanged)
    if not connection.conn.remote_settings.get(SettingCodes.ENABLE_CONNECT_PROTOCOL):
        pytest.skip("the edge does not offer WebSockets over HTTP/2")
    path = origin.on(ws.serve_echo)
    extra = [(":protocol", "websocket"), ("sec-websocket-version", "13")]
    stream = connection.headers(path, method="CONNECT", extra=extra, end=False)
    head = connection.wait(events.ResponseReceived, stream)
    assert dict(head.headers)[":status"] == "200"
    connection.data(stream, ws.frame(ws.TEXT, b"over h2", masked=True))

    def echoed():
        connection.pump()
        return b"".join(e.data for e in connection.events if isinstance(e, events.DataReceived))

    wait_until(lambda: echoed() == ws.frame(ws.TEXT, b"over h2", masked=False), "echo")
    connection.conn.reset_stream(stream)
    connection.flush()
