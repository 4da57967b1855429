"""Visitors written out: TLS connections and WebSockets that stay open, handshakes one by one."""

import base64
import os
import select
import socket
import ssl

from lab import CannotMeasure


def tls_context(chain):
    context = ssl.create_default_context(cafile=str(chain.ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["http/1.1"])
    return context


def connect(chain, context, session=None):
    raw = socket.create_connection(("127.0.0.1", chain.port), timeout=10)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(raw, server_hostname=chain.host, session=session)


def take_tickets(sock, seconds):
    """Reads what the server says after its handshake. Gives the session that may be resumed."""
    select.select([sock], [], [], seconds)
    sock.setblocking(False)
    try:
        sock.recv(1)
    except ssl.SSLWantReadError:
        pass
    return sock.session


def handshakes(chain, count, resumed):
    """`count` handshakes one after the other, full or resumed, each followed by the tickets."""
    context = tls_context(chain)
    session = None
    if resumed:
        with connect(chain, context) as sock:
            session = take_tickets(sock, 1)
        if session is None or not session.has_ticket:
            raise CannotMeasure(f"{chain.name}: no session ticket")
    for _ in range(count):
        with connect(chain, context, session) as sock:
            if sock.session_reused != resumed:
                raise CannotMeasure(f"{chain.name}: session_reused is {sock.session_reused}")
            fresh = take_tickets(sock, 0.2)
            if resumed and fresh is not None and fresh.has_ticket:
                session = fresh


def _head(sock):
    got = b""
    while b"\r\n\r\n" not in got:
        more = sock.recv(4096)
        if not more or len(got) > 16384:
            raise CannotMeasure(f"no response head: {got[:100]!r}")
        got += more
    return got.split(b"\r\n\r\n", 1)


def idle_clients(chain, count):
    """Connections that asked once, got their answer, and stay."""
    context = tls_context(chain)
    found = []
    try:
        for _ in range(count):
            sock = connect(chain, context)
            found.append(sock)
            sock.sendall(f"GET /small HTTP/1.1\r\nHost: {chain.host}\r\n\r\n".encode())
            head, body = _head(sock)
            if b" 200 " not in head.split(b"\r\n")[0]:
                raise CannotMeasure(f"{chain.name}: {head[:60]!r}")
            while len(body) < 1024:
                more = sock.recv(4096)
                if not more:
                    raise CannotMeasure(f"{chain.name}: the answer ends early")
                body += more
    except OSError as e:
        close(found)
        raise CannotMeasure(f"{chain.name}: client {len(found)}: {e}") from e
    return found


def idle_sockets(chain, count):
    """WebSockets through the chain that say nothing."""
    context = tls_context(chain)
    found = []
    try:
        for _ in range(count):
            sock = connect(chain, context)
            found.append(sock)
            key = base64.b64encode(os.urandom(16)).decode()
            sock.sendall(
                f"GET /socket HTTP/1.1\r\nHost: {chain.host}\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
            )
            head, _ = _head(sock)
            if b" 101 " not in head.split(b"\r\n")[0]:
                raise CannotMeasure(f"{chain.name}: {head[:60]!r}")
    except OSError as e:
        close(found)
        raise CannotMeasure(f"{chain.name}: WebSocket {len(found)}: {e}") from e
    return found


def close(socks):
    for sock in socks:
        sock.close()
