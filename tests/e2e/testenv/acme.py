"""An edge that orders its certificates from a pebble."""

import json
import socket
import ssl

from cryptography import x509

from . import net, pebble as pebbles
from .certs import OriginCerts
from .program import PATIENCE
from .wait import wait_until

BUILT_IN = "Adit edge CA"
PEBBLE = "Pebble"


def certificate(edge, host, cafile=None):
    """What a visitor of `host` is shown."""
    context = ssl.create_default_context(cafile=cafile)
    if not cafile:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", edge.https), timeout=20) as raw:
        with context.wrap_socket(raw, server_hostname=host) as tls:
            return x509.load_der_x509_certificate(tls.getpeercert(True))


def issuer(edge, host):
    return certificate(edge, host).issuer.rfc4514_string()


def wait_issued(edge, host, by=PEBBLE, seconds=60):
    wait_until(lambda: by in issuer(edge, host), lambda: f"certificate of {by}, not {issuer(edge, host)}", seconds * PATIENCE)


class Place:
    """An edge that orders from a pebble, and routed names."""

    def __init__(self, own, folder):
        self.own, self.folder = own, folder
        self.certs = OriginCerts(folder / "certs")
        self.names = pebbles.Names(folder)
        own.helpers.append(self.names.program)
        self.edge = own.edge(start=False)
        self.cli = None

    def pebble(self, dns=None, **kwargs):
        """`dns`: the name server that it asks; every name leads to us without."""
        dns = dns or f"127.0.0.1:{self.names.port}"
        self.authority = pebbles.Pebble(self.folder, self.certs, self.edge, dns, **kwargs).start()
        self.own.helpers.append(self.authority.program)
        return self.authority

    def start(self, *settings):
        config = self.edge.data / "edge.yml"
        lines = self.authority.settings(*settings)
        if any(s.startswith("acme-directory") for s in settings):
            lines = lines.split("\n", 1)[1]
        config.write_text(config.read_text() + lines)
        self.edge.start()
        return self

    def route(self, *hosts):
        if not self.cli:
            self.cli = self.own.cli(self.edge)
            self.tunnel = self.cli.create("acme")
        self.cli.route(self.tunnel, *hosts)

    def list(self):
        done = self.edge.command("tls", "list", "--json")
        assert done.returncode == 0, done.stderr
        return {c["name"]: c for c in json.loads(done.stdout)}
