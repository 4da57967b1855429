"""Passkeys, by programs that mean no good. (With a browser: test_59_browser.py.)"""

import json
import re

import pytest

from conftest import Own
from testenv.authenticator import PRESENT, Authenticator
from testenv.edge import ZONE
from testenv.guard import Browser
from testenv.idp import Oidc
from testenv.place import Place
from testenv.program import ADIT_EDGE, run

HOST = f"adit.{ZONE}"


class Club(Place):
    """Of a control host with a name, and people with passwords."""

    def __init__(self, own):
        super().__init__(own, control=HOST)
        self.password = self.provider("password", {}, "Password")
        self.passkey = self.provider("passkey", {}, "Passkey")
        self.guard.app("club", self.staff, allowed_idps=[self.password, self.passkey])
        self.url = f"https://club.{ZONE}:{self.edge.https}/"
        self.own = f"{self.edge.public_url}/cdn-cgi/access/passkeys"
        for name in ("ann", "bob"):
            self.guard.person(f"{name}@example.com", "sesame")

    def authenticator(self, rp=HOST, origin=None):
        return Authenticator(rp, origin or self.edge.public_url)

    def signed_in(self, name):
        browser = Browser(self.edge)
        page = browser.open(self.url)
        form = next(f for f in forms(page) if 'type="password"' in f["html"])
        answer = browser.ask(page.url, "POST", {**form["fields"], "email": f"{name}@example.com", "password": "sesame"})
        assert answer.status == 302 and "/authorized?" in answer.location, answer.text
        return browser


def forms(page):
    found = []
    for html in re.findall(r"<form.*?</form>", page.text, re.DOTALL):
        fields = dict(re.findall(r'name="(csrf|provider|challenge|remove)" value="([^"]*)"', html))
        challenge = re.search(r'data-challenge="([^"]*)"', html)
        found.append({"html": html, "fields": fields, "challenge": challenge and challenge[1]})
    return found


def key_form(page, kind):
    return next(f for f in forms(page) if f'data-passkey="{kind}"' in f["html"])


@pytest.fixture(scope="module")
def club(tmp_path_factory):
    own = Own(tmp_path_factory.mktemp("passkeys"))
    c = None
    try:
        c = Club(own)
        yield c
    finally:
        own.close()
        if c:
            c.origin.close()


def add(club, browser, device, name="key", **more):
    form = key_form(browser.ask(club.own), "create")
    return browser.ask(club.own, "POST", {**form["fields"], **device.make(form["challenge"], **more), "name": name})


def enter(club, device, browser=None, **more):
    browser = browser or Browser(club.edge)
    page = browser.open(club.url)
    form = key_form(page, "get")
    fields = {**form["fields"], **device.use(form["challenge"], **more)}
    return browser, page, fields, browser.ask(page.url, "POST", fields)


def is_in(answer):
    return answer.status == 302 and "/authorized?" in answer.location


def test_a_key_is_good_for_who_made_it(club):
    device = club.authenticator()
    assert add(club, club.signed_in("ann"), device, "a name of " + "é" * 60).status == 303
    browser, page, fields, answer = enter(club, device)
    assert is_in(answer)
    assert "ann@example.com" in browser.ask(f"{club.edge.public_url}/cdn-cgi/access/get-identity").text
    # The same once more, and by somebody who has seen it.
    assert browser.ask(page.url, "POST", fields).status == 403
    thief = Browser(club.edge)
    theirs = key_form(thief.open(club.url), "get")
    assert thief.ask(page.url, "POST", {**fields, "csrf": theirs["fields"]["csrf"]}).status == 403
    # Nobody else has the same key, and nobody else's can be removed.
    bob = club.signed_in("bob")
    assert add(club, bob, device).status == 400
    csrf = key_form(bob.ask(club.own), "create")["fields"]["csrf"]
    assert bob.ask(club.own, "POST", {"csrf": csrf, "remove": fields["credential"]}).status == 400
    assert is_in(enter(club, device)[3])
    # The administrator takes it away.
    [listed] = club.guard.do("GET", "people/ann@example.com/passkeys")
    assert listed["id"] == fields["credential"] and listed["name"].startswith("a name of é")
    shown = club.edge.command("access", "user", "passkeys", "list", "ann@example.com")
    assert listed["id"] in shown.stdout and "a name of é" in shown.stdout, shown
    assert json.loads(club.edge.command("access", "user", "passkeys", "list", "ann@example.com", "--json").stdout) == [listed]
    wrong = club.edge.command("access", "user", "passkeys", "remove", "ann@example.com", "another")
    assert wrong.returncode == 1 and "has no passkey" in wrong.stderr
    assert club.edge.command("access", "user", "passkeys", "list", "eve@example.com").returncode == 1
    # Ids may begin with a dash.
    remove = [ADIT_EDGE, "access", "user", "passkeys", "remove", "--data", club.edge.data, "--", "ann@example.com", listed["id"]]
    assert run(remove).returncode == 0
    assert "has none" in club.edge.command("access", "user", "passkeys", "list", "ann@example.com").stdout
    answer = enter(club, device)[3]
    assert answer.status == 403 and "cannot be used here" in answer.text


@pytest.mark.parametrize("change", [{"origin": "https://evil.test"}, {"rp": "evil.test"}])
def test_a_page_of_somebody_else_gets_nothing(club, change):
    assert add(club, club.signed_in("ann"), club.authenticator(**change)).status == 400
    device = club.authenticator()
    assert add(club, club.signed_in("ann"), device).status == 303
    device.rp, device.origin = change.get("rp", device.rp), change.get("origin", device.origin)
    assert enter(club, device)[3].status == 403


def test_a_device_must_know_its_owner(club):
    assert add(club, club.signed_in("ann"), club.authenticator(), flags=PRESENT | 64).status == 400
    device = club.authenticator()
    assert add(club, club.signed_in("ann"), device).status == 303
    assert enter(club, device, flags=PRESENT)[3].status == 403
    device.counter = 0
    assert enter(club, device)[3].status == 403
    device.counter = 100
    assert is_in(enter(club, device)[3])


def test_challenges_are_for_one_browser_and_one_purpose(club):
    ann, bob = club.signed_in("ann"), club.signed_in("bob")
    device = club.authenticator()
    form, theirs = (key_form(b.ask(club.own), "create") for b in (ann, bob))
    for challenge in (theirs["challenge"], key_form(Browser(club.edge).open(club.url), "get")["challenge"], "AAAA", ""):
        assert ann.ask(club.own, "POST", {**form["fields"], **device.make(challenge)}).status == 400
    assert ann.ask(club.own, "POST", {**form["fields"], **device.make(form["challenge"]), "csrf": "x"}).status == 403
    assert ann.ask(club.own, "POST", {**form["fields"], **device.make(form["challenge"])}).status == 303
    assert Browser(club.edge).ask(club.own).status == 401


def test_who_comes_by_a_provider_has_no_key_here(club, tmp_path):
    idp = Oidc(tmp_path / "idp")
    idp.person["email"] = "cat@example.com"
    url = club.app(club.provider("oidc", idp.config()))
    browser = Browser(club.edge)
    page = browser.open(url)
    answer = browser.ask(page.url, "POST", forms(page)[0]["fields"])
    assert is_in(browser.ask(idp.authorize(answer.location)))
    page = browser.ask(club.own)
    assert "You sign in elsewhere" in page.text and not [f for f in forms(page) if f["challenge"]]
    idp.close()
