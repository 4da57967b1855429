"""An Access team: it signs tokens and publishes its keys over HTTPS; and a proxy that leads to it."""

import base64
import json
import select
import socket
import ssl
import threading
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from .origin import Origin
from .program import check


def number(n):
    return base64.urlsafe_b64encode(n.to_bytes((n.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


class Key:
    def __init__(self, kid):
        self.kid = kid
        self.private = rsa.generate_private_key(65537, 2048)

    def jwk(self):
        n = self.private.public_key().public_numbers()
        return {"kid": self.kid, "kty": "RSA", "alg": "RS256", "use": "sig", "n": number(n.n), "e": number(n.e)}


class Team:
    """`host` is the name in its certificate, beside localhost; `ca` is whom to trust."""

    PATH = "/cdn-cgi/access/certs"

    def __init__(self, folder, host):
        folder.mkdir()
        self.host = host
        self.issuer = f"https://{host}"
        self.ca, cert, key = folder / "ca.pem", folder / "team.pem", folder / "team.key"
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        check(["openssl", "req", "-x509", *curve, "-keyout", folder / "ca.key", "-out", self.ca, "-subj", "/CN=team"])
        check(["openssl", "req", "-x509", *curve, "-keyout", key, "-out", cert, "-subj", f"/CN={host}",
               "-addext", f"subjectAltName=DNS:{host},DNS:localhost", "-addext",
               "basicConstraints=critical,CA:FALSE", "-CA", self.ca, "-CAkey", folder / "ca.key"])  # fmt: skip
        self.first = Key("first")
        self.keys = [self.first]
        self.gate = threading.Event()  # while it is not set nobody gets an answer
        self.gate.set()
        self.status = 200
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self.server = Origin(tls=context)
        for path in (self.PATH, "/of/mine" + self.PATH):
            self.server.handlers[path] = self.publish

    @property
    def port(self):
        return self.server.port

    @property
    def asked(self):
        return [r.target for r in self.server.seen]

    def publish(self, request):
        self.gate.wait(30)
        body = json.dumps({"keys": [k.jwk() for k in self.keys]}).encode()
        request.reply(self.status, [("Content-Type", "application/json")], body)

    def token(self, key=None, headers=None, **claims):
        key = key or self.first
        now = int(time.time())
        payload = {"iss": self.issuer, "aud": ["app"], "sub": "1", "email": "ann@example.com", "iat": now, "nbf": now,
                   "exp": now + 600, "type": "app", **claims}  # fmt: skip
        return jwt.encode(payload, key.private, algorithm="RS256", headers={"kid": key.kid, **(headers or {})})

    def close(self):
        self.gate.set()
        self.server.close()


class Proxy:
    """A CONNECT proxy that leads every name to one port of this machine."""

    def __init__(self, port):
        self.to = port
        self.asked = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        with sock:
            head = b""
            while b"\r\n\r\n" not in head:
                data = sock.recv(4096)
                if not data:
                    return
                head += data
            self.asked.append(head.split(b" ", 2)[1].decode())
            with socket.create_connection(("127.0.0.1", self.to)) as there:
                sock.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                other = {sock: there, there: sock}
                while True:
                    for s in select.select(list(other), [], [])[0]:
                        try:
                            data = s.recv(65536)
                            if data:
                                other[s].sendall(data)
                        except OSError:
                            data = b""
                        if not data:
                            return

    def close(self):
        self.listener.close()
