"""Two small web services for the demo: `page PORT` and `echo PORT`, on loopback.

page: one HTML page that shows the request headers it saw.
echo: a WebSocket that sends every text message back (RFC 6455, just enough for the demo).
"""

import base64
import hashlib
import html
import http.server
import sys


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        rows = "".join(f"<li>{html.escape(k)}: {html.escape(v)}</li>\n" for k, v in self.headers.items())
        body = f"<h1>Hello from behind the tunnel</h1>\n<ul>\n{rows}</ul>\n".encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Echo(Page):
    def do_GET(self):
        key = self.headers.get("Sec-WebSocket-Key")
        if not key:
            return super().do_GET()
        digest = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(digest).decode())
        self.end_headers()
        self.close_connection = True
        while (head := self.rfile.read(2)) and len(head) == 2 and head[0] & 0x0F == 1:
            size = head[1] & 0x7F  # short messages only: this is a demo
            mask = self.rfile.read(4)
            text = bytes(b ^ mask[i % 4] for i, b in enumerate(self.rfile.read(size)))
            self.wfile.write(bytes([0x81, len(text)]) + text)


if __name__ == "__main__":
    handler = {"page": Page, "echo": Echo}[sys.argv[1]]
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), handler).serve_forever()
