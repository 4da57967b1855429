"""Access: nobody reaches a guarded service before they are known."""

import base64
import json
import re
import subprocess
import urllib.parse

import pytest

from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.guard import Browser, Guard, MailSink
from testenv.origin import Origin

APP, HOOK, OPEN = (f"{name}.{ZONE}" for name in ("app", "hook", "open"))
EVERYONE = {"everyone": {}}
STAFF = {"email_domain": {"domain": "example.com"}}


class Site:
    """An edge with two guarded applications, one that is half open, and one without a guard."""

    def __init__(self, own):
        self.edge = own.edge()
        self.origin = Origin()
        cli = own.cli(self.edge)
        tunnel = cli.create("guarded")
        for host in (APP, HOOK, OPEN):
            cli.check("tunnel", "route", "dns", "guarded", host)
        config = write_config(own.folder / "guarded.json", tunnel, [{"hostname": f"*.{ZONE}", "service": self.origin.service}])
        own.connect(cli, tunnel, config)
        self.edge.wait_connections(4)
        self.guard = g = Guard(self.edge)
        self.idp = g.make("identity_providers", name="Password", type="password")["id"]
        self.staff = g.policy("Staff", "allow", STAFF)
        self.app = g.app("app", self.staff)
        g.person("ann@example.com", "sesame")
        g.person("eve@evil.test", "letmein")

    def url(self, host=APP, path="/"):
        return f"https://{host}:{self.edge.https}{path}"

    def reached(self):
        return len(self.origin.seen)


@pytest.fixture
def site(own):
    s = Site(own)
    yield s
    s.origin.close()


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def test_a_person_signs_in_and_out(site):
    browser = Browser(site.edge)
    answer = browser.ask(site.url(path="/a?b=c"))
    assert answer.status == 302 and site.reached() == 0
    assert urllib.parse.urlsplit(answer.location).path.startswith("/cdn-cgi/access/login")
    assert "CF_AppSession" in browser.jar(site.url())

    # A wrong password, then the right one; the service sees who it is, and none of our own secrets.
    page = browser.follow(answer)
    wrong = browser.send_password(page, "ann@example.com", "Sesame")
    assert wrong.status == 403 and "is wrong" in wrong.text
    arrived = browser.follow(browser.send_password(page, "ann@example.com", "sesame"))
    assert arrived.status == 200 and arrived.url == site.url(path="/a?b=c")
    [request] = site.origin.seen
    assert request.get("Cf-Access-Authenticated-User-Email") == "ann@example.com"
    token = claims(request.get("Cf-Access-Jwt-Assertion"))
    assert token["aud"] == [site.app["aud"]] and token["type"] == "app" and token["email"] == "ann@example.com"
    assert token["iss"] == site.edge.public_url
    assert "CF_AppSession" not in request.get("Cookie") and "CF_Authorization" in request.get("Cookie")

    # Who they are, for pages that ask.
    who = browser.ask(site.url(path="/cdn-cgi/access/get-identity"))
    assert json.loads(who.body)["email"] == "ann@example.com"

    # Signed out everywhere: the token is of no use any more, though it has not expired.
    jar = dict(browser.jar(site.url()))
    assert browser.ask(site.url(path="/cdn-cgi/access/logout")).status == 200
    browser.jar(site.url()).update(jar)
    again = browser.ask(site.url())
    assert again.status == 302 and "/cdn-cgi/access/login" in again.location
    assert "Sign in to" in browser.follow(again).text
    assert site.reached() == 1


def test_who_is_signed_in_needs_no_second_form(site):
    browser = Browser(site.edge)
    browser.sign_in(site.url(), "ann@example.com", "sesame")
    other = site.guard.app("hook", site.staff)
    answer = browser.open(site.url(HOOK))
    assert answer.status == 200 and answer.url == site.url(HOOK)
    assert claims(browser.jar(site.url(HOOK))["CF_Authorization"])["aud"] == [other["aud"]]


def test_who_is_not_allowed_is_told_so(site):
    browser = Browser(site.edge)
    answer = browser.sign_in(site.url(), "eve@evil.test", "letmein")
    assert answer.status == 403 and "eve@evil.test" in answer.text and "logout" in answer.text
    assert site.reached() == 0


def test_programs_get_401_instead_of_a_page(site):
    browser = Browser(site.edge)
    for headers in (
        {"X-Requested-With": "XMLHttpRequest"},
        {"Sec-Fetch-Mode": "cors"},
        {"Accept": "application/json"},
    ):
        answer = browser.ask(site.url(), headers=headers)
        assert answer.status == 401 and json.loads(answer.body)["login_url"].startswith(site.edge.public_url)
    assert site.reached() == 0


def test_service_tokens(site):
    made = site.guard.make("service_tokens", name="monitor")
    machine = site.guard.policy("Machines", "non_identity", {"service_token": {"token_id": made["id"]}})
    site.guard.do("PUT", f"access/apps/{site.app['id']}", {**site.app, "policies": [site.staff, machine]})
    browser = Browser(site.edge)
    right = {"CF-Access-Client-Id": made["client_id"], "CF-Access-Client-Secret": made["client_secret"]}
    answer = browser.ask(site.url(), headers=right)
    assert answer.status == 200 and not browser.jar(site.url())
    [request] = site.origin.seen
    assert claims(request.get("Cf-Access-Jwt-Assertion"))["common_name"] == made["client_id"]
    assert request.get("CF-Access-Client-Secret") is None
    assert request.get("Cf-Access-Authenticated-User-Email") is None

    wrong = {**right, "CF-Access-Client-Secret": "0" * 64}
    assert browser.ask(site.url(), headers=wrong).status == 401
    other = site.guard.make("service_tokens", name="other")
    foreign = {"CF-Access-Client-Id": other["client_id"], "CF-Access-Client-Secret": other["client_secret"]}
    assert browser.ask(site.url(), headers=foreign).status == 403
    site.guard.do("DELETE", f"access/service_tokens/{other['id']}")
    assert browser.ask(site.url(), headers=foreign).status == 401
    assert site.reached() == 1


def test_half_open(site):
    everybody = site.guard.policy("Everybody", "bypass", EVERYONE)
    site.guard.app("half", everybody, domain=f"{APP}/hook")
    browser = Browser(site.edge)
    assert browser.ask(site.url(path="/hook/x")).status == 200
    assert browser.ask(site.url(path="/hooks")).status == 302
    for path in ("/hook/../admin", "/hook/%2e%2e/admin", "/hook/..%2fadmin", "//hook"):
        assert browser.ask(site.url(path=path)).status == 400, path
    assert browser.ask(site.url(OPEN)).status == 200
    assert site.reached() == 2


def test_forged_identity_never_arrives(site):
    browser = Browser(site.edge)
    forged = {
        "Cf-Access-Jwt-Assertion": "x.y.z",
        "Cf-Access-Authenticated-User-Email": "ann@example.com",
        "Cf-Access-Authenticated-User-Id": "1",
    }
    assert browser.ask(site.url(OPEN), headers=forged).status == 200
    [request] = site.origin.seen
    assert not [n for n, _ in request.headers if n.lower().startswith("cf-access-")]
    assert browser.ask(site.url(), headers=forged).status == 302


def test_a_sign_in_belongs_to_the_browser_that_began_it(site):
    mine, theirs = Browser(site.edge), Browser(site.edge)
    page = mine.open(site.url())
    after = mine.send_password(page, "ann@example.com", "sesame")
    assert after.status == 302 and "/authorized?nonce=" in after.location
    # Somebody else's browser, with and without a beginning of its own.
    assert theirs.ask(after.location).status == 403
    theirs.ask(site.url())
    assert theirs.ask(after.location).status == 403
    assert mine.ask(after.location).status == 302
    # Once only.
    assert mine.ask(after.location).status == 403


@pytest.mark.parametrize(
    "target", ["https://evil.test/", "//evil.test/", "/\\evil.test", "javascript:alert(1)", "/a b", "x", ""]
)
def test_nobody_is_sent_elsewhere(site, target):
    browser = Browser(site.edge)
    start = urllib.parse.urlsplit(browser.ask(site.url()).location)
    query = dict(urllib.parse.parse_qsl(start.query), redirect_url=target)
    url = urllib.parse.urlunsplit(start._replace(query=urllib.parse.urlencode(query)))
    assert browser.ask(url).status == 400


def test_tokens_are_good_for_their_own_application(site):
    site.guard.app("hook", site.staff)
    browser = Browser(site.edge)
    browser.sign_in(site.url(), "ann@example.com", "sesame")
    token = browser.jar(site.url())["CF_Authorization"]
    org = browser.jar(site.edge.public_url)["CF_Authorization"]
    ask = Browser(site.edge).ask
    assert ask(site.url(), headers={"Cf-Access-Token": token}).status == 200
    assert ask(site.url(HOOK), headers={"Cf-Access-Token": token}).status == 302
    assert ask(site.url(), headers={"Cf-Access-Token": org}).status == 302
    head, payload, signature = token.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').decode().rstrip("=")
    for forged in (f"{none}.{payload}.", f"{none}.{payload}.{signature}", f"{head}.{payload}.{signature[:-4]}AAAA", "x"):
        assert ask(site.url(), headers={"Cf-Access-Token": forged}).status == 302, forged


def test_a_person_is_put_out_at_once(site):
    browser = Browser(site.edge)
    browser.sign_in(site.url(), "ann@example.com", "sesame")
    assert browser.ask(site.url()).status == 200
    site.guard.do("POST", "people/ann@example.com/revoke")
    assert browser.ask(site.url()).status == 302


def test_a_changed_policy_holds_at_once(site):
    browser = Browser(site.edge)
    browser.sign_in(site.url(), "ann@example.com", "sesame")
    policy = {"name": "Nobody", "decision": "allow", "include": [{"email": {"email": "bob@example.com"}}]}
    site.guard.do("PUT", f"access/policies/{site.staff}", policy)
    answer = browser.ask(site.url(), headers={"Accept": "text/html"})
    assert answer.status == 403 and "ann@example.com" in answer.text


def test_what_would_not_work_is_refused(site):
    status, said = site.guard.ask("POST", "access/apps", {"name": "x", "domain": "x.example.com", "policies": ["no"]})
    assert status == 404 and "there is no policy no" in said["errors"][0]["message"]
    status, said = site.guard.ask("DELETE", f"access/policies/{site.staff}")
    assert status == 404 and "still needed" in said["errors"][0]["message"]
    status, said = site.guard.ask("POST", "access/policies", {"name": "x", "decision": "allow", "include": [{"emial": {}}]})
    assert status == 400 and 'did you mean "email"' in said["errors"][0]["message"]


def test_metadata_for_command_lines(site):
    answer = Browser(site.edge).ask(site.url(), "HEAD", headers={"cf-access-metadata-request": "true"})
    said = claims(answer.headers["cf-access-metadata"])
    assert said["type"] == "match" and said["hostname"] == APP and said["aud"] == site.app["aud"]


def test_a_websocket_is_guarded_too(site):
    context = Browser(site.edge)
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": base64.b64encode(b"0" * 16).decode(),
        "Sec-WebSocket-Version": "13",
    }
    assert context.ask(site.url(), headers=upgrade).status == 302
    assert site.reached() == 0


# --- codes by e-mail ----------------------------------------------------------------------------------


@pytest.fixture
def post(site):
    sink = MailSink()
    config = {"smtp_url": sink.url, "from": "adit@example.com", "smtp_plain": True}
    site.guard.make("identity_providers", name="Code", type="onetimepin", config=config)
    yield sink
    sink.close()


def form_of(page, kind):
    """The fields of the form whose first field for people is `kind`."""
    [form] = [f for f in re.findall(r"<form.*?</form>", page.text, re.DOTALL) if f'autocomplete="{kind}"' in f]
    return dict(re.findall(r'name="(csrf|provider|email)" value="([^"]*)"', form))


def ask_for_code(site, browser, email):
    page = browser.open(site.url())
    return browser.ask(page.url, "POST", {**form_of(page, "email"), "email": email})


def test_a_code_by_mail(site, post):
    browser = Browser(site.edge)
    page = ask_for_code(site, browser, "Joe@example.com")
    assert page.status == 200 and "a code is on its way" in page.text
    pin = post.pin_for("joe@example.com")
    wrong = "000000" if pin != "000000" else "000001"
    again = browser.ask(page.url, "POST", {**form_of(page, "one-time-code"), "code": wrong})
    assert again.status == 403 and "is wrong" in again.text
    # In another browser it is worth nothing.
    other = Browser(site.edge)
    theirs = ask_for_code(site, other, "joe@example.com")
    assert other.ask(theirs.url, "POST", {**form_of(theirs, "one-time-code"), "code": pin}).status == 403
    done = browser.follow(browser.ask(page.url, "POST", {**form_of(again, "one-time-code"), "code": f"{pin[:3]} {pin[3:]}"}))
    assert done.status == 200 and site.origin.seen[0].get("Cf-Access-Authenticated-User-Email") == "joe@example.com"
    # Once only.
    assert browser.ask(page.url, "POST", {**form_of(again, "one-time-code"), "code": pin}).status == 403


def test_who_may_not_come_in_gets_the_same_page_and_no_code(site, post):
    browser = Browser(site.edge)
    good = ask_for_code(site, browser, "joe@example.com")
    post.pin_for("joe@example.com")
    bad = ask_for_code(site, Browser(site.edge), "joe@evil.test")
    cut = lambda page, email: re.sub(r'(value="|state=)[^"]*"', "", page.text.replace(email, ""))  # noqa: E731
    assert cut(bad, "joe@evil.test") == cut(good, "joe@example.com") and bad.status == good.status
    assert [to for to, _ in post.mails] == [["joe@example.com"]]


def test_a_short_lived_ssh_certificate(site, tmp_path):
    browser = Browser(site.edge)
    browser.sign_in(site.url(), "ann@example.com", "sesame")
    token = browser.jar(site.url())["CF_Authorization"]
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", key], check=True)
    ask = {"public_key": (tmp_path / "key.pub").read_text(), "jwt": token, "issuer": site.edge.public_url}

    def sign(**changed):
        return browser.post_json(f"{site.edge.public_url}/cdn-cgi/access/cert_sign", {**ask, **changed})

    assert sign().status == 404  # no authority yet
    line = site.guard.do("POST", f"access/apps/{site.app['id']}/ca")["public_key"]
    (tmp_path / "ca.pub").write_text(line)
    answer = sign()
    assert answer.status == 200
    (tmp_path / "key-cert.pub").write_text(json.loads(answer.body)["certificate"])
    said = subprocess.run(["ssh-keygen", "-L", "-f", tmp_path / "key-cert.pub"], check=True, capture_output=True).stdout
    assert b'Key ID: "ann@example.com"' in said and re.search(rb"Principals:\s+ann\n", said)
    for wrong in ({"jwt": "x"}, {"jwt": browser.jar(site.edge.public_url)["CF_Authorization"]}):
        assert sign(**wrong).status == 401
    assert sign(public_key="ssh-rsa AAAA").status == 400
    site.guard.do("POST", "people/ann@example.com/revoke")
    assert sign().status == 401


def test_people_see_the_applications_they_may_open(site):
    """The list at the control host: what the policies let this person into, with where it is."""
    guard, there = site.guard, f"{site.edge.public_url}/cdn-cgi/access/apps"
    eve = guard.policy("Eve", "allow", {"email": {"email": "eve@evil.test"}})
    guard.app("hook", guard.policy("Hooks", "bypass", EVERYONE), domain=f"{HOOK}/in/v*/x")
    guard.app("<b>eve's</b>", eve, domain=f"eve.{ZONE}", logo_url="https://logo.example/eve.png")
    guard.app("machines", guard.policy("Machines", "non_identity", {"any_valid_service_token": {}}), domain=f"m.{ZONE}")
    guard.app("anywhere", site.staff, domain=f"*.any.{ZONE}")
    guard.app("secret", site.staff, domain=f"secret.{ZONE}", app_launcher_visible=False)

    def shown(page):
        return sorted(re.findall(r'<a class="choice" href="([^"]*)"', page.text))

    browser = Browser(site.edge)
    nobody = browser.ask(there)
    assert nobody.status == 401 and "Sign in first" in nobody.text and not shown(nobody)
    browser.sign_in(site.url(), "ann@example.com", "sesame")
    page = browser.ask(there)
    assert page.status == 200 and "ann@example.com" in page.text
    assert shown(page) == [site.url(APP), site.url(HOOK, "/in/")]
    assert browser.open(shown(page)[0]).status == 200

    other = Browser(site.edge)
    other.sign_in(site.url(), "eve@evil.test", "letmein")
    page = other.ask(there)
    assert shown(page) == [site.url(f"eve.{ZONE}"), site.url(HOOK, "/in/")]
    assert "&lt;b&gt;eve" in page.text and "<b>" not in page.text
    assert "https://logo.example " in page.headers["Content-Security-Policy"].replace(";", " ")

    # Elsewhere there is no such page, and it can be switched off; what is signed out is out.
    assert other.ask(site.url(path="/cdn-cgi/access/apps")).status in (302, 404)
    ours = guard.make("organizations", name="Ours", app_launcher=False)
    assert browser.ask(there).status == 404
    guard.do("PUT", f"access/organizations/{ours['id']}", {"name": "Ours", "app_launcher": True})
    assert browser.ask(there).status == 200
    browser.ask(f"{site.edge.public_url}/cdn-cgi/access/logout")
    assert browser.ask(there).status == 401


def test_logos_of_applications_are_pictures(site):
    status, said = site.guard.ask("POST", "access/apps", {
        "name": "x", "domain": f"x.{ZONE}", "policies": [site.staff], "logo_url": "javascript:alert(1)"})  # fmt: skip
    assert status == 400 and "logo_url begins with https://" in said["errors"][0]["message"]
