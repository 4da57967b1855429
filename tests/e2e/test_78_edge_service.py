"""`adit-edge service install`: the edge as a service of the machine, in an /etc and a /var/lib that are the test's own."""

import os
import re

import pytest

from testenv import net
from testenv.edge import ZONE
from testenv.machine import Machine, judge, with_systemctl
from testenv.program import ADIT_EDGE, PATIENCE, clean_env, run
from testenv.wait import wait_until

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="services are installed by root")

STATE = "/var/lib/adit-edge"
UNIT = "/etc/systemd/system/adit-edge.service"
FOLDERS = ("/etc/adit-edge", "/etc/init.d", "/etc/sysctl.d", "/etc/systemd/system", "/etc/rc3.d")


@pytest.fixture
def machine(tmp_path):
    m = Machine(tmp_path, "adit-edge")
    yield m
    m.close()


@pytest.fixture
def systemd(machine, tmp_path):
    return with_systemctl(machine, tmp_path)


def command(machine, *args):
    path = getattr(machine, "path", os.environ["PATH"])
    return machine.run(ADIT_EDGE, *args, env=clean_env(PATH=path))


def prepared(machine, folder):
    """An edge at its usual place, with the settings where packages have them. Returns the port of its metrics."""
    ports = [net.free_port() for _ in range(4)]
    settings = folder / "edge.yml"
    settings.write_text("# as a package has it\n" + "".join(
        f'{name}: "127.0.0.1:{port}"\n' for name, port in zip(("https", "http", "tunnel", "metrics"), ports)
    ))  # fmt: skip
    machine.run("mkdir", "/etc/adit-edge")
    machine.run("cp", settings, "/etc/adit-edge/edge.yml")
    made = command(machine, "init", "--zone", ZONE, "--control", "127.0.0.1")
    assert made.returncode == 0, made.stderr
    return ports[3]


def test_sysv(machine, tmp_path):
    early = command(machine, "service", "install")
    assert early.returncode == 1 and "adit-edge init" in early.stderr
    prepared(machine, tmp_path)
    done = command(machine, "service", "install")
    assert done.returncode == 0, done.stderr
    assert "SysV" in done.stdout
    wait_until(lambda: command(machine, "status").returncode == 0, "the edge as a service", 30 * PATIENCE)
    pid = int(machine.run("cat", "/run/adit-edge.pid").stdout)
    assert "--takeover" not in machine.run("cat", f"/proc/{pid}/cmdline").stdout
    assert machine.run("cat", *machine.sysctls).stdout.split() == ["4194304"] * len(machine.sysctls)
    assert machine.run("/etc/init.d/adit-edge", "reload").returncode == 0
    again = command(machine, "service", "install")
    assert again.returncode == 1 and "already installed at /etc/init.d/adit-edge" in again.stderr

    gone = command(machine, "service", "uninstall")
    assert gone.returncode == 0, gone.stderr
    with pytest.raises(OSError):  # a dead one may wait for whoever reaps here
        os.readlink(f"/proc/{pid}/exe")
    assert machine.files(*FOLDERS) == ["/etc/adit-edge/edge.yml"]
    assert machine.run("test", "-e", f"{STATE}/db/adit.db").returncode == 0
    none = command(machine, "service", "uninstall")
    assert none.returncode == 1 and "not installed" in none.stderr


def test_systemd(systemd, tmp_path):
    prepared(systemd, tmp_path)
    systemd.run("touch", "/run/up")
    (tmp_path / "eab").write_text("id key\n")
    done = command(systemd, "service", "install", "--log-format", "json", "--acme-email", "me@example.com",
                   "--credential", f"eab={tmp_path}/eab")  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = systemd.run("cat", UNIT).stdout
    assert f"ExecStart={ADIT_EDGE} run --data {STATE} --takeover --log-format=json --acme-email=me@example.com\n" in text
    assert f"LoadCredential=eab:{tmp_path}/eab\n" in text
    assert "StateDirectory=adit-edge\n" in text and "AmbientCapabilities=CAP_NET_BIND_SERVICE\n" in text
    assert not re.search("@[A-Z]+@", text)
    judge(systemd, UNIT)
    assert systemd.run("cat", "/run/asked").stdout.split("\n")[:4] == [
        "daemon-reload", "enable adit-edge.service", "start --no-block adit-edge.service",
        "is-active --quiet adit-edge.service",
    ]  # fmt: skip
    assert command(systemd, "service", "uninstall").returncode == 0
    assert systemd.files(*FOLDERS) == ["/etc/adit-edge/edge.yml"]


def test_what_systemd_cannot_do_is_refused(systemd, tmp_path):
    prepared(systemd, tmp_path)

    def refused(*args):
        done = command(systemd, "service", "install", *args)
        assert done.returncode == 1
        assert systemd.files(*FOLDERS) == ["/etc/adit-edge/edge.yml"]
        return done.stderr

    assert "%" in refused("--log-file", "/var/log/100%")
    assert "NAME=FILE" in refused("--credential", "eab")
    assert "/none" in refused("--credential", "eab=/none")
    elsewhere = tmp_path / "elsewhere"
    assert command(systemd, "init", "--zone", ZONE, "--data", elsewhere).returncode == 0
    assert "/var/lib" in refused("--data", elsewhere)
    systemd.run("touch", "/run/down")
    assert "journalctl -u adit-edge" in refused()


def test_what_root_writes_into_the_service_s_state_is_the_service_s(machine, tmp_path):
    prepared(machine, tmp_path)
    backup = tmp_path / "backup"
    assert command(machine, "backup", backup).returncode == 0
    # As systemd leaves it: a folder of the service's user; then an administrator restores.
    machine.run("sh", "-c", f"rm -r {STATE}/* && chown 61234:61234 {STATE}")
    done = command(machine, "restore", backup)
    assert done.returncode == 0, done.stderr
    owners = machine.run("sh", "-c", f"stat -c '%u:%g' {STATE}/*").stdout.split()
    assert owners and set(owners) == {"61234:61234"}
    # What has a second name somewhere is not given away.
    machine.run("sh", "-c", f"echo secret >/var/lib/other; ln /var/lib/other {STATE}/link")
    assert command(machine, "zone", "list").returncode == 0
    assert machine.run("stat", "-c", "%u", "/var/lib/other").stdout.strip() == "0"


def test_only_root_installs():
    done = run(["setpriv", "--reuid=65534", "--clear-groups", ADIT_EDGE, "service", "install"], env=clean_env())
    assert done.returncode == 1 and "root" in done.stderr
