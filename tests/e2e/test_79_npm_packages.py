"""The npm packages `cloudflared` and `untun`, as the registry has them, drive our program where they expect cloudflared."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest

from testenv import program
from testenv.edge import ZONE
from testenv.origin import Origin
from testenv.program import ADIT, PATIENCE, clean_env, run
from testenv.visitor import Visitor
from testenv.wait import wait_until

HERE = pathlib.Path(__file__).parent / "node"
MODULES = pathlib.Path(__file__).parents[2] / "build/npm-node"
APP = f"app.{ZONE}"

pytestmark = [
    pytest.mark.skipif(not shutil.which("node"), reason="not installed: node"),
    pytest.mark.skipif(
        not (MODULES / "node_modules/untun").exists(), reason="the packages are not there (./dev test installs them)"
    ),
]


class Story:
    """A Node program that uses one of the packages."""

    def __init__(self, folder, program, name, *args, env):
        self.out = folder / f"{name}.out"
        with open(self.out, "wb") as out, open(folder / f"{name}.err", "wb") as err:
            self.process = subprocess.Popen(
                ["node", HERE / "tunnels.mjs", MODULES, program, name, *args],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                env=env,
                preexec_fn=die_with_parent,
            )
        started.append(self.process)

    def events(self, name):
        lines = [json.loads(line) for line in self.out.read_text().splitlines() if line.startswith("{")]
        return [line["value"] for line in lines if line["event"] == name]

    def wait(self, name, count=1):
        wait_until(
            lambda: len(self.events(name)) >= count,
            lambda: f"{count} × {name} in: {self.out.read_text()}",
            30 * PATIENCE,
        )
        return self.events(name)

    def end(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.close()
        assert self.process.wait(30 * PATIENCE) == 0


die_with_parent = program._die_with_parent
started = []


@pytest.fixture(autouse=True)
def nobody_is_left():
    """A tunnel ends with its Node program, which is asked, so that the edge is left empty."""
    yield
    for process in started:
        if process.poll() is None:
            process.communicate(b"\n")
            process.wait(30 * PATIENCE)
    started.clear()


@pytest.fixture
def link(tmp_path):
    """Our program, by the name that is expected."""
    path = tmp_path / "cloudflared"
    path.symlink_to(ADIT)
    return path


@pytest.fixture
def home(own, tmp_path):
    """A tunnel with a token, and its rules where cloudflared has them."""
    cli = own.cli(own.edge(), "adit")
    tunnel = cli.create("packaged")
    cli.route(tunnel, APP)
    token = cli.check("tunnel", "token", "packaged").strip()
    origin = Origin()
    place = tmp_path / "home"
    (place / ".cloudflared").mkdir(parents=True)
    rules = [{"hostname": APP, "service": f"http://127.0.0.1:{origin.port}"}, {"service": "http_status:404"}]
    (place / ".cloudflared/config.yml").write_text(json.dumps({"ingress": rules}))
    yield cli.edge, token, clean_env(HOME=place, TUNNEL_METRICS="127.0.0.1:0"), origin
    origin.close()


def fetch(edge):
    return Visitor(edge).get(APP, "/")


def test_the_package_cloudflared_runs_a_tunnel_by_token(home, link, tmp_path):
    edge, token, env, _ = home
    story = Story(tmp_path, link, "cloudflaredByToken", token, env=env)
    (connection,) = story.wait("connected")
    assert connection["ip"] == "127.0.0.1" and connection["location"]
    assert fetch(edge).status == 200
    assert story.events("url") == [APP]
    assert story.events("config")[0]["version"] == 0
    assert story.events("config")[0]["config"]["ingress"][0]["hostname"] == APP
    story.end()
    assert story.events("exit") == [[0, None]] and story.events("error") == []


def test_the_package_cloudflared_hears_of_lost_connections(home, link, tmp_path):
    edge, token, env, _ = home
    story = Story(tmp_path, link, "cloudflaredByToken", token, env={**env, "TUNNEL_TRANSPORT_PROTOCOL": "http2"})
    story.wait("connected")
    edge.kill()
    assert story.wait("disconnected")[0] == story.events("connected")[0]
    story.end()


def test_the_package_cloudflared_is_told_that_there_are_no_quick_tunnels(link, tmp_path):
    story = Story(tmp_path, link, "cloudflaredQuick", env=clean_env(HOME=tmp_path))
    story.end()
    assert story.events("exit") == [[1, None]] and story.events("url") == []
    assert "There are no quick tunnels" in story.events("stderr")[0]


def put_for_untun(tmp_path):
    """untun looks for one version below the folder for temporary files, and does not fetch what is there."""
    source = (MODULES / "node_modules/untun/dist/_chunks/cloudflared.mjs").read_text()
    version = re.search(r'CLOUDFLARED_VERSION \|\| "([^"]+)"', source)[1]
    (tmp_path / "node-untun").mkdir()
    (tmp_path / f"node-untun/cloudflared.{version}").symlink_to(ADIT)


def test_untun_is_told_that_there_are_no_quick_tunnels(tmp_path):
    put_for_untun(tmp_path)
    story = Story(tmp_path, "-", "untunQuick", env=clean_env(HOME=tmp_path, TMPDIR=tmp_path))
    story.end()
    assert "cloudflared exited (code=1" in story.events("error")[0]
    assert "There are no quick tunnels" in story.events("error")[0]


def test_untun_runs_a_tunnel_by_token(home, tmp_path):
    """Its --url and --no-tls-verify stand in front of `run`. There are rules, so the URL has no say."""
    edge, token, env, origin = home
    put_for_untun(tmp_path)
    config = pathlib.Path(env["HOME"]) / ".cloudflared/config.yml"
    config.unlink()
    story = Story(tmp_path, f"http://127.0.0.1:{origin.port}", "untunByToken", token, env={**env, "TMPDIR": str(tmp_path)})
    story.wait("started")
    wait_until(lambda: fetch(edge).status == 200, "an answer through the tunnel", 30 * PATIENCE)
    story.end()
    assert story.events("closed") == [None]


def test_by_its_name_it_is_cloudflared(link, tmp_path):
    env = clean_env(HOME=tmp_path)
    assert re.fullmatch(r"cloudflared version \d+\.\d+\.\d+ \(built [^)]+\)\n", run([link, "--version"], env=env).stdout)
    for name in ("cloudflared-linux-amd64", "cloudflared.exe"):
        (tmp_path / name).symlink_to(ADIT)
        assert run([tmp_path / name, "version"], env=env).stdout.startswith("cloudflared version ")
    assert run([link, "update"], env=env).returncode == 0
    # Its own folder comes first there, and ours for us.
    for folder, status in ((".cloudflared", 701), (".adit", 702)):
        (tmp_path / folder).mkdir()
        rules = {"ingress": [{"service": f"http_status:{status}"}]}
        (tmp_path / folder / "config.yml").write_text(json.dumps(rules))
    for word, status in ((link, 701), (ADIT, 702)):
        assert f"http_status:{status}" in run([word, "tunnel", "ingress", "rule", "http://a"], env=env).stdout
