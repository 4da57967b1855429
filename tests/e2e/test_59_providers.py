"""Signing in with identity providers that do as they should, and with those that do not."""

import base64
import hashlib
import hmac
import html
import json
import re
import time
import urllib.parse

import jwt
import pytest

from conftest import Own
from testenv.guard import Browser
from testenv.idp import EcKey, GitHub, Oidc, PsKey, query_of, reply_json
from testenv.place import STAFF, Place
from testenv.team import Key
from testenv.wait import wait_until

@pytest.fixture(scope="module")
def module_place(tmp_path_factory):
    own = Own(tmp_path_factory.mktemp("providers"))
    p = None
    try:
        p = Place(own)
        yield p
    finally:
        own.close()
        if p:
            p.origin.close()


@pytest.fixture
def place(module_place):
    module_place.origin.forget()
    return module_place


@pytest.fixture(scope="module")
def module_idp(tmp_path_factory):
    p = Oidc(tmp_path_factory.mktemp("idp") / "oidc")
    yield p
    p.close()


@pytest.fixture
def idp(module_idp):
    module_idp.reset()
    return module_idp


@pytest.fixture(scope="module")
def shared(module_place, module_idp):
    """An application behind the ordinary provider."""
    return module_place.app(module_place.provider("oidc", module_idp.config()))


def set_out(place, url, browser=None):
    """To the provider: the browser, and where it is sent."""
    browser = browser or Browser(place.edge)
    page = browser.open(url)
    assert page.status == 200 and "Sign in with Somewhere" in page.text, page.text
    [form] = re.findall(r"<form.*?</form>", page.text, re.DOTALL)
    fields = dict(re.findall(r'name="(csrf|provider)" value="([^"]*)"', form))
    return browser, browser.ask(page.url, "POST", fields)


def sign_in(place, idp, url, **back):
    browser, answer = set_out(place, url)
    assert answer.status == 302, answer.text
    return browser.follow(browser.ask(idp.authorize(answer.location, **back)))


def said(answer):
    """The notice of a page."""
    found = re.search(r'role="alert">([^<]*)<', answer.text)
    return html.unescape(found[1]) if found else html.unescape(re.sub("<[^>]*>", " ", answer.text))


# --- OpenID Connect --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, more",
    [
        ("oidc", {}),
        ("google", {}),
        ("google-apps", {"apps_domain": "example.com"}),
        ("azureAD", {"directory_id": "11111111-2222-3333-4444-555555555555"}),
        ("okta", {"okta_account": "https://okta.test"}),
    ],
)
def test_each_kind_signs_in(place, idp, kind, more):
    idp.changed = {"hd": "example.com"} if kind == "google-apps" else {}
    url = place.app(place.provider(kind, idp.config(**more)))
    arrived = sign_in(place, idp, url, iss=idp.url)
    assert arrived.status == 200 and arrived.url == url
    assert place.emails() == ["ann@example.com"]


@pytest.mark.parametrize("make", [EcKey, PsKey])
def test_other_algorithms(place, tmp_path, make):
    idp = Oidc(tmp_path / "idp", key=make("other"))
    url = place.app(place.provider("oidc", idp.config()))
    assert sign_in(place, idp, url).status == 200
    idp.close()


def test_claims_and_groups_reach_the_policies(place, idp):
    provider = place.provider("oidc", idp.config())
    claim = {"oidc": {"claim_name": "dept", "claim_value": "ops", "identity_provider_id": provider}}
    url = place.app(provider, place.guard.policy("Ops", "allow", claim))
    idp.changed = {"dept": "sales"}
    assert sign_in(place, idp, url).status == 403
    idp.changed = {"dept": ["sales", "ops"]}
    assert sign_in(place, idp, url).status == 200


def entra(idp, **more):
    return idp.config(directory_id="11111111-2222-3333-4444-555555555555", directory_url=idp.url, **more)


OVERAGE = {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://graph.windows.net/t/users/o/getMemberObjects"}}}


def test_who_is_in_too_many_groups_for_a_token(place, idp):
    """Entra names 200; the others are asked for, or nobody is signed in as somebody who is in none."""
    groups, asked = ["1f0c", "abcd"], []

    def graph(request):
        asked.append((request.method, request.get("Authorization"), json.loads(request.read_body())))
        if groups is None:
            reply_json(request, 403, {"error": {"code": "Authorization_RequestDenied", "message": "Insufficient privileges"}})
        else:
            reply_json(request, 200, {"value": groups})

    idp.server.handlers["/v1.0/me/getMemberObjects"] = graph
    provider = place.provider("azureAD", entra(idp, support_groups=True))
    rule = {"azureAD": {"id": "1f0c", "identity_provider_id": provider}}
    ins = place.app(provider, place.guard.policy("In", "allow", rule))
    outs = place.app(provider, place.guard.policy("Out", "allow", {"everyone": {}}, exclude=[rule]))
    # In the token.
    idp.changed = {"groups": ["1f0c"]}
    browser, answer = set_out(place, ins)
    assert "https://graph.microsoft.com/User.Read" in urllib.parse.parse_qs(urllib.parse.urlsplit(answer.location).query)["scope"][0].split()
    assert browser.follow(browser.ask(idp.authorize(answer.location))).status == 200
    assert sign_in(place, idp, outs).status == 403 and not asked
    # Elsewhere.
    idp.changed = OVERAGE
    assert sign_in(place, idp, ins).status == 200
    assert sign_in(place, idp, outs).status == 403
    assert asked[0] == ("POST", "Bearer opaque", {"securityEnabledOnly": False})
    groups = ["abcd"]
    assert sign_in(place, idp, ins).status == 403
    assert sign_in(place, idp, outs).status == 200
    # Nowhere: then nobody is let in who may be excluded.
    for groups in (None, [f"{n:036}" for n in range(1001)]):
        answer = sign_in(place, idp, outs)
        assert answer.status in (403, 502) and "groups" in said(answer)
    # And where nobody is to ask.
    silent = place.provider("azureAD", entra(idp))
    plain = place.app(silent, place.guard.policy("All", "allow", {"everyone": {}}))
    answer = sign_in(place, idp, plain)
    assert answer.status == 403 and "support_groups" in said(answer)
    idp.changed = {"hasgroups": True}
    assert sign_in(place, idp, plain).status == 403


def test_google_is_asked_for_groups(place, idp):
    pages, asked = [["dev@example.com"], ["ops@example.com"]], []

    def search(request):
        query = query_of(request)
        asked.append(query)
        at = int(query.get("pageToken", 0))
        found = [{"groupKey": {"id": name}, "displayName": name} for name in pages[at]]
        more = {"nextPageToken": str(at + 1)} if at + 1 < len(pages) else {}
        reply_json(request, 200, {"memberships": found, **more})

    idp.server.handlers["/v1/groups/-/memberships:searchDirectGroups"] = search
    config = idp.config(apps_domain="example.com", directory_url=idp.url)
    silent = place.provider("google-apps", config)
    rule = {"gsuite": {"email": "ops@example.com", "identity_provider_id": silent}}
    status, answer = place.guard.ask("POST", "access/policies", {"name": "Ops", "decision": "allow", "include": [rule]})
    assert status == 400 and "support_groups" in answer["errors"][0]["message"]

    provider = place.provider("google-apps", {**config, "support_groups": True})
    rule["gsuite"]["identity_provider_id"] = provider
    url = place.app(provider, place.guard.policy("Ops", "allow", rule))
    idp.changed = {"hd": "example.com"}
    assert sign_in(place, idp, url).status == 200
    assert asked[0]["query"] == ("member_key_id == 'ann@example.com' && "
                                 "'cloudidentity.googleapis.com/groups.discussion_forum' in labels")  # fmt: skip
    pages[1] = ["oops@example.com"]
    assert sign_in(place, idp, url).status == 403
    pages[:] = [["ops@example.com"]] * 9
    answer = sign_in(place, idp, url)
    assert answer.status == 502 and "which groups" in said(answer)
    del idp.server.handlers["/v1/groups/-/memberships:searchDirectGroups"]
    # Its address ends no text of the question.
    asked.clear()
    idp.server.handlers["/v1/groups/-/memberships:searchDirectGroups"] = search
    pages[:] = [[]]
    idp.changed = {"hd": "example.com", "email": "x' || true || '@example.com"}
    sign_in(place, idp, url)
    assert asked[0]["query"].startswith("member_key_id == 'x\\' || true || \\'@example.com' && ")


def test_an_address_that_only_userinfo_says(place, idp, shared):
    idp.changed = {"email": None, "email_verified": None}
    idp.userinfo = {"sub": "248289761001", "email": "ann@example.com", "email_verified": True}
    assert sign_in(place, idp, shared).status == 200
    # Of somebody else, it is nobody's.
    idp.userinfo = {"sub": "2", "email": "ann@example.com", "email_verified": True}
    answer = sign_in(place, idp, shared)
    assert answer.status == 403 and "does not say your e-mail address" in said(answer)


def unsigned(claims):
    head, body = (base64.urlsafe_b64encode(json.dumps(x).encode()).rstrip(b"=").decode() for x in ({"alg": "none", "kid": "first"}, claims))
    return f"{head}.{body}."


def keyed_with_public(idp):
    """HS256 with what everybody knows as the secret."""

    def make(claims):
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        public = idp.keys[-1].private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        head, body = (base64.urlsafe_b64encode(json.dumps(x).encode()).rstrip(b"=") for x in ({"alg": "HS256", "kid": "first"}, claims))
        mac = hmac.new(public, head + b"." + body, hashlib.sha256).digest()
        return (head + b"." + body + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()

    return make


def by_stranger(claims):
    return jwt.encode(claims, Key("first").private, algorithm="RS256", headers={"kid": "first"})


NOW = time.time()


@pytest.mark.parametrize(
    "name, changed, forge",
    [
        ("another sign-in's", {"nonce": "x"}, None),
        ("no nonce", {"nonce": None}, None),
        ("another client's", {"aud": "another"}, None),
        ("for another party", {"aud": ["the client", "another"], "azp": "another"}, None),
        ("another issuer's", {"iss": "https://evil.test"}, None),
        ("expired", {"exp": int(NOW) - 600}, None),
        ("of tomorrow", {"nbf": int(NOW) + 86400, "exp": int(NOW) + 90000}, None),
        ("without end", {"exp": None}, None),
        ("about nobody", {"sub": None}, None),
        ("unsigned", {}, "none"),
        ("signed with the public key", {}, "public"),
        ("signed by somebody else", {}, "stranger"),
        ("no token", {}, "rubbish"),
    ],
)
def test_what_cannot_be_trusted_signs_nobody_in(place, idp, shared, name, changed, forge):
    idp.changed = changed
    idp.forge = {"none": unsigned, "public": keyed_with_public(idp), "stranger": by_stranger, "rubbish": lambda c: "a.b.c", None: None}[forge]
    answer = sign_in(place, idp, shared)
    assert answer.status in (403, 502) and "could not be trusted" in said(answer), name
    assert not place.origin.seen


@pytest.mark.parametrize(
    "changed, words",
    [({"email": None}, "does not say your e-mail address"), ({"email_verified": False}, "has not verified your e-mail address")],
)
def test_nobody_without_an_address(place, idp, shared, changed, words):
    idp.changed = changed
    answer = sign_in(place, idp, shared)
    assert answer.status == 403 and words in said(answer) and not place.origin.seen


def test_only_the_domain_that_is_set(place, idp):
    url = place.app(place.provider("google-apps", idp.config(apps_domain="example.com")))
    answer = sign_in(place, idp, url)
    assert answer.status == 403 and "not one of example.com" in said(answer)


def test_keys_are_asked_for_again_when_they_change(place, tmp_path):
    idp = Oidc(tmp_path / "idp")
    url = place.app(place.provider("oidc", idp.config()))
    for _ in range(2):
        assert sign_in(place, idp, url).status == 200
    assert idp.asked("/jwks") == 1 and idp.asked("/.well-known/openid-configuration") == 1
    idp.keys = [Key("second")]
    for _ in range(2):
        assert sign_in(place, idp, url).status == 200
    assert idp.asked("/jwks") == 2
    # Tokens that name keys that nobody has ever seen are no reason to ask all the time.
    idp.header = {"kid": "unknown"}
    for _ in range(3):
        assert sign_in(place, idp, url).status in (403, 502)
    assert idp.asked("/jwks") == 2
    idp.header = {}
    assert sign_in(place, idp, url).status == 200
    idp.close()


@pytest.mark.parametrize(
    "error, status, words",
    [
        ("access_denied", 403, "did not let you in, or you said no there"),
        ("temporarily_unavailable", 403, "cannot be reached at the moment"),
        ("invalid_scope", 502, "does not accept this edge"),
        ("<script>alert(1)</script>", 502, "does not accept this edge"),
    ],
)
def test_errors_of_the_provider_are_explained(place, idp, shared, error, status, words):
    browser, answer = set_out(place, shared)
    back = idp.authorize(answer.location, code=None, error=error, error_description="<b>call 0800 555</b>")
    page = browser.ask(back)
    assert page.status == status and words in said(page) and "0800" not in page.text and "<script>alert" not in page.text
    # There is a way on.
    [form] = re.findall(r"<form.*?</form>", page.text, re.DOTALL)
    fields = dict(re.findall(r'name="(csrf|provider)" value="([^"]*)"', form))
    to = urllib.parse.urljoin(page.url, html.unescape(re.search(r'action="([^"]*)"', form)[1]))
    assert browser.ask(to, "POST", fields).location.startswith(f"{idp.url}/auth?")


@pytest.mark.parametrize(
    "error, words",
    [
        ((401, {"error": "invalid_client"}), "does not accept this edge"),
        ((400, {"error": "invalid_grant"}), "took too long"),
        ((500, b"<h1>Oops</h1>"), "cannot be reached"),
        ((200, b"not JSON"), "cannot be reached"),
        ((200, {"access_token": "x"}), "could not be trusted"),
    ],
)
def test_errors_of_the_token_endpoint_are_explained(place, idp, shared, error, words):
    idp.token_error = error
    answer = sign_in(place, idp, shared)
    assert answer.status in (403, 502) and words in said(answer) and "Oops" not in answer.text


def test_a_provider_that_is_away(place, tmp_path):
    idp = Oidc(tmp_path / "idp")
    url = place.app(place.provider("oidc", idp.config()))
    idp.close()
    _, answer = set_out(place, url)
    assert answer.status == 502 and "cannot be reached" in said(answer)


def test_nobody_speaks_for_another_issuer(place, tmp_path):
    idp = Oidc(tmp_path / "idp")
    idp.described = {"issuer": "https://accounts.google.com"}
    url = place.app(place.provider("oidc", idp.config()))
    _, answer = set_out(place, url)
    assert answer.status == 502 and "could not be trusted" in said(answer)
    idp.close()


def test_an_answer_belongs_to_one_browser_and_one_sign_in(place, idp, shared):
    browser, answer = set_out(place, shared)
    back = idp.authorize(answer.location)
    other, elsewhere = set_out(place, shared)
    for thief in (Browser(place.edge), other):
        assert "did not begin in this browser" in thief.ask(back).text
    # A code that was made for another sign-in, put into mine.
    stolen = urllib.parse.parse_qs(urllib.parse.urlsplit(idp.authorize(elsewhere.location)).query)["code"][0]
    parts = urllib.parse.urlsplit(back)
    query = dict(urllib.parse.parse_qsl(parts.query), code=stolen)
    mixed = browser.ask(urllib.parse.urlunsplit(parts._replace(query=urllib.parse.urlencode(query))))
    assert mixed.status in (403, 502) and "took too long" in said(mixed)
    # Once only, whatever came of it.
    assert "did not begin in this browser" in browser.ask(back).text
    assert "did not begin" in browser.ask(back.split("?")[0]).text
    assert not place.origin.seen


def test_an_answer_of_another_provider(place, idp, shared):
    answer = sign_in(place, idp, shared, iss="https://evil.test")
    assert answer.status in (403, 502) and "could not be trusted" in said(answer)
    assert not idp.codes == {}  # the code was not taken to anybody


# --- GitHub ----------------------------------------------------------------------------------------------


@pytest.fixture
def github(tmp_path):
    g = GitHub(tmp_path / "github")
    yield g
    g.close()


def test_github_organisations_and_teams(place, github):
    provider = place.provider("github", github.config())
    rule = lambda name, **team: {"github-organization": {"name": name, "identity_provider_id": provider, **team}}  # noqa: E731
    whole = place.app(provider, place.guard.policy("Acme", "allow", rule("acme")))
    team = place.app(provider, place.guard.policy("Acme's core", "allow", rule("acme", team="core")))
    assert sign_in(place, github, whole).status == 403
    for i in range(120):  # more than one page
        github.is_in(f"org-{i}")
    github.is_in("acme", "docs")
    assert sign_in(place, github, whole).status == 200
    assert sign_in(place, github, team).status == 403
    github.is_in("acme", "core")
    assert sign_in(place, github, team).status == 200
    assert set(place.emails()) == {"ann@example.com"}
    # What does not fit is not forgotten: it might be excluded.
    github.teams += [{"slug": f"team-{i}", "organization": {"login": "acme"}} for i in range(1000 - len(github.teams))]
    answer = sign_in(place, github, team)
    assert answer.status == 403 and "more than this edge can keep in mind" in said(answer)


def test_github_says_what_is_wrong(place, github):
    url = place.app(place.provider("github", github.config()))
    github.emails[1]["verified"] = False
    answer = sign_in(place, github, url)
    assert answer.status == 403 and "no verified primary e-mail address" in said(answer)
    browser, answer = set_out(place, url)
    back = github.authorize(answer.location)
    github.codes.clear()
    assert "took too long" in said(browser.ask(back))
    wrong = place.app(place.provider("github", github.config(client_secret="wrong")))
    answer = sign_in(place, github, wrong)
    assert answer.status == 502 and "does not accept this edge" in said(answer)
    assert not place.origin.seen


# --- sessions, and pages ------------------------------------------------------------------------------------


def test_a_session_goes_on_without_a_word(place, idp):
    """The application's token ends, the organisation's does not."""
    url = place.app(place.provider("oidc", idp.config()), session_duration="2s")
    browser, answer = set_out(place, url)
    assert browser.follow(browser.ask(idp.authorize(answer.location))).status == 200
    first, exchanged = browser.jar(url)["CF_Authorization"], idp.asked("/token")
    wait_until(lambda: browser.ask(url).status == 302, "end of the token", 30)
    # A program is told, and a page is there again after a few redirects; nobody is asked anything.
    assert browser.ask(url, headers={"Accept": "application/json"}).status == 401
    again = browser.open(url)
    assert again.status == 200 and again.url == url
    assert browser.jar(url)["CF_Authorization"] != first and idp.asked("/token") == exchanged
    # It is judged anew: who is not wanted any more gets no further.
    place.guard.do("PUT", f"access/policies/{place.staff}", {"name": "Staff", "decision": "allow", "include": [{"email": {"email": "b@x.test"}}]})  # fmt: skip
    try:
        refused = browser.open(url)
        assert refused.status == 403 and "ann@example.com" in refused.text
    finally:
        place.guard.do("PUT", f"access/policies/{place.staff}", {"name": "Staff", "decision": "allow", "include": [STAFF]})


def test_pictures_of_another_site_sign_nobody_out(place, idp, shared):
    browser, answer = set_out(place, shared)
    assert browser.follow(browser.ask(idp.authorize(answer.location))).status == 200
    leave = place.edge.public_url + "/cdn-cgi/access/logout"
    hidden = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    assert browser.ask(leave, headers=hidden).status == 403
    assert browser.ask(shared).status == 200
    assert browser.ask(leave, headers={**hidden, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}).status == 200
    assert browser.ask(shared).status == 302


def test_pages_need_nothing_from_elsewhere(place, shared):
    browser = Browser(place.edge)
    sign_in_page = browser.open(shared)
    left = browser.ask(shared + "cdn-cgi/access/logout")
    for page in (sign_in_page, left):
        policy = page.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "script-src" not in policy and "frame-ancestors 'none'" in policy
        assert page.headers["Cache-Control"] == "no-store" and page.headers["Referrer-Policy"] == "no-referrer"
        for path in re.findall(r'(?:href|src)="(/[^"]*\.(?:css|svg|js))"', page.text):
            got = browser.ask(urllib.parse.urljoin(page.url, path))
            assert got.status == 200 and got.headers["X-Content-Type-Options"] == "nosniff", path
    assert browser.ask(shared + "cdn-cgi/access/assets/layout.html").status == 404


@pytest.mark.parametrize("logo", ["javascript:alert(1)", "https://x.test; script-src *", "http://x.test/a.png", "data:text/html,x"])
def test_a_logo_is_a_picture(place, logo):
    status, said = place.guard.ask("POST", "access/organizations", {"name": "X", "logo_url": logo})
    assert status == 400 and "logo_url" in said["errors"][0]["message"]


# --- what is refused when it is set up --------------------------------------------------------------------


@pytest.mark.parametrize(
    "kind, config, words",
    [
        ("saml", {}, "SAML is not supported"),
        ("azureAD", {"client_id": "x"}, "config.directory_id is missing"),
        ("oidc", {"client_id": "x"}, "config.issuer is missing"),
        ("oidc", {"client_id": "x", "issuer": "http://idp.test"}, "begins with https://"),
        ("google", {}, "config.client_id is missing"),
        ("facebook", {}, "is not supported"),
    ],
)
def test_what_cannot_work_is_refused(place, kind, config, words):
    status, answer = place.guard.ask("POST", "access/identity_providers", {"name": "X", "type": kind, "config": config})
    assert status == 400 and words in answer["errors"][0]["message"]


def test_pages_have_the_organisations_colours_if_they_can_be_read(place, shared):
    g = place.guard
    for design, says in (
        ({"background_color": "#ffffff", "text_color": "#777777"}, "contrast is 4.48, and has to be 4.5"),
        ({"background_color": "#fff", "text_color": "#000"}, 'like "#1f5f5b"'),
        ({"background_color": "#000000;}*{x:url(//evil.test)", "text_color": "#ffffff"}, 'like "#1f5f5b"'),
        ({"background_color": "red", "text_color": "blue"}, 'like "#1f5f5b"'),
        ({"text_color": "#ffffff"}, 'like "#1f5f5b"'),
        ({"header_text": "Hello"}, '"header_text" is not served'),
        ("dark", "must be an object"),
    ):
        status, said = g.ask("POST", "access/organizations", {"name": "X", "login_design": design})
        assert status == 400 and says in said["errors"][0]["message"], said
    sheet = f"{place.edge.public_url}/cdn-cgi/access/assets/brand.css"
    browser = Browser(place.edge)
    assert "brand.css" not in browser.open(shared).text and browser.ask(sheet).status == 404

    made = g.make("organizations", name="X", login_design={"background_color": "#002B49", "text_color": "#ffffff"})
    page = browser.open(shared)
    [link] = re.findall(r'href="(/cdn-cgi/access/assets/brand.css\?[0-9a-f]{12})"', page.text)
    assert page.text.index("style.css") < page.text.index("brand.css")
    css = browser.ask(place.edge.public_url + link)
    assert css.headers["Content-Type"].startswith("text/css") and "--page: #002b49;" in css.text
    g.do("DELETE", f"access/organizations/{made['id']}")
    assert "brand.css" not in browser.open(shared).text
