#!/usr/bin/python3
"""The origin of uploads and WebSockets: swallows bodies and says how long they were; holds sockets.

    sink.py PORT

One thread, HTTP/1.1. PUT or POST: the whole body is read, the answer is its length in digits.
GET with `Upgrade: websocket`: 101, then silence until the far side leaves.
"""

import base64
import hashlib
import selectors
import socket
import sys

WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
HEAD_MAX = 65536

selector = selectors.DefaultSelector()
space = memoryview(bytearray(1 << 20))


class Visitor:
    """One connection; `step` takes bytes and returns what is left for the next step."""

    def __init__(self, sock):
        self.sock = sock
        self.step = self.head
        self.kept = b""
        self.left = 0
        self.total = 0

    def readable(self):
        size = self.sock.recv_into(space)
        if size == 0:
            raise ConnectionError("left")
        if self.step == self.body and size <= self.left and not self.kept:
            self.body(space[:size])  # bulk: never copied
            return
        data = self.kept + bytes(space[:size])
        while True:
            before = len(data), self.step
            data = self.step(data)
            if not data or (len(data), self.step) == before:
                break
        self.kept = data

    def head(self, data):
        end = data.find(b"\r\n\r\n")
        if end < 0:
            if len(data) > HEAD_MAX:
                raise ConnectionError("head too long")
            return data
        lines = data[:end].split(b"\r\n")
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            fields[name.strip().lower()] = value.strip()
        if b"sec-websocket-key" in fields:
            digest = hashlib.sha1(fields[b"sec-websocket-key"] + WEBSOCKET).digest()
            self.sock.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n"
            )
            self.step = self.silence
        elif fields.get(b"transfer-encoding", b"").lower() == b"chunked":
            self.total = 0
            self.step = self.chunk
        else:
            self.total = self.left = int(fields.get(b"content-length", b"0"))
            self.step = self.body
            if self.left == 0:
                self.answer()
        if fields.get(b"expect", b"").lower() == b"100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return data[end + 4 :]

    def silence(self, _):
        return b""

    def body(self, data):
        taken = min(len(data), self.left)
        self.left -= taken
        if self.left == 0:
            self.answer()
        return data[taken:]

    def chunk(self, data):
        """At the line that says how long the next chunk is."""
        end = data.find(b"\r\n")
        if end < 0:
            return data
        size = int(data[:end].split(b";")[0], 16)
        if size == 0:
            self.step = self.trailer
        else:
            self.total += size
            self.left = size + 2
            self.step = self.chunk_body
        return data[end + 2 :]

    def chunk_body(self, data):
        taken = min(len(data), self.left)
        self.left -= taken
        if self.left == 0:
            self.step = self.chunk
        return data[taken:]

    def trailer(self, data):
        end = data.find(b"\r\n")
        if end < 0:
            return data
        if end == 0:
            self.answer()
        return data[end + 2 :]

    def answer(self):
        self.step = self.head
        text = b"%d" % self.total
        self.sock.sendall(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(text)
            + text
        )


def accept(listener):
    sock, _ = listener.accept()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    selector.register(sock, selectors.EVENT_READ, Visitor(sock).readable)


def main():
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=4096)
    selector.register(listener, selectors.EVENT_READ, lambda: accept(listener))
    while True:
        for key, _ in selector.select():
            try:
                key.data()
            except (OSError, ValueError):
                selector.unregister(key.fileobj)
                key.fileobj.close()


if __name__ == "__main__":
    main()
