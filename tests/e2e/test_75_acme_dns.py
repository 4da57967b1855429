"""Certificates of an ACME authority whose name server is ours: by every method, with pebble."""

import socket
import ssl

import pytest
from cryptography import x509

from testenv import net, pebble as pebbles
from testenv.acme import BUILT_IN, PEBBLE, Place, certificate, issuer, wait_issued
from testenv.edge import ZONE
from testenv.program import check

if pebbles.missing():
    pytest.skip(f"not installed: {' '.join(pebbles.missing())}", allow_module_level=True)

HOST = f"app.{ZONE}"


@pytest.fixture
def place(own, tmp_path):
    return Place(own, tmp_path)


def names_of(cert):
    names = cert.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return sorted(names.value.get_values_for_type(x509.DNSName))


@pytest.mark.parametrize("method", ["tls-alpn-01", "http-01"])
def test_a_routed_name_gets_a_certificate(place, method):
    dns = net.free_port()
    place.pebble(f"127.0.0.1:{dns}")
    place.start(f"acme-challenge: {method}", f'dns: "127.0.0.1:{dns}"', "dns-address: 127.0.0.1", "dns-sign: off")
    assert BUILT_IN in issuer(place.edge, HOST)
    place.route(HOST)
    wait_issued(place.edge, HOST)
    root = place.authority.root(place.folder / "root.pem")
    assert names_of(certificate(place.edge, HOST, root)) == [HOST]
    # Nobody else's certificate has changed, and nothing of the challenge is left.
    assert BUILT_IN in issuer(place.edge, f"other.{ZONE}")
    with pytest.raises(ssl.SSLError):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["acme-tls/1"])
        with socket.create_connection(("127.0.0.1", place.edge.https), timeout=20) as raw:
            context.wrap_socket(raw, server_hostname=HOST)
    assert place.edge.metrics()['adit_edge_acme_orders_total{result="ok"}'] == 1


def test_a_zone_gets_a_wildcard_by_dns(place):
    dns = net.free_port()
    place.pebble(f"127.0.0.1:{dns}")
    place.start(f'dns: "127.0.0.1:{dns}"', "dns-address: 127.0.0.1")
    # Nothing is routed yet.
    wait_issued(place.edge, f"any.{ZONE}")
    root = place.authority.root(place.folder / "root.pem")
    assert names_of(certificate(place.edge, HOST, root)) == [f"*.{ZONE}", ZONE]
    # Deeper names have a wildcard of their own.
    place.route(HOST, f"x.deep.{ZONE}")
    wait_issued(place.edge, f"x.deep.{ZONE}")
    assert names_of(certificate(place.edge, f"y.deep.{ZONE}", root)) == [f"*.deep.{ZONE}", f"deep.{ZONE}"]
    acme = [c for c in place.list().values() if c["source"] == "acme"]
    assert sorted(c["name"] for c in acme) == [f"acme domain deep.{ZONE}", f"acme domain {ZONE}"]
    assert all(c["state"] == "ready" for c in acme)
    series = f'adit_edge_certificate_end_timestamp_seconds{{name="acme domain {ZONE}",source="acme"}} '
    assert series + "1" in place.edge.ask("/metrics").read().decode()
    # The challenge has gone from the zone.
    answer = dig(dns, f"_acme-challenge.{ZONE}", "TXT")
    assert answer == ""
    done = place.edge.command("tls", "renew", seconds=90)
    assert done.returncode == 0 and done.stdout.count("issued by Pebble") == 2, done.stdout + done.stderr


def dig(port, *args):
    return check(["dig", "@127.0.0.1", "-p", port, "+short", "+time=5", *args])
