"""Codes by e-mail: how they leave the edge."""

import re

import pytest

from conftest import Own
from testenv.guard import Browser, MailSink
from testenv.idp import context_of
from testenv.place import Place

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
