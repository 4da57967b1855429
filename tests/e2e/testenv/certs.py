"""Certificates for origins, made with openssl."""

import ssl

from .program import check


class OriginCerts:
    """A root, and a server certificate for "origin.internal" (not for any address)."""

    NAME = "origin.internal"

    def __init__(self, folder):
        folder.mkdir()
        self.ca, self.cert, self.key = folder / "ca.pem", folder / "server.pem", folder / "server.key"
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        check(["openssl", "req", "-x509", *curve, "-keyout", folder / "ca.key", "-out", self.ca, "-subj", "/CN=test"])
        check(["openssl", "req", "-x509", *curve, "-keyout", self.key, "-out", self.cert, "-subj",
               f"/CN={self.NAME}", "-addext", f"subjectAltName=DNS:{self.NAME}", "-addext",
               "basicConstraints=critical,CA:FALSE", "-CA", self.ca, "-CAkey", folder / "ca.key"])  # fmt: skip

    def server(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context
