"""Certificates of an ACME authority: Debian's pebble in strict mode, which looks for its challenges at the edge."""

import socket

import pytest

from testenv import pebble as pebbles
from testenv.acme import BUILT_IN, PEBBLE, Place, certificate, issuer, wait_issued
from testenv.edge import ZONE
from testenv.program import ADIT_EDGE, PATIENCE, Program

if pebbles.missing():
    pytest.skip(f"not installed: {' '.join(pebbles.missing())}", allow_module_level=True)

@pytest.fixture
def place(own, tmp_path):
    return Place(own, tmp_path)


HOST = f"app.{ZONE}"


def test_an_authority_that_binds_accounts_and_loses_nonces(place):
    key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
    place.pebble(eab=("kid-1", key), rejects=30)
    binding = place.folder / "eab"
    binding.write_text("kid-1 wrong\n")
    place.start(f'acme-eab: "{binding}"')
    place.route(HOST)
    place.edge.program.wait_log("no certificates can be ordered now", seconds=60)
    # The status says why, and so does whoever tries.
    status = place.edge.command("status").stdout
    assert "opening the account: the authority says" in status or "external account" in status, status
    binding.write_text(f"kid-1 {key}\n")
    place.edge.stop()
    place.edge.start()
    done = place.edge.command("tls", "renew", HOST, seconds=90)
    assert done.returncode == 0 and f"{HOST}: issued by Pebble" in done.stdout, done.stdout + done.stderr
    assert PEBBLE in issuer(place.edge, HOST)


def test_a_name_that_cannot_be_proven_is_told_in_the_authoritys_words(place):
    place.pebble()
    place.start("acme-challenge: http-01")
    # There nobody listens.
    place.names.set("add-a", host=f"{HOST}.", addresses=["127.0.0.9"])
    place.route(HOST, f"good.{ZONE}")
    line = place.edge.program.wait_log("certificate not issued.*", seconds=90)[0]
    assert "proving app.example.com by http-01: the authority says: " in line
    assert "urn:ietf:params:acme:error:connection" in line and "127.0.0.9" in line
    # The others go on.
    wait_issued(place.edge, f"good.{ZONE}")
    assert BUILT_IN in issuer(place.edge, HOST)
    [item] = [c for c in place.list().values() if c["names"] == [HOST]]
    assert item["state"] == "failed" and "error:connection" in item["error"] and item["failures"] == 1
    assert "error:connection" in place.edge.command("status").stdout
    assert place.edge.metrics()["adit_edge_acme_failing"] == 1
    done = place.edge.command("tls", "renew", HOST, seconds=90)
    assert done.returncode == 1 and "error:connection" in done.stderr
    # And once it can be, it has one.
    place.names.set("clear-a", host=f"{HOST}.")
    done = place.edge.command("tls", "renew", HOST, seconds=90)
    assert done.returncode == 0, done.stderr
    assert PEBBLE in issuer(place.edge, HOST)
    assert place.edge.metrics()["adit_edge_acme_failing"] == 0


def test_a_restart_in_the_middle_of_an_order(place):
    """The authority looks for the challenge where nobody answers, so that the order takes its time."""
    place.pebble()
    place.start("acme-challenge: http-01")
    hole = socket.create_server(("127.0.0.9", place.edge.http))
    place.names.set("add-a", host=f"{HOST}.", addresses=["127.0.0.9"])
    place.route(HOST)
    hole.settimeout(60 * PATIENCE)
    asker, _ = hole.accept()
    place.edge.stop()
    asker.close()
    hole.close()
    place.names.set("clear-a", host=f"{HOST}.")
    place.edge.start()
    wait_issued(place.edge, HOST)
    # It was nobody's failure.
    [item] = [c for c in place.list().values() if c["names"] == [HOST]]
    assert item["state"] == "ready" and item["failures"] == 0


def test_a_successor_goes_on_with_what_was_under_way(place):
    place.pebble()
    place.start("acme-challenge: http-01")
    hole = socket.create_server(("127.0.0.9", place.edge.http))
    place.names.set("add-a", host=f"{HOST}.", addresses=["127.0.0.9"])
    place.route(HOST)
    hole.settimeout(60 * PATIENCE)
    asker, _ = hole.accept()
    place.names.set("clear-a", host=f"{HOST}.")
    old = place.edge.program
    place.edge.program = Program("successor", [ADIT_EDGE, "run", "--data", place.edge.data, "--takeover"], place.folder)
    place.edge.program.wait_log("edge is ready")
    asker.close()
    hole.close()
    wait_issued(place.edge, HOST)
    old.wait()


def test_names_that_are_asked_for(place):
    place.pebble()
    place.start("acme-on-demand: on")
    place.route(HOST, f"*.deep.{ZONE}")
    # Not routed: never ordered.
    assert BUILT_IN in issuer(place.edge, f"other.{ZONE}")
    wait_issued(place.edge, f"any.deep.{ZONE}")
    wait_issued(place.edge, HOST)
    names = [c["names"] for c in place.list().values() if c["source"] == "acme"]
    assert sorted(names) == [[f"any.deep.{ZONE}"], [HOST]]


def test_a_certificate_of_ones_own(place):
    place.pebble()
    place.start()
    place.route(HOST)
    wait_issued(place.edge, HOST)
    edge = place.edge

    def refused(*args):
        done = edge.command("tls", "import", *args)
        assert done.returncode == 1, done.stdout
        return done.stderr

    cert, key = place.certs.issue(HOST, f"www.{ZONE}")
    other, other_key = place.certs.issue("app.elsewhere.org")
    assert "there is no private key in the file" in refused(cert)
    assert "there is no certificate in the file" in refused(key)
    assert "does not belong to the first certificate" in refused(cert, "--key", other_key)
    assert "is in a zone of this edge: `adit-edge zone add ZONE`" in refused(other, "--key", other_key)
    both = place.folder / "both.pem"
    both.write_text("words before\n" + key.read_text() + cert.read_text() + place.certs.ca.read_text())
    out = edge.command("tls", "import", both)
    assert out.returncode == 0 and f"{HOST}, www.{ZONE}: imported, issued by test" in out.stdout, out.stderr
    for host in (HOST, f"www.{ZONE}"):
        assert certificate(edge, host, place.certs.ca)
    assert place.list()[f"import {HOST}"]["source"] == "imported"
    # It stays the one that is served, also after a restart.
    edge.stop()
    edge.start()
    assert certificate(edge, HOST, place.certs.ca)
    assert "built-in CA, which is made again" in edge.command("tls", "remove", ZONE).stderr
    out = edge.command("tls", "remove", f"www.{ZONE}")
    assert out.returncode == 0 and "The imported certificate" in out.stdout
    assert PEBBLE in issuer(edge, HOST)
    assert BUILT_IN in issuer(edge, f"www.{ZONE}")
    out = edge.command("tls", "list").stdout
    assert "Pebble" in out and "built-in CA" in out
    # Keys are sealed.
    for name in ("db/adit.db", "db/adit.db-wal"):
        path = edge.data / name
        assert not path.exists() or b"PRIVATE KEY" not in path.read_bytes()
