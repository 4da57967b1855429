"""A small HTTP/1.1 server that shows exactly what it was asked and answers exactly what a test wants.

One thread per connection. A test registers a handler and gets a path of its own:

    path = origin.on(lambda request: request.reply(200, body=b"hello"))

What arrived is in `origin.requests(path)`: the bytes of the head as they were, and the body if the
handler read it. A handler may use `request.sock` for whatever HTTP does not allow.

Where the path is not known beforehand ("OPTIONS *"), `origin.default` is asked instead, and `origin.seen`
has what arrived.
"""

import contextlib
import contextlib
import hashlib
import itertools
import os
import socket
import ssl
import threading

from .wait import wait_until

BLOCK = hashlib.shake_128(b"adit").digest(1 << 20)  # a MiB without repetition inside


def pattern_sha256(size):
    """Of the body that Request.send_pattern(size) sends."""
    digest = hashlib.sha256()
    for _ in range(size // len(BLOCK)):
        digest.update(BLOCK)
    digest.update(BLOCK[: size % len(BLOCK)])
    return digest.hexdigest()


def pattern_file(path, size):
    with open(path, "wb") as f:
        for _ in range(size // len(BLOCK)):
            f.write(BLOCK)
        f.write(BLOCK[: size % len(BLOCK)])
    return path


class Gone(Exception):
    """The peer closed or reset the connection."""


class Request:
    def __init__(self, sock, reader, raw_head, connection=0):
        self.sock, self.reader, self.raw_head = sock, reader, raw_head
        self.connection = connection  # which one it came over, counted from the origin's start
        first, *lines = raw_head.decode("latin-1").rstrip("\r\n").split("\r\n")
        self.request_line = first
        self.method, self.target, self.version = first.split(" ", 2)
        self.headers = [tuple(line.split(":", 1)) for line in lines]
        self.headers = [(name, value.strip(" \t")) for name, value in self.headers]
        self.body = None  # once read_body() was called
        self.body_size = 0
        self.trailers = []
        self.keep_alive = True
        self.received = threading.Event()  # the whole body has been read
        self.done = threading.Event()  # the handler has returned

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def get(self, name):
        values = self.all(name)
        return values[0] if values else None

    # --- the request's body ---

    def _exactly(self, size):
        data = self.reader.read(size)
        if data is None or len(data) < size:
            raise Gone
        return data

    def _read_trailers(self):
        while (line := self.reader.readline()) != b"\r\n":
            if not line.endswith(b"\n"):
                raise Gone
            name, value = line.decode("latin-1").split(":", 1)
            self.trailers.append((name, value.strip(" \t\r\n")))

    def blocks(self):
        """The body in pieces, as they come."""
        if (self.get("transfer-encoding") or "").lower() == "chunked":
            while True:
                line = self.reader.readline()
                if not line.endswith(b"\n"):
                    raise Gone
                size = int(line.split(b";")[0], 16)
                if size:
                    yield self._exactly(size)
                self._exactly(2) if size else None
                if not size:
                    self._read_trailers()
                    return
        left = int(self.get("content-length") or 0)
        while left:
            data = self.reader.read1(min(left, 1 << 20))
            if not data:
                raise Gone
            left -= len(data)
            yield data

    def read_body(self):
        """What came stays in `body` even where it breaks off (Gone)."""
        parts = []
        try:
            for block in self.blocks():
                self.body_size += len(block)
                parts.append(block)
        finally:
            self.body = b"".join(parts)
        self.received.set()
        return self.body

    def digest_body(self):
        """Reads without keeping: for large ones."""
        digest = hashlib.sha256()
        for block in self.blocks():
            digest.update(block)
            self.body_size += len(block)
        self.received.set()
        return digest.hexdigest()

    # --- the response ---

    def send(self, data):
        try:
            self.sock.sendall(data)
        except OSError as e:
            raise Gone from e

    def head(self, status, headers=(), reason="Whatever"):
        text = "".join(f"{n}: {v}\r\n" for n, v in headers)
        self.send(f"HTTP/1.1 {status} {reason}\r\n{text}\r\n".encode("latin-1"))

    def reply(self, status=200, headers=(), body=b""):
        text = f"HTTP/1.1 {status} Whatever\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers)
        if status >= 200 and status not in (204, 304):
            text += f"Content-Length: {len(body)}\r\n"
        data = (text + "\r\n").encode("latin-1")
        if self.method != "HEAD":
            data += body
        self.send(data)

    def chunk(self, data):
        self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def last_chunk(self, trailers=b""):
        self.send(b"0\r\n" + trailers + b"\r\n")

    def send_pattern(self, size, count=None):
        """`count`, if given, is a list whose first item grows by what was sent."""
        whole, rest = divmod(size, len(BLOCK))
        for _ in range(whole):
            self.send(BLOCK)
            if count:
                count[0] += len(BLOCK)
        self.send(BLOCK[:rest])

    def peer_gone(self, seconds=20):
        """Waits for the peer to close or reset."""
        self.sock.settimeout(seconds)
        try:
            while self.sock.recv(65536):
                pass
            return True
        except TimeoutError:
            return False
        except OSError:
            return True

    def fin(self):
        """Nothing more will be sent; what still comes may be read."""
        self.sock.shutdown(socket.SHUT_WR)

    def cut(self):
        """Ends the connection at once, with a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        raise Gone


class Origin:
    def __init__(self, tls=None, unix=None, port=0):
        self.unix = unix
        if unix:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(unix))
            self.listener.listen(128)
        else:
            self.listener = socket.create_server(("127.0.0.1", port), backlog=512)
            self.port = self.listener.getsockname()[1]
        self.tls = tls
        self.handlers = {}
        self.seen = []
        self.connections = set()
        self.idle = set()  # of the connections, those that wait for a request
        self.accepted = 0
        self.default = echo
        self.lock = threading.Lock()
        self.counter = itertools.count(1)
        self.handlers["/echo"] = echo
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def service(self):
        return f"unix:{self.unix}" if self.unix else f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def on(self, handler, name="test"):
        path = f"/{name}-{next(self.counter)}"
        self.handlers[path] = handler
        return path

    def requests(self, path):
        with self.lock:
            return [r for r in self.seen if r.target.split("?")[0] == path]

    def wait_request(self, path, seconds=20):
        return wait_until(lambda: self.requests(path), f"request for {path} at the origin", seconds)[0]

    def forget(self):
        with self.lock:
            self.default = echo
            self.seen.clear()
            for path in [p for p in self.handlers if p != "/echo"]:
                del self.handlers[path]

    def drop_idle(self, seconds=20):
        """Says goodbye on every connection that is kept alive, and waits until the peers have seen it."""
        wait_until(lambda: self.idle == self.connections, "origin without requests", seconds)
        for sock in list(self.idle):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
        wait_until(lambda: not self.connections, "end of the idle connections", seconds)

    def close(self):
        # Closing alone leaves the thread in accept(): a system call that is restarted later (a stopped
        # process that goes on) would take connections of whoever has the descriptor's number by then.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in list(self.connections):
            sock.close()
        if self.unix:
            os.unlink(self.unix)

    def die(self):
        """As a process that is killed: its connections end, too."""
        for sock in list(self.connections):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with self.lock:
            self.accepted += 1
            number = self.accepted
        reader = None
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            if not self.unix:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.add(sock)
            reader = sock.makefile("rb", buffering=1 << 18)
            while self._serve_one(sock, reader, number):
                pass
        except (Gone, OSError, ssl.SSLError, ValueError):
            pass
        finally:
            if reader:
                reader.close()  # a socket closes only when its files have
            sock.close()
            self.idle.discard(sock)
            self.connections.discard(sock)

    def _serve_one(self, sock, reader, number):
        head = b""
        self.idle.add(sock)
        while not head.endswith(b"\r\n\r\n"):
            line = reader.readline(1 << 20)
            if not line:
                return False
            head += line
            self.idle.discard(sock)
        request = Request(sock, reader, head, number)
        with self.lock:
            self.seen.append(request)
        handler = self.handlers.get(request.target.split("?")[0], self.default)
        try:
            handler(request)
        finally:
            request.done.set()
        return request.keep_alive


def echo(request):
    """Answers with the body it got."""
    body = request.read_body()
    kind = request.get("content-type") or "application/octet-stream"
    request.reply(200, [("Content-Type", kind), ("X-Origin", "echo")], body)


class TcpService:
    """A TCP port: each connection is handed to `handler(sock)`, on a thread of its own, and closed after it."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.handler = lambda sock: None
        self.connections = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.connections.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with contextlib.suppress(OSError), sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.handler(sock)
        self.connections.discard(sock)

    def close(self):
        self.listener.close()
        for sock in list(self.connections):
            sock.close()
