"""Certificates for origins, made with openssl."""

import ssl

from .program import check


class OriginCerts:
    """A root, and a server certificate for "origin.internal" (not for any address)."""

    NAME = "origin.internal"

    def __init__(self, folder):
        folder.mkdir()
        self.folder, self.ca = folder, folder / "ca.pem"
        check(["openssl", "req", "-x509", *self.CURVE, "-keyout", folder / "ca.key", "-out", self.ca,
               "-subj", "/CN=test"])  # fmt: skip
        self.cert, self.key = self.issue(self.NAME)

    CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")

    def issue(self, *names):
        """A certificate of the root for these names: paths of its chain and its key."""
        cert, key = self.folder / f"{names[0]}.pem", self.folder / f"{names[0]}.key"
        check(["openssl", "req", "-x509", *self.CURVE, "-keyout", key, "-out", cert, "-subj",
               f"/CN={names[0]}", "-addext", "subjectAltName=" + ",".join(f"DNS:{name}" for name in names),
               "-addext", "basicConstraints=critical,CA:FALSE", "-CA", self.ca,
               "-CAkey", self.folder / "ca.key"])  # fmt: skip
        return cert, key

    def server(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.cert, self.key)
        return context
