"""Programs for another architecture (./dev cross arm64), run by an emulator beside the native ones."""

import pathlib
import shutil

import pytest

from testenv.connector import write_config
from testenv.edge import ZONE
from testenv.origin import Origin
from testenv.program import ADIT, ADIT_EDGE, PATIENCE, PRESET, Program, check, run
from testenv.visitor import Visitor
from testenv.wait import wait_until

ROOT = pathlib.Path(__file__).parents[2]
EMULATOR = shutil.which("qemu-aarch64-static")
BUILT = ROOT / "build/release-arm64/bin"
APP = f"app.{ZONE}"

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(PRESET != "release", reason="it is a release that is built for another architecture"),
    pytest.mark.skipif(not (BUILT / "adit").exists(), reason="not built: ./dev cross arm64"),
    pytest.mark.skipif(not EMULATOR, reason="qemu-user-static is not installed"),
]
EMULATED = [EMULATOR, "-L", ROOT / "build/cross-arm64"]


def test_they_start():
    for program in (ADIT, ADIT_EDGE):
        native = check([program, "--version"]).split(" (")[0]
        assert check([*EMULATED, BUILT / program.name, "--version"]).split(" (")[0] == native


def test_a_tunnel_from_arm64_to_a_native_edge(own, tmp_path):
    origin = Origin()
    edge = own.edge()
    cli = own.cli(edge)
    tunnel = cli.create("home")
    cli.route(tunnel, APP)
    path = origin.on(lambda r: r.reply(200, body=b"from afar"))
    visitor = Visitor(edge, "http1.1")
    for protocol in ("http2", "quic"):
        config = write_config(cli.dot / f"{protocol}.yml", tunnel, [{"hostname": APP, "service": origin.service}],
                              protocol=protocol, metrics="127.0.0.1:0")  # fmt: skip
        valid = run([*EMULATED, BUILT / "adit", "--config", config, "tunnel", "ingress", "validate"])
        assert valid.returncode == 0, valid.stdout + valid.stderr
        connector = Program(f"arm64-{protocol}", [*EMULATED, BUILT / "adit", "--config", config, "tunnel", "run"], tmp_path,
                            env=cli.env())  # fmt: skip
        wait_until(lambda: visitor.get(APP, path).body == b"from afar", f"an answer over {protocol}", 60 * PATIENCE)
        connector.stop()
    origin.close()
