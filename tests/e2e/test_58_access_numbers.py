"""What Access counts in /metrics, and its part of `adit-edge status`."""

import json
import re

import pytest

from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.guard import Browser, Guard
from testenv.origin import Origin
from testenv.program import PATIENCE
from testenv.wait import wait_until

APP, OPEN, HOOK = (f"{name}.{ZONE}" for name in ("app", "open", "hook"))
STAFF = {"email_domain": {"domain": "example.com"}}


class Site:
    def __init__(self, own):
        self.edge = own.edge()
        self.origin = Origin()
        cli = own.cli(self.edge)
        tunnel = cli.create("guarded")
        for host in (APP, OPEN, HOOK):
            cli.check("tunnel", "route", "dns", "guarded", host)
        config = write_config(own.folder / "guarded.json", tunnel, [{"hostname": f"*.{ZONE}", "service": self.origin.service}])
        own.connect(cli, tunnel, config)
        self.edge.wait_connections(4)
        self.guard = g = Guard(self.edge)
        g.make("identity_providers", name="Password", type="password")
        g.make("identity_providers", name="Lost", type="oidc", config={
            "issuer": "https://127.0.0.1:1", "client_id": "x", "client_secret": "y"})  # fmt: skip
        g.app("app", g.policy("Staff", "allow", STAFF))
        g.app("open", g.policy("Open", "bypass", {"everyone": {}}))
        g.app("hook", g.policy("Services", "non_identity", {"any_valid_service_token": {}}))
        self.token = g.make("service_tokens", name="ci")
        g.person("ann@example.com", "sesame")
        g.person("eve@evil.test", "letmein")

    def url(self, host=APP):
        return f"https://{host}:{self.edge.https}/"

    def counted(self, name, **labels):
        text = ",".join(f'{k}="{v}"' for k, v in labels.items())
        return self.edge.metrics().get(f"adit_edge_access_{name}" + (f"{{{text}}}" if text else ""), 0)

    def decided(self, app, outcome):
        return self.counted("decisions_total", app=app, outcome=outcome)

    def status(self):
        return json.loads(self.edge.command("status", "--json").stdout)["access"]


@pytest.fixture
def site(own):
    s = Site(own)
    yield s
    s.origin.close()


def test_what_is_decided_is_counted(site):
    ann, eve = Browser(site.edge), Browser(site.edge)
    page = ann.open(site.url())
    assert ann.send_password(page, "ann@example.com", "wrong").status == 403
    assert ann.sign_in(site.url(), "ann@example.com", "sesame").status == 200
    assert ann.ask(site.url()).status == 200
    assert eve.sign_in(site.url(), "eve@evil.test", "letmein").status == 403
    assert eve.ask(site.url(OPEN)).status == 200
    secret = {"CF-Access-Client-Id": site.token["client_id"], "CF-Access-Client-Secret": site.token["client_secret"]}
    assert eve.ask(site.url(HOOK), headers=secret).status == 200
    assert eve.ask(site.url(HOOK), headers={**secret, "CF-Access-Client-Secret": "0" * 64}).status == 401
    assert eve.ask(site.url(HOOK)).status == 403

    assert [site.decided("app", o) for o in ("allowed", "sign_in", "refused")] == [2, 3, 1]
    assert site.decided("open", "bypassed") == 1
    assert [site.decided("hook", o) for o in ("service", "refused")] == [1, 2]
    assert site.counted("signins_total", method="password", outcome="signed_in") == 2
    assert site.counted("signins_total", method="password", outcome="failed") == 1
    assert site.counted("tokens_total", type="app") >= 2 and site.counted("tokens_total", type="org") >= 2
    assert site.counted("sessions") == 2
    ann.ask(site.url() + "cdn-cgi/access/logout")
    assert site.counted("sessions") == 1 and site.counted("revocations_total", of="logout") == 1
    site.guard.do("POST", "people/eve@evil.test/revoke")
    assert site.counted("sessions") == 0 and site.counted("revocations_total", of="person") == 1

    # Names that visitors send make no series.
    names = [n for n in site.edge.metrics() if n.startswith("adit_edge_access_decisions_total")]
    assert len(names) == 6, names


def test_the_state_is_told(site):
    page = Browser(site.edge).open(site.url())
    assert "Lost" in page.text
    browser = Browser(site.edge)
    browser.send_password(browser.open(site.url()), "ann@example.com", "wrong")
    eve = Browser(site.edge)
    eve.sign_in(site.url(), "eve@evil.test", "letmein")
    # A provider that is not there.
    form = browser.open(site.url())
    lost = [p["id"] for p in site.guard.do("GET", "access/identity_providers") if p["name"] == "Lost"]
    [csrf] = set(re.findall(r'name="csrf" value="([^"]*)"', form.text))
    assert browser.ask(form.url, "POST", {"csrf": csrf, "provider": lost[0]}).status == 502
    assert site.counted("provider_requests_total", provider="Lost", outcome="failed") == 1
    assert site.counted("provider_seconds_count") == 1

    wait_until(lambda: site.status()["recent_denials"], "denials", 30 * PATIENCE)
    status = site.status()
    assert [status[k] for k in ("applications", "policies", "groups", "service_tokens", "sessions")] == [3, 3, 0, 1, 1]
    assert status["signing_key_made_at"] and status["next_signing_key_at"] > status["signing_key_made_at"]
    password, broken = status["identity_providers"]
    assert password["name"] == "Password" and password["failed"] == 0 and password["last_error"] == ""
    assert broken["failed"] == 1 and broken["failed_at"] and "127.0.0.1" in broken["last_error"]
    denied = [(d["who"], d["application"], d["from"]) for d in status["recent_denials"]]
    assert ("eve@evil.test", "app", "127.0.0.1") in denied and ("ann@example.com", "app", "127.0.0.1") in denied
    assert status["countries"] is None

    text = site.edge.command("status").stdout
    part = text[text.index("\nAccess\n") :]
    for word in ("applications", "sessions", "signing key made", "next signing key", "identity providers", "Lost",
                 "recent denials", "eve@evil.test", "wrong password"):  # fmt: skip
        assert word in part, part

    # Without an edge that runs it is told as well, as far as files know it.
    site.edge.stop()
    assert site.status()["applications"] == 3
