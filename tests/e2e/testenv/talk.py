"""Visitors that do one thing after another and note all they are told: HTTP/1.0, HTTP/1.1, HTTP/2.

    talk = open_talk(edge, "2", host)
    talk.start("POST", "/path", body_follows=True)
    talk.send(b"part")
    talk.send(b"rest", last=True)
    answer = talk.answer()          # an Answer with everything

Nothing here raises for what an edge may do: how an answer ended is in `answer.end`.
"""

import ssl
from dataclasses import dataclass, field

import h2.events
import h2.exceptions
from h2.settings import SettingCodes

from .visitor import H2, tls_connect

COMPLETE = "complete"
TIMEOUT = "nothing more came"
SECONDS = 20


@dataclass
class Answer:
    """`end`: COMPLETE, TIMEOUT, or how it broke off."""

    status: int = 0
    headers: list = field(default_factory=list)  # (lower-case name, value)
    interim: list = field(default_factory=list)  # (status, headers)
    body: bytes = b""
    trailers: list = field(default_factory=list)
    end: str = ""

    def get(self, name):
        return next((v for n, v in self.headers if n == name), None)


class Broken(Exception):
    """The answer ends before its end; the text says how."""


def open_talk(edge, version, host):
    return H2Talk(edge, host) if version == "2" else H1Talk(edge, host, version)


# --- HTTP/1 ----------------------------------------------------------------------------------------


class H1Talk:
    """One connection. TLS is done in memory, so that either direction can be ended on its own."""

    def __init__(self, edge, host, version="1.1"):
        self.host, self.version = host, version
        plain = tls_connect(edge, host, ["http/1.1"], seconds=SECONDS, wrap=False)
        context = ssl.create_default_context(cafile=str(edge.ca))
        context.set_alpn_protocols(["http/1.1"])
        self.sock = plain
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=host)
        self.buffer = b""
        self.has_ended = False
        self.method = ""
        self.is_chunked = False
        self._with_io(self.tls.do_handshake)

    def _flush(self):
        if data := self.outgoing.read():
            self.sock.sendall(data)

    def _with_io(self, call):
        """Does what OpenSSL wants done, until the call is through."""
        while True:
            try:
                result = call()
                self._flush()
                return result
            except ssl.SSLWantReadError:
                self._flush()
                data = self.sock.recv(65536)
                if not data:
                    self.incoming.write_eof()
                self.incoming.write(data)

    # --- asking ---

    def write(self, data):
        """Bytes as they are. Whether they arrive is for the answer to tell."""
        try:
            self.tls.write(data)
            self._flush()
        except (OSError, ssl.SSLError):
            pass

    def start(self, method, target, headers=(), body_follows=False, length=None):
        """The head. A body that follows is chunked, unless `length` says how long it is."""
        lines = [f"{method} {target} HTTP/{self.version}"]
        if not any(n.lower() == "host" for n, _ in headers):
            lines.append(f"Host: {self.host}")
        lines += [f"{n}: {v}" for n, v in headers]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        elif body_follows:
            lines.append("Transfer-Encoding: chunked")
        self.method = method
        self.is_chunked = body_follows and length is None
        self.write("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def send(self, data=b"", last=False, trailers=(), extension=""):
        if not self.is_chunked:
            self.write(data)
            return
        text = b"%x%s\r\n%s\r\n" % (len(data), extension.encode(), data) if data else b""
        if last:
            text += b"0\r\n" + "".join(f"{n}: {v}\r\n" for n, v in trailers).encode("latin-1") + b"\r\n"
        self.write(text)

    def open_socket(self, target, headers=(), key="dGhlIHNhbXBsZSBub25jZQ=="):
        """A WebSocket's handshake (RFC 6455 §4.1). True once it is open."""
        self.start("GET", target, [("Upgrade", "websocket"), ("Connection", "Upgrade"),
                                   ("Sec-WebSocket-Key", key), ("Sec-WebSocket-Version", "13"), *headers])  # fmt: skip
        self.opened = self.head()
        return self.opened.status == 101

    def shut(self):
        """Nothing more will be sent, and the edge is told so."""
        try:
            self.tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            pass
        self._flush()

    # --- being answered ---

    def _more(self):
        """Reads once; False at the end."""
        if self.has_ended:
            return False
        try:
            data = self._with_io(lambda: self.tls.read(65536))
        except TimeoutError as e:
            raise Broken(TIMEOUT) from e
        except (ssl.SSLError, OSError):
            data = b""  # without goodbye: what HTTP/1 makes of an end is a matter of framing
        self.buffer += data
        self.has_ended = not data
        return bool(data)

    def read(self, size):
        """Exactly that many bytes; fewer at the end."""
        while len(self.buffer) < size and self._more():
            pass
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def _line(self):
        while b"\n" not in self.buffer:
            if not self._more():
                raise Broken("closed")
        line, _, self.buffer = self.buffer.partition(b"\n")
        if not line.endswith(b"\r"):
            raise Broken("a line without CR")
        return line[:-1].decode("latin-1")

    def _fields(self):
        fields = []
        while line := self._line():
            name, _, value = line.partition(":")
            fields.append((name.lower(), value.strip(" \t")))
        return fields

    def head(self, interim=False):
        """Heads up to the one that counts; with `interim`, up to the first one (status 0 if it is interim)."""
        answer = Answer()
        try:
            while True:
                if not self.buffer and not self._more():
                    raise Broken("closed without an answer")
                version, status, _ = self._line().split(" ", 2)
                if version != "HTTP/1.1":
                    raise Broken(f"version {version}")
                fields = self._fields()
                if int(status) >= 200 or status == "101":
                    answer.status, answer.headers = int(status), fields
                    return answer
                answer.interim.append((int(status), fields))
                if interim:
                    return answer
        except Broken as e:
            answer.end = str(e)
        return answer

    def pieces(self, answer):
        """The body as it comes; afterwards answer.end and answer.trailers are set."""
        try:
            yield from self._pieces(answer)
            answer.end = COMPLETE
        except Broken as e:
            answer.end = str(e)

    def _pieces(self, answer):
        if self.method == "HEAD" or answer.status in (204, 304):
            return
        if (answer.get("transfer-encoding") or "").lower() == "chunked":
            while size := int(self._line().split(";")[0], 16):
                while size:
                    if not self.buffer and not self._more():
                        raise Broken("closed inside a chunk")
                    piece, self.buffer = self.buffer[:size], self.buffer[size:]
                    size -= len(piece)
                    yield piece
                if self._line():
                    raise Broken("a chunk longer than announced")
            answer.trailers = self._fields()
            return
        length = answer.get("content-length")
        left = int(length) if length is not None else -1
        while left:
            if not self.buffer and not self._more():
                if length is not None:
                    raise Broken("closed before the end of a body with a length")
                return
            end = left if left > 0 else len(self.buffer)
            piece, self.buffer = self.buffer[:end], self.buffer[end:]
            left -= len(piece) if left > 0 else 0
            yield piece

    def answer(self):
        answer = self.head()
        if answer.status:
            answer.body = b"".join(self.pieces(answer))
        return answer

    # --- leaving ---

    def leave(self):
        """In the middle of whatever it is."""
        self.close()

    def close(self):
        self.sock.close()


# --- HTTP/2 ----------------------------------------------------------------------------------------


class H2Talk:
    """One connection; `start` opens a stream, and the rest is about that one."""

    version = "2"

    def __init__(self, edge, host):
        self.h2 = H2(edge, host, seconds=SECONDS, encoding="latin-1")
        self.host = host
        self.stream = None
        self.seen = 0  # events of the stream already told
        self.broken = ""

    # --- asking ---

    def start(self, method, target, headers=(), body_follows=False, length=None, protocol=None):
        fields = [(":method", method), (":scheme", "https"), (":authority", self.host), (":path", target)]
        if protocol:
            fields.insert(1, (":protocol", protocol))
        fields += [(n.lower(), v) for n, v in headers]
        if length is not None:
            fields.append(("content-length", str(length)))
        self.stream = self.h2.conn.get_next_available_stream_id()
        self.seen = 0
        encoded = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in fields]
        self.h2.conn.send_headers(self.stream, encoded, end_stream=not body_follows)
        self._flush()

    def _flush(self):
        try:
            self.h2.flush()
        except OSError as e:
            self.broken = self.broken or f"cannot write: {type(e).__name__}"

    def send(self, data=b"", last=False, trailers=(), extension=""):
        """Within the edge's window; what a stream that has ended does not take is dropped."""
        try:
            if data or (last and not trailers):
                self._send_data(data, last and not trailers)
            if trailers:
                self.h2.conn.send_headers(self.stream, [(n.lower(), v) for n, v in trailers], end_stream=True)
            self._flush()
        except (h2.exceptions.ProtocolError, OSError):
            pass

    write = send

    def _send_data(self, data, last):
        """Until the stream has ended: then nobody wants the rest."""
        conn = self.h2.conn
        while True:
            room = min(conn.local_flow_control_window(self.stream), conn.max_outbound_frame_size, len(data))
            if not data or room:
                conn.send_data(self.stream, data[:room], end_stream=last and room == len(data))
                self._flush()
                data = data[room:]
                if not data:
                    return
            elif self._has_ended() or not self._pump():
                return

    def _has_ended(self):
        ends = (h2.events.StreamEnded, h2.events.StreamReset)
        return any(isinstance(e, ends) and e.stream_id == self.stream for e in self.h2.events)

    def open_socket(self, target, headers=(), key=None):
        """RFC 8441. The edge makes up the key."""
        while SettingCodes.ENABLE_CONNECT_PROTOCOL not in self.h2.conn.remote_settings:
            if not self._pump():
                break
        self.start("CONNECT", target, [("Sec-WebSocket-Version", "13"), *headers], True, protocol="websocket")
        self.opened = self.head()
        return self.opened.status == 200

    def shut(self):
        self.send(last=True)

    # --- being answered ---

    def _pump(self):
        try:
            if self.h2.pump():
                return True
            self.broken = self.broken or "connection closed"
        except TimeoutError:
            self.broken = TIMEOUT
        except h2.exceptions.ProtocolError as e:
            self.broken = f"{type(e).__name__}: {e}"
        return False

    def _next(self):
        """The stream's next event; Broken when there is none any more."""
        while True:
            mine = [e for e in self.h2.events if getattr(e, "stream_id", None) == self.stream]
            while self.seen < len(mine):
                event = mine[self.seen]
                self.seen += 1
                if isinstance(event, h2.events.StreamReset):
                    raise Broken(f"reset {event.error_code!s}")
                return event
            if self._has_ended():
                raise Broken("nothing after the end")
            if self.broken or not self._pump():
                raise Broken(self.broken)

    def head(self, interim=False):
        answer = Answer()
        try:
            while True:
                event = self._next()
                if isinstance(event, h2.events.InformationalResponseReceived):
                    fields = dict(event.headers)
                    answer.interim.append((int(fields[":status"]), event.headers[1:]))
                    if interim:
                        return answer
                if isinstance(event, h2.events.ResponseReceived):
                    answer.status, answer.headers = int(dict(event.headers)[":status"]), event.headers[1:]
                    return answer
        except Broken as e:
            answer.end = str(e)
        return answer

    def pieces(self, answer):
        try:
            while True:
                event = self._next()
                if isinstance(event, h2.events.DataReceived) and event.data:
                    yield event.data
                if isinstance(event, h2.events.TrailersReceived):
                    answer.trailers = event.headers
                if isinstance(event, h2.events.StreamEnded):
                    answer.end = COMPLETE
                    return
        except Broken as e:
            answer.end = str(e)

    def answer(self):
        answer = self.head()
        if answer.status:
            answer.body = b"".join(self.pieces(answer))
        return answer

    def read(self, size):
        """Exactly that many bytes of a socket; fewer at the end."""
        self.buffer = getattr(self, "buffer", b"")
        for piece in self.pieces(Answer()) if len(self.buffer) < size else ():
            self.buffer += piece
            if len(self.buffer) >= size:
                break
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    # --- leaving ---

    def leave(self):
        try:
            self.h2.conn.reset_stream(self.stream, error_code=8)  # CANCEL
        except h2.exceptions.ProtocolError:
            pass
        self._flush()

    def close(self):
        self.h2.close()
