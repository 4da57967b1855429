"""Access from a command line: SSH certificates that a real sshd takes, and a stock client that ours has signed in."""

import json
import os
import stat
import subprocess

import pytest
from conftest import need
from test_58_access import claims

from testenv import sshd
from testenv.command_line import ANN, ECHO, SSH, TEAM, USER, WEB, World
from testenv.program import STOCK, clean_env, run
from testenv.wait import wait_until


@pytest.fixture
def world(own):
    w = World(own)
    yield w
    w.close()


def test_ssh_with_certificates_that_hold_for_a_while(world):
    ssh = world.app("ssh", ssh_certificate_duration="4m")
    authority = world.guard.do("POST", f"access/apps/{ssh['id']}/ca")["public_key"]
    (world.folder / "ca.pub").write_text(authority + "\n")
    more = f"TrustedUserCAKeys {world.folder}/ca.pub\nAuthorizedKeysFile none\n"
    world.sshd = server = sshd.start(world.folder / "sshd", more)
    world.serve(**{SSH: f"ssh://127.0.0.1:{server.port}"})
    process = world.start("ssh-gen", "--hostname", SSH)
    world.approve(process)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and not out, err
    key = world.cli.dot / f"{SSH}-cf_key"
    for path in (key, f"{key}.pub", f"{key}-cert.pub"):
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    shown = run(["ssh-keygen", "-L", "-f", f"{key}-cert.pub"]).stdout
    assert f'Key ID: "{ANN}"' in shown and f" {USER}\n" in shown

    # As ssh-config says it, word for word.
    stanza = world.access("ssh-config", "--hostname", SSH, "--short-lived-cert").stdout
    config = world.folder / "ssh_config"
    text = stanza[stanza.index("Match") :].replace("~/", f"{world.cli.home}/")
    extra = f"  User {USER}\n  UserKnownHostsFile {server.folder}/known_hosts\n  HostKeyAlias service\n"
    config.write_text(text + extra + "  BatchMode yes\n  IdentitiesOnly yes\n  IdentityAgent none\n")

    def by_config():
        return run(["ssh", "-F", config, SSH, "echo in"], env=world.env(), cwd=world.cli.home)

    done = by_config()
    assert done.returncode == 0 and done.stdout == "in\n", done.stderr

    # Short ones are over soon: the same server then says no. The session still renews them.
    world.change("ssh", ssh_certificate_duration="1s")
    said = json.loads(world.access("ssh-gen", "--hostname", SSH, "--output", "json").stdout)
    assert (said["key"], said["public_key"], said["certificate"]) == (str(key), f"{key}.pub", f"{key}-cert.pub")
    options = ["-F", "none", "-i", key, "-o", f"CertificateFile={key}-cert.pub", "-o", "BatchMode=yes",
               "-o", f"UserKnownHostsFile={server.folder}/known_hosts", "-o", "HostKeyAlias=service",
               "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-p", str(server.port)]  # fmt: skip

    def refused():
        done = run(["ssh", *options, f"{USER}@127.0.0.1", "echo in"])
        return done.returncode == 255 and "Permission denied" in done.stderr

    wait_until(refused, "the certificate's end")
    world.change("ssh", ssh_certificate_duration="4m")
    assert by_config().stdout == "in\n"

    # Not in the name of somebody else.
    done = run(["ssh", *options[:-2], "-p", str(server.port), "nobody@127.0.0.1", "echo in"])
    assert done.returncode == 255 and "Permission denied" in done.stderr


def test_a_stock_client_is_signed_in_by_ours(world):
    need("stock")
    ssh = world.app("ssh")
    world.app("web")
    world.app("echo")
    world.guard.do("POST", f"access/apps/{ssh['id']}/ca")
    world.serve(**{SSH: f"tcp://127.0.0.1:{world.echo.port}"})
    world.login(WEB, "--seed-cloudflared", "--quiet")
    dot = world.cli.home / ".cloudflared"
    assert {p.name for p in dot.iterdir()} >= {f"{TEAM}-jwks", f"{TEAM}-org-token"}
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o600 for p in dot.iterdir())
    env = clean_env(HOME=world.cli.home, HTTPS_PROXY=world.proxy.url, SSL_CERT_FILE=world.edge.ca,
                    CURL_CA_BUNDLE=world.edge.ca, NO_AUTOUPDATE="true")  # fmt: skip

    def stock(*args):
        return run([STOCK, "access", *args], env=env, cwd=world.cli.home)

    def talk(word, text, **more):
        """It ends with its input, whatever is still to come."""
        argv = [STOCK, "access", word, "--hostname", ECHO]
        with subprocess.Popen(argv, env={**env, **more}, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdin.write(text)
            process.stdin.flush()
            heard = os.read(process.stdout.fileno(), 100)
            process.kill()
        return heard

    token = stock("token", "--app", world.url())
    assert claims(token.stdout)["email"] == ANN, token
    done = stock("curl", world.url(path="/stock"), "-sS")
    assert done.returncode == 0 and world.web.seen[-1].target == "/stock", done
    # Applications that it has not been to: by the session.
    done = stock("login", "--app", world.url(ECHO))
    assert claims(done.stdout)["email"] == ANN, done
    assert talk("tcp", b"by stock") == b"by stock"
    done = stock("ssh-gen", "--hostname", SSH)
    assert done.returncode == 0, done
    shown = run(["ssh-keygen", "-L", "-f", dot / f"{SSH}-cf_key-cert.pub"]).stdout
    assert f'Key ID: "{ANN}"' in shown

    # With a service token, in a home without anything.
    made = world.guard.make("service_tokens", name="machine")
    machine = world.guard.policy("Machines", "non_identity", {"service_token": {"token_id": made["id"]}})
    world.change("echo", policies=[machine])
    empty = world.folder / "empty"
    empty.mkdir()
    more = {"TUNNEL_SERVICE_TOKEN_ID": made["client_id"], "TUNNEL_SERVICE_TOKEN_SECRET": made["client_secret"]}
    for word in ("tcp", "ssh"):
        assert talk(word, b"machine", HOME=str(empty), **more) == b"machine"
    # curl wants a person's token first, whatever its command line says: without one it looks for the team at a host
    # of Cloudflare's. Where somebody is signed in the service token decides.
    world.change("web", policies=[world.staff, machine])
    fields = [w for name in ("id", "secret") for w in ("-H", f"CF-Access-Client-{name}: {made['client_' + name]}")]
    alone = run([STOCK, "access", "curl", "-ar", world.url(path="/alone"), "-sS", *fields],
                env={**env, "HOME": str(empty)}, cwd=empty)  # fmt: skip
    assert alone.returncode != 0 and "metadata JWT verification failed" in alone.stderr, alone
    done = stock("curl", world.url(path="/machine"), "-sS", *fields)
    assert done.returncode == 0, done
    request = world.web.seen[-1]
    assert request.target == "/machine" and claims(request.get("Cf-Access-Jwt-Assertion"))["common_name"] == made["client_id"]
    assert not request.get("CF-Access-Client-Secret") and not request.get("Cf-Access-Token")
    # Not seeded where stock clients would not take it.
    organization = world.guard.do("GET", "access/organizations")[0]
    world.guard.do("PUT", f"access/organizations/{organization['id']}", {**organization, "auth_domain": "team.example"})
    done = world.access("login", "--seed-cloudflared", world.url())
    assert done.returncode == 1 and not done.stdout and ".cloudflareaccess.com" in done.stderr, done
