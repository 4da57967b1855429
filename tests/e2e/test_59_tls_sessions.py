"""TLS sessions that are resumed, with openssl as the client: on every worker, after a restart, a takeover and a change
of keys."""

import contextlib
import re
import sqlite3

import pytest

from testenv.edge import ZONE
from testenv.program import ADIT_EDGE, PATIENCE, Program, run
from testenv.wait import wait_until

HOST = f"adit.{ZONE}"  # covered by the certificate of the zone
REQUEST = f"GET /nowhere HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
VERSIONS = ("-tls1_2", "-tls1_3")


def talk(edge, version, *args, host=HOST):
    """One connection with one request. Gives "New" or "Reused"."""
    done = run(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{edge.https}", "-servername", host, "-CAfile",
         edge.ca, "-verify_return_error", "-ign_eof", version, *args],
        input=REQUEST,
    )  # fmt: skip
    found = re.search(r"^(New|Reused), (TLSv1\.\d)", done.stdout, re.MULTILINE)
    assert found and "HTTP/1.1 404" in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]
    return found[1]


def ask(edge, sql):
    with contextlib.closing(sqlite3.connect(f"file:{edge.data}/db/adit.db?mode=ro", uri=True)) as db:
        return db.execute(sql).fetchone()


class Ticket:
    def __init__(self, edge, folder, version):
        self.edge, self.version, self.file = edge, version, folder / f"session{version}.pem"

    def take(self):
        assert talk(self.edge, self.version, "-sess_out", self.file) == "New"
        return self

    def resumes(self, **kwargs):
        return talk(self.edge, self.version, "-sess_in", self.file, **kwargs) == "Reused"


def totals(edge):
    return {
        (version, kind): edge.metrics()[f'adit_edge_tls_handshakes_total{{version="{version}",kind="{kind}"}}']
        for version in ("1.2", "1.3")
        for kind in ("full", "resumed")
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_a_ticket_is_good_for_every_worker(own, tmp_path, version):
    edge = own.edge()
    ticket = Ticket(edge, tmp_path, version).take()
    # The kernel spreads connections over two workers.
    for _ in range(12):
        assert ticket.resumes()
    name = version[-3:].replace("_", ".")
    seen = totals(edge)
    assert seen.pop((name, "full")) == 1 and seen.pop((name, "resumed")) == 12
    assert not any(seen.values())
    assert edge.gauge('adit_edge_tls_ciphers_total{cipher="AES-128-GCM"}') == 13
    shown = edge.command("status").stdout
    assert re.search(r"tls.full.handshakes\W+1$", shown, re.MULTILINE), shown
    assert re.search(r"tls.resumed.handshakes\W+12$", shown, re.MULTILINE), shown


def test_tickets_survive_a_restart(own, tmp_path):
    edge = own.edge()
    tickets = [Ticket(edge, tmp_path, version).take() for version in VERSIONS]
    edge.stop()
    edge.start()
    assert all(t.resumes() for t in tickets)
    # What opens them is in the store, but not for everybody to read.
    stored = ask(edge, "SELECT value IS NULL, length(sealed) > 0 FROM settings WHERE name = 'tls.tickets'")
    assert stored == (1, 1)


def test_tickets_survive_a_takeover(own, tmp_path):
    edge = own.edge(settings="takeover-grace: 5s\n")
    tickets = [Ticket(edge, tmp_path, version).take() for version in VERSIONS]
    old = edge.program
    new = Program("edge-2", [ADIT_EDGE, "run", "--data", edge.data, "--takeover"], edge.folder)
    new.wait_log("edge is ready")
    old.wait_log("a successor has taken over")
    edge.program = new
    assert old.wait() == 0
    assert all(t.resumes() for t in tickets)


def test_tickets_survive_a_change_of_keys_but_not_many(own, tmp_path):
    edge = own.edge(settings="tls-ticket-rotation: 1s\n")
    ticket = Ticket(edge, tmp_path, "-tls1_3").take()
    assert ticket.resumes()

    def revision():
        return ask(edge, "SELECT max(rev) FROM changes")[0]

    first = revision()
    wait_until(lambda: revision() >= first + 2, "two changes of keys", 30 * PATIENCE)
    assert ticket.resumes()
    # Eight keys are kept.
    wait_until(lambda: not ticket.resumes(), "keys that are forgotten", 60 * PATIENCE)
    assert ticket.take().resumes()


def test_without_keys_every_handshake_is_full(own, tmp_path):
    edge = own.edge(settings="tls-ticket-rotation: 0s\n")
    done = run(["openssl", "s_client", "-connect", f"127.0.0.1:{edge.https}", "-servername", HOST, "-CAfile",
                edge.ca, "-tls1_2", "-reconnect"], input="")  # fmt: skip
    assert "Reused" not in done.stdout and done.stdout.count("New, TLSv1.2") > 1
    assert totals(edge)["1.2", "resumed"] == 0


def test_failures_are_counted_by_reason(own):
    edge = own.edge()

    def fails(reason, *args):
        before = edge.gauge(f'adit_edge_tls_failures_total{{reason="{reason}"}}')
        done = run(["openssl", "s_client", "-connect", f"127.0.0.1:{edge.https}", *args], input="")
        assert edge.gauge(f'adit_edge_tls_failures_total{{reason="{reason}"}}') == before + 1, reason
        return done.stderr + done.stdout

    assert "unrecognized name" in fails("unrecognized_name", "-servername", "elsewhere.test")
    assert "no application protocol" in fails("alpn", "-servername", HOST, "-alpn", "smtp")
    assert "alert" in fails("nothing_in_common", "-servername", HOST, "-tls1_2", "-cipher", "AES128-SHA")
    assert "alert" in fails("version", "-servername", HOST, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    # Without our CA it does not trust us, and says so.
    fails("refused_by_peer", "-servername", HOST, "-tls1_2", "-verify_return_error", "-no-CAfile")
