"""`adit tunnel login` without a browser: curl plays the administrator, form by form."""

import html
import re
import subprocess
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from testenv.connector import Cli
from testenv.program import ADIT, Program


class Browser:
    """curl with cookies; forms are filled in from what the page says."""

    def __init__(self, edge, folder):
        self.edge, self.jar = edge, folder / "cookies"
        self.url, self.status, self.page = None, 0, ""

    def _go(self, url, *args):
        done = subprocess.run(
            ["curl", "-sSL", "--max-time", "30", "--cacert", self.edge.ca, "-b", self.jar, "-c", self.jar,
             "-w", "\n%{http_code} %{url_effective}", *args, url],
            stdout=subprocess.PIPE, check=True, text=True,
        )  # fmt: skip
        self.page, _, last = done.stdout.rpartition("\n")
        self.status, self.url = int(last.split(" ", 1)[0]), last.split(" ", 1)[1]
        return self

    def open(self, url):
        return self._go(url)

    def forms(self):
        """[(action, {name: value})] of the page."""
        found = []
        for tag, inside in re.findall(r"<form([^>]*)>(.*?)</form>", self.page, re.S):
            fields = {}
            for field in re.findall(r"<(?:input|button)([^>]*)>", inside):
                attributes = dict(re.findall(r'([a-z-]+)="([^"]*)"', field))
                if "name" in attributes:
                    fields.setdefault(attributes["name"], html.unescape(attributes.get("value", "")))
            found.append((html.unescape(dict(re.findall(r'([a-z-]+)="([^"]*)"', tag))["action"]), fields))
        return found

    def submit(self, form, /, leave_out=(), **values):
        [fields] = [f for a, f in self.forms() if a == form]
        fields = {**{n: v for n, v in fields.items() if n not in leave_out}, **values}
        args = [x for n, v in fields.items() for x in ("--data-urlencode", f"{n}={v}")]
        return self._go(f"{self.edge.public_url}{form}", *args)


@pytest.fixture
def edge(own):
    return own.edge()


@pytest.fixture
def browser(edge, tmp_path):
    return Browser(edge, tmp_path)


def one_time_link(edge):
    return re.search(r"https://\S+/login/link\?token=\S+", edge.init_output)[0]


class Login:
    """A running `adit tunnel login` and the address it asked to open."""

    def __init__(self, own, edge, folder, *args):
        self.cli = Cli("adit", edge, folder)
        self.cli.home.mkdir()
        argv = [ADIT, "tunnel", "login", "--cacert", edge.ca, *(args or [edge.public_url])]
        self.program = Program("login", argv, folder, self.cli.env(PATH="/nonexistent"))
        own.helpers.append(self.program)
        self.url = self.program.wait_log(r"https://\S+callback=\S+").group()

    def wait_done(self):
        assert self.program.wait(20) == 0
        assert "You have successfully logged in." in self.program.text()
        assert str(self.cli.cert) in self.program.text()
        assert self.cli.cert.stat().st_mode & 0o777 == 0o600
        assert self.cli.cert.read_text().startswith("-----BEGIN ARGO TUNNEL TOKEN-----")
        # It names everything: no flag is needed from here on.
        assert self.cli.run("tunnel", "create", "after-login").returncode == 0
        assert "after-login" in self.cli.check("tunnel", "list")


def test_with_the_one_time_link(own, edge, browser, tmp_path):
    login = Login(own, edge, tmp_path)
    assert f"{edge.public_url}/argotunnel" in login.url
    browser.open(login.url)
    assert browser.status == 200 and "certificate" in browser.page
    browser.submit("/login/link", token=one_time_link(edge))
    assert "/argotunnel" in browser.url and "example.com" in browser.page
    # People compare the end of the address with what their terminal shows.
    callback = parse_qs(urlsplit(login.url).query)["callback"][0]
    assert callback[-9:] in html.unescape(browser.page)
    browser.submit("/argotunnel", action="approve")
    assert browser.status == 200 and "Authorized" in browser.page
    login.wait_done()


def test_with_a_password(own, edge, browser, tmp_path):
    edge.command("user", "password", "admin@example.com", input="correct horse battery\n")
    login = Login(own, edge, tmp_path)
    browser.open(login.url)
    browser.submit("/sign-in", email="admin@example.com", password="wrong horse battery")
    assert browser.status == 403 and "wrong" in browser.page
    browser.submit("/sign-in", email="admin@example.com", password="correct horse battery")
    assert browser.status == 200
    browser.submit("/argotunnel", action="approve")
    login.wait_done()
    assert "horse" not in edge.program.text()


def test_opening_the_link_first(own, edge, browser, tmp_path):
    """The link may be opened by itself; who is signed in already is asked only to approve."""
    browser.open(one_time_link(edge))
    browser.submit("/login/link")
    assert browser.status == 200 and "admin@example.com" in browser.page
    login = Login(own, edge, tmp_path)
    browser.open(login.url)
    browser.submit("/argotunnel", action="approve")
    login.wait_done()


def test_an_existing_certificate_is_kept(edge, tmp_path):
    cli = Cli("adit", edge, tmp_path).log_in()
    before = cli.cert.read_text()
    done = cli.run("tunnel", "login", "--cacert", edge.ca, edge.public_url)
    assert done.returncode == 0 and cli.cert.read_text() == before
    assert f"You have an existing certificate at {cli.cert} which login would overwrite." in done.stdout + done.stderr


def test_the_link_works_once(edge, browser, tmp_path):
    link = one_time_link(edge)
    browser.open(link).submit("/login/link")
    assert "admin@example.com" in browser.page
    other = Browser(edge, tmp_path / "..")
    other.jar = tmp_path / "other"
    other.open(link).submit("/login/link")
    assert other.status == 403 and "used already" in other.page
    made = edge.command("user", "link", "admin@example.com")
    other.open(re.search(r"https://\S+", made.stdout)[0]).submit("/login/link")
    assert "admin@example.com" in other.page


def test_forms_from_elsewhere_change_nothing(own, edge, browser, tmp_path):
    browser.open(one_time_link(edge))
    browser.submit("/login/link", leave_out=["csrf"])
    assert browser.status == 403
    browser.open(one_time_link(edge)).submit("/login/link")
    login = Login(own, edge, tmp_path)
    browser.open(login.url)
    browser.submit("/argotunnel", action="approve", csrf="x" * 43)
    assert browser.status == 403 and "Authorized" not in browser.page
    assert login.program.is_running() and not login.cli.cert.exists()
    login.program.kill()


@pytest.mark.parametrize("callback", ["https://evil.example/login/AAAA", "http://127.0.0.1/login/x", "javascript:alert(1)"])
def test_certificates_are_delivered_nowhere_else(edge, browser, callback):
    browser.open(one_time_link(edge)).submit("/login/link")
    browser.open(f"{edge.public_url}/argotunnel?callback={quote(callback, safe='')}")
    [(_, fields)] = [f for f in browser.forms() if f[0] == "/argotunnel"]
    assert fields.get("action") != "approve"
    browser.submit("/argotunnel", action="approve")
    assert browser.status == 400 and "evil" not in str(edge.program.text())


def test_downloading_the_certificate(edge, browser, tmp_path):
    browser.open(one_time_link(edge)).submit("/login/link")
    browser.open(f"{edge.public_url}/argotunnel")
    browser.submit("/argotunnel", action="download")
    cli = Cli("adit", edge, tmp_path)
    cli.dot.mkdir(parents=True)
    cli.cert.write_text(browser.page)
    assert cli.run("tunnel", "create", "downloaded").returncode == 0


def test_sign_out(edge, browser):
    browser.open(one_time_link(edge)).submit("/login/link")
    browser.submit("/sign-out")
    browser.open(f"{edge.public_url}/argotunnel")
    assert "admin@example.com" not in browser.page and any(a == "/sign-in" for a, _ in browser.forms())


def test_guessing_passwords_is_slowed_down(edge, browser):
    browser.open(f"{edge.public_url}/sign-in")
    seen = []
    for i in range(13):
        browser.submit("/sign-in", email="admin@example.com", password=f"guess number {i}")
        seen.append(browser.status)
    assert seen[0] == 403 and seen[-1] == 429


def test_pages_say_no_to_frames_and_scripts(edge, browser):
    out = subprocess.run(["curl", "-sSi", "--cacert", edge.ca, edge.public_url + "/sign-in"],
                         stdout=subprocess.PIPE, check=True, text=True).stdout.lower()  # fmt: skip
    policy = re.search(r"content-security-policy: (.*)", out)[1]
    assert "frame-ancestors 'none'" in policy and "default-src 'none'" in policy
    assert "strict-transport-security" not in out or "max-age" in out


def test_login_ends_with_a_signal(own, edge, tmp_path):
    login = Login(own, edge, tmp_path)
    login.program.signal(15)
    assert login.program.wait(10) != 0
    assert not login.cli.cert.exists()
