"""Certificates of an ACME authority: Debian's pebble in strict mode, which looks for its challenges at the edge."""

import json
import socket
import ssl
import urllib.request

import pytest
from cryptography import x509

from testenv import pebble as pebbles
from testenv.certs import OriginCerts
from testenv.edge import ZONE
from testenv.program import PATIENCE
from testenv.wait import wait_until

if pebbles.missing():
    pytest.skip(f"not installed: {' '.join(pebbles.missing())}", allow_module_level=True)

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

    def pebble(self, **kwargs):
        self.authority = pebbles.Pebble(self.folder, self.certs, self.edge, f"127.0.0.1:{self.names.port}", **kwargs).start()
        self.own.helpers.append(self.authority.program)
        return self.authority

    def start(self, *settings):
        config = self.edge.data / "edge.yml"
        config.write_text(config.read_text() + self.authority.settings(*settings))
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


@pytest.fixture
def place(own, tmp_path):
    return Place(own, tmp_path)


HOST = f"app.{ZONE}"


@pytest.mark.parametrize("method", ["tls-alpn-01", "http-01"])
def test_a_routed_name_gets_a_certificate(place, method):
    place.pebble()
    place.start(f"acme-challenge: {method}")
    assert BUILT_IN in issuer(place.edge, HOST)
    place.route(HOST)
    wait_issued(place.edge, HOST)
    root = place.authority.root(place.folder / "root.pem")
    names = certificate(place.edge, HOST, root).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == [HOST]
    # Nobody else's certificate has changed, and nothing of the challenge is left.
    assert BUILT_IN in issuer(place.edge, f"other.{ZONE}")
    with pytest.raises(ssl.SSLError):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["acme-tls/1"])
        with socket.create_connection(("127.0.0.1", place.edge.https), timeout=20) as raw:
            context.wrap_socket(raw, server_hostname=HOST)
    assert place.edge.metrics()['adit_edge_acme_orders_total{result="ok"}'] == 1
