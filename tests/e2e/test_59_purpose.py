"""People say why they open an application, where a policy wants to know."""

import html
import json
import re
import urllib.parse

import jwt
import pytest

from conftest import Own
from testenv.edge import ZONE
from testenv.guard import Browser
from testenv.judge import Judge
from testenv.place import STAFF, Place
from testenv.wait import wait_until

ASKED = "Why do you open"
PROMPT = 'Which <ticket> is it for? "Say" so.'


@pytest.fixture(scope="module")
def module_place(tmp_path_factory):
    own = Own(tmp_path_factory.mktemp("purpose"))
    p = None
    try:
        p = Place(own)
        p.password = p.provider("password", {}, name="Password")
        for name in ("ann", "bob"):
            p.guard.person(f"{name}@example.com", "sesame")
        p.guard.person("eve@evil.test", "sesame")
        p.why = p.guard.policy("Why", "allow", STAFF, purpose_justification_required=True, purpose_justification_prompt=PROMPT)
        yield p
    finally:
        own.close()
        if p:
            p.origin.close()


@pytest.fixture
def place(module_place):
    module_place.origin.forget()
    return module_place


@pytest.fixture
def url(place):
    return place.app(place.password, place.why)


def form_of(page):
    [form] = re.findall(r"<form.*?</form>", page.text, re.DOTALL)
    to = urllib.parse.urljoin(page.url, html.unescape(re.search(r'action="([^"]*)"', form)[1]))
    return to, dict(re.findall(r'name="(csrf)" value="([^"]*)"', form))


def say(browser, page, words, **more):
    to, fields = form_of(page)
    return browser.ask(to, "POST", {**fields, "purpose": words, **more})


def begin(place, url, who="ann@example.com"):
    """Signed in, and asked."""
    browser = Browser(place.edge)
    return browser, browser.sign_in(url, who, "sesame")


def reasons(place):
    return [e for e in place.guard.do("GET", "access/audit?limit=1000") if e["action"] == "access.purpose"]


def claims_of(browser, url):
    return jwt.decode(browser.jar(url)["CF_Authorization"], options={"verify_signature": False})


def test_it_is_asked_once_and_kept_in_the_audit_log(place, url):
    browser, page = begin(place, url)
    assert page.status == 200 and ASKED in page.text and html.escape(PROMPT, quote=True).replace("&#x27;", "&#39;") in page.text
    assert "CF_Authorization" not in browser.jar(url) and not place.origin.seen
    # Without an answer there is no other way in.
    assert ASKED in browser.open(url).text and not place.origin.seen

    arrived = browser.follow(say(browser, page, "Ticket 17:\r\n<b>it</b>\tis down"))
    assert arrived.status == 200 and arrived.url == url
    last = reasons(place)[-1]
    assert last["detail"] == {"purpose": "Ticket 17: <b>it</b> is down", "policy": "Why"}
    assert (last["actor"], last["subject"], last["outcome"]) == ("ann@example.com", "app-%d" % place.count, "given")
    assert last["at"] and last["address"] == "127.0.0.1"
    # Of the reason itself the service sees nothing.
    assert "Ticket" not in str(claims_of(browser, url)) and b"Ticket" not in b"".join(r.raw_head for r in place.origin.seen)

    # Another token within the session: nothing is asked.
    del browser.jar(url)["CF_Authorization"]
    count = len(reasons(place))
    assert browser.open(url).url == url and len(reasons(place)) == count
    # Another application, another browser, another session: each is asked.
    other = place.app(place.password, place.why)
    assert ASKED in browser.open(other).text
    assert ASKED in begin(place, url)[1].text
    done = place.edge.command("audit")
    assert "access.purpose" in done.stdout and "(purpose: Ticket 17: <b>it</b> is down)" in done.stdout


@pytest.mark.parametrize("words", ["", " \r\n\t ", "x" * 2001, "\x1b\x07", b"\xff\xfe"])
def test_what_says_nothing_is_not_taken(place, url, words):
    browser, page = begin(place, url)
    count = len(reasons(place))
    again = say(browser, page, words)
    assert again.status == 400 and "Write a few words" in again.text and ASKED in again.text
    assert "CF_Authorization" not in browser.jar(url) and len(reasons(place)) == count
    assert browser.follow(say(browser, again, "Now I know")).url == url


def test_what_was_typed_is_text_on_the_page(place, url):
    browser, page = begin(place, url)
    again = say(browser, page, "</textarea><script>alert(1)</script>" + "x" * 2000)
    assert again.status == 400 and "<script>" not in again.text and "&lt;/textarea&gt;&lt;script&gt;" in again.text


def test_a_form_from_elsewhere_says_nothing(place, url):
    browser, page = begin(place, url)
    to, fields = form_of(page)
    count = len(reasons(place))
    for wrong in ({}, {"csrf": ""}, {"csrf": "x" * len(fields["csrf"])}):
        assert browser.ask(to, "POST", {**wrong, "purpose": "Because"}).status == 403
    # The form of one browser is of no use in another, and who has no session is asked to sign in.
    assert Browser(place.edge).ask(to, "POST", {**fields, "purpose": "Because"}).status == 403
    stranger = Browser(place.edge)
    sign_in = stranger.open(url)
    csrf = re.search(r'name="csrf" value="([^"]*)"', sign_in.text)[1]
    answer = stranger.ask(to, "POST", {"csrf": csrf, "purpose": "Because"})
    assert "Sign in to" in answer.text and len(reasons(place)) == count and not place.origin.seen


def test_who_may_not_come_in_is_not_asked(place, url):
    _, page = begin(place, url, "eve@evil.test")
    assert page.status == 403 and ASKED not in page.text
    # Nor is a reason that they send taken for one.
    browser = Browser(place.edge)
    sign_in = browser.open(url)
    assert browser.send_password(sign_in, "eve@evil.test", "sesame").status == 403
    csrf = re.search(r'name="csrf" value="([^"]*)"', sign_in.text)[1]
    count = len(reasons(place))
    assert browser.ask(sign_in.url, "POST", {"csrf": csrf, "purpose": "Because"}).status == 403
    assert len(reasons(place)) == count


def test_programs_are_told(place, url):
    plain = place.guard.policy("Plain", "allow", STAFF)
    place.guard.app("later", plain, allowed_idps=[place.password])
    later = f"https://later.{ZONE}:{place.edge.https}/"
    browser, page = begin(place, later)
    assert page.status == 200 and page.url == later
    # The policy asks from now on: the token is not enough any more.
    place.guard.do("PUT", f"access/policies/{plain}", {"name": "Plain", "decision": "allow", "include": [STAFF], "purpose_justification_required": True})  # fmt: skip
    wait_until(lambda: browser.ask(later).status == 302, "the new policy", 30)
    told = browser.ask(later, headers={"Accept": "application/json"})
    said = json.loads(told.body)
    assert told.status == 401 and said["error"] == "reason required" and said["login_url"].startswith(place.edge.public_url)
    assert browser.ask(later, headers={"X-Requested-With": "XMLHttpRequest"}).status == 401
    page = browser.ask(said["login_url"])
    assert ASKED in page.text and "wants to know why" in page.text
    assert browser.follow(say(browser, page, "Because")).status == 200 and browser.ask(later).status == 200


def test_it_is_asked_again_when_the_session_of_the_application_ends(place):
    url = place.app(place.password, place.why, session_duration="5s")
    browser, page = begin(place, url)
    assert browser.follow(say(browser, page, "First")).status == 200
    token = claims_of(browser, url)
    assert token["exp"] <= token["purpose_until"]
    wait_until(lambda: ASKED in browser.open(url).text, "end of the token", 30)
    assert browser.follow(say(browser, browser.open(url), "Second")).status == 200


def test_it_is_asked_again_when_the_application_is_revoked(place, url):
    browser, page = begin(place, url)
    assert browser.follow(say(browser, page, "First")).status == 200
    [app] = [a for a in place.guard.do("GET", "access/apps") if a["name"] == f"app-{place.count}"]
    place.guard.do("POST", f"access/apps/{app['id']}/revoke")
    wait_until(lambda: browser.ask(url).status == 302, "revocation", 30)
    assert ASKED in browser.open(url).text


def test_a_policy_that_goes_by_the_address(place):
    """Where people come from differs between the sign-in and the application: no circle of redirects."""
    here = place.guard.policy("Here", "allow", STAFF, require=[{"ip": {"ip": "127.0.0.1/32"}}])
    place.guard.app("address", here, place.why, allowed_idps=[place.password])
    url = f"https://address.{ZONE}:{place.edge.https}/"
    browser, page = begin(place, url)
    assert page.status == 200 and page.url == url
    browser.source = "127.0.0.2"
    page = browser.ask(url)
    assert page.status == 302 and "purpose=1" in page.location
    browser.source = None
    page = browser.ask(page.location)
    assert ASKED in page.text and "ticket" in page.text
    link = say(browser, page, "Elsewhere")
    browser.source = "127.0.0.2"
    assert browser.follow(link).status == 200


def test_a_service_is_asked_before_the_person(place, tmp_path):
    judge = Judge(tmp_path / "judge", place.edge)
    both = place.guard.policy("Both", "allow", judge.rule(), purpose_justification_required=True)
    url = place.app(place.password, both)
    assert begin(place, url, "bob@example.com")[1].status == 403
    browser, page = begin(place, url)
    assert ASKED in page.text
    assert browser.follow(say(browser, page, "Both")).status == 200
    judge.close()


def test_a_command_line_s_person_is_asked(place, url):
    """In the browser that approves."""
    import base64
    import os

    key = base64.urlsafe_b64encode(os.urandom(32)).decode()
    [app] = [a for a in place.guard.do("GET", "access/apps") if a["name"] == f"app-{place.count}"]
    query = urllib.parse.urlencode({"aud": app["aud"], "token": key, "redirect_url": url, "send_org_token": "true"})
    browser, page = begin(place, f"{url}cdn-cgi/access/cli?{query}")
    assert ASKED in page.text
    page = browser.follow(say(browser, page, "From a shell"))
    assert page.status == 200 and "Sign in a command line?" in page.text
    csrf = re.search(r'name="csrf" value="([^"]*)"', page.text)[1]
    # It asks again if the reason was taken back meanwhile.
    place.guard.do("POST", f"access/apps/{app['id']}/revoke")
    wait_until(lambda: browser.ask(url).status == 302, "revocation", 30)
    page = browser.open(page.url)
    assert ASKED in page.text
    page = browser.follow(say(browser, page, "Once more"))
    csrf = re.search(r'name="csrf" value="([^"]*)"', page.text)[1]
    done = browser.ask(page.url, "POST", {"csrf": csrf})
    assert done.status == 200 and "Signed in" in done.text, done.text


def test_the_keys_go_there_and_back(place):
    status, said = place.guard.ask("GET", f"access/policies/{place.why}")
    assert status == 200 and said["result"]["purpose_justification_prompt"] == PROMPT
    document = place.guard.do("GET", "access/document")
    [why] = [p for p in document["policies"] if p["name"] == "Why"]
    assert why["purpose_justification_required"] is True and why["purpose_justification_prompt"] == PROMPT
    done = place.edge.command("access", "protect", f"asked.{ZONE}", "--allow", "@example.com", "--ask-reason")
    assert done.returncode == 0, done.stderr
    done = place.edge.command("access", "test", "--app", f"asked.{ZONE}", "--email", "ann@example.com", "--ip", "192.0.2.1")
    assert "once they have said why" in done.stdout
    for wrong in ({"approval_required": True}, {"approval_groups": [{"approvals_needed": 1}]}, {"isolation_required": True}):
        status, said = place.guard.ask("POST", "access/policies", {"name": "x", "decision": "allow", "include": [STAFF], **wrong})
        assert status == 400 and "not served" in str(said)
    status, said = place.guard.ask("POST", "access/policies", {"name": "x", "decision": "deny", "include": [STAFF], "purpose_justification_required": True})  # fmt: skip
    assert status == 400 and "only a policy that allows" in str(said)
