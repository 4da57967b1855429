"""`service install`: the connector as a service of the machine, in an /etc that is the test's own."""

import os
import re
import shutil
import signal
import subprocess

import pytest

from testenv.connector import Cli, write_config
from testenv.edge import ZONE
from testenv.origin import Origin
from testenv.program import ADIT, PATIENCE, clean_env, run
from testenv.visitor import Visitor
from testenv.wait import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="services are installed by root")

APP = f"app.{ZONE}"

# What is read and written below these is the test's own; systemd and OpenRC are not there.
OWN = """
set -e
mount --make-rprivate /
mkdir -p {0}/up {0}/work
mount -t tmpfs tmpfs {0}
mkdir -p {0}/up {0}/work
mount -t overlay overlay -o lowerdir=/etc,upperdir={0}/up,workdir={0}/work /etc
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /var/log
mkdir -p /run/lock /etc/init.d /etc/rc2.d /etc/rc3.d /etc/rc4.d /etc/rc5.d /etc/rc0.d /etc/rc1.d /etc/rc6.d
touch {1}
exec sleep 1000000
"""


class Machine:
    """A mount namespace with an /etc, a /run and a /var/log of its own."""

    def __init__(self, folder):
        ready = folder / "ready"
        (folder / "layers").mkdir()
        self.holder = subprocess.Popen(["unshare", "-m", "bash", "-c", OWN.format(folder / "layers", ready)])
        wait_until(lambda: ready.exists() or self.holder.poll() is not None, "a namespace")
        if self.holder.poll() is not None:
            pytest.skip("no mount namespaces, or no overlays, here")

    def run(self, *argv, **more):
        return run(["nsenter", "-t", self.holder.pid, "-m", *argv], **more)

    def files(self, *folders):
        """What there is below the folders that the machine outside does not have."""
        found = self.run("find", *folders, "-mindepth", "1").stdout.split()
        return sorted(f for f in found if not os.path.lexists(f))

    def close(self):
        self.holder.kill()
        self.holder.wait()


@pytest.fixture
def machine(own, tmp_path):  # it ends before the edge
    m = Machine(tmp_path)
    yield m
    pid = m.run("cat", "/var/run/adit.pid").stdout.strip()
    m.close()
    if pid.isdigit():  # what a failed test has left
        try:
            os.kill(int(pid), signal.SIGKILL)
        except ProcessLookupError:
            pass


@pytest.fixture
def home(own, machine):
    class Home:
        pass

    h = Home()
    h.origin = Origin()
    h.edge = own.edge()
    h.cli = own.cli(h.edge)
    h.tunnel = h.cli.create("home")
    h.cli.route(h.tunnel, APP)
    h.config = write_config(
        h.cli.dot / "config.yml", h.tunnel, [{"hostname": APP, "service": h.origin.service}],
        protocol="http2", metrics="127.0.0.1:0",
    )  # fmt: skip
    yield h
    h.origin.close()


def serves(home):
    path = home.origin.on(lambda r: r.reply(200, body=b"of a service"))
    visitor = Visitor(home.edge, "http1.1")
    wait_until(lambda: visitor.get(APP, path).body == b"of a service", "an answer through the service", 30 * PATIENCE)


def test_sysv_by_configuration(machine, home):
    env = home.cli.env()
    done = machine.run(ADIT, "service", "install", env=env)
    assert done.returncode == 0, done.stderr
    assert "SysV" in done.stderr and "installed successfully" in done.stderr
    serves(home)
    # Secrets are root's alone; the script may be read by anybody.
    kept = machine.run("stat", "-c", "%a %U %n", "/etc/adit/service-credentials.json", "/etc/init.d/adit",
                       "/etc/adit/config.yml").stdout  # fmt: skip
    assert kept.split("\n")[:3] == ["600 root /etc/adit/service-credentials.json", "755 root /etc/init.d/adit",
                                    "644 root /etc/adit/config.yml"]  # fmt: skip
    assert machine.run("readlink", "/etc/rc3.d/S50adit").stdout.strip() == "/etc/init.d/adit"

    # The home may go: the service has what it needs.
    shutil.rmtree(home.cli.dot)
    assert "runs already" in machine.run("/etc/init.d/adit", "start").stdout
    assert machine.run("/etc/init.d/adit", "restart").returncode == 0
    serves(home)
    assert machine.run("/etc/init.d/adit", "status").returncode == 0
    assert machine.run("/etc/init.d/adit", "reload").returncode == 0

    again = machine.run(ADIT, "service", "install", env=env)
    assert again.returncode == 1 and "already installed at /etc/init.d/adit" in again.stderr

    pid = int(machine.run("cat", "/run/adit.pid").stdout)
    done = machine.run(ADIT, "service", "uninstall", env=env)
    assert done.returncode == 0, done.stderr
    with pytest.raises(OSError):  # a dead one may wait for whoever reaps here
        os.readlink(f"/proc/{pid}/exe")
    assert machine.run("/etc/init.d/adit", "status").returncode != 0
    assert machine.files("/etc/adit", "/etc/init.d", *(f"/etc/rc{n}.d" for n in range(7))) == ["/etc/adit/config.yml"]
    none = machine.run(ADIT, "service", "uninstall", env=env)
    assert none.returncode == 1 and "not installed" in none.stderr


def test_sysv_by_token(machine, home):
    home.config.unlink()
    token = home.cli.check("tunnel", "token", "home").strip()
    file = home.cli.home / "token.txt"
    file.write_text(token + "\n")
    # The token brings no rules: those of a file that the service finds.
    machine.run("mkdir", "/etc/adit")
    rules = home.cli.home / "rules.yml"
    rules.write_text(f"metrics: 127.0.0.1:0\ningress:\n  - service: {home.origin.service}\n")
    machine.run("cp", rules, "/etc/adit/config.yml")
    done = machine.run(ADIT, "service", "install", "--token-file", file, env=home.cli.env())
    assert done.returncode == 0, done.stderr
    assert token not in done.stdout + done.stderr
    serves(home)
    pid = machine.run("cat", "/run/adit.pid").stdout.strip()
    assert token not in machine.run("cat", f"/proc/{pid}/cmdline", f"/proc/{pid}/environ").stdout
    assert machine.run("stat", "-c", "%a", "/etc/adit/token").stdout.strip() == "600"
    assert machine.run(ADIT, "service", "uninstall", env=home.cli.env()).returncode == 0
    assert machine.files("/etc/adit", "/etc/init.d") == ["/etc/adit/config.yml"]


def test_what_is_refused_leaves_nothing(machine, home):
    def refused(*args, config=None):
        if config is not None:
            home.config.write_text(config)
        done = machine.run(ADIT, *args, env=home.cli.env())
        assert done.returncode not in (0, None)
        assert machine.files("/etc/adit", "/etc/init.d") == []
        return done.stderr

    assert "token is not valid" in refused("service", "install", "nonsense")
    good = home.config.read_text()
    text = refused("service", "install", config=good.replace(home.origin.service, "nonsense:/x"))
    assert "nonsense" in text
    assert "credentials file" in refused("service", "install", config=good.replace(".json", ".none"))
    home.config.unlink()
    assert "no configuration" in refused("service", "install")

    # A service that cannot start: what was written is removed.
    home.config.write_text(good)
    machine.run("bash", "-c", "mkdir /tmp/x; rmdir /run/lock; umount /run; mount -t tmpfs -o ro tmpfs /run")
    refused("service", "install")


def test_another_configuration_is_not_overwritten(machine, home):
    machine.run("bash", "-c", "mkdir /etc/adit && echo tunnel: other >/etc/adit/config.yml")
    done = machine.run(ADIT, "--config", home.config, "service", "install", env=home.cli.env())
    assert done.returncode == 1 and "possible conflicting configuration" in done.stderr
    assert machine.run("cat", "/etc/adit/config.yml").stdout == "tunnel: other\n"
    assert machine.files("/etc/adit") == ["/etc/adit/config.yml"]


def test_only_root_installs():
    done = run(["setpriv", "--reuid=65534", "--clear-groups", ADIT, "service", "install"], env=clean_env())
    assert done.returncode == 1 and "root" in done.stderr


# --- systemd -------------------------------------------------------------------------------------------

# A service manager cannot be had in a namespace like ours: what is asked of systemctl is written down.
SYSTEMCTL = """#!/bin/sh
echo "$@" >>/run/asked
case "$1" in
is-active) [ -e /run/up ] ;;
is-failed) [ -e /run/down ] ;;
esac
"""


@pytest.fixture
def systemd(machine, tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed")
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "systemctl").write_text(SYSTEMCTL)
    (folder / "systemctl").chmod(0o755)
    machine.run("mkdir", "-p", "/run/systemd/system", "/etc/systemd/system")
    machine.path = f"{folder}:{os.environ['PATH']}"
    return machine


def test_systemd(systemd, home):
    env = {**home.cli.env(), "PATH": systemd.path}
    systemd.run("touch", "/run/up")
    done = systemd.run(ADIT, "service", "install", env=env)
    assert done.returncode == 0, done.stderr
    assert "Systemd" in done.stderr
    unit = "/etc/systemd/system/adit.service"
    text = systemd.run("cat", unit).stdout
    assert f"ExecStart={ADIT} --no-autoupdate --config /etc/adit/config.yml tunnel run --credentials-file " \
           "%d/service-credentials.json" in text  # fmt: skip
    assert "LoadCredential=service-credentials.json:/etc/adit/service-credentials.json" in text
    assert not re.search("@[A-Z]+@", text)
    verified = systemd.run("systemd-analyze", "verify", "--man=no", unit)
    assert unit not in verified.stdout + verified.stderr, verified.stderr
    rated = systemd.run("systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit)
    assert rated.returncode == 0, rated.stdout
    assert systemd.run("cat", "/run/asked").stdout.split("\n")[:4] == [
        "daemon-reload", "enable adit.service", "start --no-block adit.service", "is-active --quiet adit.service",
    ]  # fmt: skip
    assert systemd.run(ADIT, "service", "uninstall", env=env).returncode == 0
    assert systemd.files("/etc/adit", "/etc/systemd/system") == ["/etc/adit/config.yml"]


def test_systemd_says_that_it_does_not_start(systemd, home):
    env = {**home.cli.env(), "PATH": systemd.path}
    systemd.run("touch", "/run/down")
    done = systemd.run(ADIT, "service", "install", env=env)
    assert done.returncode == 1 and "journalctl -u adit" in done.stderr
    assert systemd.files("/etc/adit", "/etc/systemd/system") == []
