"""Both programs as services of a Debian 12 whose init system is OpenRC, which really runs."""

import pathlib
import re

import pytest

from testenv.debian import Debian
from testenv.program import BIN, PATIENCE, PRESET, check
from testenv.wait import wait_until

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),
    pytest.mark.skipif(PRESET != "release", reason="packages are made from the release build"),
]

ROOT = pathlib.Path(__file__).parents[2]
HOST = "app.example.test"
FETCH = f"curl -sSf -o /dev/null --cacert /var/lib/adit-edge/ca.pem --resolve {HOST}:443:127.0.0.1 https://{HOST}/"
WRITTEN = ("/etc/init.d", "/etc/conf.d", "/etc/runlevels", "/etc/adit", "/etc/adit-edge", "/etc/sysctl.d", "/etc/rc2.d", "/run")


@pytest.fixture
def debian(tmp_path):
    packages = tmp_path / "packages"
    check([ROOT / "packaging/build-deb.sh", BIN.parent, packages], seconds=100)
    depends = {
        re.split(r"[ :(]", word)[0]
        for name in ("adit", "adit-edge")
        for word in check(["dpkg-deb", "-f", next(packages.glob(f"{name}_*.deb")), "Depends"]).strip().split(", ")
    }
    if not list((ROOT / "build/debian-root/var/cache/apt/archives").glob("sysvinit-core_*.deb")):
        pytest.skip("build/debian-root has no OpenRC: ./dev test --long makes it")
    d = Debian(ROOT / "build/debian-root", tmp_path, packages, install=sorted(depends | {"curl", "procps"}), init="openrc")
    yield d
    d.close()


def ours(debian):
    found = debian.run(f"find {' '.join(WRITTEN)} -name '*adit*' 2>/dev/null; ls -d /etc/conf.d 2>/dev/null").stdout.split()
    return {path for path in found if not path.startswith("/run/openrc/")}


def pid_of(debian, program):
    """The one that listens or dials; the edge has helpers of other names."""
    return debian.run(f"pgrep -o -x {program}").stdout.strip()


def test_both_programs_by_openrc(debian):
    debian.check("dpkg -i /mnt/packages/adit_*.deb /mnt/packages/adit-edge_*.deb", 120)
    before = ours(debian)
    debian.check("adit-edge init --zone example.test --control 127.0.0.1")
    assert "OpenRC" in debian.check("adit-edge service install --location lab", 60)
    wait_until(lambda: debian.run("adit-edge status").returncode == 0, "the edge", 30 * PATIENCE)
    assert "default" in debian.check("rc-update show | grep adit-edge")
    debian.check("mkdir -pm 700 ~/.adit && adit-edge cert --zone example.test >~/.adit/cert.pem")
    debian.check(f"adit tunnel create home && adit tunnel route dns home {HOST}")
    debian.check("printf 'ingress:\\n  - service: hello_world\\n' >/etc/adit/config.yml")
    debian.check("adit tunnel token home >/root/token && adit service install --token-file /root/token", 60)

    def serves():
        return debian.run(FETCH).returncode == 0

    wait_until(serves, lambda: f"an answer:\n{debian.run('tail -n 20 /var/log/adit*').stdout}", 30 * PATIENCE)
    for name in ("adit", "adit-edge"):
        assert debian.run(f"rc-service {name} status").returncode == 0
        first = pid_of(debian, name)
        assert first
        debian.check(f"rc-service {name} reload")
        # Whoever dies is started anew, by its supervisor.
        assert pid_of(debian, name) == first
        debian.check(f"kill -9 {first}")
        wait_until(lambda: pid_of(debian, name) not in ("", first), f"another {name}", 60 * PATIENCE)
        wait_until(serves, f"an answer with another {name}", 60 * PATIENCE)
        debian.check(f"rc-service {name} restart", 120)
        wait_until(serves, f"an answer after a restart of {name}", 60 * PATIENCE)
    assert "edge is ready" in debian.check("cat /var/log/adit-edge.log /var/log/adit-edge.err")

    debian.check("adit service uninstall", 120)
    debian.check("adit-edge service uninstall", 120)
    assert debian.run("pgrep -l adit").stdout == ""
    assert ours(debian) - before == set()
    assert debian.run("rc-update show | grep adit").stdout == ""

    # What /etc/conf.d says holds, and stays when the service goes.
    debian.check("useradd --system adit-edge && chown -R adit-edge /var/lib/adit-edge && mkdir /etc/conf.d")
    settings = "https: 127.0.0.1:8443\\nhttp: 127.0.0.1:8080\\ntunnel: 127.0.0.1:7844\\n"
    debian.check(f"printf '{settings}' >/var/lib/adit-edge/edge.yml")
    debian.check("echo 'adit_edge_user=adit-edge' >/etc/conf.d/adit-edge")
    debian.check("adit-edge service install", 60)
    wait_until(lambda: debian.run("adit-edge status").returncode == 0,
               lambda: f"the edge:\n{debian.run('tail -n 20 /var/log/adit-edge.*').stdout}", 30 * PATIENCE)  # fmt: skip
    assert debian.check(f"stat -c %U /proc/{pid_of(debian, 'adit-edge')}").strip() == "adit-edge"
    debian.check("adit-edge service uninstall", 120)
    assert debian.check("cat /etc/conf.d/adit-edge") == "adit_edge_user=adit-edge\n"
