"""What a zone or a hostname asks of its visitors: HSTS, TLS 1.3, certificates (mTLS)."""

import base64
import json
import re
import ssl

import pytest
from test_58_access import claims

from testenv.certs import OriginCerts
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.guard import Guard
from testenv.origin import Origin
from testenv.program import PATIENCE, check, run
from testenv.wait import wait_until

OPEN, GUARDED, OTHER = (f"{name}.{ZONE}" for name in ("open", "guarded", "other"))
HSTS = "max-age=31536000; includeSubDomains; preload"
FORGED = ("Cf-Cert-Verified: true", "cf-client-cert-sha256: 00", "Cf-Cert-Presented: true")


class World:
    """One edge, three hostnames of one service, an authority for clients and one that nobody trusts."""

    def __init__(self, own, folder):
        self.folder = folder
        self.origin = Origin()
        self.edge = own.edge()
        self.edge.wait_ready()
        cli = own.cli(self.edge)
        tunnel = cli.create("policies")
        rules = [{"hostname": host, "service": self.origin.service} for host in (OPEN, GUARDED, OTHER)]
        for rule in rules:
            cli.route(tunnel, rule["hostname"])
        own.connect(cli, tunnel, write_config(folder / "config.yml", tunnel, rules), name="c")
        self.certs, self.strangers = OriginCerts(folder / "clients"), OriginCerts(folder / "strangers")

        def headers(request):
            request.reply(200, body=json.dumps(request.headers).encode())

        self.path = self.origin.on(headers)

    def set(self, *args):
        done = self.edge.command(*args)
        assert done.returncode == 0, done
        return done.stdout

    def client(self, name="alice", by=None):
        cert, key = (by or self.certs).issue(name)
        return ["--cert", cert, "--key", key]

    def curl(self, host, *args, version="--http2", path=None, resolve=()):
        """Status (0: no handshake), header lines, body."""
        done = run(
            ["curl", "-sS", "-i", version, "--max-time", str(20 * PATIENCE), *self.edge.curl_args(host, *resolve), *args,
             f"https://{host}:{self.edge.https}{path or self.path}"],
            seconds=30,
        )  # fmt: skip
        head, _, body = done.stdout.partition("\n\n")
        found = re.match(r"HTTP/[\d.]+ (\d+)", head)
        return int(found[1]) if found else 0, head.lower(), body if found else done.stderr

    def seen(self, answer):
        """What the service got, by lower-case name."""
        status, _, body = answer
        assert status == 200, answer
        fields = {}
        for name, value in json.loads(body):
            fields.setdefault(name.lower(), []).append(value)
        return fields

    def close(self):
        self.origin.close()


@pytest.fixture
def world(own, tmp_path):
    made = World(own, tmp_path)
    yield made
    made.close()


def until(get, wanted):
    """Workers hear of a change a moment later."""
    last = []

    def there():
        last[:] = [get()]
        return last[0] == wanted

    wait_until(there, lambda: f"{wanted}, not {last}", 20 * PATIENCE)


def test_hsts_is_added_where_it_is_set(world):
    hsts = lambda answer: re.findall(r"^strict-transport-security: (.*)$", answer[1], re.MULTILINE)  # noqa: E731
    assert hsts(world.curl(OPEN)) == []
    world.set("zone", "set", ZONE, "hsts=max-age=31536000,includeSubDomains,preload")
    until(lambda: hsts(world.curl(OPEN)), [HSTS.lower()])
    for version in ("--http1.1", "--http2"):
        assert hsts(world.curl(OPEN, version=version)) == [HSTS.lower()]
        # Our own pages and the control host are answers, too.
        assert hsts(world.curl(f"nowhere.{ZONE}", version=version)) == [HSTS.lower()]
    # What the service says itself stays.
    said = world.origin.on(lambda r: r.reply(200, headers=[("Strict-Transport-Security", "max-age=5")]))
    assert hsts(world.curl(OPEN, path=said)) == ["max-age=5"]
    # One hostname differs.
    world.set("route", "set", OTHER, "hsts=max-age=60")
    until(lambda: hsts(world.curl(OTHER)), ["max-age=60"])
    assert hsts(world.curl(OPEN)) == [HSTS.lower()]
    world.set("route", "set", OTHER, "hsts=off")
    until(lambda: hsts(world.curl(OTHER)), [])
    world.set("route", "set", OTHER, "hsts=inherit")
    until(lambda: hsts(world.curl(OTHER)), [HSTS.lower()])
    shown = json.loads(world.set("zone", "show", ZONE, "--json"))
    assert shown["hsts"] == shown["effective"]["hsts"] == HSTS


def test_what_makes_no_sense_is_refused(world):
    for args, why in (
        (("zone", "set", ZONE, "hsts=max-age=60,preload"), "preload needs"),
        (("zone", "set", ZONE, "hsts=forever"), "hsts is off, or"),
        (("zone", "set", ZONE, "min-tls=1.1"), "min_tls is 1.2 or 1.3"),
        (("zone", "set", ZONE, "client-cert=require"), "needs client_ca"),
        (("zone", "set", ZONE, "client-cert=maybe"), "client_cert is"),
        (("zone", "set", ZONE, "colour=red"), "is none of"),
        (("zone", "set", ZONE, f"client-ca={world.folder}/nothing"), "No such file"),
        (("zone", "set", ZONE, f"client-ca={world.folder}/config.yml"), "client CAs"),
        (("zone", "set", "elsewhere.test", "min-tls=1.3"), "no zone"),
        (("route", "set", "app.elsewhere.test", "min-tls=1.3"), "in no zone"),
    ):
        done = world.edge.command(*args)
        assert done.returncode != 0 and why in done.stderr, (args, done)
    assert "min-tls" in world.set("route", "show", OPEN)


def test_tls13_is_asked_for_by_name(world):
    world.set("route", "set", GUARDED, "min-tls=1.3")
    tls12 = ("--tls-max", "1.2")
    until(lambda: world.curl(GUARDED, *tls12)[0], 0)
    assert "alert protocol version" in world.curl(GUARDED, *tls12)[2]
    assert world.curl(GUARDED)[0] == 200
    assert world.curl(OPEN, *tls12)[0] == 200
    # By the name of another host nobody gets round it.
    assert world.curl(OPEN, *tls12, "-H", f"Host: {GUARDED}")[0] == 421


def test_a_certificate_is_required_where_it_is_set(world):
    world.set("route", "set", GUARDED, f"client-ca={world.certs.ca}", "client-cert=require")
    alice = world.client("alice")
    until(lambda: world.curl(GUARDED)[0], 0)
    for version in ("--http1.1", "--http2"):
        for tls in ("1.2", "1.3"):
            limits = ("--tls-max", tls, f"--tlsv{tls}")
            assert world.curl(GUARDED, *limits, version=version)[0] == 0
            assert world.curl(GUARDED, *limits, *world.client("mallory", world.strangers), version=version)[0] == 0
            seen = world.seen(world.curl(GUARDED, *limits, *alice, *(a for f in FORGED for a in ("-H", f)), version=version))
            assert seen["cf-cert-verified"] == seen["cf-cert-presented"] == ["true"]
            assert seen["cf-cert-subject-dn"] == ["CN=alice"] and seen["cf-cert-issuer-dn"] == ["CN=test"]
            der = base64.b64decode(seen["cf-client-cert-der-base64"][0], validate=True)
            assert der == ssl.PEM_cert_to_DER_cert(alice[1].read_text())
            printed = check(["openssl", "x509", "-in", alice[1], "-noout", "-fingerprint", "-sha256", "-serial", "-enddate"])
            assert seen["cf-client-cert-sha256"][0] in printed.replace(":", "").lower()
            assert f"serial={seen['cf-cert-serial'][0]}" in printed.lower()
            assert f"notAfter={seen['cf-cert-not-after'][0]}" in printed
    # Nobody asks elsewhere, and nobody is told anything; what visitors claim does not get through.
    seen = world.seen(world.curl(OPEN, *alice, *(a for f in FORGED for a in ("-H", f))))
    assert not [name for name in seen if name.startswith("cf-cert") or name.startswith("cf-client-cert")]
    asked = run(["openssl", "s_client", "-connect", f"127.0.0.1:{world.edge.https}", "-servername", OPEN], input="")
    assert "No client certificate CA names sent" in asked.stdout
    reasons = world.edge.metrics()
    assert reasons['adit_edge_tls_failures_total{reason="client_certificate"}'] >= 8


def test_a_connection_for_another_name_is_misdirected(world):
    world.set("route", "set", GUARDED, f"client-ca={world.certs.ca}", "client-cert=require")
    until(lambda: world.curl(GUARDED)[0], 0)
    alice = world.client("alice")
    for version in ("--http1.1", "--http2"):
        # Not even with a certificate: the connection did not ask for it.
        status, _, body = world.curl(OPEN, *alice, "-H", f"Host: {GUARDED}", version=version)
        assert status == 421 and "was not made for" in body
        assert world.curl(GUARDED, *alice, "-H", f"Host: {OPEN}", version=version)[0] == 200


def test_an_optional_certificate_is_told_of(world):
    world.set("zone", "set", ZONE, f"client-ca={world.certs.ca}", "client-cert=optional")
    until(lambda: world.seen(world.curl(OPEN)).get("cf-cert-presented"), ["false"])
    seen = world.seen(world.curl(OPEN, *world.client("mallory", world.strangers)))
    assert seen["cf-cert-presented"] == ["true"] and seen["cf-cert-verified"] == ["false"]
    assert "cf-cert-subject-dn" not in seen and "cf-client-cert-sha256" not in seen
    seen = world.seen(world.curl(OPEN, *world.client("bob")))
    assert seen["cf-cert-verified"] == ["true"] and seen["cf-cert-subject-dn"] == ["CN=bob"]


def test_access_lets_devices_in_by_their_certificates(world):
    """Service Auth by common name and by any certificate; and a certificate beside a person's sign-in."""
    world.set("zone", "set", ZONE, f"client-ca={world.certs.ca}", "client-cert=optional")
    until(lambda: world.seen(world.curl(OPEN)).get("cf-cert-presented"), ["false"])
    guard = Guard(world.edge)
    guard.make("identity_providers", name="Password", type="password")
    alice = guard.policy("Alice", "non_identity", {"common_name": {"common_name": "alice"}})
    any_of = guard.policy("Any", "non_identity", {"certificate": {}}, exclude=[{"common_name": {"common_name": "bob"}}])
    staff = guard.policy("Staff", "allow", {"email_domain": {"domain": "example.com"}}, require=[{"certificate": {}}])
    for host, policy in ((OPEN, alice), (OTHER, any_of), (GUARDED, staff)):
        guard.app(host.split(".")[0], policy)
    count = len(world.origin.seen)
    until(lambda: world.curl(OPEN)[0], 403)
    bad = [(), world.client("mallory", world.strangers), world.client("bob"), world.client("alice", world.strangers)]
    for host in (OPEN, OTHER):
        for who in bad:
            for version in ("--http1.1", "--http2"):
                assert world.curl(host, *who, *(a for f in FORGED for a in ("-H", f)), version=version)[0] == 403, (host, who)
    # Without one there is nothing to sign in for.
    assert world.curl(GUARDED)[0] == 403
    status, head, _ = world.curl(GUARDED, *world.client("bob"))
    assert status == 302 and "/cdn-cgi/access/login" in head
    assert len(world.origin.seen) == count
    for host in (OPEN, OTHER):
        seen = world.seen(world.curl(host, *world.client("alice")))
        assert claims(seen["cf-access-jwt-assertion"][0])["common_name"] == "alice"
        assert "cf-access-authenticated-user-email" not in seen
    assert world.seen(world.curl(OTHER, *world.client("carol")))["cf-cert-subject-dn"] == ["CN=carol"]


def test_the_control_host_asks_nobody_because_of_its_zone(own, tmp_path):
    certs = OriginCerts(tmp_path / "clients")
    edge = own.edge(control=f"adit.{ZONE}", start=False)
    done = edge.command("zone", "set", ZONE, f"client-ca={certs.ca}", "client-cert=require")
    assert done.returncode == 0, done
    edge.start()
    args = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}"]
    for host, wanted in ((f"adit.{ZONE}", True), (f"app.{ZONE}", False)):
        done = run([*args, *edge.curl_args(host), f"https://{host}:{edge.https}/"])
        assert (done.returncode == 0) == wanted, (host, done)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_a_ticket_is_no_way_round_a_certificate(world, tmp_path, version):
    """Tickets of other names, and of before it was asked for, resume nothing; one's own does, with the certificate."""
    request = f"GET {world.path} HTTP/1.1\r\nHost: {GUARDED}\r\nConnection: close\r\n\r\n"

    def talk(host, *args):
        return run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{world.edge.https}", "-servername", host, "-CAfile",
             world.edge.ca, "-ign_eof", version, *args],
            input=request,
        ).stdout  # fmt: skip

    before, elsewhere, own = (tmp_path / f"{name}.pem" for name in ("before", "elsewhere", "own"))
    assert "200 OK" in talk(GUARDED, "-sess_out", before)
    world.set("route", "set", GUARDED, f"client-ca={world.certs.ca}", "client-cert=require")
    until(lambda: world.curl(GUARDED)[0], 0)
    talk(OPEN, "-sess_out", elsewhere)
    for session in (before, elsewhere):
        said = talk(GUARDED, "-sess_in", session)
        assert "Reused" not in said and "HTTP/1.1" not in said
    cert, key = world.certs.issue("alice")
    assert "CN=alice" in talk(GUARDED, "-cert", cert, "-key", key, "-sess_out", own)
    said = talk(GUARDED, "-sess_in", own)
    assert "Reused" in said and "CN=alice" in said
    # What is asked now is something else.
    world.set("route", "set", GUARDED, f"client-ca={world.strangers.ca}")
    until(lambda: "HTTP/1.1" in talk(GUARDED, "-sess_in", own), False)
