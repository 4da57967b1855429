"""Between a connector and the edge: it carries fields to the connector that the edge takes from no visitor.

What Access puts on a request is stripped when a visitor sends it. A visitor sends it as X-Carried-NAME
instead, and the courier, who ends both TLS connections, renames it on the way: frames of HTTP/2 otherwise
untouched, but for the compression of heads.
"""

import contextlib
import select
import socket
import ssl
import threading

import hpack

from .certs import OriginCerts

PREFIX = b"x-carried-"
PREFACE = 24  # bytes; it is the edge that speaks as an HTTP/2 client
HEADERS, CONTINUATION = 1, 9
END_STREAM, END_HEADERS, PADDED, PRIORITY = 1, 4, 8, 32


class TunnelCerts(OriginCerts):
    NAME = "h2.cftunnel.com"


class Renamer:
    def __init__(self):
        self.buffer = b""
        self.left_of_preface = PREFACE
        self.decoder, self.encoder = hpack.Decoder(), hpack.Encoder()
        self.decoder.max_allowed_table_size = 1 << 20
        self.head = None  # flags and what came of a block that goes on

    def feed(self, data):
        out = data[: self.left_of_preface]
        self.buffer += data[self.left_of_preface :]
        self.left_of_preface -= len(out)
        while len(self.buffer) >= 9:
            size = int.from_bytes(self.buffer[:3], "big")
            if len(self.buffer) < 9 + size:
                break
            frame, self.buffer = self.buffer[: 9 + size], self.buffer[9 + size :]
            out += self.frame(frame)
        return out

    def frame(self, frame):
        kind, flags, stream, payload = frame[3], frame[4], frame[5:9], frame[9:]
        if kind == HEADERS:
            if flags & PADDED:
                payload = payload[1 : len(payload) - payload[0]]
            if flags & PRIORITY:
                payload = payload[5:]
            self.head = (flags & END_STREAM, payload)
        elif kind == CONTINUATION:
            self.head = (self.head[0], self.head[1] + payload)
        else:
            return frame
        if not flags & END_HEADERS:
            return b""
        ends, block = self.head
        fields = self.decoder.decode(block, raw=True)
        block = self.encoder.encode([(n[len(PREFIX) :] if n.startswith(PREFIX) else n, v) for n, v in fields])
        out, kind, flags = b"", HEADERS, ends
        while True:  # frames of 16 KiB at most
            part, block = block[:16384], block[16384:]
            out += len(part).to_bytes(3, "big") + bytes([kind, flags | (0 if block else END_HEADERS)]) + stream + part
            if not block:
                return out
            kind, flags = CONTINUATION, 0


class Courier:
    def __init__(self, folder, edge):
        self.edge = edge
        self.certs = TunnelCerts(folder)
        self.context = self.certs.server()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def env(self):
        """What leads a connector here."""
        return {"TUNNEL_EDGE": ",".join([f"127.0.0.1:{self.port}"] * 4), "TUNNEL_CACERT": str(self.certs.ca)}

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock, contextlib.suppress(OSError, ssl.SSLError):
            connector = self.context.wrap_socket(sock, server_side=True)
            trust = ssl.create_default_context(cafile=str(self.edge.ca))
            up = socket.create_connection(("127.0.0.1", self.edge.tunnel))
            with trust.wrap_socket(up, server_hostname=TunnelCerts.NAME) as edge:
                self._carry(connector, edge)

    def _carry(self, connector, edge):
        renamer = Renamer()
        while True:
            ready = [s for s in (connector, edge) if s.pending()]
            for s in ready or select.select([connector, edge], [], [])[0]:
                data = s.recv(65536)
                if not data:
                    return
                if s is connector:
                    edge.sendall(data)
                else:
                    connector.sendall(renamer.feed(data))

    def close(self):
        self.listener.close()
