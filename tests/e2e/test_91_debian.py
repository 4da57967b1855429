"""The Debian packages on a fresh Debian 12 with its systemd: installed, serving, upgraded, removed, purged."""

import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from docs import pages as docs  # noqa: E402
from testenv import page  # noqa: E402
from testenv.debian import Debian  # noqa: E402
from testenv.program import BIN, PATIENCE, PRESET, check  # noqa: E402
from testenv.wait import wait_until  # noqa: E402

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(PRESET != "release", reason="packages are made from the release build"),
]

ROOT = pathlib.Path(__file__).parents[2]
NEWER = "2026.11.1"
HOST = "app.example.test"
FETCH = f"curl -sSf -o /dev/null --cacert /var/lib/adit-edge/ca.pem --resolve {HOST}:443:127.0.0.1 https://{HOST}/"
# What a package leaves by Debian's own doing: its database, logs, caches, what systemd remembers of units.
NOT_OURS = r"/(proc|sys|dev|run|tmp|mnt|root)(/|$)|/var/(log|cache|tmp)/|/var/lib/(dpkg|apt|systemd|private$)|/etc/machine-id"


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    check([ROOT / "packaging/build-deb.sh", BIN.parent, folder], seconds=100)
    (folder / "newer").mkdir()
    check([ROOT / "packaging/build-deb.sh", BIN.parent, folder / "newer", NEWER], seconds=100)
    return folder


@pytest.fixture
def debian(packages, tmp_path):
    depends = {
        re.split(r"[ :(]", word)[0]
        for name in ("adit", "adit-edge")
        for word in check(["dpkg-deb", "-f", next(packages.glob(f"{name}_*.deb")), "Depends"]).strip().split(", ")
    }
    d = Debian(ROOT / "build/debian-root", tmp_path, packages, install=sorted(depends | {"curl", "procps"}))
    yield d
    d.close()


def everything(debian):
    files = debian.check("find / -xdev").splitlines()
    users = debian.check("getent passwd; getent group").splitlines()
    return {path for path in files if not re.match(NOT_OURS, path)} | set(users)


def main_pid(debian, unit):
    return debian.check(f"systemctl show -P MainPID {unit}").strip()


def status_of(debian, pid):
    return dict(line.split(":\t", 1) for line in debian.check(f"cat /proc/{pid}/status").splitlines() if ":\t" in line)


def serves(debian):
    return debian.run(FETCH).returncode == 0


def test_from_installation_to_purge(debian):
    before = everything(debian)
    debian.check("dpkg -i /mnt/packages/adit_*.deb /mnt/packages/adit-edge_*.deb", 120)

    # Both are enabled, and wait for what makes them work.
    assert debian.check("systemctl is-enabled adit adit-edge").split() == ["enabled"] * 2
    assert debian.run("systemctl is-active adit adit-edge").stdout.split() == ["inactive"] * 2
    assert debian.run("systemctl --failed --no-legend | grep adit").stdout == ""
    debian.check("adit-edge init --zone example.test --control 127.0.0.1")
    debian.check("systemctl start adit-edge")
    debian.check("adit-edge status")

    # As nobody in particular, with one capability.
    status = status_of(debian, main_pid(debian, "adit-edge"))
    assert int(status["Uid"].split()[0]) > 60000 and status["NoNewPrivs"] == "1"
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 1 << 10
    assert status["Seccomp"] == "2"

    debian.check("mkdir -pm 700 ~/.adit && adit-edge cert --zone example.test >~/.adit/cert.pem")
    debian.check(f"adit tunnel create home && adit tunnel route dns home {HOST}")
    debian.check("printf 'ingress:\\n  - service: hello_world\\n' >/etc/adit/config.yml")
    debian.check("(umask 077; adit tunnel token home >/etc/adit/token) && systemctl start adit", 120)
    wait_until(lambda: serves(debian), "an answer over HTTPS", 30 * PATIENCE)
    status = status_of(debian, main_pid(debian, "adit"))
    assert int(status["Uid"].split()[0]) > 60000 and int(status["CapEff"], 16) == 0
    for unit in ("adit", "adit-edge"):
        debian.check(f"systemd-analyze security --threshold=20 {unit}")

    # A reload is an upgrade without loss, and so is an upgrade.
    first = main_pid(debian, "adit-edge")
    debian.check("systemctl reload adit-edge")
    wait_until(lambda: main_pid(debian, "adit-edge") != first and serves(debian), "a successor", 30 * PATIENCE)
    debian.check("echo 'log-level: warn' >>/etc/adit-edge/edge.yml")
    wait_until(lambda: debian.run("pgrep -c -x adit-edge").stdout.strip() == "1", "the end of the first", 60 * PATIENCE)
    second = main_pid(debian, "adit-edge")
    debian.check("dpkg -i /mnt/packages/newer/adit_*.deb /mnt/packages/newer/adit-edge_*.deb", 120)
    assert NEWER in debian.check("dpkg-query -W adit adit-edge")
    wait_until(lambda: main_pid(debian, "adit-edge") != second, "the new program", 30 * PATIENCE)
    wait_until(lambda: serves(debian), "an answer after the upgrade", 60 * PATIENCE)
    assert "log-level: warn" in debian.check("cat /etc/adit-edge/edge.yml")
    debian.check("systemctl is-active adit adit-edge")

    # Whoever restores a backup as root leaves it to the service.
    debian.check("adit-edge backup /root/backup && systemctl stop adit-edge && rm -r /var/lib/adit-edge/*")
    debian.check("adit-edge restore /root/backup && systemctl start adit-edge", 120)
    wait_until(lambda: serves(debian), "an answer of what was restored", 60 * PATIENCE)

    debian.check("dpkg -r adit adit-edge", 120)
    assert debian.run("pgrep -l adit").stdout == ""
    assert debian.check("ls /etc/adit /etc/adit-edge /var/lib/adit-edge/db/adit.db").split()
    debian.check("dpkg -P adit adit-edge", 120)
    after = everything(debian)
    assert sorted(after - before) == [] and sorted(before - after) == []


def test_service_install_beside_the_package(debian):
    debian.check("dpkg -i /mnt/packages/adit_*.deb /mnt/packages/adit-edge_*.deb", 120)
    before = everything(debian)
    debian.check("adit-edge init --zone example.test --control 127.0.0.1")
    debian.check("adit-edge service install --location lab", 120)
    debian.check("mkdir -pm 700 ~/.adit && adit-edge cert --zone example.test >~/.adit/cert.pem")
    debian.check(f"adit tunnel create home && adit tunnel route dns home {HOST}")
    debian.check("printf 'ingress:\\n  - service: hello_world\\n' >/etc/adit/config.yml")
    debian.check("adit tunnel token home >/root/token && adit service install --token-file /root/token", 120)
    wait_until(lambda: serves(debian), "an answer over HTTPS", 30 * PATIENCE)
    assert "--location=lab" in debian.check("systemctl show -P ExecStart adit-edge")
    debian.check("adit service uninstall && adit-edge service uninstall", 120)
    after = everything(debian)
    state = {path for path in after if path.startswith(("/var/lib/private/adit-edge", "/var/lib/adit-edge"))}
    assert sorted(after - before - state) == ["/etc/adit/config.yml"]
    # What the commands write, and nobody takes back, the packages do.
    debian.check("adit-edge service install", 120)
    debian.check("dpkg -P adit adit-edge", 120)
    left = debian.run("find / -xdev -path /proc -prune -o -name '*adit*' -print").stdout.split()
    left = [path for path in left if not re.match(NOT_OURS, path)]
    assert left == []


def test_the_five_minute_page_to_the_letter(debian):
    # What the reader has: the packages, where the page has them.
    debian.check("mkdir -p /root/build/package && cp /mnt/packages/*.deb /root/build/package/")
    debian.check("echo 'APT::Get::Assume-Yes yes;' >/etc/apt/apt.conf.d/yes")  # nobody is there to say so
    install = "sudo apt install ./build/package/adit_*.deb"
    name = "docs/first-tunnel.md"
    text = docs.pages()[name]
    assert f"\n{install}" in text
    shown = debian.check(page.script(docs.blocks(name, text), also=[install]), 300)
    # The last command of the page is the visitor's, and prints the status of what was answered over HTTPS.
    assert shown.rstrip().endswith("\n200")
