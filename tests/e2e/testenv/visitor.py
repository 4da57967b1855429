"""Visitors: curl for whole requests, raw TLS for what curl would not do, HTTP/2 frame by frame."""

import pathlib
import re
import socket
import ssl
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import hyperframe.frame

from .program import PATIENCE

HTTP_VERSIONS = ("http1.1", "http2")


@dataclass
class Response:
    status: int
    headers: list  # (lower-case name, value)
    body: bytes
    version: str = ""
    curl_exit: int = 0
    error: str = ""
    trailers: list = field(default_factory=list)

    def all(self, name):
        return [v for n, v in self.headers if n == name.lower()]

    def get(self, name):
        values = self.all(name)
        return values[0] if values else None

    @property
    def text(self):
        return self.body.decode(errors="replace")


def parse_heads(text):
    """The last head that `curl -D` wrote, and what follows it: trailers."""
    heads = re.split(r"\r?\n\r?\n", text.strip("\r\n"))
    heads = [h.splitlines() for h in heads if h.strip()]
    starts = [i for i, h in enumerate(heads) if h[0].startswith("HTTP/")]
    if not starts:
        return "", 0, [], []
    first, *lines = heads[starts[-1]]
    version, status = first.split(" ", 2)[:2]

    def fields(lines):
        return [(n.lower(), v.strip()) for n, v in (line.split(":", 1) for line in lines)]

    trailers = [f for h in heads[starts[-1] + 1 :] for f in fields(h)]
    return version, int(status), fields(lines), trailers


class Visitor:
    """One visitor of one edge, speaking one version of HTTP through curl."""

    def __init__(self, edge, version="http1.1", folder=None):
        self.edge, self.version = edge, version
        self.folder = pathlib.Path(folder or tempfile.gettempdir())
        self.curls = []

    def argv(self, host, path, *args, seconds=100):
        return ["curl", "-sS", f"--{self.version}", "--path-as-is", "--max-time", str(seconds),
                *self.edge.curl_args(host), *map(str, args),
                f"https://{host}:{self.edge.https}{path}"]  # fmt: skip

    def fetch(self, host, path, *args, headers=(), data=None, method=None, seconds=25):
        """`data`: bytes of a request body. Does not fail for curl's exit status, only a timeout's."""
        more = [x for n, v in headers for x in ("-H", f"{n}: {v}" if v != "" else f"{n};")]
        if method == "HEAD":
            more.append("--head")
        elif method:
            more += ["-X", method]
        if data is not None:
            more += ["--data-binary", "@-"]
        with tempfile.NamedTemporaryFile(dir=self.folder) as head:
            done = subprocess.run(
                self.argv(host, path, "-D", head.name, *more, *args, seconds=seconds * PATIENCE),
                input=data if data is not None else b"",
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                check=False,
            )
            version, status, fields, trailers = parse_heads(pathlib.Path(head.name).read_text("latin-1"))
        body = b"" if method == "HEAD" else done.stdout
        return Response(status, fields, body, version, done.returncode, done.stderr.decode(), trailers)

    def get(self, host, path, *args, **kwargs):
        response = self.fetch(host, path, *args, **kwargs)
        assert response.curl_exit == 0, f"curl {response.curl_exit}: {response.error}"
        return response

    def start(self, host, path, *args, stdin=subprocess.DEVNULL):
        """A curl that goes on in the background: its process, with stdout as a pipe."""
        process = subprocess.Popen(
            self.argv(host, path, "--no-buffer", *args),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.curls.append(process)
        return process

    def close(self):
        for process in self.curls:
            if process.poll() is None:
                process.kill()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe:
                    pipe.close()
            process.wait()
        self.curls.clear()


# --- raw TLS ---------------------------------------------------------------------------------------


def tls_connect(edge, host, alpn, seconds=20, port=None, rcvbuf=None, wrap=True, source=None):
    """Without `wrap` the TLS is left to the caller. `source` is an address of loopback to come from."""
    context = ssl.create_default_context(cafile=str(edge.ca))
    context.set_alpn_protocols(alpn)
    sock = socket.socket()
    if rcvbuf:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
    sock.settimeout(seconds * PATIENCE)
    if source:
        sock.bind((source, 0))
    sock.connect(("127.0.0.1", port or edge.https))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(sock, server_hostname=host) if wrap else sock


class Raw:
    """HTTP/1.1 by hand."""

    def __init__(self, edge, host, **kwargs):
        self.sock = tls_connect(edge, host, ["http/1.1"], **kwargs)
        self.reader = self.sock.makefile("rb")
        self.host = host

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def request(self, method, path, headers=(), body=b""):
        text = f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\n"
        text += "".join(f"{n}: {v}\r\n" for n, v in headers)
        self.send(text.encode("latin-1") + b"\r\n" + body)

    def read_head(self):
        """None at the end of the connection."""
        first = self.reader.readline()
        if not first:
            return None
        lines = []
        while (line := self.reader.readline()) not in (b"\r\n", b""):
            lines.append(line.decode("latin-1").rstrip("\r\n"))
        version, status = first.decode("latin-1").split(" ", 2)[:2]
        fields = [(n.lower(), v.strip()) for n, v in (line.split(":", 1) for line in lines)]
        return Response(int(status), fields, b"", version)

    def read_chunks(self):
        while True:
            line = self.reader.readline()
            if not line:
                raise ConnectionError("cut off inside a chunked body")
            size = int(line.split(b";")[0], 16)
            data = self.reader.read(size + 2)[:-2] if size else b""
            if not size:
                while self.reader.readline() not in (b"\r\n", b""):
                    pass
                return
            if len(data) < size:
                raise ConnectionError("cut off inside a chunk")
            yield data

    def read(self, method="GET"):
        response = self.read_head()
        if response is None:
            return None
        if response.get("transfer-encoding"):
            response.body = b"".join(self.read_chunks())
        elif response.get("content-length"):
            if method != "HEAD" and response.status not in (204, 304):
                response.body = self.reader.read(int(response.get("content-length")))
        elif response.status not in (101, 204, 304) and method != "HEAD":
            response.body = self.reader.read()
        return response

    def is_closed(self):
        """Waits for the edge to close; what still comes is dropped."""
        try:
            while self.reader.read1(65536):
                pass
            return True
        except TimeoutError:
            return False
        except OSError:
            return True

    def reset(self):
        """Leaves without a goodbye."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.close()

    def close(self):
        self.reader.close()
        self.sock.close()


# --- HTTP/2 ----------------------------------------------------------------------------------------


class H2:
    """HTTP/2 frame by frame. The h2 library checks what the edge says; `frame()` sends anything."""

    def __init__(self, edge, host, auto_window=True, settings=None, encoding="utf-8", **kwargs):
        self.sock = tls_connect(edge, host, ["h2"], **kwargs)
        assert self.sock.selected_alpn_protocol() == "h2"
        self.authority = f"{host}:{edge.https}"
        config = h2.config.H2Configuration(
            client_side=True, header_encoding=encoding, validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )  # fmt: skip
        self.conn = h2.connection.H2Connection(config)
        self.auto_window = auto_window
        self.events = []
        self.closed = False
        self.conn.initiate_connection()
        if settings:
            self.conn.update_settings(settings)
        self.flush()

    def flush(self):
        data = self.conn.data_to_send()
        if data:
            self.sock.sendall(data)

    def frame(self, frame):
        self.sock.sendall(frame.serialize())

    def headers(self, path, method="GET", extra=(), end=True, stream=None):
        stream = stream or self.conn.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "https"), (":authority", self.authority), (":path", path)]
        self.conn.send_headers(stream, [*fields, *extra], end_stream=end)
        self.flush()
        return stream

    def data(self, stream, data, end=False):
        """Within the window the edge gave."""
        while data or end:
            room = min(self.conn.local_flow_control_window(stream), self.conn.max_outbound_frame_size, len(data))
            if data and not room:
                self.pump()
                continue
            self.conn.send_data(stream, data[:room], end_stream=end and room == len(data))
            data = data[room:]
            self.flush()
            if not data:
                return

    def pump(self):
        """Reads once; False at the end of the connection."""
        try:
            data = self.sock.recv(65536)
        except TimeoutError:
            raise
        except OSError:
            data = b""
        if not data:
            self.closed = True
            return False
        for event in self.conn.receive_data(data):
            if isinstance(event, h2.events.DataReceived) and self.auto_window and event.flow_controlled_length:
                self.conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            self.events.append(event)
        self.flush()
        return True

    def wait(self, kind, stream=None):
        """The first event of that kind (of that stream); None when the connection ends without it."""
        while True:
            for event in self.events:
                if isinstance(event, kind) and stream in (None, getattr(event, "stream_id", None)):
                    return event
            if self.closed or not self.pump():
                return None

    def response(self, stream):
        """The whole response; None if the stream was reset or the connection ended."""
        kinds = (h2.events.StreamEnded, h2.events.StreamReset)
        end = self.wait(kinds, stream)
        if not isinstance(end, h2.events.StreamEnded):
            return None
        mine = [e for e in self.events if getattr(e, "stream_id", None) == stream]
        head = next(e for e in mine if isinstance(e, h2.events.ResponseReceived))
        fields = dict(head.headers)
        body = b"".join(e.data for e in mine if isinstance(e, h2.events.DataReceived))
        trailers = [f for e in mine if isinstance(e, h2.events.TrailersReceived) for f in e.headers]
        return Response(int(fields[":status"]), head.headers[1:], body, "HTTP/2", trailers=trailers)

    def close(self):
        self.sock.close()


frames = hyperframe.frame  # for tests that build their own


# --- reading at one's own pace ---------------------------------------------------------------------


class SlowReader(threading.Thread):
    """Reads a pipe only after go() was called; counts and digests what came."""

    def __init__(self, pipe, digest):
        super().__init__(daemon=True)
        self.pipe, self.digest = pipe, digest
        self.size = 0
        self.gate = threading.Event()

    def run(self):
        self.gate.wait()
        while block := self.pipe.read1(1 << 20):
            self.digest.update(block)
            self.size += len(block)

    def go(self):
        self.gate.set()
