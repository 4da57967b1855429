"""WebSocket frames by hand (RFC 6455), for both ends."""

import base64
import hashlib
import os
import struct

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def accept_of(key):
    guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1((key + guid).encode()).digest()).decode()


def new_key():
    return base64.b64encode(os.urandom(16)).decode()


def frame(opcode, data, masked, final=True):
    head = bytes([opcode | (0x80 if final else 0)])
    mask_bit = 0x80 if masked else 0
    if len(data) < 126:
        head += bytes([mask_bit | len(data)])
    elif len(data) < 65536:
        head += bytes([mask_bit | 126]) + struct.pack(">H", len(data))
    else:
        head += bytes([mask_bit | 127]) + struct.pack(">Q", len(data))
    if not masked:
        return head + data
    mask = os.urandom(4)
    return head + mask + _xor(data, mask)


def _xor(data, mask):
    long = int.from_bytes((mask * (len(data) // 4 + 1))[: len(data)], "big")
    return (int.from_bytes(data, "big") ^ long).to_bytes(len(data), "big")


def read_frame(reader):
    """(opcode, data); None at the end."""
    head = reader.read(2)
    if len(head) < 2:
        return None
    opcode, size, masked = head[0] & 15, head[1] & 127, head[1] & 128
    if size == 126:
        size = struct.unpack(">H", reader.read(2))[0]
    elif size == 127:
        size = struct.unpack(">Q", reader.read(8))[0]
    mask = reader.read(4) if masked else None
    data = reader.read(size)
    return opcode, _xor(data, mask) if masked else data


def read_message(reader):
    """(opcode, data) of a whole message, or of a control frame between its fragments; None at the end."""
    opcode, message = 0, b""
    while head := reader.read(1):
        rest = iter([head])

        class Again:  # the byte that was looked at, once more
            @staticmethod
            def read(size):
                first = next(rest, b"")
                return first + reader.read(size - len(first))

        got = read_frame(Again)
        if not got:
            return None
        if got[0] & 8:
            return got
        opcode, message = opcode or got[0], message + got[1]
        if head[0] & 0x80:
            return opcode, message
    return None


def serve_echo(request):
    """An origin's handler: echoes messages until a close frame."""
    key = request.get("sec-websocket-key")
    if not key:
        request.reply(400, body=b"not a WebSocket\n")
        return
    request.keep_alive = False
    request.head(101, [("Upgrade", "websocket"), ("Connection", "Upgrade"),
                       ("Sec-WebSocket-Accept", accept_of(key)), ("X-Origin", "echo")])  # fmt: skip
    while got := read_frame(request.reader):
        opcode, data = got
        if opcode == PING:
            opcode = PONG
        request.send(frame(opcode, data, masked=False))
        if opcode == CLOSE:
            return


def open_through(raw, path, headers=()):
    """The visitor's handshake on a Raw connection: its response."""
    key = new_key()
    raw.request("GET", path, [("Upgrade", "websocket"), ("Connection", "Upgrade"),
                              ("Sec-WebSocket-Key", key), ("Sec-WebSocket-Version", "13"), *headers])  # fmt: skip
    response = raw.read_head()
    if response and response.status == 101:
        assert response.get("sec-websocket-accept") == accept_of(key)
        assert response.get("upgrade").lower() == "websocket"
        assert response.get("connection").lower() == "upgrade"
    return response
