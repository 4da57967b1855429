"""Access from a command line: sign-in, tokens, curl, TCP."""

import json
import os
import re
import stat
import subprocess
import time

import pytest
from test_58_access import claims

from testenv.command_line import ANN, ECHO, TEAM, WEB, World
from testenv.guard import Browser
from testenv.program import ADIT
from testenv.wait import wait_until


@pytest.fixture
def world(own):
    w = World(own)
    yield w
    w.close()


def test_a_person_signs_a_command_line_in(world):
    world.serve()
    web = world.app("web")
    none = world.access("token", "--app", world.url())
    assert none.returncode == 1 and not none.stdout and "Unable to find token" in none.stderr

    out = world.login()
    token = re.fullmatch(r"Successfully fetched your token:\n\n(\S+)\n\n", out)[1]
    assert claims(token)["aud"] == [web["aud"]] and claims(token)["email"] == ANN
    for name in (f"{WEB}-{web['aud']}-token", f"{TEAM}-org-token"):
        mode = (world.cli.dot / name).stat().st_mode
        assert stat.S_IMODE(mode) == 0o600
    assert world.access("token", "--app", world.url()).stdout == token
    assert world.access("token", world.url()).stdout == token
    # For programs.
    for args in (["token", "--output", "json", world.url()], ["login", "-o", "json", world.url()]):
        said = json.loads(world.access(*args).stdout)
        assert said["token"] == token and said["aud"] == web["aud"] and said["email"] == ANN and "T" in said["expires_at"]
    assert f"token: {token}" in world.access("token", "--output", "yaml", world.url()).stdout
    bad = world.access("token", "--output", "xml", world.url())
    assert bad.returncode == 1 and not bad.stdout and "Unknown output format 'xml'" in bad.stderr
    none = world.access("token", "-o", "json", world.url(ECHO))
    assert none.returncode == 1 and not none.stdout
    # Again: nobody is asked.
    assert world.access("login", "--no-verbose", world.url()).stdout == token
    assert world.access("login", "--quiet", world.url()).stdout == ""

    # curl: the service sees who it is; nobody else sees the token.
    done = world.access("curl", world.url(path="/x"), "-sS", "--cacert", str(world.edge.ca), "-d", "body")
    assert done.returncode == 0, done.stderr
    [request] = world.web.seen
    assert request.method == "POST" and request.get("Cf-Access-Authenticated-User-Email") == ANN
    failed = world.access("curl", world.url(), "-sS", "--cacert", "/nonexistent")
    assert failed.returncode == 77 and "exit status 77" in failed.stderr

    # Another application: by the session, without a browser.
    echo = world.app("echo")
    done = world.access("login", "--app", world.url(ECHO))
    assert done.returncode == 0 and claims(done.stdout)["aud"] == [echo["aud"]], done.stderr

    # Signed out everywhere: the stored tokens are worth nothing, and a person is asked again.
    browser = Browser(world.edge)
    world.cli.dot.joinpath(f"{WEB}-{web['aud']}-token").write_text("not a token")
    assert claims(world.access("login", "--no-verbose", world.url()).stdout)["aud"] == [web["aud"]]
    headers = {"Cookie": f"CF_Authorization={world.access('token', world.url()).stdout}"}
    assert browser.ask(f"https://{WEB}:{world.edge.https}/cdn-cgi/access/logout", headers=headers).status == 200
    process = world.start("curl", world.url(path="/again"), "-sS", "--cacert", str(world.edge.ca))
    world.approve(process)
    process.communicate(timeout=60)
    assert process.returncode == 0 and world.web.seen[-1].target == "/again"


def test_what_is_wrong_is_said(world):
    world.serve()
    done = world.access("login", world.url())
    assert done.returncode == 1 and "failed to find Access application" in done.stderr
    for args, code, text in (
        (["login"], 255, "URL"),
        (["token", "a", "b"], 255, "URL"),
        (["curl"], 255, "app"),
        (["curl", "-sS", "https://h"], 255, "app"),
        (["ssh-gen"], 255, "--hostname"),
        (["--fedramp", "login", "https://h"], 1, "--fedramp"),
        (["login", "https://a b/"], 1, "not the hostname"),
    ):
        done = world.access(*args)
        assert done.returncode == code and not done.stdout and text in done.stderr, (args, done)
    # Links that nobody made.
    web = world.app("part", domain=f"{WEB}/admin")
    browser = Browser(world.edge)
    base = f"https://{WEB}:{world.edge.https}/cdn-cgi/access/cli"
    key = "A" * 43 + "="
    for query in ("", f"?aud={web['aud']}", f"?aud={web['aud']}&token=x", f"?aud={'0' * 64}&token={key}"):
        assert browser.ask(base + query).status == 400
    # A path of a host is an application, too.
    process = world.start("login", "--auto-close", "--no-verbose", world.url(path="/admin/x?y=z"))
    done = world.approve(process)
    assert "close.js" in done.text
    token = process.communicate(timeout=60)[0]
    assert claims(token)["aud"] == [web["aud"]] and world.files("-token")
    # Nothing is handed out by a form of another site, nor to a key that anybody could open.
    ask = f"{base}?aud={web['aud']}&token="
    browser.sign_in(f"https://{WEB}:{world.edge.https}/admin", ANN, "sesame")
    assert browser.ask(ask + key.replace("=", "%3D"), "POST", {"csrf": "x" * 43}).status == 403
    page = browser.open(ask + key.replace("=", "%3D"))
    csrf = re.search(r'name="csrf" value="([^"]*)"', page.text)[1]
    assert browser.ask(page.url, "POST", {"csrf": csrf}).status == 400


def test_streams(world):
    world.serve()
    world.app("echo")
    argv = ["tcp", "--hostname", ECHO]
    # Not signed in: it asks, waits, and goes on.
    process = subprocess.Popen(
        [str(ADIT), "access", *argv], env=world.env(), cwd=world.cli.home, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    world.approve(process)
    out, err = process.communicate("over there", timeout=60)
    assert process.returncode == 0 and out == "over there", err
    # Signed in: nobody is asked.
    done = world.access(*argv, input="again")
    assert done.returncode == 0 and done.stdout == "again", done.stderr
    assert world.echo.count == 2

    # A service token, from the environment; and a wrong one.
    made = world.guard.make("service_tokens", name="machine")
    machine = world.guard.policy("Machines", "non_identity", {"service_token": {"token_id": made["id"]}})
    world.change("echo", policies=[machine])
    right = {"TUNNEL_SERVICE_TOKEN_ID": made["client_id"], "TUNNEL_SERVICE_TOKEN_SECRET": made["client_secret"]}
    done = world.access(*argv, env=right, input="by machine")
    assert done.stdout == "by machine" and not done.stderr, done
    done = world.access(*argv, env={**right, "TUNNEL_SERVICE_TOKEN_SECRET": "0" * 64}, input="x")
    assert done.returncode == 1 and "401" in done.stderr and "0" * 64 not in done.stderr
    # Who is signed in may not come in any more: no circle of logins.
    done = world.access(*argv, input="x")
    assert done.returncode == 1 and not done.stdout, done
    assert world.echo.count == 3


def test_a_stream_outlives_its_token_and_no_new_one_begins(world):
    world.serve()
    world.app("echo", session_duration="4s")
    world.login(ECHO, "--quiet")
    process = subprocess.Popen(
        [str(ADIT), "access", "tcp", "--hostname", ECHO], env=world.env(), cwd=world.cli.home,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    process.stdin.write(b"before")
    process.stdin.flush()
    assert os.read(process.stdout.fileno(), 100) == b"before"
    [path] = world.cli.dot.glob(f"{ECHO}-*-token")
    token = path.read_text()
    wait_until(lambda: time.time() > claims(token)["exp"], "the token's end")
    answer = Browser(world.edge).ask(f"https://{ECHO}:{world.edge.https}/", headers={"Cf-Access-Token": token})
    assert answer.status == 302
    process.stdin.write(b"after")
    process.stdin.flush()
    assert os.read(process.stdout.fileno(), 100) == b"after"
    process.stdin.close()
    assert process.wait(60) == 0
    # The next gets a new token by the session.
    assert world.access("tcp", "--hostname", ECHO, input="new").stdout == "new"
    assert path.read_text() != token
