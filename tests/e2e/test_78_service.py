"""`service install`: the connector as a service of the machine, in an /etc that is the test's own."""

import os
import re
import shutil

import pytest

from testenv.connector import Cli, write_config
from testenv.edge import ZONE
from testenv.machine import Machine, judge, with_systemctl
from testenv.origin import Origin
from testenv.program import ADIT, PATIENCE, clean_env, run
from testenv.visitor import Visitor
from testenv.wait import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="services are installed by root")

APP = f"app.{ZONE}"

@pytest.fixture
def machine(own, tmp_path):  # it ends before the edge
    m = Machine(tmp_path, "adit")
    yield m
    m.close()


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

    # UDP buffers, now and after the next boot.
    kept = machine.run("cat", "/etc/sysctl.d/50-adit.conf").stdout
    assert "net.core.rmem_max = 4194304" in kept and "net.core.wmem_max = 4194304" in kept
    assert machine.run("cat", *machine.sysctls).stdout.split() == ["4194304"] * len(machine.sysctls)

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
    assert machine.files("/etc/adit", "/etc/init.d", "/etc/sysctl.d", *(f"/etc/rc{n}.d" for n in range(7))) == [
        "/etc/adit/config.yml"
    ]
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

@pytest.fixture
def systemd(machine, tmp_path):
    return with_systemctl(machine, tmp_path)


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
    judge(systemd, unit)
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
