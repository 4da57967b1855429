"""What the programs are made of: every library with the package and version that is installed, also those loaded later."""

import json
import pathlib
import sys

import pytest

from testenv.program import ADIT, ADIT_EDGE, check, run

TOOL = pathlib.Path(__file__).parents[2] / "tools/sbom.py"

pytestmark = pytest.mark.skipif(not pathlib.Path("/usr/bin/dpkg-query").exists(), reason="packages are Debian's")


def bill(program):
    done = run([sys.executable, TOOL, program])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("program, first_use", [(ADIT, {"libzip4", "libcjose0"}), (ADIT_EDGE, {"libfido2-1", "libcjose0"})])
def test_each_library_is_named(program, first_use):
    text = bill(program)
    assert text == bill(program), "the same program, another bill"
    found = json.loads(text)
    assert found["metadata"]["component"]["name"] == program.name
    by_name = {c["name"]: c for c in found["components"]}
    assert {"libc6", "libgnutls30", "libuv1", "libnghttp2-14"} | first_use <= set(by_name), sorted(by_name)
    rows = check(["dpkg-query", "-W", "-f", "${Package} ${Version}\\n", *by_name]).split("\n")
    for name, c in by_name.items():
        assert f"{name} {c['version']}" in rows
        assert c["purl"].startswith(f"pkg:deb/debian/{name}@{c['version']}?arch=")
    assert found["dependencies"][0]["dependsOn"] == [c["bom-ref"] for c in found["components"]]
