"""Codes by e-mail: how they leave the edge."""

import re
import urllib.parse

import pytest

from conftest import Own
from testenv.guard import Browser, MailSink
from testenv.idp import context_of
from testenv.place import Place
from testenv.visitor import Raw
from testenv.wait import wait_until

LOGIN = ("edge", "pass wörd")


@pytest.fixture(scope="module")
def module_place(tmp_path_factory):
    own = Own(tmp_path_factory.mktemp("codes"))
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
def tls(tmp_path_factory):
    return context_of(tmp_path_factory.mktemp("mail") / "tls")


@pytest.fixture
def sink():
    """sink(…): a mail server."""
    made = []

    def make(**kwargs):
        made.append(MailSink(**kwargs))
        return made[-1]

    yield make
    for s in made:
        s.close()


def form_of(page):
    [form] = re.findall(r"<form.*?</form>", page.text, re.DOTALL)
    return dict(re.findall(r'name="(csrf|provider|email)" value="([^"]*)"', form))


def ask_for_code(place, config):
    """The browser, the application, and the page that wants the code."""
    url = place.app(place.provider("onetimepin", {"from": "adit@example.com", **config}))
    browser = Browser(place.edge)
    page = browser.open(url)
    page = browser.ask(page.url, "POST", {**form_of(page), "email": "joe@example.com"})
    assert page.status == 200 and "a code is on its way" in page.text
    return browser, url, page


@pytest.mark.parametrize("at_once", [False, True])
def test_over_tls_to_a_server_that_knows_us(place, sink, tls, at_once):
    context, ca = tls
    mails = sink(tls_at_once=context, login=LOGIN) if at_once else sink(tls=context, login=LOGIN)
    config = {"smtp_url": mails.url, "smtp_user": LOGIN[0], "client_secret": LOGIN[1], "smtp_ca_file": str(ca)}
    browser, url, page = ask_for_code(place, config)
    code = mails.pin_for("joe@example.com")
    arrived = browser.follow(browser.ask(page.url, "POST", {**form_of(page), "code": code}))
    assert arrived.status == 200 and arrived.url == url and place.emails() == ["joe@example.com"]
    [(to, text)] = mails.mails
    assert "From: Adit <adit@example.com>" in text and f"Subject: {code} is your code for" in text


@pytest.mark.parametrize(
    "why, change",
    [
        ("no TLS there", {}),
        ("a server nobody vouches for", {"smtp_ca_file": None}),
    ],
)
def test_where_it_cannot_be_sent_nobody_gets_it(place, sink, tls, why, change):
    context, ca = tls
    mails = sink() if why == "no TLS there" else sink(tls=context, login=LOGIN)
    config = {"smtp_url": mails.url, "smtp_user": LOGIN[0], "client_secret": LOGIN[1], "smtp_ca_file": str(ca), **change}
    log = place.edge.program
    since = log.mark()
    # The page says no more than ever.
    ask_for_code(place, {n: v for n, v in config.items() if v is not None})
    log.wait_log("a sign-in code could not be sent", since=since)
    assert not mails.mails and "pass w" not in log.text(since)


# --- who is not kept out ------------------------------------------------------------------------------------


def ask_as(place, url, source, browser=None, email="joe@example.com"):
    """Somebody at this address of the network asks for the code of joe, or somebody else."""
    browser = browser or Browser(place.edge, source)
    page = browser.open(url)
    return browser, browser.ask(page.url, "POST", {**form_of(page), "email": email})


def test_strangers_keep_nobody_out(place, sink):
    mails = sink()
    config = {"smtp_url": mails.url, "from": "adit@example.com", "smtp_plain": True}
    url = place.app(place.provider("onetimepin", config))
    own, page = ask_as(place, url, "127.0.9.1")
    assert own.follow(own.ask(page.url, "POST", {**form_of(page), "code": mails.pin_for("joe@example.com")})).status == 200
    own.ask(url + "cdn-cgi/access/logout")

    # From one place only so many codes are sent, and the page does not say which was the last; then it has to wait.
    before = len(mails.mails)
    answers = [ask_as(place, url, "127.0.9.2")[1] for _ in range(12)]
    assert [a.status for a in answers] == [200] * 10 + [429] * 2
    wait_until(lambda: len(mails.mails) == before + 5, "five codes")
    # Joe gets his from anywhere else, and in his own browser from that very place.
    for browser, source in ((None, "127.0.9.3"), (own, "127.0.9.2")):
        if browser:
            browser.source = source
        before = len(mails.mails)
        joe, page = ask_as(place, url, source, browser)
        assert page.status == 200
        wait_until(lambda before=before: len(mails.mails) == before + 1, "joe's code")
        code = mails.pin_for("joe@example.com")
        assert joe.follow(joe.ask(page.url, "POST", {**form_of(page), "code": code})).status == 200


def test_many_codes_are_long_ones(place, sink):
    mails = sink()
    config = {"smtp_url": mails.url, "from": "adit@example.com", "smtp_plain": True}
    url = place.app(place.provider("onetimepin", config))
    start = len(mails.mails)
    for i in range(62):
        stranger, page = ask_as(place, url, f"127.0.10.{i + 1}")
    wait_until(lambda: len(mails.mails) == start + 62, "codes for all")
    code = max((re.search(r"^ {4}([0-9]+)\r?$", text, re.MULTILINE)[1] for _, text in mails.mails), key=len)
    assert len(code) == 12


def test_ten_thousand_guesses(place, sink):
    """On many connections and from many addresses, for one code that is good all the while."""
    mails = sink()
    config = {"smtp_url": mails.url, "from": "adit@example.com", "smtp_plain": True}
    url = place.app(place.provider("onetimepin", config))
    thief, page = ask_as(place, url, "127.0.11.1", email="jim@example.com")
    code = mails.pin_for("jim@example.com")
    parts, form = urllib.parse.urlsplit(page.url), form_of(page)
    cookies = "; ".join(f"{n}={v}" for n, v in thief.jar(page.url).items())
    before, statuses = len(place.origin.seen), {}

    def guess(raw, text):
        body = urllib.parse.urlencode({**form, "code": text})
        raw.send(f"POST {parts.path}?{parts.query} HTTP/1.1\r\nHost: {parts.netloc}\r\nCookie: {cookies}\r\n"
                 f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}")  # fmt: skip

    raws = [Raw(place.edge, parts.hostname, source=f"127.0.11.{i + 1}") for i in range(20)]
    guesses = (f"{n:06d}" for n in range(10_100) if f"{n:06d}" != code)
    for _ in range(500):
        for raw in raws:
            guess(raw, next(guesses))
        for raw in raws:
            status = raw.read().status
            statuses[status] = statuses.get(status, 0) + 1
    # A try is looked at a few times; after that not even the right one helps.
    for raw in raws:
        guess(raw, code)
        status = raw.read().status
        statuses[status] = statuses.get(status, 0) + 1
        raw.close()
    assert sum(statuses.values()) == 10_020 and set(statuses) == {403, 429}, statuses
    assert len(place.origin.seen) == before
    # Its owner asks for another, elsewhere.
    jim, page = ask_as(place, url, "127.0.12.1", email="jim@example.com")
    wait_until(lambda: mails.pin_for("jim@example.com") != code, "another code")
    code = mails.pin_for("jim@example.com")
    assert jim.follow(jim.ask(page.url, "POST", {**form_of(page), "code": code})).status == 200
