"""The ends of what Access lets in: revocation, sign-out, new keys, and strangers who try to lock somebody out."""

import base64
import contextlib
import json
import re
import sqlite3

import pytest

from conftest import Own
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.guard import Browser, Guard, MailSink
from testenv.net import free_port
from testenv.origin import Origin
from testenv.program import ADIT_EDGE, Program
from testenv.visitor import Raw
from testenv.wait import wait_until
from testenv.websocket import TEXT, frame, open_through, read_frame, serve_echo

APP, OTHER, OPEN = (f"{name}.{ZONE}" for name in ("app", "other", "open"))


class Site:
    def __init__(self, own):
        self.own = own
        self.edge = own.edge(settings='ports-allow: ["12000-31999"]\nports-bind: ["127.0.0.1"]\n')
        self.origin, self.mails = Origin(), MailSink()
        self.echo = self.origin.on(serve_echo)
        cli = self.cli = own.cli(self.edge)
        tunnel = cli.create("guarded")
        for host in (APP, OTHER, OPEN):
            cli.check("tunnel", "route", "dns", "guarded", host)
        rules = [{"hostname": f"*.{ZONE}", "service": self.origin.service}]
        own.connect(cli, tunnel, write_config(own.folder / "guarded.json", tunnel, rules))
        self.edge.wait_connections(4)
        self.guard = g = Guard(self.edge)
        g.make("identity_providers", name="Password", type="password")
        self.staff = g.policy("Staff", "allow", {"email_domain": {"domain": "example.com"}})
        self.machines = g.policy("Machines", "non_identity", {"any_valid_service_token": {}})
        self.app = g.app("app", self.staff, self.machines)
        g.app("other", self.staff)
        for name in ("ann", "bob"):
            g.person(f"{name}@example.com", "sesame")

    def url(self, host=APP, path="/"):
        return f"https://{host}:{self.edge.https}{path}"

    def signed_in(self, email, source=None):
        browser = Browser(self.edge, source)
        assert browser.sign_in(self.url(), email, "sesame").status == 200
        return browser

    def token(self, browser):
        return browser.jar(self.url())["CF_Authorization"]

    def statuses(self, browser, count=6):
        """Of so many connections: some go to each worker."""
        return {browser.ask(self.url()).status for _ in range(count)}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    own = Own(tmp_path_factory.mktemp("endings"))
    s = None
    try:
        s = Site(own)
        yield s
    finally:
        own.close()
        if s:
            s.origin.close()
            s.mails.close()


class Talk:
    """A WebSocket that stays open."""

    def __init__(self, site, *headers):
        self.raw = Raw(site.edge, APP)
        answer = open_through(self.raw, site.echo, headers)
        assert answer.status == 101, answer.status
        self.works()

    def works(self):
        self.raw.send(frame(TEXT, b"still there?", masked=True))
        assert read_frame(self.raw.reader) == (TEXT, b"still there?")

    def ends(self):
        assert self.raw.is_closed()
        self.raw.close()


@contextlib.contextmanager
def talks(site, *all_headers):
    """Some of each: there are two workers."""
    opened = [[Talk(site, *headers) for _ in range(3)] for headers in all_headers]
    yield opened
    for talk in (t for some in opened for t in some):
        talk.raw.close()


def test_who_is_put_out_does_not_stay(site):
    ann, bob = site.signed_in("ann@example.com"), site.signed_in("bob@example.com")
    with talks(site, [("Cf-Access-Token", site.token(ann))], [("Cf-Access-Token", site.token(bob))]) as (hers, his):
        site.guard.do("POST", "people/ann@example.com/revoke")
        assert site.statuses(ann) == {302} and site.statuses(bob) == {200}
        for talk in hers:
            talk.ends()
        for talk in his:
            talk.works()


def test_signing_out_is_for_everywhere(site):
    one, two = site.signed_in("ann@example.com"), site.signed_in("ann@example.com")
    other = two.open(site.url(OTHER))
    assert other.status == 200
    with talks(site, [("Cf-Access-Token", site.token(two))]) as (running,):
        jar = dict(one.jar(site.url()))
        assert one.ask(site.url(path="/cdn-cgi/access/logout")).status == 200
        assert not one.jar(site.url()).get("CF_Authorization")
        one.jar(site.url()).update(jar)
        assert site.statuses(one) == {302} and site.statuses(two) == {302}
        assert two.ask(site.url(OTHER)).status == 302
        for talk in running:
            talk.ends()


def test_all_tokens_of_an_application_are_revoked(site):
    ann = site.signed_in("ann@example.com")
    assert ann.open(site.url(OTHER)).status == 200
    with talks(site, [("Cf-Access-Token", site.token(ann))]) as (running,):
        site.guard.do("POST", f"access/apps/{site.app['id']}/revoke")
        assert site.statuses(ann) == {302}
        for talk in running:
            talk.ends()
    assert ann.ask(site.url(OTHER)).status == 200
    # She is still signed in: there is another one without a form, at once, and that one is good.
    assert ann.open(site.url()).status == 200 and site.statuses(ann) == {200}
    status, said = site.guard.ask("POST", "access/apps/nothing/revoke")
    assert status == 404 and "no such application" in said["errors"][0]["message"]


def test_changed_rules_hold_for_what_runs(site):
    ann = site.signed_in("ann@example.com")
    made = site.guard.make("service_tokens", name="monitor")
    service = [("CF-Access-Client-Id", made["client_id"]), ("CF-Access-Client-Secret", made["client_secret"])]
    with talks(site, [("Cf-Access-Token", site.token(ann))], service) as (hers, machine):
        policy = {"name": "Staff", "decision": "allow", "include": [{"email": {"email": "bob@example.com"}}]}
        site.guard.do("PUT", f"access/policies/{site.staff}", policy)
        for talk in hers:
            talk.ends()
        for talk in machine:
            talk.works()
        site.guard.do("DELETE", f"access/service_tokens/{made['id']}")
        for talk in machine:
            talk.ends()
    policy["include"] = [{"email_domain": {"domain": "example.com"}}]
    site.guard.do("PUT", f"access/policies/{site.staff}", policy)


def test_what_is_open_outlives_its_session_and_no_more(site):
    """Its time is over: it goes on, whatever else changes, until somebody puts an end to it."""
    short = site.guard.make("organizations", name="Short", session_duration="5s")
    service = site.guard.make("service_tokens", name="brief", duration="5s")
    fields = [("CF-Access-Client-Id", service["client_id"]), ("CF-Access-Client-Secret", service["client_secret"])]
    try:
        ann = site.signed_in("ann@example.com")
        token = [("Cf-Access-Token", site.token(ann))]
        with talks(site, token, fields) as (hers, machine):
            # Neither the session nor the service is let in any more.
            wait_until(lambda: "Sign in to" in ann.open(site.url()).text, "end of the session", 30)
            wait_until(lambda: Browser(site.edge).ask(site.url(), headers=dict(fields)).status == 401, "end of the service", 30)
            assert Browser(site.edge).ask(site.url(), headers=dict(token)).status == 302
            # Something else changes, and ends what it is to end.
            bob = site.signed_in("bob@example.com")
            with talks(site, [("Cf-Access-Token", site.token(bob))]) as (his,):
                site.guard.do("POST", "people/bob@example.com/revoke")
                for talk in his:
                    talk.ends()
            for talk in (*hers, *machine):
                talk.works()
            assert Browser(site.edge).ask(site.url(), headers=dict(token)).status == 302
            site.guard.do("POST", "people/ann@example.com/revoke")
            for talk in hers:
                talk.ends()
            site.guard.do("DELETE", f"access/service_tokens/{service['id']}")
            for talk in machine:
                talk.ends()
    finally:
        site.guard.do("DELETE", f"access/organizations/{short['id']}")


def test_what_is_old_goes(site):
    """Sessions that are long over, and lines of the audit log that nobody is asked for any more."""
    site.signed_in("ann@example.com")
    site.edge.stop()
    with contextlib.closing(sqlite3.connect(site.edge.data / "db/adit.db")) as db, db:
        month = 30 * 86400 * 1_000_000
        db.execute("UPDATE audit SET at = at - 14 * ? WHERE id = (SELECT min(id) FROM audit)", [month])
        first = db.execute("SELECT min(id) FROM audit").fetchone()[0]
        db.execute("UPDATE access_sessions SET expires_at = expires_at - ? WHERE id = (SELECT min(id) FROM access_sessions)", [month])
        sessions = db.execute("SELECT count(*) FROM access_sessions").fetchone()[0]
    site.edge.start()
    site.edge.wait_connections(4, seconds=60)

    def swept():
        with contextlib.closing(sqlite3.connect(f"file:{site.edge.data}/db/adit.db?mode=ro", uri=True)) as db:
            left = db.execute("SELECT count(*) FROM access_sessions").fetchone()[0]
            return left == sessions - 1 and db.execute("SELECT min(id) FROM audit").fetchone()[0] > first

    wait_until(swept, "what is old to go", 60)


def test_secrets_of_services_change(site):
    made = site.guard.make("service_tokens", name="backup")
    assert made["last_seen_at"] is None

    def status(secret):
        fields = {"CF-Access-Client-Id": made["client_id"], "CF-Access-Client-Secret": secret}
        return Browser(site.edge).ask(site.url(), headers=fields).status

    old, path = made["client_secret"], f"access/service_tokens/{made['id']}"
    assert status(old) == 200
    seen = site.guard.do("GET", path)
    assert seen["last_seen_at"] and "client_secret" not in seen
    second = site.guard.do("POST", f"{path}/rotate", {"grace": "1h"})
    assert second["client_id"] == made["client_id"] and second["client_secret"] != old
    assert status(old) == 200 and status(second["client_secret"]) == 200
    third = site.guard.do("POST", f"{path}/rotate")["client_secret"]
    # With no grace only the newest one is good.
    assert [status(secret) for secret in (old, second["client_secret"], third)] == [401, 401, 200]
    assert site.guard.do("POST", f"{path}/refresh")["expires_at"] >= made["expires_at"]
    site.guard.do("PUT", path, {"name": "backup", "enabled": False})
    assert status(third) == 401
    assert site.guard.ask("POST", f"{path}/rotate", {"grace": "soon"})[0] == 400
    assert site.guard.ask("POST", "access/service_tokens/none/rotate")[0] == 404


def key_ids(site):
    return [key["kid"] for key in json.loads(Browser(site.edge).ask(site.url(path="/cdn-cgi/access/certs")).body)["keys"]]


def key_of(token):
    head = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]


def test_a_port_does_not_lead_round_the_gate(site):
    port = free_port()
    while not 12000 <= port <= 31999:
        port = free_port()
    site.cli.check("tunnel", "route", "port", "guarded", f"tcp://:{port}", APP)
    site.edge.program.wait_log("a public port is not open.*Access guards the hostname")
    with pytest.raises(OSError):
        Raw(site.edge, APP, port=port, wrap=False)


def test_tls_that_ends_elsewhere_does_not_lead_round_the_gate(site):
    assert site.edge.command("route", "set", OTHER, "passthrough=on").returncode == 0
    answer = Browser(site.edge).ask(site.url(OTHER))
    assert answer.status == 302 and "/cdn-cgi/access/login" in answer.location
    site.edge.command("route", "set", OTHER, "passthrough=off")
    done = site.cli.run("tunnel", "route", "dns", "--passthrough", "guarded", OTHER)
    assert done.returncode == 1 and f"Access guards {OTHER}" in done.stderr


def test_keys_change_without_anybody_noticing(site):
    ann = site.signed_in("ann@example.com")
    old = key_ids(site)
    assert len(old) == 1 and key_of(site.token(ann)) == old[0]
    site.guard.do("POST", "access/keys/rotate", {"now": True})
    new = key_ids(site)
    assert len(new) == 2 and new[1] == old[0]
    assert site.statuses(ann) == {200}
    assert key_of(site.token(site.signed_in("bob@example.com"))) == new[0]
    # A successor knows both, and who is signed in; what it is told holds.
    before = site.edge.program
    argv = [ADIT_EDGE, "run", "--data", site.edge.data, "--takeover"]
    site.edge.program = Program("edge-2", argv, site.edge.folder)
    site.edge.program.wait_log("edge is ready")
    before.wait_log("a successor has taken over")
    assert wait_until(lambda: site.statuses(ann) == {200}, "the successor")
    assert key_ids(site) == new
    before.wait()
    site.guard.do("POST", "people/ann@example.com/revoke")
    assert site.statuses(ann) == {302}
    # So does one that starts anew.
    bob = site.signed_in("bob@example.com")
    site.edge.stop()
    site.edge.start()
    site.edge.wait_connections(4, seconds=60)
    assert site.statuses(bob) == {200} and site.statuses(ann) == {302}
    assert key_ids(site) == new


def form_of(page, kind):
    [form] = [f for f in re.findall(r"<form.*?</form>", page.text, re.DOTALL) if f'autocomplete="{kind}"' in f]
    return dict(re.findall(r'name="(csrf|provider|email)" value="([^"]*)"', form))


def ask_for_code(site, browser, email):
    """The page to type the code in, and its fields."""
    start = browser.open(site.url())
    page = browser.ask(start.url, "POST", {**form_of(start, "email"), "email": email})
    return page, form_of(page, "one-time-code") if page.status == 200 else None


def test_strangers_get_nowhere_and_lock_nobody_out(site):
    known = site.signed_in("bob@example.com", "127.0.8.1")
    known.jars = {host: {n: v for n, v in jar.items() if "device" in n.lower()} for host, jar in known.jars.items()}
    mail = {"smtp_url": site.mails.url, "from": "adit@example.com", "smtp_plain": True}
    site.guard.make("identity_providers", name="Code", type="onetimepin", config=mail)
    for number in range(2, 8):
        stranger = Browser(site.edge, f"127.0.8.{number}")
        page, form = ask_for_code(site, stranger, "bob@example.com")
        assert page.status == 200
        pin = site.mails.pin_for("bob@example.com")
        guesses = [f"{guess:06d}" for guess in range(6) if f"{guess:06d}" != pin]
        # Five tries: by now even the right one is of no use.
        for guess in [*guesses, pin]:
            assert stranger.ask(page.url, "POST", {**form, "code": guess}).status == 403
        # Nor is there any end of tries.
        assert {stranger.ask(page.url, "POST", {**form, "code": "000000"}).status for _ in range(8)} == {403, 429}

    # Its owner gets in all the same, in their own browser and in a new one.
    for browser in (known, Browser(site.edge, "127.0.8.9")):
        count = len(site.mails.mails)
        page, form = ask_for_code(site, browser, "bob@example.com")
        wait_until(lambda: len(site.mails.mails) > count, "a code")  # noqa: B023
        pin = site.mails.pin_for("bob@example.com")
        assert browser.follow(browser.ask(page.url, "POST", {**form, "code": pin})).status == 200
