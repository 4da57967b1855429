"""`adit import cloudflared`: what cloudflared left on a machine is explained, and becomes files of ours."""

import base64
import json
import os
import stat

import pytest
import yaml

from testenv.connector import Connector
from testenv.edge import ZONE
from testenv.machine import Machine
from testenv.origin import Origin
from testenv.program import ADIT, clean_env, run
from testenv.visitor import Visitor

APP = f"app.{ZONE}"
UUID = "6ff42ae2-765d-4adf-8112-31c55c1551ef"
SECRET = base64.b64encode(b"thirty-two bytes of great secrecy").decode()
CREDENTIALS = json.dumps({"AccountTag": "acct", "TunnelSecret": SECRET, "TunnelID": UUID, "Endpoint": ""})
TOKEN = base64.b64encode(json.dumps({"a": "acct", "s": SECRET, "t": UUID}).encode()).decode()

CONFIG = f"""\
# mine
tunnel: {UUID}
credentials-file: /root/.cloudflared/{UUID}.json
no-autoupdate: true
management-diagnostics: true
warp-routing: {{}}
ingress:
  - hostname: app.example.com
    service: http://localhost:3000   # the shop
  - hostname: app.example.com
    path: /x
    service: http://localhost:3001
  - hostname: "*.api.example.com"
    service: https://localhost:8443
    originRequest: {{noTLSVerify: true}}
  - service: http_status:404
"""


class Home:
    """A person with files of cloudflared's."""

    def __init__(self, folder):
        self.home = folder
        self.theirs = folder / ".cloudflared"
        self.ours = folder / ".adit"
        self.theirs.mkdir(mode=0o700)

    def put(self, config=CONFIG, credentials=CREDENTIALS):
        (self.theirs / "config.yml").write_text(config)
        (self.theirs / f"{UUID}.json").write_text(credentials)
        return self

    def run(self, *args):
        done = run([ADIT, "import", "cloudflared", *args], env=clean_env(HOME=self.home), seconds=60)
        assert SECRET not in done.stdout + done.stderr and TOKEN not in done.stdout + done.stderr
        return done

    def moved(self, *args, code=0):
        """With what cloudflared has in this home alone."""
        done = self.run("--from", self.theirs, *args)
        assert done.returncode == code, done
        return done.stdout


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


# --- tunnels at Cloudflare ---------------------------------------------------------------------------


def test_a_tunnel_at_cloudflare_is_explained_and_its_rules_move(home):
    before = {p: p.read_bytes() for p in home.put().theirs.iterdir()}
    said = home.moved()
    for text in (
        f"credentials of the tunnel {UUID}, which lives at Cloudflare",
        "a configuration with 4 rules",
        "`no-autoupdate` may stay",
        "`management-diagnostics` has no effect",
        "`warp-routing`: which networks lead here",
    ):
        assert text in said
    assert said.partition("To do:\n")[2].splitlines() == [
        "  adit tunnel login https://adit.example.com",
        "  adit tunnel create app",
        "  adit tunnel route dns app 'app.example.com'",
        "  adit tunnel route dns app '*.api.example.com'",
        f"  adit --config {home.ours}/config.yml tunnel ingress validate",
        f"  adit --config {home.ours}/config.yml tunnel run",
    ]
    config = (home.ours / "config.yml").read_text()
    assert yaml.safe_load(config) == {
        **{k: v for k, v in yaml.safe_load(CONFIG).items() if k != "credentials-file"},
        "tunnel": "app",
    }
    assert "# mine\n" in config and "# the shop\n" in config
    assert stat.S_IMODE(os.stat(home.ours / "config.yml").st_mode) == 0o600
    assert stat.S_IMODE(os.stat(home.ours).st_mode) == 0o700
    assert [p.name for p in home.ours.iterdir()] == ["config.yml"], "what is of no use to our edge stays where it is"
    assert {p: p.read_bytes() for p in home.theirs.iterdir()} == before


def test_nothing_is_written_by_a_dry_run_nor_over_what_is_there(home):
    home.put()
    assert "Would write:\n" in home.moved("--dry-run") and not home.ours.exists()
    home.ours.mkdir()
    (home.ours / "config.yml").write_text("mine: 1\n")
    assert "config.yml.imported: " in home.moved()
    assert (home.ours / "config.yml").read_text() == "mine: 1\n"
    assert "is there already, the same" in home.moved()
    home.put(CONFIG + "# more\n")
    assert "config.yml.imported-2: " in home.moved()
    assert len(list(home.ours.iterdir())) == 3


def test_programs_get_json(home):
    said = json.loads(home.put().moved("--output", "json"))
    assert set(said) == {"found", "wrote", "notes", "commands"}
    assert said["wrote"][0]["path"] == str(home.ours / "config.yml")
    assert "adit tunnel create app" in said["commands"]


def test_a_file_in_braces_is_left_to_its_owner(home):
    home.put(json.dumps(yaml.safe_load(CONFIG)))
    assert "set `tunnel: app` in the new one" in home.moved()
    assert yaml.safe_load((home.ours / "config.yml").read_text()) == yaml.safe_load(CONFIG)


def test_what_is_broken_is_told(home):
    home.put("tunnel: [\n", "{")
    assert "is no YAML" in home.moved()
    home.put("tunnel: x\nbogus: 1\ningress:\n- service: http://localhost/path\n")
    said = home.moved()
    assert "adit refuses its rules" in said and "unknown key bogus" in said


def test_nothing_there_is_an_error(home):
    done = home.run("--from", home.theirs)
    assert done.returncode == 1 and "nothing of cloudflared was found" in done.stderr
    done = home.run("--from", home.home / "nowhere")
    assert done.returncode == 1 and "nothing of cloudflared" in done.stderr


# --- with an edge ----------------------------------------------------------------------------------------


def serve(own, home, config, status=200):
    """The printed `tunnel run`, and a visitor."""
    argv = [ADIT, "--config", config, "tunnel", "--metrics", "127.0.0.1:0", "run"]
    connector = Connector("imported", argv, home.home, clean_env(HOME=home.home))
    own.helpers.append(connector)
    connector.wait_log("Registered tunnel connection", count=4)
    return connector


def test_the_new_tunnel_is_created_when_asked(own, home):
    edge = own.edge()
    origin = Origin()
    home.ours.mkdir(mode=0o700)
    (home.ours / "cert.pem").write_text(edge.cert())
    home.put(CONFIG.replace("http://localhost:3000", f"http://127.0.0.1:{origin.port}"))
    said = home.moved("--create")
    assert "$ adit tunnel create app\n" in said and "Created tunnel app with id " in said
    assert said.partition("\nTo do:\n")[2].splitlines() == [
        f"  adit --config {home.ours}/config.yml tunnel ingress validate",
        f"  adit --config {home.ours}/config.yml tunnel run",
    ]
    connector = serve(own, home, home.ours / "config.yml")
    assert Visitor(edge).get(APP, "/").status == 200
    connector.stop()
    origin.close()
    # A second time the name is taken: what failed and what follows is told.
    done = home.run("--from", home.theirs, "--create")
    assert done.returncode == 1 and "tunnel with name already exists" in done.stderr
    assert "  adit tunnel create app\n" in done.stdout.partition("\nTo do:\n")[2]


def test_a_tunnel_of_our_edge_moves_with_its_credentials(own, home):
    edge = own.edge()
    origin = Origin()
    cli = own.cli(edge, "adit")
    tunnel = cli.create("kept")
    cli.route(tunnel, APP)
    credentials = home.theirs / f"{tunnel.id}.json"
    credentials.write_text(tunnel.credentials.read_text())
    (home.theirs / "cert.pem").write_text(edge.cert())
    (home.theirs / "config.yml").write_text(
        f"tunnel: kept\ncredentials-file: {credentials}\n"
        f"ingress:\n- hostname: {APP}\n  service: http://127.0.0.1:{origin.port}\n- service: http_status:404\n"
    )
    said = home.moved()
    assert "which lives at an edge of yours" in said and "tunnel create" not in said
    for name in (f"{tunnel.id}.json", "cert.pem", "config.yml"):
        assert stat.S_IMODE(os.stat(home.ours / name).st_mode) == 0o600
    connector = serve(own, home, home.ours / "config.yml")
    assert Visitor(edge).get(APP, "/").status == 200
    connector.stop()
    origin.close()


# --- services of the machine -------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path):
    """An /etc of the test's own."""
    if os.geteuid() != 0:
        pytest.skip("an /etc of its own needs root")
    m = Machine(tmp_path, "adit")
    m.run("mkdir", "-p", "/etc/cloudflared", "/etc/systemd/system", "/etc/cron.daily")
    yield m.run
    m.close()


def put(machine, path, text):
    assert machine("sh", "-c", 'cat >"$0"', path, input=text).returncode == 0


def imported(machine, tmp_path, *args):
    done = machine(ADIT, "import", "cloudflared", *args, env=clean_env(HOME=tmp_path))
    assert done.returncode == 0, done
    assert SECRET not in done.stdout + done.stderr and TOKEN not in done.stdout + done.stderr
    return done.stdout


def test_a_service_by_token_is_found_and_its_flags_become_keys(machine, tmp_path):
    put(
        machine,
        "/etc/systemd/system/cloudflared.service",
        "[Service]\nEnvironment=TUNNEL_LOGLEVEL=debug TUNNEL_EDGE_IP_VERSION=4\nType=notify\n"
        f"ExecStart=/usr/bin/cloudflared --no-autoupdate tunnel --metrics localhost:2000 run --token {TOKEN}\n",
    )
    put(machine, "/etc/systemd/system/cloudflared-update.timer", "[Timer]\n")
    said = imported(machine, tmp_path)
    assert "a service that runs cloudflared by a token on its command line" in said
    assert "a token of a tunnel that lives at Cloudflare" in said
    assert "can be read by everybody" in said
    assert "sudo systemctl disable --now cloudflared-update.timer" in said
    assert "  sudo systemctl disable --now cloudflared\n" in said
    assert "  sudo adit tunnel create imported\n" in said
    assert f"  sudo adit --config /etc/adit/config.yml --origincert {tmp_path}/.adit/cert.pem service install\n" in said
    config = yaml.safe_load(machine("cat", "/etc/adit/config.yml").stdout)
    assert config == {
        "tunnel": "imported",
        "ingress": [{"service": "http_status:404"}],
        "metrics": "localhost:2000",
        "loglevel": "debug",
        "edge-ip-version": "4",
    }
    assert machine("stat", "-c", "%a %n", "/etc/adit/config.yml").stdout == "644 /etc/adit/config.yml\n"


def test_a_service_by_token_file_and_by_variables_is_found(machine, tmp_path):
    put(machine, "/etc/cloudflared/token", TOKEN + "\n")
    put(
        machine,
        "/etc/systemd/system/cloudflared.service",
        "[Service]\nLoadCredential=token:/etc/cloudflared/token\n"
        "ExecStart=/usr/bin/cloudflared tunnel run --token-file %d/token\n",
    )
    assert "/etc/cloudflared/token: a token of a tunnel" in imported(machine, tmp_path, "--dry-run")
    put(machine, "/etc/default-cloudflared", f"TUNNEL_TOKEN='{TOKEN}'\n")
    put(
        machine,
        "/etc/systemd/system/cloudflared.service",
        "[Service]\nEnvironmentFile=-/etc/default-cloudflared\nExecStart=/usr/bin/cloudflared tunnel run\n",
    )
    assert "a token of a tunnel that lives at Cloudflare" in imported(machine, tmp_path, "--dry-run")


def test_a_script_of_sysv_with_a_configuration_is_found(machine, tmp_path):
    put(machine, "/etc/cloudflared/config.yml", CONFIG.replace("/root/.cloudflared", "/etc/cloudflared"))
    put(machine, f"/etc/cloudflared/{UUID}.json", CREDENTIALS)
    put(machine, "/etc/cron.daily/cloudflared-update", "#!/bin/sh\ncloudflared update\n")
    put(
        machine,
        "/etc/init.d/cloudflared",
        'cmd="/usr/bin/cloudflared --pidfile /var/run/$name.pid --autoupdate-freq 24h0m0s '
        '--config /etc/cloudflared/config.yml tunnel run"\n',
    )
    said = imported(machine, tmp_path)
    assert "a service that runs cloudflared by a configuration that it names" in said
    assert "/etc/cron.daily/cloudflared-update: updates cloudflared by itself" in said
    assert "the service's --autoupdate-freq has no effect in adit" in said
    assert yaml.safe_load(machine("cat", "/etc/adit/config.yml").stdout)["tunnel"] == "app"
    assert machine("ls", "/etc/adit").stdout == "config.yml\n"
