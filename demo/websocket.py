"""Says one text message over a WebSocket through TLS and prints what comes back.

usage: websocket.py HOST PORT CA.pem MESSAGE   (connects to 127.0.0.1:PORT, asks for HOST)
"""

import base64
import os
import socket
import ssl
import sys

host, port, ca, message = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4].encode()
raw = socket.create_connection(("127.0.0.1", port), timeout=10)
tls = ssl.create_default_context(cafile=ca).wrap_socket(raw, server_hostname=host)
stream = tls.makefile("rwb")
key = base64.b64encode(os.urandom(16)).decode()
stream.write(
    f"GET /echo HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
)
stream.flush()
status = stream.readline().decode().strip()
while stream.readline().strip():
    pass
if " 101 " not in status + " ":
    sys.exit(f"no WebSocket: {status}")
mask = os.urandom(4)
stream.write(bytes([0x81, 0x80 | len(message)]) + mask)
stream.write(bytes(b ^ mask[i % 4] for i, b in enumerate(message)))
stream.flush()
head = stream.read(2)
print(stream.read(head[1]).decode())
