"""Access under attack: whatever a request looks like, nobody reaches a guarded service unknown."""

import base64
import hashlib
import hmac
import json
import posixpath
import random
import re
import urllib.parse

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from conftest import Own
from testenv import h3
from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.guard import Browser, Guard
from testenv.origin import Origin
from testenv.visitor import H2, Raw
from testenv.websocket import new_key

ELSEWHERE_ZONE = "elsewhere.test"
APP, OTHER, HALF, OPEN = (f"{name}.{ZONE}" for name in ("app", "other", "half", "open"))
WILD = f"*.wild.{ZONE}"
NAVIGATION = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate", "Accept": "text/html"}


class Site:
    def __init__(self, own):
        self.edge = own.edge()
        self.origin = Origin()
        cli = own.cli(self.edge)
        tunnel = cli.create("guarded")
        for host in (APP, OTHER, HALF, OPEN, WILD):
            cli.check("tunnel", "route", "dns", "guarded", host)
        own.connect(cli, tunnel, write_config(own.folder / "guarded.json", tunnel, [{"hostname": f"*.{ZONE}", "service": self.origin.service}]))
        self.edge.wait_connections(4)
        self.guard = g = Guard(self.edge)
        g.make("identity_providers", name="Password", type="password")
        staff = g.policy("Staff", "allow", {"email_domain": {"domain": "example.com"}})
        everybody = g.policy("Everybody", "bypass", {"everyone": {}})
        machines = g.policy("Machines", "non_identity", {"any_valid_service_token": {}})
        self.app = g.app("app", staff, machines)
        g.app("other", staff)
        g.app("wild", staff, domain=WILD)
        g.app("half", staff)
        g.app("hook", everybody, domain=f"{HALF}/hook")
        for name in ("ann", "eve"):
            g.person(f"{name}@example.com", "sesame")
        self.ann, self.eve = (self.signed_in(f"{name}@example.com") for name in ("ann", "eve"))

    def url(self, host=APP, path="/"):
        return f"https://{host}:{self.edge.https}{path}"

    def signed_in(self, email):
        browser = Browser(self.edge)
        assert browser.sign_in(self.url(), email, "sesame").status == 200
        return browser

    def token(self, browser, host=APP):
        return browser.jar(self.url(host))["CF_Authorization"]

    def reached(self):
        return len(self.origin.seen)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    own = Own(tmp_path_factory.mktemp("attacks"))
    s = None
    try:
        s = Site(own)
        yield s
    finally:
        own.close()
        if s:
            s.origin.close()


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).decode().rstrip("=")


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# --- requests of all kinds ---------------------------------------------------------------------------------


def spellings(r, host, port):
    return r.choice([
        host, f"{host}:{port}", host.upper(), f"{host}.", f"{host}.:{port}", f"{host}:443", f"{host}:", f"{host}:0",
        f"user@{host}", f"user:pw@{host}", host.replace(".", "%2e", 1), f"{host}..", f".{host}", f"{host}\\@{OPEN}",
        f"{OPEN}@{host}", f"{host}/", f"{host}#", f"{host},{OPEN}", f"x{host}", f"{host}%00", f"{host}\t",
        f"a.b.wild.{ZONE}", f"a..wild.{ZONE}", f"x.y.z.wild.{ZONE}:{port}", f"X.WILD.{ZONE}",
    ])  # fmt: skip


def paths(r):
    parts = ["", ".", "..", "%2e%2e", "%252e%252e", ".%2e", "..;", ".;x", "hook", "HOOK", "h%6fok", "hook;a=b", "%2568ook",
             "hook.", "hook%20", "hook%00", "admin", "x", "%2f", "%5c", "\\", "%25252e", "..%2f", "..%5c", "hook%2f..%2fadmin",
             "cdn-cgi", "access", "%", "%zz", "a b", "\xc3\xa9", "well-known", ".well-known", "acme-challenge"]  # fmt: skip
    path = "".join(r.choice(("/", "/", "//")) + r.choice(parts) for _ in range(r.randint(1, 5)))
    return path + r.choice(["", "", "?", "?a=b", "#x", "?x#/hook", "/"])


def forged_fields(r, site):
    token = site.token(site.ann, OTHER) if OTHER in site.ann.jars else "x.y.z"
    junk = [
        ("Cf-Access-Jwt-Assertion", token), ("Cf-Access-Authenticated-User-Email", "ann@example.com"),
        ("Cf-Access-Token", "x.y.z"), ("Cookie", "CF_Authorization=x.y.z; CF_AppSession=a"), ("Cf-Access-Token", ""),
        ("Cookie", f"CF_Authorization={token}"), ("CF-Access-Client-Id", "x.access"), ("CF-Access-Client-Secret", "x"),
        ("X-Original-URL", "/hook"), ("X-Rewrite-URL", "/hook"), ("X-Forwarded-Host", OPEN), ("Forwarded", f"host={OPEN}"),
        ("X-Forwarded-For", "127.0.0.1"), ("Origin", "https://evil.test"), ("Access-Control-Request-Method", "GET"),
        ("X-HTTP-Method-Override", "OPTIONS"), ("Cf-Access-Metadata-Request", "true"), ("X-Requested-With", "XMLHttpRequest"),
        ("Authorization", "Basic YTpi"), ("Cf-Connecting-Ip", "127.0.0.1"), ("Client-Cert", ":AAAA:"),
        ("Cf-Access-Jump-Destination", "127.0.0.1:22"),
    ]  # fmt: skip
    return r.sample(junk, r.randint(0, 4))


METHODS = ["GET", "GET", "HEAD", "POST", "OPTIONS", "TRACE", "PUT", "DELETE", "PROPFIND", "CONNECT", "get", "X"]
UPGRADE = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", new_key())]


def readings(target):
    """The paths a service may make of it."""
    path, last = target.split("?")[0], None
    while path != last:
        last = path
        for cut in (path, path.replace("\\", "/"), re.sub(";[^/]*", "", path.replace("\\", "/"))):
            yield posixpath.normpath("/" + cut.lower().lstrip("/"))
        path = urllib.parse.unquote(path, "latin-1")


def check(site, before, sent):
    """What has arrived since is the open part of HALF, however it is read."""
    for request in site.origin.seen[before:]:
        host = request.get("Host").split(":")[0].lower().rstrip(".")
        assert host == HALF, (host, request.raw_head, sent[-3:])
        for path in readings(request.target):
            assert path == "/hook" or path.startswith("/hook/"), (path, request.raw_head)


def test_no_request_gets_through_over_http1(site):
    r, before, sent, raw = random.Random(1), site.reached(), [], None
    for _ in range(250):
        raw = raw or Raw(site.edge, APP)
        host = spellings(r, r.choice((APP, HALF, HALF)), site.edge.https)
        target = paths(r)
        if r.random() < 0.15:
            target = f"{r.choice(('http', 'https'))}://{spellings(r, r.choice((APP, OPEN)), 1)}{target}"
            host = r.choice((APP, HALF))
        method = r.choice(METHODS)
        fields = forged_fields(r, site) + (UPGRADE if r.random() < 0.2 else []) + ([("Host", OPEN)] if r.random() < 0.05 else [])
        head = f"{method} {target} HTTP/1.{r.choice('1110')}\r\nHost: {host}\r\n"
        head += "".join(f"{n}: {v}\r\n" for n, v in fields)
        sent.append(head)
        # Absolute targets may name a host that nobody guards.
        if f"//{OPEN}" in target.lower() or f"@{OPEN}" in target.lower():
            continue
        try:
            raw.send(head + "\r\n")
            answer = raw.read(method)
            again = answer and answer.status < 400 and answer.get("connection") != "close" and answer.status != 101
        except OSError:
            again = False
        if not again:
            raw.close()
            raw = None
    check(site, before, sent)
    if raw:
        raw.close()


def test_no_request_gets_through_over_http2(site):
    r, before, sent, conn = random.Random(2), site.reached(), [], None
    for _ in range(250):
        conn = conn or H2(site.edge, APP, encoding="latin-1")
        conn.authority = spellings(r, r.choice((APP, HALF, HALF)), site.edge.https)
        method, path = r.choice(METHODS), paths(r)
        extra = [(n.lower(), v) for n, v in forged_fields(r, site)]
        if r.random() < 0.1:
            extra.append(("host", r.choice((OPEN, APP))))
        if r.random() < 0.1:
            method, extra = "CONNECT", [(":protocol", r.choice(("websocket", "connect-udp"))), *extra]
        sent.append((conn.authority, method, path, extra))
        try:
            conn.response(conn.headers(path, method, extra))
        except OSError:
            conn.closed = True
        if conn.closed:
            conn.close()
            conn = None
    check(site, before, sent)
    if conn:
        conn.close()


def test_no_request_gets_through_over_http3(site):
    if h3.why_not():
        pytest.skip(h3.why_not())
    r, before, sent = random.Random(3), site.reached(), []
    visitor = h3.H3Visitor(site.edge)
    for _ in range(80):
        host = r.choice((APP, HALF))
        fields = forged_fields(r, site)
        if r.random() < 0.5:
            fields.append(("Host", spellings(r, host, site.edge.https)))
        path = paths(r).replace(" ", "%20").replace("\t", "%09")
        sent.append((host, path, fields))
        visitor.fetch(host, path, headers=fields, method=r.choice(("GET", "POST", "OPTIONS", "TRACE")))
    visitor.close()
    check(site, before, sent)


def test_a_wildcard_is_guarded_as_deep_as_its_route_goes(site):
    before, raw = site.reached(), Raw(site.edge, APP)
    for host in (f"x.wild.{ZONE}", f"deep.er.wild.{ZONE}", f"X.Y.Z.Wild.{ZONE}.", f"a..wild.{ZONE}"):
        raw.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
        answer = raw.read()
        assert answer.status == 302 and "/cdn-cgi/access/login" in answer.get("location"), host
    raw.close()
    assert site.reached() == before


# --- tokens ------------------------------------------------------------------------------------------------


def forgeries(site):
    token = site.token(site.ann)
    head, payload, signature = token.split(".")
    header, claims = json.loads(unb64(head)), json.loads(unb64(payload))
    [key] = json.loads(Browser(site.edge).ask(site.url(path="/cdn-cgi/access/certs")).body)["keys"]
    public = rsa.RSAPublicNumbers(*(int.from_bytes(unb64(key[n]), "big") for n in "en")).public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    mine = rsa.generate_private_key(65537, 2048)
    numbers = mine.public_key().public_numbers()
    jwk = {"kty": "RSA", "e": "AQAB", "n": b64(numbers.n.to_bytes(256, "big")), "kid": key["kid"], "alg": "RS256"}

    def hs256(secret, **more):
        text = f'{b64({**header, "alg": "HS256", **more})}.{payload}'
        return f"{text}.{b64(hmac.digest(secret, text.encode(), 'sha256'))}"

    def signed(header, claims):
        text = f"{b64(header)}.{b64(claims)}"
        return f"{text}.{b64(mine.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    for alg in ("none", "None", "NONE", "", None, "RS256 ", "rs256", "RS512", "PS256", "ES256", "HS256", 5, ["RS256"]):
        yield f"{b64({**header, 'alg': alg})}.{payload}.{signature}"
        yield f"{b64({**header, 'alg': alg})}.{payload}."
    yield from (hs256(secret) for secret in (pem, pem.strip(), json.dumps(key).encode(), b"", key["n"].encode()))
    for kid in ("", "../../../../dev/null", "' OR 1=1 --", None, 0, "x" * 4000, [key["kid"]], {"a": 1}):
        yield signed({**header, "kid": kid}, claims)
    yield hs256(b"", kid="../../dev/null")
    for more in ({"jwk": jwk}, {"jku": "https://evil.test/"}, {"x5u": "https://evil.test/"}, {"x5c": ["AAAA"]}, {"crit": ["b64"]}, {}):
        yield signed({**header, **more}, claims)
    # Tampered: the signature is of something else.
    for change in ({"email": "root@example.com"}, {"exp": 9999999999}, {"aud": ["0" * 64]}, {"type": "org"}, {"identity_nonce": "1" * 64}):
        yield f"{head}.{b64({**claims, **change})}.{signature}"
    flipped = "A" if signature[9] != "A" else "B"
    yield f"{head}.{payload}.{signature[:9]}{flipped}{signature[10:]}"
    yield from (token[:-4], token + "A", token + ".", "." + token, token.replace(".", ".."), f"{head}.{payload}", f"{head}..{signature}")
    yield from ("", ".", "..", "...", "a.b.c", "=.=.=", "x" * 6000, f"{'A' * 3000}.{'A' * 3000}.{'A' * 100}", "%00.%00.%00")
    yield f"{b64(b'[' * 2000)}.{b64(b'{' * 2000)}.AAAA"
    yield f"{b64(b'{}')}.{b64(b'null')}.{b64(hashlib.sha256(b'').digest())}"
    # Good ones, for something else.
    yield site.ann.jar(site.edge.public_url)["CF_Authorization"]
    site.ann.open(site.url(OTHER))
    yield site.token(site.ann, OTHER)
    page = site.ann.ask(site.ann.ask(site.url(), headers={"Cookie": "a=b"}).location)
    yield urllib.parse.parse_qs(urllib.parse.urlsplit(page.location).query)["nonce"][0]
    meta = site.ann.ask(site.url(), "HEAD", headers={"cf-access-metadata-request": "true"})
    yield meta.headers["cf-access-metadata"]


def test_no_forged_token_is_taken(site):
    tokens = [t for t in forgeries(site) if t is not None]
    assert len(tokens) > 60
    before, raw = site.reached(), None
    for token in tokens:
        for field in (f"Cf-Access-Token: {token}", f"Cookie: CF_Authorization={token}"):
            raw = raw or Raw(site.edge, APP)
            raw.send(f"GET / HTTP/1.1\r\nHost: {APP}:{site.edge.https}\r\n{field}\r\n\r\n")
            answer = raw.read()
            assert answer.status in (302, 400), (answer.status, field)
            if answer.status == 400:
                raw.close()
                raw = None
    assert site.reached() == before
    # Somebody's good one still is.
    assert Browser(site.edge).ask(site.url(), headers={"Cf-Access-Token": site.token(site.ann)}).status == 200
    huge = Browser(site.edge).ask(site.url(), headers={"Cf-Access-Token": "A" * 100_000})
    assert huge.status == 431


def test_tokens_of_another_zone_or_another_edge_are_nobodys(site, tmp_path_factory):
    """Of the same edge and the same keys; and of the very same hostname and address, at somebody else's edge."""
    own = Own(tmp_path_factory.mktemp("zones"))
    try:
        cli, there = own.cli(site.edge), f"app.{ELSEWHERE_ZONE}"
        assert site.edge.command("zone", "add", ELSEWHERE_ZONE).returncode == 0
        pem = own.folder / "cert.pem"
        pem.write_text(site.edge.command("cert", "--zone", ELSEWHERE_ZONE).stdout)
        done = cli.run("tunnel", "--origincert", pem, "route", "dns", "guarded", there)
        assert done.returncode == 0, done
        site.guard.make("apps", name="there", domain=there, policies=[p["id"] for p in site.guard.do("GET", "access/policies") if p["name"] == "Staff"])
        browser = Browser(site.edge)
        assert "Sign in to" in browser.open(site.url(there)).text
        browser.sign_in(site.url(there), "ann@example.com", "sesame")
        foreign = [site.token(browser, there)]
        assert browser.ask(site.url(there)).status != 302, "it is good there"

        edge = own.edge("another")
        guard = Guard(edge)
        guard.make("identity_providers", name="Password", type="password")
        guard.app("app", guard.policy("Staff", "allow", {"email_domain": {"domain": "example.com"}}))
        guard.person("ann@example.com", "sesame")
        stranger, cli = Browser(edge), own.cli(edge, folder=own.folder / "another-home")
        cli.create("guarded")
        cli.check("tunnel", "route", "dns", "guarded", APP)
        stranger.sign_in(f"https://{APP}:{edge.https}/", "ann@example.com", "sesame")
        foreign.append(stranger.jar(f"https://{APP}/")["CF_Authorization"])
        foreign.append(stranger.jar(edge.public_url)["CF_Authorization"])

        before = site.reached()
        for token in foreign:
            for fields in ({"Cf-Access-Token": token}, {"Cookie": f"CF_Authorization={token}"}):
                assert Browser(site.edge).ask(site.url(), headers=fields).status == 302
        # Nor does a session of the other edge open anything here.
        login = Browser(site.edge).ask(site.url()).location
        shown = Browser(site.edge).ask(login, headers={"Cookie": f"CF_Authorization={foreign[2]}"})
        assert shown.status == 200 and "Sign in to" in shown.text
        # And the other way about.
        mine = Browser(edge).ask(f"https://{APP}:{edge.https}/", headers={"Cf-Access-Token": site.token(site.ann)})
        assert mine.status == 302
        assert site.reached() == before
    finally:
        own.close()


def test_secrets_of_services_are_not_guessed(site):
    made = site.guard.make("service_tokens", name="monitor")
    cid, secret = made["client_id"], made["client_secret"]
    before, browser = site.reached(), Browser(site.edge)
    for wrong_id, wrong in ((cid, ""), ("", secret), (cid, secret[:-1]), (cid, secret + "0"), (cid, secret.upper() + "x"),
                            (made["id"], secret), (cid.upper() + "x", secret), (cid, "0" * 64), ("*", "*"), (cid + "\t", "x")):  # fmt: skip
        answer = browser.ask(site.url(), headers={"CF-Access-Client-Id": wrong_id, "CF-Access-Client-Secret": wrong})
        assert answer.status in (302, 401), (wrong_id, wrong)
    raw = Raw(site.edge, APP)
    raw.request("GET", "/", [("CF-Access-Client-Id", cid), ("CF-Access-Client-Id", "x"), ("CF-Access-Client-Secret", secret)])
    assert raw.read().status == 400
    raw.close()
    assert site.reached() == before
    assert browser.ask(site.url(), headers={"CF-Access-Client-Id": cid, "CF-Access-Client-Secret": secret}).status == 200


# --- cookies -----------------------------------------------------------------------------------------------


def cookie(**values):
    return "; ".join(f"{name.replace('HOST_', '__Host-')}={value}" for name, value in values.items())


def test_a_neighbour_cannot_make_somebody_use_its_token(site):
    """Any host of the domain may set cookies for all of it; __Host- ones it cannot."""
    ann, eve = site.signed_in("ann@example.com").jar(site.url()), site.signed_in("eve@example.com").jar(site.url())
    browser = Browser(site.edge)
    alone = browser.ask(site.url(), headers={**NAVIGATION, "Cookie": cookie(CF_Authorization=eve["CF_Authorization"])})
    assert alone.status == 302
    both = cookie(CF_Authorization=eve["CF_Authorization"], CF_AppSession=eve["CF_AppSession"])
    assert browser.ask(site.url(), headers={**NAVIGATION, "Cookie": both}).status == 302
    mixed = f"CF_Authorization=x.y.z; CF_Authorization={eve['CF_Authorization']}; " + "; ".join(f"{n}={v}" for n, v in ann.items())
    answer = browser.ask(site.url(), headers={**NAVIGATION, "Cookie": mixed})
    assert answer.status == 200
    request = site.origin.seen[-1]
    assert request.get("Cf-Access-Authenticated-User-Email") == "ann@example.com"
    assert request.get("Cf-Access-Jwt-Assertion") == ann["CF_Authorization"]
    # The service sees the one that was looked at, and none of the others.
    assert request.get("Cookie") == f"CF_Authorization={ann['CF_Authorization']}"


def test_nobody_is_signed_in_as_somebody_else(site):
    """Login CSRF: a stranger begins a sign-in and has another browser end it."""
    eve = Browser(site.edge)
    start = eve.ask(site.url())
    page = eve.follow(start)
    ready = eve.send_password(page, "eve@example.com", "sesame")
    assert "/authorized?nonce=" in ready.location
    victim = Browser(site.edge)
    tossed = cookie(CF_AppSession=eve.jar(site.url())["CF_AppSession"])
    assert victim.ask(ready.location, headers={**NAVIGATION, "Cookie": tossed}).status == 403
    # The organisation's cookie neither.
    org = eve.jar(site.edge.public_url)["CF_Authorization"]
    login = victim.ask(site.url()).location
    shown = victim.ask(login, headers={**NAVIGATION, "Cookie": cookie(CF_Authorization=org)})
    assert shown.status == 200 and "Sign in to" in shown.text
    # Nor does a form from elsewhere sign anybody in.
    form = {"provider": "x", "csrf": "A" * 43, "email": "eve@example.com", "password": "sesame"}
    assert victim.ask(login, "POST", form).status == 403
    assert victim.ask(login, "POST", form, headers={"Cookie": "__Host-adit-form=" + "B" * 43}).status == 403


def test_a_session_is_new_with_each_sign_in(site):
    """Session fixation: what a browser brings along does not become the session."""
    browser, seen = Browser(site.edge), set()
    for _ in range(3):
        assert browser.sign_in(site.url(), "ann@example.com", "sesame").status == 200
        for token in (site.token(browser), site.token(browser, urllib.parse.urlsplit(site.edge.public_url).hostname)):
            seen.add(json.loads(unb64(token.split(".")[1]))["identity_nonce"])
        planted = {"CF_Authorization": "x.y.z", "CF_Session": "x", "CF_Device": "x" * 43, "__Host-adit-device": "x" * 43}
        browser.jars = {host: dict(planted) for host in browser.jars}
    assert len(seen) == 3


def test_services_see_nothing_of_ours_where_nobody_is_asked(site):
    browser = Browser(site.edge)
    mine = "a=1; CF_Authorization=x; CF_AppSession=y; __Host-CF_AppSession=z; cf_binding=q; __Host-CF_Binding=w; b=2"
    answer = browser.ask(site.url(HALF, "/hook/1"), headers={
        "Cookie": mine, "Cf-Access-Token": "x", "Cf-Access-Jwt-Assertion": "z",
        "Cf-Access-Authenticated-User-Email": "ann@example.com", "X-Original-URL": "/admin", "X-Rewrite-Url": "/admin"})  # fmt: skip
    assert answer.status == 200
    request = site.origin.seen[-1]
    assert request.get("Cookie") == "a=1; b=2"
    names = {n.lower() for n, _ in request.headers}
    assert not [n for n in names if n.startswith("cf-access-")] and not names & {"x-original-url", "x-rewrite-url"}


# --- where people are sent ---------------------------------------------------------------------------------

ELSEWHERE = [
    "https://evil.test/", "http:evil.test", "//evil.test/", "///evil.test", "////evil.test/", "/\\evil.test", "\\\\evil.test",
    "\\/evil.test", "/\t/evil.test", "/\n/evil.test", "/\r/evil.test", "\t//evil.test", " //evil.test", "/ /evil.test",
    "javascript:alert(1)", "data:text/html,x", "/a b", "x", "", "?x", "#", "/\r\nSet-Cookie: a=b", "/a\x00b", "evil.test",
    "%2f%2fevil.test", "/#//evil.test", "@evil.test", ".evil.test",
]  # fmt: skip


def test_nobody_is_sent_elsewhere_by_the_path(site):
    start = urllib.parse.urlsplit(Browser(site.edge).ask(site.url()).location)
    for target in ELSEWHERE:
        query = dict(urllib.parse.parse_qsl(start.query), redirect_url=target)
        url = urllib.parse.urlunsplit(start._replace(query=urllib.parse.urlencode(query)))
        answer = site.ann.ask(url)
        assert answer.status == 400 and not answer.location, (target, answer.status)


def test_nobody_is_sent_elsewhere_by_the_host(site):
    start = urllib.parse.urlsplit(Browser(site.edge).ask(site.url(f"x.wild.{ZONE}")).location)
    for host in ("evil.test", f"evil.test/.wild.{ZONE}", f"evil.test#.wild.{ZONE}", f"evil.test?.wild.{ZONE}", f"a@x.wild.{ZONE}",
                 f"evil.test\\.wild.{ZONE}", f"x.wild.{ZONE}@evil.test", f"x.wild.{ZONE}:80@evil.test", f"x.wild.{ZONE}.evil.test",
                 f"x.wild.{ZONE}:99999", f"x.wild.{ZONE}\t", f"evil.test .wild.{ZONE}", "", ".", APP):  # fmt: skip
        url = urllib.parse.urlunsplit(start._replace(path="/cdn-cgi/access/login/" + urllib.parse.quote(host, safe="")))
        answer = site.ann.ask(url)
        assert answer.status in (400, 404) and not answer.location, (host, answer.status)


# --- pages of other origins --------------------------------------------------------------------------------


def test_questions_of_other_origins_are_answered_by_the_edge(site):
    asked = {"Origin": "https://page.test", "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-a"}
    before, browser = site.reached(), Browser(site.edge)
    assert browser.ask(site.url(), "OPTIONS", headers=asked).status == 302
    cors = {"allowed_origins": ["https://page.test"], "allowed_methods": ["GET", "PUT"], "allow_all_headers": True,
            "allow_credentials": True, "max_age": 60}  # fmt: skip
    site.guard.do("PUT", f"access/apps/{site.app['id']}", {**site.app, "cors_headers": cors})
    answer = browser.ask(site.url(), "OPTIONS", headers=asked)
    said = {n.lower().removeprefix("access-control-"): v for n, v in answer.headers.items() if n.lower().startswith("access")}
    assert answer.status == 204 and said == {
        "allow-origin": "https://page.test", "allow-methods": "GET, PUT", "allow-headers": "x-a", "allow-credentials": "true",
        "max-age": "60"}  # fmt: skip
    assert browser.ask(site.url(), "OPTIONS", headers={**asked, "Origin": "https://evil.test"}).status == 403
    assert browser.ask(site.url(), "OPTIONS").status == 302 and site.reached() == before
    for wrong in ({"allow_all_origins": True, "allow_credentials": True}, {"max_age": -1}, {"allowed_methods": "GET"},
                  {"allowed_origins": ["a\r\nb"]}, [], {"allow_all_headers": 1}):  # fmt: skip
        status, _ = site.guard.ask("PUT", f"access/apps/{site.app['id']}", {**site.app, "cors_headers": wrong})
        assert status == 400, wrong
    site.guard.do("PUT", f"access/apps/{site.app['id']}", site.app)


def test_a_cookie_stays_in_its_part_of_the_host(site):
    staff = site.app["policies"][0]
    made = site.guard.app("part", staff, domain=f"{OTHER}/part/of", path_cookie_attribute=True)
    browser = site.signed_in("ann@example.com")
    after = browser.ask(browser.ask(browser.ask(site.url(OTHER, "/part/of/it?x")).location).location)
    [cookie] = [c for c in after.headers.get_all("Set-Cookie") if c.startswith("CF_Authorization=")]
    assert after.status == 302 and "; Path=/part/of;" in cookie
    site.guard.do("DELETE", f"access/apps/{made['id']}")


# --- who is known ------------------------------------------------------------------------------------------


def test_nobody_learns_who_has_an_account(site):
    answers = set()
    for number, email in enumerate(("ann@example.com", "nobody@example.com", "nobody@elsewhere.test", "no address")):
        browser = Browser(site.edge, source=f"127.0.9.{number + 1}")
        page = browser.open(site.url())
        answer = browser.send_password(page, email, "wrong")
        names = tuple(sorted(n.lower() for n in answer.headers))
        answers.add((answer.status, names, re.sub(r'(value=|state=|kid=)"?[^"]*', "", answer.text)))
    assert len(answers) == 1 and answers.pop()[0] == 403
