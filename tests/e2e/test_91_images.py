"""Images for containers: made without a registry, run as they say, with a root that nobody may write to."""

import json
import os
import pathlib
import shutil
import subprocess
import tarfile
import tempfile

import pytest
import yaml

from testenv import net
from testenv.program import ADIT, BIN, PATIENCE, PRESET, check, clean_env, run
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
        assert theirs == ({image.root / "var/lib/adit-edge"} if image is edge else set())
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


# --- As the compose file of docs/install.md says, by podman -------------------------------------------------------------

# What podman is told for each member of a service.
COMPOSE = {
    "read_only": lambda value: ["--read-only"] if value else [],
    "cap_drop": lambda value: [f"--cap-drop={name}" for name in value],
    "security_opt": lambda value: [f"--security-opt={text}" for text in value],
    "environment": lambda value: [word for name in value for word in ("-e", name)],
    "volumes": lambda value: [word for volume in value for word in ("-v", volume)],
    # The network is this test's own: the port that may be opened is set there, and all are published.
    "sysctls": lambda value: [],
    "ports": lambda value: [],
    "restart": lambda value: [],
}


class Podman:
    """Its images, containers and volumes are the test's own, and so is the network that they share."""

    def __init__(self, folder):
        self.folder = folder
        self.runs = tempfile.mkdtemp(prefix="adit-")  # it wants a short name
        self.holder = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "ip link set lo up && echo ready && exec sleep 1000000"], stdout=subprocess.PIPE
        )
        assert self.holder.stdout.readline() == b"ready\n"

    def within(self, *argv, **more):
        return run(["nsenter", "-t", self.holder.pid, "-n", *argv], cwd=self.folder, **more)

    def __call__(self, *argv, seconds=60, **env):
        command = ["podman", "--root", self.folder / "store", "--runroot", self.runs, "--storage-driver", "vfs",
                   "--cgroup-manager", "cgroupfs", "--events-backend", "file", *argv]  # fmt: skip
        return self.within(*command, seconds=seconds, env=dict(os.environ, **env))

    def ok(self, *argv, **more):
        done = self(*argv, **more)
        assert done.returncode == 0, f"podman {argv}\n{done.stdout}{done.stderr}"
        return done.stdout

    def close(self):
        self("rm", "-af", "-t", "20", seconds=120)
        self("volume", "rm", "-af")
        self.holder.kill()
        self.holder.wait()
        shutil.rmtree(self.runs, ignore_errors=True)


@pytest.fixture
def podman(tmp_path):
    if not shutil.which("podman"):
        pytest.skip("podman is not installed")
    p = Podman(tmp_path)
    try:
        yield p
    finally:
        p.close()


def test_the_compose_file_of_the_documents(podman, tmp_path):
    text = (ROOT / "docs/install.md").read_text().split("```yaml\n# compose.yml\n")[1].split("```")[0]
    services = yaml.safe_load(text)["services"]
    allowed = podman.within("sh", "-c", "echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start")
    if allowed.returncode:
        pytest.skip("the ports below 1024 cannot be opened up here")
    for program in ("adit-edge", "adit"):
        check([ROOT / "packaging/oci/image.sh", program, BIN.parent, tmp_path], seconds=200)
        podman.ok("load", "-q", "-i", tmp_path / f"{program}.tar", seconds=200)

    def started(name, *args, more=(), **env):
        service = services[name]
        assert set(service) - {"image"} <= set(COMPOSE)
        words = [word for member, value in service.items() if member in COMPOSE for word in COMPOSE[member](value)]
        # The limits of containers are above what a container that this may run in itself lets through.
        limits = ["--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096", "--network=host"]
        return podman.ok("run", *words, *limits, *more, f"localhost/{service['image']}:latest", *args, **env)

    started("edge", "init", "--zone", ZONE, "--control", "127.0.0.1", more=["--rm"])
    started("edge", more=["-d", "--name=edge"])
    wait_until(lambda: podman("healthcheck", "run", "edge").returncode == 0, lambda: podman("logs", "edge").stderr, 60 * PATIENCE)
    home = tmp_path / "home"
    (home / ".adit").mkdir(parents=True)
    (home / ".adit/cert.pem").write_text(podman.ok("exec", "edge", "adit-edge", "cert", "--zone", ZONE))

    def adit(*args):
        done = podman.within(ADIT, *args, env=clean_env(HOME=str(home)))
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    adit("tunnel", "create", "home")
    adit("tunnel", "route", "dns", "home", HOST)
    (tmp_path / "config.yml").write_text("ingress:\n  - service: hello_world\n")
    (tmp_path / "config.yml").chmod(0o644)
    started("connector", more=["-d", "--name=connector"], TUNNEL_TOKEN=adit("tunnel", "token", "home"))
    wait_until(lambda: podman("healthcheck", "run", "connector").returncode == 0, lambda: podman("logs", "connector").stderr,
               60 * PATIENCE)  # fmt: skip
    volume = podman.ok("volume", "inspect", "-f", "{{.Mountpoint}}", "edge").strip()
    fetched = podman.within("curl", "-sSf", "--cacert", f"{volume}/ca.pem", "--resolve", f"{HOST}:443:127.0.0.1", f"https://{HOST}/")
    assert fetched.returncode == 0, fetched.stderr
    # Within the shell-less image the sandbox is whole.
    logs = podman("logs", "edge")
    assert (logs.stdout + logs.stderr).count("system calls is=on") == 2
