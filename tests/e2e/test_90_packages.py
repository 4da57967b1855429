"""Debian packages: what is in them, what lintian says, and what the programs in them were hardened with."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest

from testenv.machine import judge
from testenv.program import ADIT, ADIT_EDGE, BIN, PRESET, check, run

pytestmark = pytest.mark.skipif(PRESET != "release", reason="packages are made from the release build")

ROOT = pathlib.Path(__file__).parents[2]
# What Debian 12 has without its backports, and whatever the linker does not see.
LOADED = {"adit": {"libcurl3-gnutls", "libcjose0"}, "adit-edge": {"libcurl3-gnutls", "libcjose0", "libfido2-1"}}


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    if not shutil.which("dpkg-buildpackage") or not shutil.which("dh") or not shutil.which("lintian"):
        pytest.skip("debhelper or lintian is not installed")
    out = tmp_path_factory.mktemp("packages")
    made = run([ROOT / "packaging/build-deb.sh", BIN.parent, out], seconds=100)
    assert made.returncode == 0, made.stderr
    files = {path.name.split("_")[0]: path for path in out.glob("*.deb")}
    assert set(files) == {"adit", "adit-edge", "adit-dbgsym", "adit-edge-dbgsym"}
    return files


def names_in(package):
    return {line.split()[5][1:] for line in check(["dpkg-deb", "-c", package]).splitlines()}


def field(package, name):
    return check(["dpkg-deb", "-f", package, name]).strip()


@pytest.mark.parametrize("name", ["adit", "adit-edge"])
def test_what_is_in_a_package(packages, name):
    other = "adit-edge" if name == "adit" else "adit"
    files = names_in(packages[name])
    section = [path for path in files if re.fullmatch(rf"/usr/share/man/man\d/{name}\.\d\.gz", path)]
    assert section
    assert {
        f"/usr/bin/{name}", f"/lib/systemd/system/{name}.service", f"/usr/lib/sysctl.d/50-{name}.conf",
        f"/usr/share/doc/{name}/copyright", f"/usr/share/bash-completion/completions/{name}",
    } <= files  # fmt: skip
    assert f"/usr/bin/{other}" not in files
    # Nothing of a build folder, and no secrets' place that anybody may write to.
    assert not [path for path in files if not path.startswith(("/usr", "/lib", "/etc")) and path != "/"]
    depends = {word.split()[0] for word in field(packages[name], "Depends").split(", ")}
    assert LOADED[name] <= depends and "libc6" in depends
    assert not {word for word in depends if "ngtcp2" in word or "nghttp3" in word}
    if name == "adit-edge":
        conffiles = check(["dpkg-deb", "-I", packages[name], "conffiles"]).split()
        assert conffiles == ["/etc/adit-edge/edge.yml"]
    assert ("/usr/share/adit-edge/grafana/adit-edge.json" in files) == (name == "adit-edge")


def test_lintian_has_no_complaint(packages):
    done = run(["lintian", "--allow-root", "--fail-on", "error,warning", packages["adit"], packages["adit-edge"]], seconds=100)
    assert done.returncode == 0, done.stdout + done.stderr


class Here:
    """This machine, as testenv.machine has others."""

    def run(self, *argv):
        return run(argv)


@pytest.mark.parametrize("name", ["adit", "adit-edge"])
def test_units_are_those_of_service_install(packages, name, tmp_path):
    check(["dpkg-deb", "-x", packages[name], tmp_path])
    unit = tmp_path / f"lib/systemd/system/{name}.service"
    text = unit.read_text()
    assert f"ExecStart=/usr/bin/{name} " in text and "\nConditionPathExists=" in text
    assert not re.search("@[A-Z]+@", text)
    # `systemd-analyze verify` looks for the program.
    here = tmp_path / f"{name}.service"
    here.write_text(text.replace(f"/usr/bin/{name} ", f"{tmp_path}/usr/bin/{name} "))
    if shutil.which("systemd-analyze"):
        judge(Here(), str(here))
    shown = run([tmp_path / f"usr/bin/{name}", "--version"])
    assert shown.returncode == 0 and "version" in shown.stdout


def test_the_settings_that_come_along_are_settings(packages, tmp_path):
    check(["dpkg-deb", "-x", packages["adit-edge"], tmp_path])
    file = tmp_path / "etc/adit-edge/edge.yml"
    check([ADIT_EDGE, "init", "--data", tmp_path / "state", "--zone", "example.com"])
    plain = run([ADIT_EDGE, "check", "--data", tmp_path / "state", "--config", file])
    assert plain.returncode == 0, plain.stderr
    # And so is each that is commented out.
    file.write_text(re.sub(r"^#(?=[a-z])", "", file.read_text(), flags=re.MULTILINE))
    done = run([ADIT_EDGE, "check", "--data", tmp_path / "state", "--config", file, "--dns-address", "203.0.113.7"])
    assert done.returncode == 0, done.stderr
    check(["dpkg-deb", "-x", packages["adit"], tmp_path])
    rules = tmp_path / "usr/share/doc/adit/examples/config.yml"
    done = run([ADIT, "--config", rules, "tunnel", "ingress", "validate"])
    assert done.returncode == 0, done.stdout + done.stderr


# --- Hardening -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("program", [ADIT, ADIT_EDGE], ids=["adit", "adit-edge"])
def test_a_release_is_hardened(program):
    env = {**os.environ, "LC_ALL": "C"}
    head, dynamic, symbols = (
        subprocess.run(["readelf", "-W", what, program], env=env, capture_output=True, text=True, check=True).stdout
        for what in ("-hl", "-d", "--dyn-syms")
    )
    assert "DYN (Position-Independent Executable file)" in head
    assert "GNU_RELRO" in head
    flags = " ".join(re.findall(r"FLAGS(?:_1)?\) +(.*)", dynamic))
    assert "NOW" in flags and "PIE" in flags
    stack = re.search(r"GNU_STACK .*", head)[0]
    assert " RW " in stack and "RWE" not in stack
    assert not re.search(r"LOAD .* RWE ", head)
    assert "RPATH" not in dynamic and "RUNPATH" not in dynamic
    assert "__stack_chk_fail" in symbols
    assert len(set(re.findall(r"__\w+_chk\b", symbols)) - {"__stack_chk_fail"}) >= 3
    # Indirect calls land on marked places (CET). The linker's own note is not there: Debian 12's crt1.o has none.
    if os.uname().machine == "x86_64":
        assert program.read_bytes().count(b"\xf3\x0f\x1e\xfa") > 500  # endbr64
    # Where it was built is nobody's business.
    assert str(ROOT).encode() not in program.read_bytes()


def test_what_the_build_needs_is_said_to_packagers_too():
    table = re.findall(r"^build +(?:backports/)?(lib\S+-dev) ", (ROOT / "dev").read_text(), re.MULTILINE)
    control = (ROOT / "packaging/debian/control").read_text()
    missing = [name for name in table if name != "libc6-dev" and not re.search(rf"^ {name}\b", control, re.MULTILINE)]
    assert missing == []
