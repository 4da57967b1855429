"""OCSP stapling, with `openssl ocsp` as the authority's responder."""

import contextlib
import json
import re
import sqlite3

import pytest

from testenv import net
from testenv.edge import ZONE
from testenv.program import PATIENCE, Program, check, run
from testenv.wait import wait_until

HOST = f"stapled.{ZONE}"
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")


class Authority:
    """Issues one certificate for HOST, and answers for it."""

    def __init__(self, folder, must_staple=False):
        folder.mkdir()
        self.folder, self.port = folder, net.free_port()
        self.ca, self.key = folder / "ca.pem", folder / "ca.key"
        check(["openssl", "req", "-x509", *CURVE, "-days", "30", "-keyout", self.key, "-out", self.ca, "-subj", "/CN=authority"])
        cert, key = folder / "cert.pem", folder / "cert.key"
        extensions = [f"subjectAltName=DNS:{HOST}", "basicConstraints=critical,CA:FALSE",
                      f"authorityInfoAccess=OCSP;URI:http://127.0.0.1:{self.port}/"]  # fmt: skip
        extensions += ["tlsfeature=status_request"] if must_staple else []
        check(["openssl", "req", "-x509", *CURVE, "-days", "20", "-keyout", key, "-out", cert, "-subj", f"/CN={HOST}",
               "-CA", self.ca, "-CAkey", self.key, "-set_serial", "4711",
               *(a for e in extensions for a in ("-addext", e))])  # fmt: skip
        self.bundle = folder / "bundle.pem"
        self.bundle.write_text(cert.read_text() + self.ca.read_text() + key.read_text())
        self.is_good()

    def _index(self, status, revoked):
        (self.folder / "index.txt").write_text(f"{status}\t361231235959Z\t{revoked}\t1267\tunknown\t/CN={HOST}\n")

    def is_good(self):
        self._index("V", "")

    def is_revoked(self):
        self._index("R", "261101000000Z")

    def respond(self, by=None):
        """The responder; by another authority: answers that nobody may believe."""
        signer = by or self
        program = Program("responder", ["openssl", "ocsp", "-index", self.folder / "index.txt", "-port", self.port,
                                        "-CA", self.ca, "-rsigner", signer.ca, "-rkey", signer.key, "-nmin", "60"],
                          self.folder)  # fmt: skip
        # It serves one after the other: no probing.
        program.wait_log("waiting for OCSP client connections")
        return program


def staple(edge, authority, *args):
    """What a client that asks is shown: "good", "revoked", or None."""
    done = run(["openssl", "s_client", "-connect", f"127.0.0.1:{edge.https}", "-servername", HOST, "-status",
                "-CAfile", authority.ca, "-verify_return_error", *args], input="")  # fmt: skip
    assert "Verify return code: 0 (ok)" in done.stdout, done
    found = re.search(r"Cert Status: (\w+)", done.stdout)
    assert found or "OCSP response: no response sent" in done.stdout, done.stdout
    return found[1] if found else None


def change(edge, sql):
    with contextlib.closing(sqlite3.connect(edge.data / "db/adit.db")) as db, db:
        assert db.execute(sql).rowcount == 1


@pytest.fixture
def authority(own, tmp_path):
    started = []

    def make(name="authority", **kwargs):
        made = Authority(tmp_path / name, **kwargs)
        respond = made.respond

        def start(*args):
            program = respond(*args)
            own.helpers.append(program)
            started.append(program)
            return program

        made.respond = start
        return made

    return make


def serve(own, authority):
    edge = own.edge()
    done = edge.command("tls", "import", authority.bundle)
    assert done.returncode == 0, done
    return edge


def test_an_answer_is_stapled_kept_and_dropped(own, authority):
    ours = authority(must_staple=True)
    responder = ours.respond()
    edge = serve(own, ours)
    wait_until(lambda: staple(edge, ours) == "good", "a staple", 30 * PATIENCE)
    assert staple(edge, ours, "-tls1_2") == "good"
    assert edge.gauge("adit_edge_ocsp_answers_total") == 1
    shown = json.loads(edge.command("status", "--json").stdout)["stapling"][0]
    assert shown["must_staple"] and not shown["error"] and shown["fresh_until_at"]
    # Over a restart, without the responder.
    responder.kill()
    edge.stop()
    edge.start()
    assert staple(edge, ours) == "good"
    # What has ended is not shown any more.
    edge.stop()
    change(edge, "UPDATE ocsp SET fresh_until = 1000000")
    edge.start()
    assert staple(edge, ours) is None


def test_a_revoked_certificate_loses_its_staple(own, authority):
    ours = authority()
    responder = ours.respond()
    edge = serve(own, ours)
    wait_until(lambda: staple(edge, ours) == "good", "a staple", 30 * PATIENCE)
    edge.stop()
    responder.kill()
    ours.is_revoked()
    ours.respond()
    change(edge, "UPDATE ocsp SET next_try_at = 1")
    edge.start()
    edge.program.wait_log("no OCSP answer to staple .*the certificate was revoked")
    wait_until(lambda: staple(edge, ours) is None, "no staple", 30 * PATIENCE)


def test_answers_of_somebody_else_are_refused(own, authority):
    ours, other = authority(), authority("other")
    ours.respond(other)
    edge = serve(own, ours)
    edge.program.wait_log("no OCSP answer to staple .*not signed by the authority")
    assert staple(edge, ours) is None
    assert edge.gauge("adit_edge_ocsp_failures_total") == 1
    shown = edge.command("status").stdout
    assert "OCSP stapling" in shown and "not signed by the authority" in shown


def test_without_a_responder_there_is_service(own, authority):
    ours = authority()
    edge = serve(own, ours)
    edge.program.wait_log("no OCSP answer to staple")
    assert staple(edge, ours) is None
