"""Images for containers: made without a registry, run as they say, with a root that nobody may write to."""

import json
import os
import pathlib
import shutil
import subprocess
import tarfile

import pytest

from testenv import net
from testenv.program import BIN, PATIENCE, PRESET, check, run
from testenv.wait import wait_until

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(PRESET != "release", reason="images are made from the release build"),
    pytest.mark.skipif(os.geteuid() != 0, reason="containers are started by root"),
    pytest.mark.skipif(not (shutil.which("buildah") and shutil.which("runc")), reason="needs buildah and runc"),
]

ROOT = pathlib.Path(__file__).parents[2]
ZONE = "example.test"
HOST = f"app.{ZONE}"


class Image:
    """What `podman run --read-only --cap-drop all` makes of an image, by runc, on the network of this test."""

    def __init__(self, program, folder):
        self.program, self.folder, self.count = program, folder / program, 0
        check([ROOT / "packaging/oci/image.sh", program, BIN.parent, self.folder], seconds=100)
        with tarfile.open(self.folder / f"{program}.tar") as archive:
            manifest = json.load(archive.extractfile("manifest.json"))[0]
            self.config = json.load(archive.extractfile(manifest["Config"]))["config"]
            self.layers = manifest["Layers"]
            for name in self.layers:
                archive.extract(name, self.folder)
        self.root = self.folder / "unpacked"
        self.root.mkdir()
        for name in self.layers:
            with tarfile.open(self.folder / name) as layer:
                layer.extractall(self.root, numeric_owner=True)
        self.state = self.folder / "runc"
        self.running = []

    def bundle(self, args, mounts, env):
        self.count += 1
        bundle = self.folder / f"bundle-{self.count}"
        bundle.mkdir()
        check(["runc", "spec", "-b", bundle])
        spec = json.loads((bundle / "config.json").read_text())
        uid, gid = map(int, self.config["User"].split(":"))
        spec["process"] |= {
            "args": self.config["Entrypoint"] + list(map(str, args)), "user": {"uid": uid, "gid": gid},
            "env": self.config["Env"] + [f"{k}={v}" for k, v in env.items()], "terminal": False, "capabilities": {},
            "cwd": self.config["WorkingDir"], "noNewPrivileges": True,
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 4096, "soft": 4096}],
        }  # fmt: skip
        spec["root"] = {"path": str(self.root), "readonly": True}
        spec["mounts"] = [m for m in spec["mounts"] if m["destination"] != "/sys/fs/cgroup"] + [
            {"destination": to, "source": str(source), "type": "bind", "options": ["bind", "rw"]}
            for source, to in mounts.items()
        ]
        spec["linux"].pop("resources", None)
        spec["linux"]["namespaces"] = [n for n in spec["linux"]["namespaces"] if n["type"] != "network"]
        (bundle / "config.json").write_text(json.dumps(spec))
        return bundle

    def run(self, *args, mounts={}, **env):
        bundle = self.bundle(args or self.config["Cmd"], mounts, env)
        return run(["runc", "--root", self.state, "run", "-b", bundle, f"{self.program}-{os.getpid()}-{self.count}"])

    def start(self, *args, mounts={}, **env):
        bundle = self.bundle(args or self.config["Cmd"], mounts, env)
        name = f"{self.program}-{os.getpid()}-{self.count}"
        log = open(bundle / "log", "w")
        process = subprocess.Popen(["runc", "--root", self.state, "run", "-b", bundle, name],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # fmt: skip
        log.close()
        self.running.append((name, process, bundle / "log"))
        return name

    def health(self, name):
        words = self.config["Healthcheck"]["Test"]
        assert words[0] == "CMD"
        return run(["runc", "--root", self.state, "exec", name, *words[1:]]).returncode

    def close(self):
        for name, process, log in self.running:
            run(["runc", "--root", self.state, "kill", name, "TERM"])
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                run(["runc", "--root", self.state, "kill", name, "KILL"])
                process.wait()
            run(["runc", "--root", self.state, "delete", "-f", name])


@pytest.fixture
def images(tmp_path):
    made = {}
    try:
        for program in ("adit-edge", "adit"):
            made[program] = Image(program, tmp_path)
        yield made
    finally:
        for image in reversed(made.values()):
            image.close()


def test_a_tunnel_between_two_containers(images, tmp_path):
    edge, connector = images["adit-edge"], images["adit"]
    for image in images.values():
        # Nothing but one program: no shell, and nobody's files but root's outside of the volume.
        assert [p.name for p in (image.root / "usr/bin").iterdir()] == [image.program]
        assert image.config["User"] == "65532:65532"
        theirs = {p for p in image.root.rglob("*") if p.lstat().st_uid != 0}
        assert theirs <= {image.root / "var/lib/adit-edge"}
        assert not [p for p in image.root.rglob("*") if not p.is_symlink() and p.stat().st_mode & 0o6000]

    volume = tmp_path / "volume"
    volume.mkdir(mode=0o700)
    os.chown(volume, 65532, 65532)
    mounts = {volume: "/var/lib/adit-edge"}
    https, http, tunnel = (net.free_port() for _ in range(3))
    done = edge.run("init", "--zone", ZONE, "--control", "127.0.0.1", "--https", f"127.0.0.1:{https}", mounts=mounts)
    assert done.returncode == 0, done.stdout + done.stderr
    (volume / "edge.yml").write_text(
        f'https: "127.0.0.1:{https}"\nhttp: "127.0.0.1:{http}"\ntunnel: "127.0.0.1:{tunnel}"\nmetrics: off\n'
    )
    (volume / "edge.yml").chmod(0o644)
    name = edge.start(mounts=mounts)
    wait_until(lambda: edge.health(name) == 0, lambda: f"a healthy edge:\n{edge.running[0][2].read_text()}", 30 * PATIENCE)

    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 65532, 65532)
    (home / ".adit").mkdir(mode=0o700)
    cert = edge.run("cert", "--zone", ZONE, mounts=mounts)
    (home / ".adit/cert.pem").write_text(cert.stdout)
    for path in (home / ".adit", home / ".adit/cert.pem"):
        os.chown(path, 65532, 65532)

    def adit(*args):
        done = connector.run(*args, mounts={home: "/tmp"}, HOME="/tmp")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    adit("tunnel", "create", "home")
    adit("tunnel", "route", "dns", "home", HOST)
    token = adit("tunnel", "token", "home")
    name = connector.start(TUNNEL_TOKEN=token, TUNNEL_URL="hello_world")
    wait_until(lambda: connector.health(name) == 0, lambda: f"a healthy connector:\n{connector.running[0][2].read_text()}",
               30 * PATIENCE)  # fmt: skip
    fetched = run(["curl", "-sSf", "--cacert", volume / "ca.pem", "--resolve", f"{HOST}:{https}:127.0.0.1",
                   f"https://{HOST}:{https}/"])  # fmt: skip
    assert fetched.returncode == 0, fetched.stderr + connector.running[0][2].read_text()
