"""An HTTP/2 service that does what a test wants: one thread per connection, one per stream.

    path = origin.on(lambda stream: stream.reply(200, body=b"hello"))

Framing is the h2 library's; `stream.connection.frame()` sends anything it would not.
"""

import itertools
import socket
import threading

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from .program import PATIENCE
from .wait import wait_until


class Gone(Exception):
    """The stream was reset, or its connection has ended."""


class Stream:
    def __init__(self, connection, number, headers):
        self.connection, self.number, self.headers = connection, number, headers
        self.chunks = []
        self.ended = False
        self.trailers = None
        self.reset_code = None  # the peer's RST_STREAM
        self.lost = False

    def get(self, name):
        return next((v for n, v in self.headers if n == name), None)

    # --- the request ---

    def _wait(self, ready):
        with self.connection.changed:
            if not self.connection.changed.wait_for(lambda: ready() or self.is_gone(), 20 * PATIENCE):
                raise Gone("nothing happened for too long")
        if not ready():
            raise Gone

    def is_gone(self):
        return self.lost or self.reset_code is not None

    def blocks(self):
        while True:
            self._wait(lambda: self.chunks or self.ended)
            with self.connection.changed:
                chunks, self.chunks = self.chunks, []
                for _, credit in chunks:
                    if credit and not self.is_gone():
                        self.connection.give_credit(self.number, credit)
            yield from (data for data, _ in chunks if data)
            if not chunks and self.ended:
                return

    def read_body(self):
        return b"".join(self.blocks())

    def wait_reset(self, seconds=20):
        """The code of the peer's RST_STREAM."""
        wait_until(lambda: self.is_gone(), "reset", seconds * PATIENCE)
        return self.reset_code

    # --- the response ---

    def head(self, status, headers=(), end=False):
        self.connection.do(lambda c: c.send_headers(self.number, [(":status", str(status)), *headers], end_stream=end))

    def send(self, data, end=False):
        while data:
            with self.connection.changed:
                if self.is_gone():
                    raise Gone
                room = min(self.connection.conn.local_flow_control_window(self.number), 16384, len(data))
                if room <= 0:
                    self.connection.changed.wait(1)
                    continue
            last = end and room == len(data)
            self.connection.do(lambda c, d=data[:room], e=last: c.send_data(self.number, d, end_stream=e))
            data = data[room:]
            end = end and not last

        if end:
            self.connection.do(lambda c: c.end_stream(self.number))

    def finish(self, trailers):
        self.connection.do(lambda c: c.send_headers(self.number, trailers, end_stream=True))

    def reply(self, status=200, headers=(), body=b""):
        self.head(status, headers, end=not body)
        if body:
            self.send(body, end=True)

    def reset(self, code):
        self.connection.do(lambda c: c.reset_stream(self.number, error_code=code))


class Connection:
    def __init__(self, origin, sock):
        self.origin, self.sock = origin, sock
        self.changed = threading.Condition(threading.RLock())
        config = h2.config.H2Configuration(
            client_side=False, header_encoding="utf-8", validate_outbound_headers=False,
            normalize_outbound_headers=False, normalize_inbound_headers=False,
        )  # fmt: skip
        self.conn = h2.connection.H2Connection(config)
        if origin.settings:
            self.conn.local_settings = h2.settings.Settings(client=False, initial_values=origin.settings)
        self.streams = {}
        self.goaway = None

    def do(self, action):
        with self.changed:
            try:
                action(self.conn)
            except h2.exceptions.ProtocolError as e:
                raise Gone(str(e)) from e
            self.flush()

    def flush(self):
        data = self.conn.data_to_send()
        if data:
            try:
                self.sock.sendall(data)
            except OSError as e:
                raise Gone from e

    def frame(self, frame):
        with self.changed:
            self.sock.sendall(frame.serialize())

    def give_credit(self, number, size):
        try:
            self.conn.acknowledge_received_data(size, number)
        except (h2.exceptions.ProtocolError, KeyError):
            return  # the stream has closed meanwhile
        self.flush()

    def goodbye(self, code=0, last=None):
        self.do(lambda c: c.close_connection(code, last_stream_id=last))

    def cut(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.shutdown(socket.SHUT_RDWR)

    def serve(self):
        self.do(lambda c: c.initiate_connection())
        while data := self.sock.recv(65536):
            with self.changed:
                for event in self.conn.receive_data(data):
                    self._take(event)
                self.flush()
                self.changed.notify_all()

    def _take(self, event):
        stream = self.streams.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.RequestReceived):
            stream = Stream(self, event.stream_id, [(str(n), str(v)) for n, v in event.headers])
            self.streams[event.stream_id] = stream
            self.origin.start(stream)
        elif isinstance(event, h2.events.DataReceived):
            stream.chunks.append((event.data, event.flow_controlled_length))
        elif isinstance(event, h2.events.TrailersReceived):
            stream.trailers = [(str(n), str(v)) for n, v in event.headers]
        elif isinstance(event, h2.events.StreamEnded):
            stream.ended = True
        elif isinstance(event, h2.events.StreamReset) and stream:
            stream.reset_code = int(event.error_code)
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = event

    def end(self):
        with self.changed:
            for stream in self.streams.values():
                stream.lost = True
            self.changed.notify_all()
        self.sock.close()


class H2Origin:
    """`settings`: what its SETTINGS say beside h2's own, by code."""

    def __init__(self, tls=None, settings=None):
        self.tls, self.settings = tls, settings or {}
        if tls:
            tls.set_alpn_protocols(["h2"])
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.counter = itertools.count(1)
        self.handlers = {}
        self.seen = []
        self.connections = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def service(self):
        return f"{'https' if self.tls else 'h2c'}://127.0.0.1:{self.port}"

    def on(self, handler, name="test"):
        path = f"/{name}-{next(self.counter)}"
        self.handlers[path] = handler
        return path

    def requests(self, path):
        return [s for s in list(self.seen) if s.get(":path").split("?")[0] == path]

    def wait_request(self, path, count=1):
        return wait_until(
            lambda: len(self.requests(path)) >= count and self.requests(path), f"request for {path}", 20 * PATIENCE
        )[count - 1]

    def start(self, stream):
        self.seen.append(stream)
        handler = self.handlers.get(stream.get(":path").split("?")[0], lambda s: s.reply(404))
        threading.Thread(target=self._run, args=(handler, stream), daemon=True).start()

    def _run(self, handler, stream):
        try:
            handler(stream)
        except Gone:
            pass

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        connection = None
        try:
            if self.tls:
                sock = self.tls.wrap_socket(sock, server_side=True)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock)
            self.connections.append(connection)
            connection.serve()
        except (OSError, Gone, h2.exceptions.ProtocolError):
            pass
        finally:
            if connection:
                connection.end()
                self.connections.remove(connection)
            else:
                sock.close()

    def forget(self):
        self.handlers.clear()
        self.seen.clear()

    def close(self):
        self.listener.close()
        for connection in list(self.connections):
            try:
                connection.cut()
            except OSError:
                pass
