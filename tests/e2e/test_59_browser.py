"""People sign in with Chromium, in each way there is, and reach a Node application and its WebSocket. One browser for all
the stories (browser/session.mjs); its pictures are in build/results/browser, and axe-core has looked at each page."""

import json
import pathlib
import shutil
import subprocess
import urllib.parse

import pytest

from conftest import Own
from testenv import net
from testenv.edge import ZONE
from testenv.guard import Guard, MailSink
from testenv.idp import CLIENT, SECRET, GitHub, context_of, query_of
from testenv.origin import Origin
from testenv.place import connect
from testenv.program import PATIENCE, Program, check, clean_env

# All stories are told before the first test: a browser and four programs, on cores that others use, too.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(330)]
HERE = pathlib.Path(__file__).parent / "browser"
ROOT = pathlib.Path(__file__).parents[2]
MODULES = ROOT / "build/npm"
RESULTS = ROOT / "build/results/browser"
STORIES = ("pin", "dark", "password", "refused", "oidc", "at_once", "github", "passkey", "silent", "purpose")
LOGO = "data:image/svg+xml;base64,PHN2ZyB4bWxucz0iaHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmciIHZpZXdCb3g9IjAgMCAxMCAxMCI+PGNpcmNsZSBjeD0iNSIgY3k9IjUiIHI9IjUiIGZpbGw9IiNiMDQwNjAiLz48L3N2Zz4="  # fmt: skip


def why_not():
    if not (MODULES / "node_modules/playwright-core").exists():
        return "the browser's modules are not there (./dev test installs them through npm)"
    missing = [p for p in ("chromium", "certutil", "node") if not shutil.which(p)]
    return f"not installed: {' '.join(missing)}" if missing else None


class Helpers:
    """What a person would look up: the code in their mail; and GitHub's page that asks for their consent."""

    def __init__(self, sink, github):
        self.origin = Origin()
        self.sink, self.github = sink, github
        self.origin.handlers["/pin"] = self._pin
        github.server.handlers["/login/oauth/authorize"] = self._consent
        github.server.handlers["/login/oauth/agreed"] = self._agreed

    def _pin(self, request):
        request.reply(200, [], self.sink.pin_for(query_of(request)["email"]).encode())

    def _consent(self, request):
        query = urllib.parse.urlsplit(request.target).query
        fields = "".join(f'<input type="hidden" name="{n}" value="{v}">' for n, v in urllib.parse.parse_qsl(query))
        page = f'<!doctype html><title>GitHub</title><form action="agreed">{fields}<button>Authorize</button></form>'
        request.reply(200, [("Content-Type", "text/html")], page.encode())

    def _agreed(self, request):
        request.reply(302, [("Location", self.github.authorize(request.target))])


def node(name, argv, folder):
    return Program(name, ["node", *argv], folder, env=clean_env(NODE_PATH="/usr/share/nodejs"))


def start_idp(folder, callback):
    """The npm oidc-provider: its URL, and whom to trust."""
    context_of(folder)
    port = net.free_port()
    issuer = f"https://127.0.0.1:{port}"
    ids = [f"{CLIENT} {kind}" for kind in ("oidc", "google", "azureAD", "atOnce")]
    clients = [{"client_id": i, "client_secret": SECRET, "redirect_uris": [callback]} for i in ids]
    settings = {"issuer": issuer, "port": port, "clients": clients, "modules": str(MODULES),
                "cert": str(folder / "server.pem"), "key": str(folder / "server.key")}  # fmt: skip
    program = node("idp", [HERE / "idp.mjs", json.dumps(settings)], folder)
    program.wait_log("^listening")
    return program, issuer, folder / "ca.pem"


def trust(folder, *authorities):
    """A home whose Chromium trusts them."""
    store = folder / ".pki/nssdb"
    store.mkdir(parents=True)
    check(["certutil", "-N", "-d", f"sql:{store}", "--empty-password"])
    for i, ca in enumerate(authorities):
        check(["certutil", "-A", "-d", f"sql:{store}", "-n", f"ca {i}", "-t", "C,,", "-i", ca])
    return folder


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What came of each story."""
    if why_not():
        pytest.skip(why_not())
    folder = tmp_path_factory.mktemp("browser")
    own = Own(folder)
    closers = []
    try:
        yield tell(own, folder, closers)
    finally:
        for close in closers:
            close()
        own.close()


def tell(own, folder, closers):
    edge = own.edge(control=f"adit.{ZONE}")  # passkeys are of a name, not of an address
    app = node("app", [HERE / "app.cjs"], folder)
    service = f"http://127.0.0.1:{app.wait_log(r'^listening ([0-9]+)')[1]}"
    idp, issuer, idp_ca = start_idp(folder / "idp", f"{edge.public_url}/cdn-cgi/access/callback")
    own.helpers += [app, idp]
    github, sink = GitHub(folder / "github"), MailSink()
    helpers = Helpers(sink, github)
    closers += [github.close, sink.close, helpers.origin.close]

    connect(own, edge, service)

    g = Guard(edge)
    g.make("organizations", name="Example & Sons", logo_url=LOGO)
    for email, word in (("ann@example.com", "sesame"), ("eve@evil.test", "letmein")):
        g.person(email, word)
    staff = g.policy("Staff", "allow", {"email_domain": {"domain": "example.com"}})
    mail = {"smtp_url": sink.url, "from": "adit@example.com", "smtp_plain": True}
    oidc = {"client_secret": SECRET, "issuer": issuer, "ca_file": str(idp_ca)}

    def way(kind, name, config):
        return g.make("identity_providers", type=kind, name=name, config=config)["id"]

    local = [way("onetimepin", "Code by e-mail", mail), way("password", "Password", {}), way("passkey", "Passkey", {})]
    ways = {
        "oidc": [way("oidc", "Example ID", {**oidc, "client_id": f"{CLIENT} oidc"})],
        "google": [way("google", "Google", {**oidc, "client_id": f"{CLIENT} google"})],
        "azureAD": [way("azureAD", "Microsoft", {**oidc, "client_id": f"{CLIENT} azureAD", "directory_id": "example"})],
        "atOnce": [way("oidc", "Example ID", {**oidc, "client_id": f"{CLIENT} atOnce"})],
        "github": [way("github", "GitHub", github.config())],
    }
    ways["all"] = [*local, *ways["oidc"], *ways["github"]]
    ways["short"] = ways["why"] = local
    why = g.policy("Why", "allow", {"email_domain": {"domain": "example.com"}}, purpose_justification_required=True,
                   purpose_justification_prompt="Which ticket is it for?")  # fmt: skip
    apps = {}
    for name, ids in ways.items():
        host = f"{name.lower()}.{ZONE}"
        g.make("apps", name=f"The wiki ({name})", domain=host, policies=[why if name == "why" else staff], allowed_idps=ids,
               auto_redirect_to_identity=name == "atOnce")  # fmt: skip
        apps[name] = f"https://{host}:{edge.https}/"

    shutil.rmtree(RESULTS, ignore_errors=True)
    RESULTS.mkdir(parents=True)
    settings = {"modules": str(MODULES), "chromium": shutil.which("chromium"), "results": str(RESULTS),
                "home": str(trust(folder / "home", edge.ca, idp_ca, github.ca)), "patience": 10 * PATIENCE, "apps": apps,
                "control": edge.public_url, "helper": helpers.origin.service}  # fmt: skip
    (folder / "settings.json").write_text(json.dumps(settings))
    done = subprocess.run(["node", HERE / "session.mjs", folder / "settings.json"], env=clean_env(), timeout=300,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    (RESULTS / "stories.json").write_text(json.dumps(lines, indent=1))
    assert done.returncode == 0, done.stderr[-4000:]
    return {line["story"]: line["problem"] for line in lines}


@pytest.mark.parametrize("story", STORIES)
def test_people_sign_in_with_a_browser(told, story):
    assert told.get(story, "it was not told") is None, told.get(story)
